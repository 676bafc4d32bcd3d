"""95% intervals over seeds and over images at once.

Seeds and images are both samples: another seed trains another network, another test set holds other
images. The variance of a mean over both is a part from each. Each part has Student's quantile of
its own degrees of freedom, and half widths add in squares: such an interval covers at least as
often as it says, few seeds included (Banerjee 1960, Sankhya 22).
"""

import math
from functools import cache

import numpy as np

from robustrun.evaluation.statistics import Z95, wilson

Interval = tuple[float, float]


def seeds_part(values: np.ndarray) -> float:
    """Squared half width that the spread of one value per seed adds to their mean's interval."""
    spread = float(np.var(values, ddof=1)) / len(values)
    return student(len(values) - 1) ** 2 * spread


def of_accuracy(accuracies: list[float], images: int) -> Interval:
    """Of the mean accuracy of a method whose seeds were measured on the same `images` images.

    Wilson's interval, as though so many fewer images had been measured as the spread of seeds asks
    for (an effective sample size: Korn and Graubard 1998, Survey Methodology 24). How the seeds'
    mistakes overlap is not asked: the images' part is what it is if all are on the same images,
    which is the most. One accuracy has Wilson's own interval, and speaks of that network alone.
    """
    share = float(np.mean(accuracies))
    sampling = share * (1 - share) / images if images else 0.0
    if len(accuracies) == 1 or sampling == 0:
        return wilson(share * images, images)
    effective = images / (1 + seeds_part(np.array(accuracies)) / (Z95**2 * sampling))
    return wilson(share * effective, effective)


def of_difference(one: np.ndarray, other: np.ndarray, paired: bool) -> Interval:
    """Of the mean of `other` minus that of `one`: arrays (seeds, images) of right and wrong answers
    over the same images, two seeds or more; `paired`: over the same seeds in the same order.

    The images' part is Agresti and Min's (2005): half an image is added to each of four cells.
    """
    images = one.shape[1] + 2
    by_image = other.mean(0) - one.mean(0)
    centre = float(by_image.sum()) / images
    half = Z95**2 * ((float((by_image**2).sum()) + 1) / images - centre**2) / images
    if paired:
        half += seeds_part(other.mean(1) - one.mean(1))
    else:
        half += seeds_part(other.mean(1)) + seeds_part(one.mean(1))
    return max(-1.0, centre - math.sqrt(half)), min(1.0, centre + math.sqrt(half))


def beyond(best: float, lowest: float, other: float, highest: float) -> bool:
    """Whether `best` is above `other` by more than both are uncertain, from the low end of the one
    and the high end of the other's interval (Newcombe 1998, method 10)."""
    return best - other > math.hypot(best - lowest, highest - other)


@cache
def student(degrees: int) -> float:
    """The two-sided 95% quantile of Student's distribution, to four digits."""
    # With t = sqrt(degrees) tan(angle) the density is a power of a cosine on [0, pi/2].
    angle = np.linspace(0, math.pi / 2, 100_001)
    density = np.cos(angle) ** (degrees - 1)
    below = np.cumsum(density[1:] + density[:-1])
    quantile = np.interp(0.95 * below[-1], below, angle[1:])
    return math.sqrt(degrees) * math.tan(float(quantile))
