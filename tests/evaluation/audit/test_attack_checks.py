"""Weak attacks and too few images are flagged."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluation.audit.audit_targets import target
from evaluation.audit.small_audits import JUDGE, QUICK, SETTINGS, audited, configuration, failed
from evaluation.grey_images import grey, linear
from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.pgd import PGD
from robustrun.evaluation.audit import attack_checks
from robustrun.types import Images


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["attack=fgsm"], "more_effort"),
        (["attack.steps=1", "attack.step_size=0.01"], "more_effort"),
        (["attack.steps=2", "attack.step_size=1e-4", "attack.random_start=false"], "one_step"),
        (["attack=gaussian_noise"], "adversary"),
    ],
)
def test_a_weak_attack_is_flagged(
    words: list[str], expected: str, standard: nn.Module, test_images: Images
) -> None:
    # As many images as users get: FGSM's 5 of 100 could be luck (p = 0.051), its share of 200 not.
    settings = dataclasses.replace(QUICK, examples=SETTINGS.examples)
    found = audited(standard, test_images, configuration(*words).attack, settings)
    assert expected in failed(found)


@pytest.mark.parametrize(("examples", "status"), [(1, "warn"), (182, "warn"), (183, "pass")])
def test_too_few_images_for_a_pass_to_mean_something_are_told(
    examples: int, status: str, standard: nn.Module, test_images: Images
) -> None:
    """With 183 images, 0.98 ** 183 = 2.48% is the chance that none of 2% is among them."""
    chosen = test_images.subset(torch.arange(examples))
    settings = dataclasses.replace(QUICK, examples=None, steps=1, surrogate_steps=1)
    check = audited(standard, chosen, JUDGE, settings)["enough_images"]
    assert (check.status, check.measured) == (status, examples)
    assert check.expected == "at least 183"
    unseen = 1 - 0.025 ** (1 / examples)  # Clopper and Pearson's end of the interval of none
    assert f"no less than a fall of {unseen:.1%} of all" in check.why
    assert ("The audit is to find 2.0%: give it 183 images" in check.why) == (status == "warn")


HUNDRED = grey(*[0.45] * 50, *[0.55] * 50)
LABELS = torch.arange(100) // 50


def turned(count: int) -> torch.Tensor:
    """The images that the run's attack leaves right, if it turns the first `count`."""
    return torch.arange(100) >= count


class Draws(nn.Module):
    """Right on clean images; wrong on the last `count` of a batch once anything changes."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed = (x != HUNDRED[: len(x)]).flatten(1).any(dim=1)
        wrong = changed & (torch.arange(len(x)) >= len(x) - self.count)
        return nn.functional.one_hot(torch.where(wrong, 1 - LABELS, LABELS), 2).float()


@pytest.mark.parametrize(
    ("attack", "noise", "status"),
    [
        (50, 0, "pass"),
        (50, 1, "pass"),  # by luck
        (100, 40, "pass"),  # noise turns many, and the attack all of them
        (0, 10, "fail"),  # what stands under the attack falls under noise
        (60, 60, "fail"),
        (60, 40, "fail"),
    ],
)
def test_noise_that_turns_what_the_attack_leaves_is_flagged(
    attack: int, noise: int, status: str
) -> None:
    audited = target(Draws(noise), HUNDRED, LABELS, robust=turned(attack))
    check = attack_checks.random_noise(audited)
    assert (check.status, check.measured) == (status, pytest.approx(1 - noise / 100))
    assert f"Noise turns {noise} images, the attack {attack}" in check.why
    assert check.expected == f"well above {1 - attack / 100:.4g}"
    assert ("hardly searches" in check.why) == (status == "fail")


@pytest.mark.parametrize(
    ("only_attack", "both", "only_noise", "status"),
    [
        (5, 15, 4, "fail"),  # no more than a coin gives the attack
        (14, 15, 3, "pass"),
        (3, 60, 0, "fail"),
        (6, 60, 0, "warn"),  # noise alone turns more than half of all that fall
        (70, 25, 0, "pass"),
    ],
)
def test_an_attack_that_is_hardly_better_than_noise_is_flagged(
    only_attack: int, both: int, only_noise: int, status: str
) -> None:
    # The images from the last on: those of noise alone, of both, of the attack alone.
    places = torch.arange(100).flip(0)
    by_attack = (places >= only_noise) & (places < only_noise + both + only_attack)
    audited = target(Draws(only_noise + both), HUNDRED, LABELS, robust=~by_attack)
    assert attack_checks.random_noise(audited).status == status


def test_an_attack_that_has_no_other_radius_is_told() -> None:
    class Fixed:
        norm, epsilon, bounded, adversarial = "linf", 0.1, True, True

    check = attack_checks.large_radius(target(linear(), HUNDRED, LABELS, attack=Fixed()))
    assert (check.status, check.measured) == ("warn", "not measured")


@pytest.mark.parametrize(
    ("stubborn", "status"), [(0, "pass"), (1, "pass"), (9, "warn"), (50, "warn"), (51, "fail")]
)
def test_what_stands_in_a_ball_that_holds_grey_is_flagged(stubborn: int, status: str) -> None:
    """Up to 50 images are of one class: one grey image could have the answer of all of them."""

    class Misses:
        """Turns all but so many."""

        norm, epsilon, bounded, adversarial = "linf", 0.1, True, True

        def with_radius(self, epsilon: float) -> "Misses":
            self.epsilon = epsilon  # 0.5, in which grey is
            return self

        def __call__(self, model, x, y, *, generator=None):
            moved = x.clone()
            moved[stubborn:] = 1 - moved[stubborn:]
            return moved

    check = attack_checks.large_radius(target(linear(), HUNDRED, LABELS, attack=Misses()))
    assert (check.status, check.measured) == (status, stubborn / 100)


@pytest.mark.parametrize(
    ("norm", "epsilon", "radius"),
    [("linf", 0.1, 0.5), ("l2", 0.1, 1.0), ("l1", 0.1, 2.0), ("l2", 1.5, 1.5), ("linf", 0.7, 0.7)],
)
def test_the_large_radius_is_how_far_grey_is_from_black(
    norm: str, epsilon: float, radius: float
) -> None:
    """Of four pixels: 0.5, the square root of 4 * 0.25, and 4 * 0.5."""

    class Asked:
        bounded, adversarial = True, True

        def __init__(self, epsilon: float) -> None:
            self.norm, self.epsilon = norm, epsilon

        def with_radius(self, epsilon: float) -> "Asked":
            asked.append(epsilon)
            return Asked(epsilon)

        def __call__(self, model: Any, x: Tensor, y: Tensor, *, generator: Any = None) -> Tensor:
            return torch.full_like(x, 0.4)  # within 0.2 of each pixel; the answer is 0

    asked: list[float] = []
    check = attack_checks.large_radius(target(linear(), HUNDRED, LABELS, attack=Asked(epsilon)))
    assert asked == [radius]
    assert (check.status, check.measured, check.expected) == ("warn", 0.5, 0.0)
    assert f"At radius {radius:.4g}, where every image can become grey, 50 of 100" in check.why


class Scaled(nn.Module):
    """The linear network with logits of another scale; the gradient may be cut."""

    def __init__(self, scale: float, cut: bool = False) -> None:
        super().__init__()
        self.scale, self.cut = scale, cut

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.scale * linear()(x.detach() if self.cut else x)
        return logits


@pytest.mark.parametrize(
    ("network", "norm", "lost", "said"),
    [
        (Scaled(1.0), "linf", False, "have no usable gradient"),
        (Scaled(1.0), "l2", False, "have no usable gradient"),
        (Scaled(1e6), "linf", True, "the softmax is saturated"),
        (Scaled(1.0, cut=True), "linf", True, "a layer lets none through"),
        (Scaled(1e-14), "linf", False, "have no usable gradient"),
        (Scaled(1e-14), "l2", True, "a layer lets none through"),  # too short to be normalised
    ],
)
def test_standing_images_without_a_usable_gradient_are_counted(
    network: nn.Module, norm: str, lost: bool, said: str
) -> None:
    attack: Any = FGSM(norm, 0.1)  # type: ignore[arg-type]
    check = attack_checks.gradients(
        target(network, HUNDRED, LABELS, attack=attack, robust=turned(40))
    )
    assert (check.status, check.measured) == (("fail", 0.6) if lost else ("pass", 0.0))
    assert f"{60 if lost else 0} of the 60 images left standing" in check.why
    assert said in check.why
    assert check.expected == "at most 0.02"
    nothing = target(network, HUNDRED, LABELS, attack=attack, robust=turned(100))
    assert attack_checks.gradients(nothing).measured == 0.0


@pytest.mark.parametrize(
    ("cut", "saturated", "said"),
    [(20, 20, "the softmax is saturated"), (21, 20, "a layer lets none through")],
)
def test_what_takes_the_gradient_from_more_than_half_of_them_is_named(
    cut: int, saturated: int, said: str
) -> None:
    class Both(nn.Module):
        """Dark images without a gradient, bright ones with one that the softmax drowns."""

        def forward(self, x: Tensor) -> Tensor:
            dark = x.flatten(1).mean(1)[:, None, None, None] < 0.5
            return 1e6 * linear()(torch.where(dark, x.detach(), x))

    places = torch.arange(100)  # the first fifty are dark
    robust = (places < cut) | (places >= 100 - saturated)
    check = attack_checks.gradients(target(Both(), HUNDRED, LABELS, robust=robust))
    assert (check.status, check.measured) == ("fail", (cut + saturated) / 100)
    assert said in check.why


class Shows(nn.Module):
    """These logits, whatever the images are."""

    def __init__(self, *rows: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(rows)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


def test_stronger_attacks_have_the_settings_of_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, nn.Module]] = []
    monkeypatch.setattr(attack_checks, "craft_with", lambda *given: made.append(given))
    monkeypatch.setattr(attack_checks, "compare_attack", lambda *given, **named: (given, named))
    settings = dataclasses.replace(QUICK, steps=7, restarts=3, step=0.4, gap=0.11)
    rows = [[3.0, 1.0, 0.0], [0.0, -1.0, 4.0], [torch.nan, 0.0, 0.0]]
    audited = target(Shows(*rows), grey(0.1, 0.2, 0.3), torch.tensor([0, 2, 0]), settings=settings)
    assert attack_checks.more_effort(audited)[0][1] == "more_effort"  # type: ignore[index]
    meaning = attack_checks.logit_scale(audited)[0][3]  # type: ignore[index]
    assert meaning == "PGD on logits divided by 3, their mean margin,"  # 2 and 4
    attack_checks.one_step(audited)
    assert attack_checks.targeted(audited)[1] == {"tolerance": 0.11}  # type: ignore[index]
    attack_checks.black_box(audited)
    attacks = [attack for attack, _ in made]
    for attack, restarts in zip(attacks, (3, 1), strict=False):
        assert attack.step_size == pytest.approx(0.04)
        assert attack == PGD("linf", 0.1, 7, attack.step_size, restarts, True, "ce")
    assert attacks[2:] == [FGSM("linf", 0.1), settings.targeted, settings.black_box]
    torch.testing.assert_close(made[1][1](grey(0.1))[:2], torch.tensor(rows[:2]) / 3)


def test_logits_without_any_margin_are_not_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[nn.Module] = []
    monkeypatch.setattr(attack_checks, "craft_with", lambda _, model: made.append(model))
    monkeypatch.setattr(attack_checks, "compare_attack", lambda *given: given)
    attack_checks.logit_scale(target(Shows([2.0, 2.0]), grey(0.1), torch.tensor([0])))
    assert made[0](grey(0.1)).tolist() == [[2.0, 2.0]]
