"""Is method B better than method A? Several seeds of each, over the same images.

The difference is taken on every image and for every seed that both have; its 95% interval has the
spread of seeds and of images in it (`uncertainty.of_difference`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from robustrun.errors import DataError
from robustrun.report import compare, judged, summary, uncertainty
from robustrun.report.collect import StoredRun

MOST_NAMED = 10  # values in a message
# Where it ran and what it left, not what it did.
WHERE = ("device.", "tracker.", "keep.", "resume", "dataset.root", "dataset.download")


@dataclass(frozen=True)
class Difference:
    """One accuracy of two methods: a mean and standard deviation over seeds, and B minus A."""

    name: str
    a: tuple[float, float]
    b: tuple[float, float]
    low: float  # 95% interval of b - a
    high: float
    caution: str = ""  # why the two may not be comparable

    @property
    def difference(self) -> float:
        return self.b[0] - self.a[0]


@dataclass(frozen=True)
class Comparison:
    """Two methods side by side, with the runs that were compared."""

    a: list[StoredRun]
    b: list[StoredRun]
    paired: bool  # the same seeds, in the same order
    left_out: list[StoredRun]  # runs whose seed the other side lacks
    examples: int
    settings: list[tuple[str, Any, Any]]  # keys in which the configurations differ, but the seed
    differences: list[Difference]


def compare_methods(a: list[StoredRun], b: list[StoredRun]) -> Comparison:
    """DataError if a side is no method with several seeds, or common examples are missing."""
    seeds_a, seeds_b = _by_seed(a, "A"), _by_seed(b, "B")
    shared = [seed for seed in seeds_a if seed in seeds_b]
    paired = len(shared) > 1
    ones = [seeds_a[seed] for seed in (shared if paired else seeds_a)]
    twos = [seeds_b[seed] for seed in (shared if paired else seeds_b)]
    if min(len(ones), len(twos)) < 2:
        raise DataError(
            f"A has {len(ones)} and B has {len(twos)} seeds. What a method reaches takes at least "
            "two of each; to compare two networks, name a single run on either side."
        )
    right = compare.matched([*ones, *twos])
    differences = _differences(ones, twos, right, paired)
    others = [run for run in (*a, *b) if run not in ones and run not in twos]
    settings = [entry for entry in compare.differing(ones[0], twos[0]) if entry[0] != "seed"]
    return Comparison(ones, twos, paired, others, len(right[0]["clean"]), settings, differences)


def _by_seed(side: list[StoredRun], letter: str) -> dict[Any, StoredRun]:
    """The runs of a side by their seed; DataError if they differ in anything else."""
    keys = [key for key in summary.besides_seed(side) if not key.startswith(WHERE)]
    measured = [run for run in side if run.evaluation]
    keys += judged.apart(measured, judged.judgements(measured), keys)
    keys = [key for key in keys if key != "images"]  # the common ones are compared
    if keys:
        raise DataError(
            f"The runs of {letter} differ in {judged.told(keys)} ({_values(side, keys[0])}). A "
            f"side is one method, with several seeds: choose with --where {keys[0]}=VALUE."
        )
    by_seed: dict[Any, StoredRun] = {}
    for run in side:
        other = by_seed.setdefault(run.settings.get("seed"), run)
        if other is not run:
            raise DataError(
                f"{other.folder} and {run.folder} are two runs of seed {run.settings.get('seed')}: "
                "the same training twice tells nothing of its spread. Name one of them."
            )
    return by_seed


def _values(side: list[StoredRun], key: str) -> str:
    rows = [judged.judgement(run) | dict(run.settings) for run in side if run.evaluation]
    values = [*dict.fromkeys(summary.text(row.get(key)) for row in rows)]
    return ", ".join(values[:MOST_NAMED]) + (", ..." if len(values) > MOST_NAMED else "")


def _differences(
    ones: list[StoredRun], twos: list[StoredRun], right: list[compare.Examples], paired: bool
) -> list[Difference]:
    names = [name for name in right[0] if all(name in examples for examples in right)]
    return [
        _difference(
            name,
            np.stack([examples[name] for examples in right[: len(ones)]]),
            np.stack([examples[name] for examples in right[len(ones) :]]),
            paired,
            compare.caution(name, [*ones, *twos]),
        )
        for name in names
    ]


def _difference(
    name: str, one: np.ndarray, two: np.ndarray, paired: bool, caution: str
) -> Difference:
    low, high = uncertainty.of_difference(one, two, paired)
    return Difference(name, _spread(one), _spread(two), low, high, caution)


def _spread(right: np.ndarray) -> tuple[float, float]:
    by_seed = right.mean(1)
    return float(by_seed.mean()), float(by_seed.std(ddof=1))


def verdict(comparison: Comparison) -> str:
    """The answer, from the worst case over all attacks, and what it speaks of."""
    return f"{_answer(comparison.differences[-1])} {_scope(comparison)}"


def _answer(worst: Difference) -> str:
    if worst.caution:
        return "The two worst cases are over other attacks, so they do not say which is better."
    if worst.low <= 0 <= worst.high:
        return "Neither method is shown to be better in the worst case."
    better = "B" if worst.difference > 0 else "A"
    return (
        f"Method {better} is better in the worst case, by {abs(100 * worst.difference):.2f} points."
    )


def _scope(comparison: Comparison) -> str:
    seeds = f"{len(comparison.a)} seeds that both have"
    if not comparison.paired:
        seeds = f"{len(comparison.a)} seeds of A and {len(comparison.b)} others of B"
    return (
        f"Over {seeds} and the same {comparison.examples} images: the intervals are for further "
        "seeds and images, with this data set, these settings and these attacks."
    )
