"""How many runs at once pay on one machine or one GPU: the same sweep of small runs with 1, 2, 4
jobs of `hydra/launcher=joblib`, in turns, in runs a minute.

    python -m benchmarks.packed [--jobs 1 2 4] [--runs 8] [--rounds 3] [OVERRIDE ...]

Each job computes with its share of the cores. Overrides choose another run (device=cuda ...).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = ["training.epochs=10", "evaluation=none"]  # of the default run: TRADES on the digits


def main() -> None:
    arguments = _arguments()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    words = overrides(arguments.overrides)
    minutes: dict[int, list[float]] = {jobs: [] for jobs in arguments.jobs}
    for _ in range(arguments.rounds):
        for jobs, times in minutes.items():
            threads = max(1, (cores or 1) // jobs)
            times.append(sweep(jobs, arguments.runs, [*words, f"device.threads={threads}"]) / 60)
    print(markdown(minutes, arguments.runs))


def overrides(own: list[str]) -> list[str]:
    """Those given, and those of the small run that they do not decide themselves."""
    keys = {word.partition("=")[0] for word in own}
    return [*(word for word in SMALL if word.partition("=")[0] not in keys), *own]


def sweep(jobs: int, runs: int, words: list[str]) -> float:
    """Seconds of a sweep over seeds, from its command to its report."""
    seeds = "seed=" + ",".join(map(str, range(runs)))
    engine = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]
    with tempfile.TemporaryDirectory() as folder:
        place = f"hydra.sweep.dir={Path(folder) / 'sweep'}"
        command = [sys.executable, "-m", "robustrun", "-m", *engine, place, *words, seeds]
        began = time.perf_counter()
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if ended.returncode:
            raise SystemExit(ended.stderr)
        return time.perf_counter() - began


def markdown(minutes: dict[int, list[float]], runs: int) -> str:
    """A row for each number of jobs: median, fastest and slowest, and the ratio to the first."""
    first = statistics.median(next(iter(minutes.values())))
    lines = ["| jobs | runs a minute | slowest - fastest | x the first |", "|---|---|---|---|"]
    for jobs, times in minutes.items():
        speeds = [runs / time for time in (statistics.median(times), max(times), min(times))]
        ratio = first / statistics.median(times)
        lines.append(
            f"| {jobs} | {speeds[0]:.1f} | {speeds[1]:.1f} - {speeds[2]:.1f} | {ratio:.2f} |"
        )
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.packed", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2, 4], help="runs at once")
    parser.add_argument("--runs", type=int, default=8, help="of a sweep")
    parser.add_argument("--rounds", type=int, default=3, help="sweeps with each number of jobs")
    parser.add_argument("overrides", nargs="*", help="of the run")
    return parser.parse_args()


if __name__ == "__main__":
    main()
