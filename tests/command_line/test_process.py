"""What a command changes in the process that calls it is as before when it is over."""

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from omegaconf.basecontainer import BaseContainer

import robustrun
from robustrun.command_line import process, sweep
from robustrun.command_line.main import run_command_line
from robustrun.compute import interrupts

SMALL = ["model=simple_cnn", "method=standard", "training.epochs=1", "evaluation=none"]
SMALL += ["attack=fgsm", "evaluation.examples=20", "device.threads=1"]
LEAST = [*SMALL, "keep.figures=false"]


def state() -> dict[str, Any]:
    """Whatever of the process a caller could rely on."""
    root = logging.getLogger()
    applications = (GlobalHydra, HydraConfig)
    return {
        "signals": {number: signal.getsignal(number) for number in interrupts.SIGNALS},
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "arguments": (id(sys.argv), [*sys.argv]),
        "path": (id(sys.path), [*sys.path]),
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
        "handlers": ([*root.handlers], root.level),
        "ours": (logging.getLogger("robustrun").level, logging.getLogger("robustrun").handlers),
        "known": [handler() for handler in vars(logging)["_handlerList"]],
        "warnings": [*warnings.filters],
        "hydra": [Singleton._instances.get(kind) for kind in applications],
        "resolvers": dict(BaseContainer._resolvers),
    }


class Lines(logging.Handler):
    """A handler of the calling program, which cannot be opened again."""

    closed = False

    def emit(self, record: logging.LogRecord) -> None: ...

    def close(self) -> None:
        self.closed = True
        super().close()


@pytest.fixture(scope="module")
def warm() -> None:
    """What is imported once stays, with what importing it does."""
    import robustrun.experiment
    import robustrun.report.page  # noqa: F401

    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # torch imports its compiler, which sets a variable
    Plugins.instance()  # one of Ray registers a resolver


@pytest.fixture
def caller(
    warm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Path, Lines]]:
    """A program with signal handlers, a log and a path of its own, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", "word"])
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which `compose` adds folders
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    lines = Lines()
    logging.getLogger().addHandler(lines)
    before = {number: signal.signal(number, lambda *_: None) for number in interrupts.SIGNALS}
    yield tmp_path, lines
    for number, handler in before.items():
        signal.signal(number, handler)
    logging.getLogger().removeHandler(lines)


def plugin(folder: Path) -> None:
    (folder / "mine" / "method").mkdir(parents=True)
    (folder / "mine" / "method" / "fails_here.yaml").write_text("name: fails_here\n")
    (folder / "mine" / "fails_here_module.py").write_text(
        "from dataclasses import dataclass\n"
        "from robustrun.types import METHODS\n"
        "@METHODS.register('fails_here')\n"
        "@dataclass(frozen=True)\n"
        "class FailsHere:\n"
        "    def step(self, learner, x, y):\n"
        "        raise RuntimeError('on purpose')\n"
    )


FAILS = ["-cd", "mine", "plugins=[fails_here_module]", "method=fails_here"]
COMMANDS = {
    "a run": (0, [*SMALL, "hydra.run.dir=run"]),
    "a run that fails": (1, [*(w for w in SMALL if w != "method=standard"), *FAILS]),
    "wrong input": (2, ["seed=x"]),
    "a wrong word": (2, ["reprot"]),
    "a wrong option": (2, ["method=trads"]),
    "a sweep": (1, ["-m", *LEAST, "seed=x,y"]),
    "the help": (0, ["list", "--help"]),
    "a list with a folder": (0, ["list", "method", "-cd", "mine"]),
    "the configuration": (0, ["--cfg", "job"]),
    "what does not exist": (2, ["evaluate", "nowhere"]),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_process_is_as_before_however_a_command_ends(
    command: str, caller: tuple[Path, Lines], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, lines = caller
    plugin(folder)
    code, words = COMMANDS[command]
    before = state()
    assert run_command_line(words) == code, capfd.readouterr().err
    after = state()
    for part, value in before.items():
        assert after[part] == value, part
    assert not lines.closed


def test_a_run_that_is_measured_and_resumed_from_another_folder_leaves_the_folder(
    caller: tuple[Path, Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lines = caller
    assert run_command_line([*LEAST, "hydra.run.dir=run"]) == 0
    (folder / "run" / "results.json").unlink()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    before = state()
    assert run_command_line(["resume", "../run"]) == 0
    assert run_command_line(["evaluate", "../run", "attack.epsilon=0.1"]) == 0
    assert state() == before
    assert not lines.closed


@pytest.mark.parametrize("error", [KeyboardInterrupt, interrupts.Terminated, SystemExit])
def test_the_process_is_as_before_when_a_command_is_stopped(
    error: type[BaseException], caller: tuple[Path, Lines], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        sys.argv, sys.path = ["other"], ["other"]
        raise error

    monkeypatch.setattr(sweep, "driven", stopped)
    path = sys.path
    before = state()
    assert run_command_line(["seed=1"]) == {KeyboardInterrupt: 130, SystemExit: 0}.get(error, 143)
    sys.path = path  # another list was put in its place, which no command does
    assert state() == before


def test_a_command_runs_in_a_thread_which_may_set_no_signal_handlers(
    caller: tuple[Path, Lines],
) -> None:
    codes: list[int] = []
    before = state()
    thread = threading.Thread(target=lambda: codes.append(run_command_line(["list", "method"])))
    thread.start()
    thread.join()
    assert codes == [0]
    assert state() == before


def test_while_a_command_works_sigterm_ends_it_with_its_code(
    caller: tuple[Path, Lines], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "driven", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert run_command_line(["seed=1"]) == 143
    assert "terminated" in capfd.readouterr().err


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_from_python_leaves_signals_logging_and_the_rest_as_before(
    fails: bool, caller: tuple[Path, Lines]
) -> None:
    folder, lines = caller
    plugin(folder)
    words = [*LEAST]
    if fails:
        words[1:2] = FAILS[2:]
    config = robustrun.compose(words, folders=["mine"])
    before = state()
    with pytest.raises(RuntimeError, match="on purpose") if fails else contextlib.nullcontext():
        robustrun.run(config, "run")
    assert state() == before
    assert not lines.closed


def test_what_a_module_of_the_same_name_registers_is_that_of_the_folder_that_is_named(
    caller: tuple[Path, Lines], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _ = caller
    for name in ("first", "second"):
        plugin(folder / name)
        file = folder / name / "mine" / "fails_here_module.py"
        file.write_text(file.read_text().replace("on purpose", f"as the {name} says"))
        words = [f"{name}/mine" if word == "mine" else word for word in FAILS]
        assert run_command_line([*(w for w in SMALL if w != "method=standard"), *words]) == 1
        assert f"as the {name} says" in capfd.readouterr().err


def test_a_folder_that_is_gone_is_not_returned_to(tmp_path: Path) -> None:
    before = os.getcwd()
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    with process.left_as_before():
        os.chdir(before)
        (tmp_path / "gone").rmdir()
    assert os.getcwd() == before


LOGGED = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (INFO|WARNING) .*"


def test_runs_sweeps_evaluations_and_runs_from_python_have_one_format_of_the_log(
    caller: tuple[Path, Lines], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, _ = caller
    commands = {
        "run": [*LEAST, "hydra.run.dir=run"],
        "sweep/0": ["-m", *LEAST, "seed=1", "hydra.sweep.dir=sweep"],
        "outputs/*/*": ["evaluate", "run", "attack.norm=l1", "attack=apgd_ce", "evaluation=quick"],
    }
    for place, words in commands.items():
        assert run_command_line(words) == 0
        same_lines(capfd.readouterr().err, next(folder.glob(f"{place}/run.log")))
    config = robustrun.compose(LEAST)
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])
        robustrun.run(config, "python")
    same_lines(capfd.readouterr().err, folder / "python" / "run.log")


def same_lines(shown: str, log: Path) -> None:
    """What was shown is log lines, but for `robustrun: …`, and the file has those of its run."""
    lines = [line for line in shown.splitlines() if not line.startswith("robustrun: ")]
    assert [line for line in lines if not re.fullmatch(LOGGED, line)] == []
    kept = [line for line in log.read_text().splitlines() if re.fullmatch(LOGGED, line)]
    assert len(kept) >= 4
    assert set(kept) <= set(lines)
