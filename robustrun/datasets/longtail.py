"""Long-tailed subsets of the training images.

Class counts as in LDAM (Cao et al., https://arxiv.org/abs/1906.07413, section 4.1), which RoBal
(Wu et al., https://arxiv.org/abs/2104.02703) uses: n_i = floor(n_max * ratio ** (i / (K - 1))).
"""

import math

import numpy as np
import torch
from torch import Tensor

from robustrun.errors import ConfigError


def long_tailed_counts(largest: int, classes: int, ratio: float) -> list[int]:
    """Examples per class from `largest` in the first class down to largest * ratio in the last."""
    shares = (ratio ** (i / max(classes - 1, 1)) for i in range(classes))
    # A power that is a whole number may come out a few 1e-13 below it: 500 must not become 499.
    return [math.floor(largest * share + 1e-9) for share in shares]


def long_tailed_indices(labels: Tensor, classes: int, ratio: float, seed: int) -> Tensor:
    """Which examples stay: for each class in label order, shuffle its indices, keep the first n_i.

    n_max is N / K, as in LDAM: what each class has in the official sets. Where classes differ in
    size, one that has fewer than n_i keeps all it has.
    Drawn from NumPy's legacy generator, as the authors do, so that seed 0 gives their subset.
    """
    random = np.random.RandomState(seed)
    kept = []
    for label, count in enumerate(long_tailed_counts(len(labels) // classes, classes, ratio)):
        if count == 0:
            raise ConfigError(
                f"dataset.imbalance_ratio is {ratio}, which leaves no example of class {label}: "
                f"the {classes} classes have {len(labels) // classes} examples each on average. "
                f"Choose a larger ratio."
            )
        mine = np.flatnonzero(labels.numpy() == label)
        random.shuffle(mine)
        kept.append(mine[:count])
    return torch.from_numpy(np.concatenate(kept))
