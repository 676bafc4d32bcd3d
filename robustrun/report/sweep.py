"""What is said of a sweep besides its numbers: what was not made, and what changed nothing."""

import json
from collections.abc import Iterable
from pathlib import Path

from robustrun.report import collect
from robustrun.report.collect import StoredRun

RECIPE = "recipe"  # of the configuration: what other keys take their defaults from
MOST_LINES = 50  # of one kind of remark
Runs = Iterable[tuple[Path, dict[str, str]]]  # each run's folder and what was swept or set in it


def remarks(runs: Runs) -> list[str]:
    """One line for each thing that a reader of the table would not see."""
    entries = list(runs)
    stored = collect.read_all(folder for folder, _ in entries)
    read = [(run, words) for run, (_, words) in zip(stored, entries, strict=True)]
    return [*_first(_lost([run for run, _ in read])), *_first(_without_effect(read))]


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"and {more} more of these"] if more > 0 else lines


def _lost(runs: list[StoredRun]) -> list[str]:
    lost = [(run, run.record.run.lost) for run in runs if run.record]
    return [
        f"{run.name}: not made: {what} ({why})" for run, lack in lost for what, why in lack.items()
    ]


def _without_effect(read: list[tuple[StoredRun, dict[str, str]]]) -> list[str]:
    """Pairs of runs that differ in what was asked for and in nothing that was done."""
    first: dict[str, tuple[StoredRun, dict[str, str]]] = {}
    said = []
    for run, words in read:
        if run.record is None:
            continue
        config = {key: value for key, value in run.record.config.items() if key != RECIPE}
        done = json.dumps(config, sort_keys=True)
        before, others = first.setdefault(done, (run, words))
        if keys := [key for key in {**others, **words} if others.get(key) != words.get(key)]:
            said.append(
                f"{before.name} and {run.name} are the same run: {', '.join(keys)} changes nothing "
                "here, since nothing reads it or another word sets what it would set"
            )
    return said
