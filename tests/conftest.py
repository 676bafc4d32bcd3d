"""Shared by all tests: one thread, and PyTorch's global state left as it was found."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import signal
from collections.abc import Iterator

import pytest
import torch

from robustrun import console
from robustrun.compute.threads import set_parallelism

console.FIRST_LINE = 3600.0  # what a log says does not depend on how busy the machine is
torch.set_num_threads(1)  # tiny networks: a second thread only waits
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as of what a shell starts with &
    signal.signal(signal.SIGINT, signal.default_int_handler)  # children would ignore it as well


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where tests of the mark `device` compute")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: many tests wait for processes and engines that they start."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those on engines begin first: they wait much, and others use the processors meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("engines") is None)


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
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch.set_num_threads(1)
    set_parallelism(1)
