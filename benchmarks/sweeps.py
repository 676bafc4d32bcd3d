"""What a sweep costs beside its runs: the time of each run's own work, and of going past a sweep
that is finished.

    python -m benchmarks.sweeps --runs 40 --finished 1000

Own work is CPU time of the driver (without another launcher) beyond Hydra's composing of the
configuration, training and measuring; it does not depend on what else the machine does. The
finished sweep is one of two runs, of which the second is copied under other seeds.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl

import robustrun.experiment
from robustrun.command_line.main import run_command_line

WORDS = ["-m", "model=simple_cnn", "method=standard", "training.epochs=1", "evaluation=none"]
WORDS += ["attack=fgsm", "evaluation.examples=20", "keep.figures=false", "device.threads=1"]
spent: dict[str, float] = defaultdict(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="of which the own work is measured")
    parser.add_argument("--finished", type=int, default=1000, help="runs of the finished sweep")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        own = own_seconds(options.runs)
        seconds = seconds_of_resume(Path("finished"), options.finished)
        os.chdir("/")
    print(f"{1000 * own:.0f} ms of CPU time for each of {options.runs} runs")
    print(f"{seconds:.1f} s for robustrun resume of a finished sweep of {options.finished} runs")


def own_seconds(runs: int) -> float:
    """CPU seconds of a run that are neither composing, training nor measuring."""
    run_command_line([*WORDS, "seed=0", "hydra.sweep.dir=warm"])
    # Hydra's search for plugins makes this class; one that was imported before is another.
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    for place, name in (
        (ConfigLoaderImpl, "load_sweep_config"),
        (robustrun.experiment, "fit"),
        (robustrun.experiment, "measure"),
        (BasicLauncher, "launch"),
    ):
        setattr(place, name, clocked(getattr(place, name), name))
    run_command_line([*WORDS, f"seed=range(0,{runs})", "hydra.sweep.dir=all"])
    others = spent["load_sweep_config"] + spent["fit"] + spent["measure"]
    return (spent["launch"] - others) / runs


def clocked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def timed(*given: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return function(*given, **named)
        finally:
            spent[name] += time.process_time() - began

    return timed


def seconds_of_resume(sweep: Path, runs: int) -> float:
    run_command_line([*WORDS, "seed=range(0,2)", f"hydra.sweep.dir={sweep}"])
    for number in range(2, runs):
        copy_run(sweep / "1", sweep / str(number), number)
    change(sweep / "sweep.json", "range(0,2)", f"range(0,{runs})")
    began = time.monotonic()
    line = [sys.executable, "-m", "robustrun", "resume", str(sweep)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def copy_run(run: Path, copy: Path, seed: int) -> None:
    """The same run under another seed."""
    shutil.copytree(run, copy)
    change(copy / "config.yaml", "seed: 1\n", f"seed: {seed}\n")
    change(copy / "checkpoint" / "origin.json", "seed=1", f"seed={seed}")
    results = json.loads((copy / "results.json").read_bytes())
    results["config"]["seed"], results["run"]["id"] = seed, copy.name
    (copy / "results.json").write_text(json.dumps(results))


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text, f"{file} has no {before!r}"
    file.write_text(text.replace(before, after))


if __name__ == "__main__":
    main()
