"""The screen: how strong it is for how many passes, who leaves, and AutoAttack after it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks.small_attacks import from_catalogue, part
from attacks.small_networks import (
    EPSILON,
    SHAPE,
    Counting,
    batch,
    generator,
    margin_of,
    network,
    right,
)
from robustrun.attacks.autoattack import AutoAttack
from robustrun.attacks.ensemble import Ensemble
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.screen import Screen
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import ConfigError
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting

NORMS = ["linf", "l2"]
CPU = torch.device("cpu")


def screen(norm: str = "linf", radius: float = 1.0, **changes: Any) -> Screen:
    found = from_catalogue("screen", norm).with_radius(radius * EPSILON[norm])
    return replace(found, **changes)  # type: ignore[no-any-return]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.0, 0.7, 3.0])
def test_stays_in_ball_and_box_and_leaves_alone_what_is_wrong_already(
    norm: str, radius: float
) -> None:
    model = network()
    x, y = batch(model, 12, wrong=3)
    its = screen(norm, radius, first_steps=4, steps=4)
    found = its(model, x, y, generator=generator())
    assert found.min() >= 0
    assert found.max() <= 1
    # float32 images: rounding by up to 6e-8 a pixel
    assert distance(found, x, norm).max() <= its.epsilon * (1 + 1e-6) + 6e-8 * SHAPE[0] * 36
    assert torch.equal(found[:3], x[:3])
    # 1e-5: logits of another batch differ in their last bits
    assert (margin_of(model, found, y) >= margin_of(model, x, y) - 1e-5).all()


@pytest.mark.parametrize(("norm", "classes"), [("linf", 5), ("l2", 5), ("linf", 2), ("l2", 3)])
def test_fools_all_that_apgd_towards_each_class_fools(norm: str, classes: int) -> None:
    model = network(classes)
    x, y = batch(model, 80)
    stands = {}
    for name in ("screen", "apgd_t"):
        its = from_catalogue(name, norm).with_radius(0.6 * EPSILON[norm])
        stands[name] = right(model, its(model, x, y, generator=generator()), y)
    assert 10 < int(stands["apgd_t"].sum()) < 70
    assert torch.equal(stands["screen"], stands["apgd_t"])


def test_scaled_logits_change_nothing() -> None:
    model = network()
    x, y = batch(model, 40)
    left = right(model, screen()(model, x, y, generator=generator()), y)
    model[-1].weight.data *= 1000
    model[-1].bias.data *= 1000
    assert torch.equal(right(model, screen()(model, x, y, generator=generator()), y), left)


def test_an_image_that_stands_costs_some_four_hundred_passes() -> None:
    model = Passes(network())
    x, y = batch(model.model, 4)
    tiny = screen(radius=1e-3)  # too little to fool anything
    assert right(model.model, tiny(model, x, y, generator=generator()), y).all()
    steps = 2 * (30 + 4 * 40)  # forward and back; AutoAttack makes some 9,700 passes
    ends = 2 * (1 + 4)  # of each ascent, and its verdict
    assert (
        model.passes / len(x) == steps + ends + 4
    )  # clean image twice, likeliest classes, verdict


class Passes(nn.Module):
    """Counts the images that pass through, forward and back."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.passes = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        logits: Tensor = self.model(x)
        if logits.requires_grad:
            logits.register_hook(self.back)
        return logits

    def back(self, slope: Tensor) -> None:
        self.passes += len(slope)


def test_an_image_leaves_as_soon_as_it_fools_the_model() -> None:
    model = network()
    x, y = batch(model, 20)
    easy = screen(radius=20)
    counting = Counting(model)
    assert not right(model, easy(counting, x, y, generator=generator()), y).any()
    assert counting.seen < 20 * 10, "a few passes each, of 400"


def test_later_classes_are_aimed_at_and_together_where_there_is_room() -> None:
    model = network()
    x, y = batch(model, 6)
    sizes: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    tiny = screen(radius=1e-3, first_steps=2, steps=2)
    tiny(model, x, y, generator=generator(), batch_size=24)
    assert sizes.count(24) >= 3, "four classes for six images at once"
    sizes.clear()
    tiny(model, x, y, generator=generator())
    assert max(sizes) == 6


def test_the_generator_decides() -> None:
    model = network()
    x, y = batch(model, 12)
    its = screen(first_steps=3, steps=3)
    once, again, other = (its(model, x, y, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    torch.manual_seed(1)
    assert torch.equal(its(model, x, y), once)


@pytest.mark.parametrize("count", [0, 1])
def test_no_image_and_one_image_are_fine(count: int) -> None:
    model = network()
    x, y = batch(model, 3)
    found = screen(first_steps=1, steps=1)(model, x[:count], y[:count], generator=generator())
    assert found.shape == (count, *SHAPE)


def test_the_step_shrinks_along_half_a_cosine() -> None:
    its = screen(steps=40)
    assert its.step_size == its.epsilon
    shares = [its.size(step, 40) / its.epsilon for step in (0, 20, 40)]
    assert shares == pytest.approx([1.0, 0.505, 0.01])


def test_with_few_classes_says_how_many_are_aimed_at() -> None:
    assert screen().effective_settings(3)["targets"] == 2
    assert "2 target classes instead of 4" in screen().effective_settings(3)["instead"]
    assert "instead" not in screen().effective_settings(10)


# --- AutoAttack after the screen ------------------------------------------------------------------


def test_autoattack_after_the_screen_has_all_of_autoattack() -> None:
    whole = from_catalogue("autoattack_after_screen", "linf")
    assert isinstance(whole, Ensemble)
    assert list(whole.attacks) == ["screen", "autoattack"]
    assert isinstance(whole.attacks["autoattack"], AutoAttack)
    assert whole.attacks["autoattack"] == from_catalogue("autoattack", "linf")
    parts = ["apgd_ce", "apgd_t", "fab_t", "square"]
    assert [name for name, _ in whole.stages()] == ["screen", *(f"autoattack/{p}" for p in parts)]
    weaker = "attack.attacks.autoattack.attacks.square.queries=100"
    with pytest.raises(ConfigError, match=r"attacks\.square\.queries"):
        from_catalogue("autoattack_after_screen", "linf", weaker)


def test_autoattack_after_the_screen_decides_alike_on_fewer_images() -> None:
    model = network().eval()
    x, y = batch(model, 40)
    names = ("screen", "autoattack", "autoattack_after_screen")
    radius = 0.6 * EPSILON["linf"]
    attacks = {name: from_catalogue(name, "linf").with_radius(radius) for name in names}
    setting = Setting(0, 500, CPU)
    found = measure(model, TensorImages(x, y), 5, accuracies(attacks), setting).attacks
    first, alone, after = (found[name] for name in names)
    assert 5 < int(alone.robust.sum()) < 35
    assert (first.robust == alone.robust).all(), "the screen finds neither less nor more here"
    assert (after.robust == alone.robust).all()
    assert [(stage.name, stage.standing) for stage in after.stages[:2]] == [
        ("screen", int(first.robust.sum())),
        ("autoattack/apgd_ce", int(first.robust.sum())),
    ]
    assert alone.stages[0].standing > after.stages[0].standing, "APGD-CE has fewer images to try"
    assert (after.kind, alone.kind) == ("ensemble", "autoattack")


def test_what_the_screen_fools_stays_fooled_whatever_comes_after() -> None:
    model = network().eval()
    x, y = batch(model, 30)
    later = part("apgd_ce", "linf").with_radius(EPSILON["linf"])
    seen: list[int] = []

    class Spy:
        norm, epsilon, bounded, adversarial = "linf", EPSILON["linf"], True, True

        def __call__(self, model: nn.Module, x: Tensor, y: Tensor, *, generator: Any) -> Tensor:
            seen.append(len(x))
            return later(model, x, y, generator=generator)

    whole = Ensemble("linf", EPSILON["linf"], {"screen": screen(), "later": Spy()})  # type: ignore[dict-item]
    left = right(model, whole(model, x, y, generator=generator()), y)
    alone = right(model, screen()(model, x, y, generator=generator()), y)
    assert not (left & ~alone).any()
    assert seen == [int(alone.sum())]
    assert 0 < seen[0] < 30
