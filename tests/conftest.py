"""Shared by all tests: one thread, and PyTorch's global state left as it was found."""

import gc
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import copy
import functools
import logging
import signal
from collections.abc import Iterator
from typing import Any

import omegaconf._utils
import omegaconf.base
import pytest
import torch
import yaml

from robustrun import console
from robustrun.compute.threads import set_parallelism

console.FIRST_LINE = 3600.0  # what a log says does not depend on how busy the machine is
torch.set_num_threads(1)  # tiny networks: a second thread only waits
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell starts with &
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children would ignore it as well


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where tests of the mark `device` compute")
    parser.addoption("--times", help="the file to write how long the commands of the pages took")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: many tests wait for processes and engines that they start."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those on engines begin first: they wait much, and others use the processors meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("engines") is None)


def pytest_collection_finish() -> None:
    """What lives until the end is not looked through by each collection of garbage."""
    import hypothesis  # noqa: F401  (as it is imported it looks for whoever refers to an object)

    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def _yaml_is_parsed_once() -> Iterator[None]:
    """A third of the time to compose a configuration, which thousands of tests do: the same text of
    the catalogue, and the same interpolation in it, is parsed once."""
    load, loaded = yaml.load, {}

    def load_once(stream: Any, Loader: Any) -> Any:
        is_text = isinstance(stream, str | bytes)
        key = stream if is_text else stream.read(), Loader.__qualname__
        if key not in loaded:
            if not is_text:
                stream.seek(0)  # an error has the name of the file
            loaded[key] = load(stream, Loader)
        return copy.deepcopy(loaded[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "load", load_once)
        parse = functools.cache(omegaconf.base.parse)
        for module in (omegaconf.base, omegaconf._utils):
            patch.setattr(module, "parse", parse)
        yield


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    """Where the tests of the mark `device` compute: `pytest -m device --device cuda`."""
    chosen = torch.device(str(pytestconfig.getoption("--device")))
    if chosen.type == "cuda":  # as devices/local.py has it: float32 is float32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return chosen


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of a test stays in the cache folder of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTRUN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A sub-command that a test calls by itself leaves the handler that only a process's end, or
    the whole command line, takes away: every later test would see each line once more."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in [one for one in root.handlers if one not in before]:
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch.set_num_threads(1)
    set_parallelism(1)
    console._PAUSES.clear()
