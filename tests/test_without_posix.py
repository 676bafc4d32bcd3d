"""The package where nothing is that only POSIX has, as on Windows: it imports and runs."""

import csv
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import robustrun
from tests.short_run import DRAWN, SHORT

AS_ON_WINDOWS = """
import json, os, signal, sys, warnings

modules = "fcntl grp pty pwd readline resource syslog termios tty"
sys.modules.update(dict.fromkeys(modules.split()))  # None: importing it is an ImportError
for name in "fork getegid geteuid getgid getuid sched_getaffinity setsid statvfs".split():
    delattr(os, name)
for name in "SIGALRM SIGHUP SIGKILL SIGUSR1 SIGUSR2 SIGXFSZ pthread_sigmask".split():
    delattr(signal, name)
# Windows reads text in an encoding of its own wherever none is named.
warnings.filterwarnings("ignore", category=EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module="robustrun")
"""

IMPORTS = """
import importlib

for name in sys.argv[1:]:
    importlib.import_module(name)
"""

NEEDS = {  # modules of command_line/ that are imported only where an optional package is installed
    "optuna": ("search", "search_settings", "search_space", "study"),
    "submitit": ("slurm_launcher",),
}

COMMANDS = """
from robustrun.command_line.main import run_command_line

for words in json.loads(sys.argv[1]):
    assert run_command_line(words) == 0, words
"""


def as_on_windows(program: str, here: Path, *words: str) -> str:
    """What a program prints in a Python without POSIX and without git, for a console that has only
    the letters of western Europe."""
    command = [sys.executable, "-X", "warn_default_encoding", "-c", AS_ON_WINDOWS + program, *words]
    variables = os.environ | {"PATH": "", "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run(
        command, cwd=here, env=variables, capture_output=True, text=True, encoding="cp1252"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports(tmp_path: Path) -> None:
    package = Path(robustrun.__file__).parent
    files = sorted(package.rglob("*.py"))
    assert files
    names = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in files]
    for name in ("command_line.ray_launcher", "compute.agent"):
        names.remove(f"robustrun.{name}")  # Ray, and torch's launcher, ask which system this is
    for needed, modules in NEEDS.items():
        if find_spec(needed) is None:
            for module in modules:
                names.remove(f"robustrun.command_line.{module}")
    as_on_windows(IMPORTS, tmp_path, *(name.removesuffix(".__init__") for name in names))


def test_runs_are_made_resumed_measured_swept_and_reported(tmp_path: Path) -> None:
    commands = [
        [*DRAWN, "hydra.run.dir=run"],
        ["resume", "run"],
        ["evaluate", "run", "attack.epsilon=0.05"],
        ["-m", *SHORT, "seed=0,1", "hydra.sweep.dir=sweep"],
        ["report", "run", "sweep"],
        ["list"],
        ["explain", "method=trades"],
    ]
    printed = as_on_windows(COMMANDS, tmp_path, json.dumps(commands))
    assert "fgsm" in printed
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["run"]["status"] == "completed"
    assert results["training"]["peak_memory_bytes"] is None
    with (tmp_path / "sweep/summary.csv").open() as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["completed"] * 2
