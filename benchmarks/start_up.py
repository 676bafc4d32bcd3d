"""How long the command line takes before any work starts."""

import os
import subprocess
import sys
from functools import partial

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


def rows(settings: Settings) -> list[Row]:
    found = []
    for name, (words, environment, goal) in COMMANDS.items():
        contestant = Contestant(name, partial(_run, words, environment), ours=True)
        found += compare(
            "start-up",
            "-",
            [contestant],
            rounds=settings.sizes.rounds,
            items=1,
            meaning="exit code",
            device=settings.device,
            goal=goal,
        )
    return found


def _run(words: list[str], environment: dict[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-m", "robustrun", *words],
        env=os.environ | environment,
        capture_output=True,
        check=False,
    )
    return float(done.returncode)
