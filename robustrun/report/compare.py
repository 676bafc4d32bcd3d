"""Is network B really better than A? Differences over the same examples, and McNemar's exact test.

McNemar 1947, https://doi.org/10.1007/BF02295996; the interval is Agresti and Min's adjusted one for
paired proportions (2005, https://doi.org/10.1002/sim.1781).
"""

import math
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from robustrun.errors import DataError
from robustrun.evaluation.statistics import Z95
from robustrun.report import collect
from robustrun.report.collect import StoredRun
from robustrun.run_folder.schema import DatasetSection
from robustrun.storage.zip_faults import ZIP_FAULTS

LEVEL = 0.05  # a p-value below it is called a difference
Examples = dict[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """One accuracy of two runs on the same examples."""

    name: str
    a: float
    b: float
    low: float  # 95% interval of b - a
    high: float
    only_a: int  # examples that A alone has right
    only_b: int
    p: float  # McNemar's exact test, two-sided
    caution: str = ""  # why the two may not be comparable

    @property
    def difference(self) -> float:
        return self.b - self.a


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    a: StoredRun
    b: StoredRun
    examples: int
    settings: list[tuple[str, Any, Any]]  # keys in which the configurations differ
    differences: list[Difference]


def compare(path_a: Path, path_b: Path) -> Comparison:
    """DataError if the two were not measured on common examples."""
    return of_networks(_run(path_a), _run(path_b))


def of_networks(a: StoredRun, b: StoredRun) -> Comparison:
    """Of two runs that were measured; DataError if it was not on common examples."""
    right_a, right_b = matched([a, b])
    names = [name for name in right_a if name in right_b]
    differences = [_difference(name, right_a[name], right_b[name], a, b) for name in names]
    return Comparison(a, b, len(right_a["clean"]), differing(a, b), differences)


def _run(path: Path) -> StoredRun:
    if not path.is_dir():
        raise DataError(f"{path} is not a run's folder.")
    run = collect.read(path)
    if run.evaluation is None:
        raise DataError(f"{path} has no finished evaluation to compare. {run.problem}".rstrip())
    return run


def differing(a: StoredRun, b: StoredRun) -> list[tuple[str, Any, Any]]:
    """The keys of the configuration with other values; those that only one has, too."""
    keys = dict.fromkeys([*a.settings, *b.settings])
    absent = "(not there)"
    pairs = [(key, a.settings.get(key, absent), b.settings.get(key, absent)) for key in keys]
    return [(key, one, two) for key, one, two in pairs if one != two]


def matched(runs: list[StoredRun]) -> list[Examples]:
    """For every measure of each run, whether the examples that all of them measured are right."""
    stored = [predictions(run.folder) for run in runs]
    first = runs[0]
    for run in runs[1:]:
        if not _same_images(first, run):
            raise DataError(
                f"{first.folder} and {run.folder} were not measured on the same data: the "
                "fingerprints of their images differ. A paired test needs the same test set."
            )
    shared = reduce(np.intersect1d, [arrays["index"] for arrays in stored])
    if not len(shared):
        names = " and ".join(str(run.folder) for run in runs)
        raise DataError(f"{names} have no measured example in common.")
    places = [np.intersect1d(shared, arrays["index"], return_indices=True)[2] for arrays in stored]
    labels = [arrays["label"][at] for arrays, at in zip(stored, places, strict=True)]
    for run, there in zip(runs, labels, strict=True):
        if not np.array_equal(there, labels[0]):
            raise DataError(
                f"{first.folder} and {run.folder} have other labels for the same examples."
            )
    return [_right(arrays, at) for arrays, at in zip(stored, places, strict=True)]


def _same_images(a: StoredRun, b: StoredRun) -> bool:
    """The measured images are the same, or are drawn from the same test set."""

    def prints(run: StoredRun) -> list[str | None]:
        assert run.record is not None  # _run saw to it
        assert run.evaluation is not None
        data, subset = run.record.dataset or DatasetSection(), run.evaluation.subset
        measured = (subset.fingerprint or None) if subset else None
        return [measured, data.fingerprints.get("test"), data.fingerprint]

    return any(
        one is not None and one == two for one, two in zip(prints(a), prints(b), strict=True)
    )


def predictions(folder: Path) -> Examples:
    """The arrays of predictions.npz, of one length; never unpickled."""
    path = folder / "predictions.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        lengths = {len(arrays[name]) for name in ("index", "label", "prediction")}
    except FileNotFoundError:
        raise DataError(f"{folder} has no predictions.npz to compare.") from None
    except (OSError, ValueError, KeyError, TypeError, *ZIP_FAULTS) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(lengths | {len(array) for array in arrays.values()}) != 1:
        raise DataError(f"{path} is damaged: its arrays are of different lengths.")
    return arrays


def _right(arrays: Examples, at: np.ndarray) -> Examples:
    clean = (arrays["prediction"] == arrays["label"])[at]
    attacks = {
        name.removeprefix("attack/"): array[at].astype(bool)
        for name, array in arrays.items()
        if name.startswith("attack/")
    }
    worst = np.logical_and.reduce([clean, *attacks.values()])
    return {"clean": clean} | attacks | {"worst_case": worst}


def _difference(
    name: str, a: np.ndarray, b: np.ndarray, of_a: StoredRun, of_b: StoredRun
) -> Difference:
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    low, high = interval(only_a, only_b, len(a))
    p, why = mcnemar(only_a, only_b), caution(name, [of_a, of_b])
    return Difference(name, float(a.mean()), float(b.mean()), low, high, only_a, only_b, p, why)


def caution(name: str, runs: list[StoredRun]) -> str:
    """An attack with other settings, or a worst case over others, is another measure."""
    measures = [_measure(name, run) for run in runs]
    if all(measure == measures[0] for measure in measures):
        return ""
    return "over other attacks" if name == "worst_case" else "measured with other settings"


def _measure(name: str, run: StoredRun) -> Any:
    assert run.evaluation is not None  # only measured runs are compared
    settings = {
        attack.name: (attack.kind, attack.norm, attack.epsilon, attack.settings)
        for attack in run.evaluation.attacks
    }
    return settings if name == "worst_case" else settings.get(name)


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value: were the discordant examples a fair coin's?"""
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, float(2 * tail / 2**n))  # whole numbers: exact however small


def interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """95% interval of B's accuracy minus A's, half an example added to each of the four cells."""
    b, c, total = only_a + 0.5, only_b + 0.5, n + 2
    centre = (c - b) / total
    half = Z95 * math.sqrt(b + c - (c - b) ** 2 / total) / total
    return max(-1.0, centre - half), min(1.0, centre + half)


def verdict(comparison: Comparison) -> str:
    """The answer, from the worst case over all attacks, and what it speaks of."""
    return f"{_answer(comparison)} {OF_TWO}"


OF_TWO = (
    "This speaks of these two networks on this test set, not of the methods that trained them: for "
    "that, train several seeds of each and compare the two groups."
)


def _answer(comparison: Comparison) -> str:
    worst = comparison.differences[-1]
    if worst.caution:
        return "The two worst cases are over other attacks, so they do not say which is better."
    if worst.p >= LEVEL:
        return f"Neither is shown to be better in the worst case (p = {worst.p:.3g})."
    better = "B" if worst.difference > 0 else "A"
    points = abs(100 * worst.difference)
    return f"{better} is better in the worst case, by {points:.2f} points (p = {worst.p:.2g})."
