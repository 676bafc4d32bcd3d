"""Planted bugs (mutants) that Cosmic Ray makes: a random sample, its tests, and what was caught.

    cosmic-ray init cosmic-ray.toml mutants.sqlite
    python tests/mutants.py sample mutants.sqlite --size 150 --seed 14
    python tests/mutants.py run mutants.sqlite
    python tests/mutants.py report mutants.sqlite

It changes the code in place: run it in a clone of its own. `run` continues where it was stopped.
"""

import argparse
import ast
import os
import random
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from cosmic_ray.work_db import WorkDB
    from cosmic_ray.work_item import TestOutcome

Place = tuple[int, int]  # line, column

ROOT = Path(__file__).parents[1]
TIMEOUT = 1200  # seconds; a mutant that does not end is caught
WORK = 150  # seconds of a processor: the same limit on a machine that is busy
OPTIONS = ["-n", "0", "-x", "-q", "--tb=line", "-p", "no:cacheprovider"]


def annotations(module: Path) -> Iterator[tuple[Place, Place]]:
    """Where type annotations begin and end: a changed one is no bug, or an error at import."""
    for node in ast.walk(ast.parse(module.read_text())):
        hint = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if hint:
            yield (hint.lineno, hint.col_offset), (hint.end_lineno, hint.end_col_offset)


def sample(database: "WorkDB", size: int, seed: int) -> None:
    """Keep one mutant at each of `size` places; an operator with ten replacements is one place."""
    from cosmic_ray.work_item import WorkerOutcome, WorkResult

    hints: dict[Path, list[tuple[Place, Place]]] = {}
    places = defaultdict(list)
    items = list(database.work_items)
    for item in items:
        (change,) = item.mutations
        module, start = change.module_path, tuple(change.start_pos)
        if module not in hints:
            hints[module] = list(annotations(module))
        if not any(first <= start < last for first, last in hints[module]):
            kind = change.operator_name, change.occurrence, str(change.operator_args)
            places[str(module), start].append((*kind, item.job_id))
    draw = random.Random(seed)
    drawn = [draw.choice(sorted(places[place])) for place in draw.sample(sorted(places), size)]
    chosen = {job for *_, job in drawn}
    others = [item.job_id for item in items if item.job_id not in chosen]
    database.set_multiple_results(others, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))
    print(f"{len(chosen)} mutants, one at each of {size} of {len(places)} places (seed {seed})")


def tests_of(module: Path) -> list[str]:
    """The module's own test file, and what its folder promises of all its modules.

    A module without logic has no file of its own: those of its folder.
    """
    from tests.test_mirror import TRIED_IN, file_of

    name = module.relative_to("robustrun").as_posix()
    own = Path("tests") / TRIED_IN.get(name, file_of(name))
    files = [str(path) for path in (own, own.with_name("test_all.py")) if path.exists()]
    return files if own.exists() else [str(own.parent)]


def run_forked(module: str, timeout: float) -> "tuple[TestOutcome, str]":
    """The module's tests in a process of their own, which need not import PyTorch again."""
    from cosmic_ray.work_item import TestOutcome

    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            run_tests_and_exit(module, output.fileno())
        code = code_of(child, timeout)
        output.seek(0)
        text = output.read()
    if code is None:
        return TestOutcome.KILLED, "timeout"
    return (TestOutcome.SURVIVED if code == 0 else TestOutcome.KILLED), text


def run_tests_and_exit(module: str, output: int) -> NoReturn:
    """Whatever happens here, this process ends here."""
    code = 1
    try:
        import resource

        import pytest

        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (WORK, WORK))
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = pytest.main([*OPTIONS, *tests_of(Path(module))])
        sys.stdout.flush()
    finally:
        os._exit(code)


def code_of(child: int, timeout: float) -> int | None:
    """The exit status, or None if the process had to be killed."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run(database: "WorkDB") -> None:
    """Plant and test each mutant that is left."""
    import matplotlib  # noqa: F401  (these two once, for all the forks)
    import torch  # noqa: F401
    from cosmic_ray import mutating

    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # a mutant of the same second and size
    sys.dont_write_bytecode = True
    mutating.run_tests = run_forked
    for item in list(database.pending_work_items):
        (change,) = item.mutations
        began = time.monotonic()
        result = mutating.mutate_and_test(item.mutations, str(change.module_path), TIMEOUT)
        database.set_result(item.job_id, result)
        what = f"{change.module_path}:{change.start_pos[0]} {change.operator_name}"
        print(
            f"{time.monotonic() - began:5.0f} s  {result.test_outcome.value:9} {what}", flush=True
        )


def report(database: "WorkDB", least: float) -> int:
    """The share that was caught, and the difference that each survivor makes."""
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome

    results = [
        result for _, result in database.results if result.worker_outcome != WorkerOutcome.SKIPPED
    ]
    survivors = [result for result in results if result.test_outcome == TestOutcome.SURVIVED]
    for result in survivors:
        print(result.diff, end="\n\n")
    timeouts = sum(result.output == "timeout" for result in results)
    caught = len(results) - len(survivors)
    print(f"{caught} of {len(results)} mutants were caught, {timeouts} of them by the time limit")
    return 0 if caught >= least * len(results) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["sample", "run", "report"])
    parser.add_argument("session", help="what `cosmic-ray init` made")
    parser.add_argument("--size", type=int, default=150)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--least", type=float, default=0, help="a smaller share is a failure")
    words = parser.parse_args()
    sys.path[0] = str(ROOT)  # not tests/, where a test file could hide a package
    from cosmic_ray.work_db import use_db

    with use_db(words.session) as database:
        if words.action == "report":
            return report(database, words.least)
        if words.action == "sample":
            sample(database, words.size, words.seed)
        else:
            run(database)
    return 0


if __name__ == "__main__":
    sys.exit(main())
