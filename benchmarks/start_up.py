"""How long the command line takes before any work starts, and a run until it trains."""

import os
import subprocess
import sys
from functools import partial
from tempfile import TemporaryDirectory

from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare

COMPLETE = {"COMP_LINE": "robustrun method=tr", "COMP_POINT": "19"}
COMMANDS: dict[
    str, tuple[list[str], dict[str, str], str]
] = {  # words, environment, goal in seconds
    "robustrun --help": (["--help"], {}, "under 0.7 s"),
    "robustrun --cfg job": (["--cfg", "job"], {}, "under 0.7 s"),
    "shell completion": (["-sc", "query=bash"], COMPLETE, "under 0.4 s"),
}
RUN = [sys.executable, "-m", "robustrun"]
IMPORT = [sys.executable, "-c", "import torch"]
LINES = {  # of a default run's log: what is in each
    "robustrun, until it says something": " INFO ",
    "robustrun, until it trains": "CPU threads: ",
}
LINES_GOAL = "first line in 1 s, training in import torch and 1 s"


def rows(settings: Settings) -> list[Row]:
    found = []
    for name, (words, environment, goal) in COMMANDS.items():
        contestant = Contestant(name, partial(_run, words, environment), ours=True)
        found += _compared([contestant], settings, goal)
    contestants = [Contestant("import torch", partial(_ended, IMPORT, {}))]
    contestants += [
        Contestant(name, partial(_until, part), ours=True) for name, part in LINES.items()
    ]
    return found + _compared(contestants, settings, LINES_GOAL)


def _compared(contestants: list[Contestant], settings: Settings, goal: str) -> list[Row]:
    return compare(
        "start-up",
        "-",
        contestants,
        rounds=settings.sizes.rounds,
        items=1,
        meaning="exit code",
        device=settings.device,
        goal=goal,
    )


def _run(words: list[str], environment: dict[str, str]) -> float:
    return _ended([*RUN, *words], environment)


def _ended(command: list[str], environment: dict[str, str]) -> float:
    environment = os.environ | environment
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    return float(done.returncode)


def _until(part: str) -> float | None:
    """A default run, which is killed as soon as a line of its log has this part."""
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(
            RUN, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as run,
    ):
        assert run.stderr is not None
        seen = any(part in line for line in run.stderr)
        run.kill()
    return None if seen else float("nan")
