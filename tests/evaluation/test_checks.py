"""Attacks that break a promise are caught."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from evaluation.grey_images import grey, linear
from robustrun.evaluation.checks import check_images, check_untouched, model_state
from robustrun.evaluation.measure import evaluate


@dataclass(frozen=True)
class Cheat:
    """An attack that breaks one promise."""

    kind: str
    norm: ClassVar[str] = "linf"
    epsilon: ClassVar[float] = 0.1
    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __call__(self, model, x, y, *, generator=None):
        if self.kind == "mode":
            model.train()
        if self.kind == "buffer":
            model.buffer += 1
        if self.kind == "gradient":
            model(x).sum().backward()
        return {"ball": x + 0.2, "box": x - 0.09, "nan": x * torch.nan}.get(self.kind, x)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ball", "left its ball"),
        ("box", "left the image box"),
        ("nan", "not finite"),
        ("mode", "changed the mode"),
        ("buffer", "changed buffers"),
        ("gradient", "left gradients"),
    ],
)
def test_a_broken_promise_of_an_attack_stops_the_evaluation(kind: str, message: str) -> None:
    model = linear()
    model.register_buffer("buffer", torch.zeros(1))
    with pytest.raises(RuntimeError, match=message), torch.enable_grad():
        evaluate(model, [(grey(0.05, 0.06), torch.tensor([0, 0]))], {"cheat": Cheat(kind)})


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (None, None, False),
        (None, 1.0, True),
        (1.0, None, True),
        (1.0, 1.0, False),
        (1.0, 2.0, True),
        (torch.nan, torch.nan, False),
    ],
)
def test_gradients_that_were_there_stay_as_they_were(
    before: float | None, after: float | None, changed: bool
) -> None:
    model = linear()
    weight = model[1].weight

    def leave(gradient: float | None) -> None:
        weight.grad = None if gradient is None else torch.full_like(weight, gradient)

    leave(before)
    state = model_state(model)
    leave(after)
    if not changed:
        check_untouched(model, state, "a")
        return
    with pytest.raises(RuntimeError, match="attack a left gradients"):
        check_untouched(model, state, "a")


def test_images_are_finite_of_the_same_shape_and_in_the_image_box() -> None:
    attack, x = Cheat("none"), grey(0.0, 1.0)
    check_images(attack, "a", x, x)
    check_images(attack, "a", x[:0], x[:0])
    for wrong in (x[:1], x[:, :, :1], x * torch.nan, x / 0.0):
        with pytest.raises(RuntimeError, match="not finite or of wrong shape"):
            check_images(attack, "a", x, wrong)
    for wrong in (x - 1e-6, x + 1e-6):
        with pytest.raises(RuntimeError, match="left the image box"):
            check_images(attack, "a", x, wrong)


@dataclass(frozen=True)
class InL1(Cheat):
    """The same in the l1 norm."""

    norm: ClassVar[str] = "l1"


@pytest.mark.parametrize(
    ("attack", "pixels", "allowed", "too_far"),
    [
        # 1e-5 of the radius, and 1e-6: that is what a float32 pixel at 1 may be off.
        (Cheat("none"), 4, 0.1 + 1e-6, 0.1 + 4e-6),
        # l1 sums the rounding of 1,000 pixels, 6e-8 each.
        (InL1("none"), 1000, 0.1 + 5e-5, 0.1 + 9e-5),
        (InL1("none"), 4, 0.1 + 1e-6, 0.1 + 4e-6),
    ],
)
def test_rounding_is_allowed_for_and_nothing_more(
    attack: Cheat, pixels: int, allowed: float, too_far: float
) -> None:
    x = torch.zeros(1, 1, 1, pixels, dtype=torch.float64)
    x_adv = x.clone()
    x_adv[..., 0] = allowed
    check_images(attack, "cheat", x, x_adv)
    x_adv[..., 0] = too_far
    with pytest.raises(RuntimeError, match="left its ball"):
        check_images(attack, "cheat", x, x_adv)
