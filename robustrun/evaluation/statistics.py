"""Accuracies, their intervals, and exact tests of counts: what the luck of a draw explains."""

import math
from collections.abc import Iterator

import numpy as np

Z95 = 1.959963984540054  # the 97.5% point of the normal distribution

ONE_SIDED = 0.025  # the level of one end of a 95% interval
NEGLIGIBLE = 1e-20  # of a sum in float64


def at_least(successes: int, trials: int, share: float = 0.5) -> float:
    """The probability of so many successes or more, where each of `trials` has the chance `share`
    (0 to 1). With the share 1/2 it is the one-sided exact test of McNemar (1947,
    https://doi.org/10.1007/BF02295996)."""
    if successes <= 0:
        return 1.0
    if share in (0, 1) or successes > trials:
        return float(share == 1 and successes <= trials)
    return min(1.0, math.fsum(_terms(successes, trials, share)))


def _terms(successes: int, trials: int, share: float) -> Iterator[float]:
    """The probabilities of `successes`, of one more, and so on, until they no longer count."""
    whole, largest = math.lgamma(trials + 1), 0.0
    for k in range(successes, trials + 1):
        ways = whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        term = math.exp(ways + k * math.log(share) + (trials - k) * math.log1p(-share))
        yield term
        largest = max(largest, term)
        if term < largest * NEGLIGIBLE:  # and each further one is smaller
            return


def exact_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a share (Clopper and Pearson 1934,
    https://doi.org/10.1093/biomet/26.4.404): it holds at any size and near 0, where Wilson's
    lower end is too high."""
    low, missing = (lower_bound(n, trials, ONE_SIDED) for n in (successes, trials - successes))
    return low, 1 - missing


def lower_bound(successes: int, trials: int, level: float) -> float:
    """The largest share under which so many successes or more have at most the probability `level`:
    the lower end of Clopper and Pearson's interval, one-sided, at most 1e-9 below the exact one."""
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if at_least(successes, trials, middle) > level:
            high = middle
        else:
            low = middle
    return low


def accuracy(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else 0.0


def wilson(correct: float, total: float) -> tuple[float, float]:
    """The Wilson score interval at 95% for `correct` of `total` (Wilson 1927, equation 7)."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = correct / total, Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def per_class(right: np.ndarray, labels: np.ndarray, classes: int) -> list[float | None]:
    """Accuracy of each class; None where no example of it was measured."""
    shares = (right[labels == label] for label in range(classes))
    return [accuracy(share) if len(share) else None for share in shares]
