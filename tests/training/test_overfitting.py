"""A loss of robust accuracy is told where luck does not explain it, and only there."""

import numpy as np
import pytest
import torch

from robustrun.training.metrics import EpochMetrics
from robustrun.training.overfitting import overfitting_in, packed

IMAGES = 200


def metrics(epoch: int, robust: float | None, loss: float | None) -> EpochMetrics:
    return EpochMetrics(epoch, epoch, 0.1, loss, None, None, robust, 1.0)


def rows_of(*robust: float, losses: tuple[float, ...] = ()) -> list[EpochMetrics]:
    losses = losses or tuple(1 / (epoch + 1) for epoch in range(len(robust)))
    return [
        metrics(epoch + 1, share, loss)
        for epoch, (share, loss) in enumerate(zip(robust, losses, strict=True))
    ]


def first_images(share: float, images: int) -> torch.Tensor:
    """Verdicts in which the first images of all stand, so that none that fell is won back."""
    return packed(np.arange(images) < round(share * images))


def found_in(history: list[EpochMetrics], images: int = IMAGES) -> list[tuple[str, int]]:
    known = [row for row in history if row.validation_robust_accuracy is not None]
    verdicts = {row.epoch: first_images(row.validation_robust_accuracy, images) for row in known}
    return [(c.kind, c.epoch) for c in overfitting_in(history, verdicts, len(history))]


def found_in_verdicts(verdicts: np.ndarray) -> list[tuple[str, int]]:
    """`verdicts`: bool, epochs x images."""
    history = rows_of(*verdicts.mean(axis=1))
    kept = {epoch + 1: packed(robust) for epoch, robust in enumerate(verdicts)}
    return [(c.kind, c.epoch) for c in overfitting_in(history, kept, len(history))]


@pytest.mark.parametrize(
    ("history", "found"),
    [
        (rows_of(0.2, 0.4, 0.41, 0.1, 0.0), [("catastrophic_overfitting", 4)]),
        (rows_of(0.2, 0.4, 0.38, 0.39, 0.4), []),
        (rows_of(0.3, 0.5, 0.46, 0.45, 0.44), [("robust_overfitting", 5)]),
        # The loss rises as well: something else is wrong.
        (rows_of(0.3, 0.5, 0.46, 0.45, 0.44, losses=(1, 1, 2, 3, 4)), []),
        (rows_of(0.12, 0.05, 0.05), []),  # below half, but not by ten points
        # One bad epoch at a high rate, whose loss rose as well, and one that lasts.
        (rows_of(0.6, 0.2, 0.6, 0.6, losses=(1.0, 1.4, 0.9, 0.8)), []),
        (rows_of(0.6, 0.2, 0.1, 0.1, losses=(1, 2, 2, 2)), [("catastrophic_overfitting", 3)]),
        ([metrics(1, None, 1.0)], []),
    ],
)
def test_collapses_are_read_from_the_history(
    history: list[EpochMetrics], found: list[tuple[str, int]]
) -> None:
    # 500 images: the smallest loss told, 4 points, is 20 of them and none won, p = 1e-6.
    assert found_in(history, images=500) == found


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (100, []),  # 4, 5 and 6 images lost of 100: p = 0.06 at the first of the three
        (200, [("robust_overfitting", 5)]),  # 8 of 200: p = 0.004, a level of 0.05 / 10 pairs
    ],
)
def test_the_same_loss_counts_only_on_enough_images(
    images: int, found: list[tuple[str, int]]
) -> None:
    assert found_in(rows_of(0.3, 0.5, 0.46, 0.45, 0.44), images) == found


def test_images_that_change_places_are_no_loss() -> None:
    """55 images lost and 45 won back elsewhere is a coin's work, 10 lost and none won is not."""
    before = np.arange(200) < 100
    moved, lost = before.copy(), before.copy()
    moved[:55], moved[100:145] = False, True
    lost[:10] = False
    assert moved.sum() == lost.sum() == 90
    assert found_in_verdicts(np.stack([before, moved, moved, moved])) == []
    assert found_in_verdicts(np.stack([before, lost, lost, lost])) == [("robust_overfitting", 4)]


def noise(rng: np.random.Generator, epochs: int, images: int, lost: float = 0.0) -> np.ndarray:
    """Verdicts of a run whose robust accuracy is 75%, and from its middle on `lost` less: every
    image has a chance of its own to stand, and is drawn anew at each epoch."""
    chance = np.tile(rng.beta(1.5, 0.5, images), (epochs, 1))
    chance[epochs // 2 :] *= 1 - lost / 0.75
    return rng.random((epochs, images)) < chance


@pytest.mark.parametrize(("images", "epochs"), [(144, 30), (1000, 30), (144, 200)])
def test_runs_of_pure_noise_are_not_warned_of(images: int, epochs: int) -> None:
    """At most 5% of them by construction, and fewer since a loss must last: here none."""
    rng = np.random.default_rng(0)
    alarms = sum(bool(found_in_verdicts(noise(rng, epochs, images))) for _ in range(200))
    assert alarms == 0


@pytest.mark.parametrize(
    ("images", "lost", "kind"),
    [
        (144, 0.2, "robust_overfitting"),
        (1000, 0.09, "robust_overfitting"),  # Rice et al. 2020: from 53% to 44%
        (5000, 0.05, "robust_overfitting"),
        (144, 0.6, "catastrophic_overfitting"),
        (1000, 0.6, "catastrophic_overfitting"),
    ],
)
def test_planted_collapses_are_found(images: int, lost: float, kind: str) -> None:
    rng = np.random.default_rng(0)
    runs = [found_in_verdicts(noise(rng, 30, images, lost)) for _ in range(100)]
    assert sum(kind in dict(found) for found in runs) >= 95


def test_an_epoch_without_verdicts_is_passed_over() -> None:
    history = rows_of(0.9, 0.5, 0.46, 0.45, 0.44)
    verdicts = {row.epoch: first_images(row.validation_robust_accuracy, 500) for row in history}
    del verdicts[1]
    (collapse,) = overfitting_in(history, verdicts, 5)
    assert (collapse.best, collapse.best_epoch, collapse.epoch) == (0.5, 2, 5)
