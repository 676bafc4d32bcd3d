"""Checks of the network itself, on networks of a few numbers."""

import dataclasses
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluation.audit.audit_targets import target
from evaluation.audit.small_audits import CPU, QUICK
from evaluation.grey_images import grey, linear
from robustrun.attacks.ensemble import Ensemble
from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.noise import GaussianNoise
from robustrun.evaluation.audit import model_checks
from robustrun.evaluation.setting import Setting

X = grey(0.1, 0.2, 0.7, 0.9)
Y = torch.tensor([0, 0, 1, 1])


class Shows(nn.Module):
    """These logits, whatever the images are."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


@pytest.mark.parametrize(
    ("clean", "attacked", "status", "share", "said"),
    [
        (0, 0, "pass", 0.0, "are finite"),
        (1, 0, "fail", 0.25, "1 of 4 images .* 1 of them clean"),
        (1, 2, "fail", 0.75, "3 of 4 images .* 1 of them clean"),
        (0, 1, "fail", 0.25, "1 of 4 images .* 0 of them clean"),
    ],
)
def test_logits_that_are_not_finite_are_counted_clean_and_attacked(
    clean: int, attacked: int, status: str, share: float, said: str
) -> None:
    logits = torch.rand(4, 2)
    logits[:clean, 0] = math.nan
    lost = torch.arange(4) < clean + attacked
    check = model_checks.finite_logits(target(Shows(logits), X, Y, no_answer=lost))
    assert (check.status, check.measured) == (status, share)
    assert re.search(said, check.why)


@pytest.mark.parametrize(
    ("logits", "status", "share"),
    [
        ([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0], [0.2, 0.8]], "fail", "100%"),
        ([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0], [0.2, 0.9]], "pass", "75%"),
        ([[2.0, -1.0], [0.9, 0.1], [1.0, 0.0], [0.2, 0.8]], "pass", "75%"),  # sums to one, too
        ([[3.0, -1.0], [5.0, 1.0], [0.0, 0.0], [-1.0, 1.0]], "pass", "0%"),
        # The rounding of a softmax of a thousand classes is 1e-4.
        ([[0.5, 0.50009], [0.5, 0.49991], [1.0, -9e-5], [1.0, 0.0]], "fail", "100%"),
        ([[0.5, 0.50011], [0.5, 0.49989], [1.00011, -1.1e-4], [1.0, 0.0]], "pass", "25%"),
    ],
)
def test_probabilities_for_every_image_are_flagged(
    logits: list[list[float]], status: str, share: str
) -> None:
    check = model_checks.softmax_output(target(Shows(torch.tensor(logits)), X, Y))
    assert (check.status, check.measured) == (status, f"probabilities for {share} of the images")


class Noisy(nn.Module):
    """Noise of this size on the logits."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size, self.network = size, linear()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits + self.size * torch.rand_like(logits)


class Averaging(FGSM):
    """An attack that averages its gradients."""

    eot = 20


PLAIN, MANY = FGSM("linf", 0.1), Averaging("linf", 0.1)


@pytest.mark.parametrize(
    ("size", "attack", "status"),
    [
        (0.0, PLAIN, "pass"),
        (1e-6, PLAIN, "pass"),  # rounding
        (0.1, PLAIN, "fail"),
        (0.1, MANY, "warn"),
        (0.1, Ensemble("linf", 0.1, {"a": MANY, "b": MANY}), "warn"),
        (0.1, Ensemble("linf", 0.1, {"a": MANY, "b": PLAIN}), "fail"),
    ],
)
def test_logits_that_change_are_flagged_unless_the_attack_averages(
    size: float, attack: Any, status: str
) -> None:
    check = model_checks.randomised(target(Noisy(size), X, Y, attack=attack))
    assert check.status == status
    assert (check.measured > 2e-3) == (size == 0.1)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("layer", "training", "status", "named"),
    [
        (nn.BatchNorm2d(1), False, "pass", "none"),
        (nn.BatchNorm2d(1), True, "fail", "0"),
        (nn.Dropout(0.5), False, "pass", "none"),
        (nn.Dropout(0.5), True, "fail", "0"),
        (nn.BatchNorm2d(1, track_running_stats=False), False, "fail", "0"),
        (nn.ReLU(), True, "pass", "none"),
    ],
)
def test_layers_that_behave_as_in_training_are_named(
    layer: nn.Module, training: bool, status: str, named: str
) -> None:
    network = nn.Sequential(layer.train(training), linear())
    check = model_checks.train_mode(target(network, X, Y))
    assert (check.status, check.measured) == (status, named)


def test_a_network_that_is_one_such_layer_is_named_too() -> None:
    check = model_checks.train_mode(target(nn.BatchNorm1d(2).train(), torch.rand(4, 2), Y))
    assert (check.status, check.measured) == ("fail", "the network")


class Centred(nn.Module):
    """Each image without the mean of its batch."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = linear()(x - x.mean() + 0.5)
        return logits


@pytest.mark.parametrize(
    ("network", "status"), [(linear(), "pass"), (Centred(), "fail"), (Noisy(0.1), "pass")]
)
def test_logits_that_depend_on_the_batch_are_flagged(network: nn.Module, status: str) -> None:
    check = model_checks.batch_dependence(target(network, X, Y))
    assert check.status == status


@pytest.mark.parametrize(("count", "beside"), [(3, 6), (64, 128), (70, 128)])
def test_64_images_are_enough_to_see_that_a_batch_matters(count: int, beside: int) -> None:
    seen: list[int] = []
    network, x = linear(), grey(*[0.3] * count)
    audited = target(network, x, torch.zeros(count, dtype=torch.long))
    network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    model_checks.batch_dependence(audited)
    assert seen == [beside] * 2


@pytest.mark.parametrize(("passes", "batch_size", "seen"), [(2, 100, [4] * 2), (5, 3, [3] * 5)])
def test_so_many_passes_are_compared_as_asked_for(
    passes: int, batch_size: int, seen: list[int]
) -> None:
    sizes: list[int] = []
    settings = dataclasses.replace(QUICK, passes=passes)
    network = linear()
    audited = target(network, X, Y, settings=settings, setting=Setting(0, batch_size, CPU))
    network.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    model_checks.randomised(audited)
    assert sizes == seen


@pytest.mark.parametrize(
    ("attack", "status", "said"),
    [
        (GaussianNoise("linf", 0.1), "fail", "judged by a corruption"),
        (FGSM("linf", 0.0), "warn", "no ball of pixels with a radius above 0"),
    ],
)
def test_without_an_adversary_nothing_is_compared(attack: Any, status: str, said: str) -> None:
    check = model_checks.no_adversary(target(linear(), X, Y, attack=attack))
    assert (check.status, check.measured) == (status, type(attack).__name__)
    assert said in check.why


FINE = target(linear(), X, Y)
BREAKS = target(Shows(torch.full((4, 2), math.nan)), X, Y, no_answer=torch.ones(4).bool())
HALVES = target(Shows(torch.full((4, 2), 0.5)), X, Y)
TRAINED = target(nn.Sequential(nn.Dropout(0.5), linear()).train(), X, Y)


@pytest.mark.parametrize(
    ("check", "doubtful", "expected", "fine", "wrong"),
    [
        ("finite_logits", BREAKS, 0.0, "The logits are finite.", "NaN or infinite"),
        ("softmax_output", HALVES, "logits", "The network returns logits.", "probabilities, and"),
        (
            "randomised",
            target(Noisy(0.1), X, Y),
            "at most 0.002",
            "The same images get the same logits.",
            "get other logits at each pass",
        ),
        (
            "train_mode",
            TRAINED,
            "none",
            "Batch norm and dropout are in eval mode.",
            "as in training: call eval()",
        ),
        (
            "batch_dependence",
            target(Centred(), X, Y),
            "at most 0.002",
            "The logits of an image do not depend on the others in its batch.",
            "depend on the others in its batch, so its verdict",
        ),
    ],
)
def test_a_check_says_what_it_expects_and_where_it_is_in_doubt_what_that_means(
    check: str, doubtful: Any, expected: Any, fine: str, wrong: str
) -> None:
    passed, failed = (getattr(model_checks, check)(it) for it in (FINE, doubtful))
    assert [passed.check, failed.check] == [check] * 2
    assert [passed.status, failed.status] == ["pass", "fail"]
    assert passed.expected == failed.expected == expected
    assert passed.why == fine
    assert wrong in failed.why
