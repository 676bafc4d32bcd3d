"""AutoAttack: its protocol to the letter, and what every part of it promises."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys import (
    EPSILON,
    NORMS,
    SHAPE,
    Counting,
    Detached,
    attack,
    batch,
    from_catalogue,
    generator,
    network,
    right,
)

from robustrun.attacks import apgd, fab
from robustrun.attacks.ensemble import Ensemble
from robustrun.attacks.geometry.ball import distance
from robustrun.configuration.decoding import decode, dump
from robustrun.errors import ConfigError, DataError
from robustrun.losses import margin
from robustrun.types import Attack

FEW: dict[str, dict[str, Any]] = {  # every part, at an effort for tests
    "apgd_ce": {"steps": 12},
    "apgd_dlr": {"steps": 12},
    "apgd_t": {"steps": 8, "targets": 2},
    "fab": {"steps": 6, "restarts": 2},
    "fab_t": {"steps": 6, "targets": 2},
    "square": {"queries": 60},
}
PARTS = [(name, norm) for name in FEW for norm in NORMS]


def part(name: str, norm: str) -> Any:
    return attack(name, norm, **FEW[name])


def ensemble(norm: str, names: tuple[str, ...] = ("apgd_ce", "apgd_t", "fab_t", "square")) -> Any:
    return Ensemble(norm, EPSILON[norm], {name: part(name, norm) for name in names})


# --- the protocol: https://github.com/fra31/auto-attack at a392200, set_version and defaults ---

APGD = {"steps": 100, "momentum": 0.75, "rho": 0.75, "eot": 1, "targets": 0}
APGD_CE = APGD | {"loss": "ce"}
APGD_DLR = APGD | {"loss": "dlr"}
FAB = {"steps": 100, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}
SQUARE = {"queries": 5000, "restarts": 1, "p_init": 0.8, "rescale_schedule": False}
WITHOUT_PHASES = ((1.0, 1.0),)
L1_PHASES = ((3.0, 0.3), (2.0, 0.3), (1.0, 0.4))


def protocol(version: str, norm: str) -> dict[str, dict[str, Any]]:
    l1 = norm == "l1"
    phases = L1_PHASES if l1 else WITHOUT_PHASES
    if version == "standard":
        return {
            "apgd_ce": APGD_CE | {"restarts": 5 if l1 else 1, "phases": phases},
            "apgd_t": APGD_DLR | {"restarts": 1, "targets": 5 if l1 else 9, "phases": phases},
            "fab_t": FAB | {"restarts": 1, "targets": 9},
            "square": SQUARE,
        }
    if version == "plus":
        return {
            "apgd_ce": APGD_CE | {"restarts": 5, "phases": WITHOUT_PHASES},
            "apgd_dlr": APGD_DLR | {"restarts": 5, "phases": WITHOUT_PHASES},
            "fab": FAB | {"restarts": 5, "targets": 0},
            "square": SQUARE,
            "apgd_t": APGD_DLR | {"restarts": 1, "targets": 9, "phases": WITHOUT_PHASES},
            "fab_t": FAB | {"restarts": 1, "targets": 9},
        }
    return {
        "apgd_ce": APGD_CE | {"restarts": 1, "eot": 20, "phases": WITHOUT_PHASES},
        "apgd_dlr": APGD_DLR | {"restarts": 1, "eot": 20, "phases": WITHOUT_PHASES},
    }


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("name", "version"),
    [("autoattack", "standard"), ("autoattack_plus", "plus"), ("autoattack_rand", "rand")],
)
def test_every_setting_is_the_protocols(name: str, version: str, norm: str) -> None:
    found = from_catalogue(name, norm)
    expected = protocol(version, norm)
    assert found.version == version
    assert [stage for stage, _ in found.stages()] == list(expected)
    for stage, its in found.stages():
        assert (its.norm, its.epsilon) == (norm, EPSILON[norm])
        for key, value in expected[stage].items():
            setting = getattr(its, key)
            if key == "phases":
                setting = tuple((phase.radius, phase.share) for phase in setting)
            assert setting == value, f"{stage}.{key}"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_t"])
def test_apgd_starts_and_checks_as_the_protocol_has_it(name: str, norm: str) -> None:
    found = from_catalogue(name, norm)
    assert found.step_size == pytest.approx((1 if norm == "l1" else 2) * EPSILON[norm])
    periods = found.checks.periods(100)
    if norm == "l1":
        assert periods == {step: 4 for step in range(4, 101, 4)}
        assert [s for _, s, _ in found._schedule()] == [30, 30, 40]
        assert found.checks.periods(30) == {step: 1 for step in range(1, 31)}
        sparsity = found.sparsity
        assert (sparsity.start, sparsity.divisor, sparsity.stable) == (0.2, 1.5, 0.95)
        assert (sparsity.step_divisor, sparsity.smallest_step) == (1.5, 0.1)
    else:  # 22 steps, then 3 fewer each time, but never fewer than 6
        assert list(periods.values()) == [22, 19, 16, 13, 10, 7, 6, 6]
        assert list(periods) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_the_screen_is_the_first_two_attacks_under_another_name() -> None:
    screen, whole = from_catalogue("apgd_ce_t", "linf"), from_catalogue("autoattack", "linf")
    assert isinstance(screen, Ensemble)
    assert screen.stages() == whole.stages()[:2]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("square.queries=1000", "attacks.square.queries"),
        ("apgd_ce.steps=20", "attacks.apgd_ce.steps"),
        ("apgd_t.targets=3", "attacks.apgd_t.targets"),
        ("fab_t.steps=20", "attacks.fab_t.steps"),
        ("apgd_ce.loss=dlr", "attacks.apgd_ce.loss"),
        ("square.epsilon=0.05", "attacks.square.epsilon"),
    ],
)
def test_a_weaker_attack_may_not_carry_the_name(change: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        from_catalogue("autoattack", "linf", f"attack.attacks.{change}")


def test_a_part_may_not_be_left_out() -> None:
    with pytest.raises(ConfigError, match="attacks is"):
        from_catalogue("autoattack", "linf", "~attack.attacks.square")


@pytest.mark.parametrize("name", ["autoattack", "autoattack_plus", "autoattack_rand", "apgd_ce_t"])
@pytest.mark.parametrize("norm", NORMS)
def test_another_radius_keeps_every_other_setting(name: str, norm: str) -> None:
    assert from_catalogue(name, norm).with_radius(0.05) == from_catalogue(
        name, norm, "attack.epsilon=0.05"
    )


def test_survives_its_own_dump() -> None:
    found = from_catalogue("autoattack", "l1")
    assert decode(Attack, dump(found), "attack") == found


# --- what every part promises ---


def margin_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return margin(copy.deepcopy(model).eval()(x), y)


@pytest.mark.parametrize(("name", "norm"), PARTS)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.0, 1.5))
def test_stays_in_ball_and_box_and_never_gives_back_a_safer_image(
    name: str, norm: str, seed: int, share: float
) -> None:
    model = network()
    x, y = batch(model, 6, wrong=2)
    its = part(name, norm).with_radius(share * EPSILON[norm])
    x_adv = its(model, x, y, generator=generator(seed))
    assert x_adv.dtype == torch.float32
    assert x_adv.shape == x.shape
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    # float32 images: rounding by up to 6e-8 a pixel, which an l1 norm of 72 pixels sums up
    assert distance(x_adv, x, norm).max() <= its.epsilon * (1 + 1e-6) + 72 * 6e-8
    changed = (x_adv != x).flatten(1).any(dim=1)
    assert not changed[:2].any(), "what is wrong already is returned as it was"
    before, after = margin_of(model, x, y), margin_of(model, x_adv, y)
    # 1e-5: logits of another batch differ in their last bits
    assert (after >= before - 1e-5)[2:].all(), "what stands is at least as near to a mistake"


@pytest.mark.parametrize(("name", "norm"), PARTS)
def test_finds_something_and_the_same_again_under_the_same_seed(name: str, norm: str) -> None:
    model = network()
    x, y = batch(model, 16)
    once = part(name, norm)(model, x, y, generator=generator(1))
    assert not right(model, once, y).all(), "at this radius some fall"
    assert torch.equal(once, part(name, norm)(model, x, y, generator=generator(1)))
    torch.manual_seed(1)
    unnamed = part(name, norm)(model, x, y)
    assert torch.equal(once, unnamed), "without a generator, torch's global one"


@pytest.mark.parametrize(("name", "norm"), PARTS)
def test_leaves_the_model_as_it_was(name: str, norm: str) -> None:
    model = network()
    model[1].eval()  # a layer in another mode than the rest
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    part(name, norm)(model, *batch(model, 4), generator=generator())
    assert [m.training for m in model.modules()] == [True, True, False, True, True, True]
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize(("name", "norm"), PARTS)
def test_takes_empty_single_and_all_wrong_batches(name: str, norm: str) -> None:
    model = network()
    its = part(name, norm)
    none = its(model, torch.zeros(0, *SHAPE), torch.zeros(0, dtype=torch.long))
    assert none.shape == (0, *SHAPE)
    x, y = batch(model, 1)
    assert its(model, x, y).shape == x.shape
    x, y = batch(model, 3, wrong=3)
    counting = Counting(model)
    assert torch.equal(its(counting, x, y), x)
    assert counting.seen == 3, "one look shows that there is nothing to do"


@pytest.mark.parametrize(("name", "norm"), PARTS)
def test_without_a_gradient_square_finds_the_same_and_the_others_say_so(
    name: str, norm: str
) -> None:
    model = network()
    x, y = batch(model, 12)
    attack = part(name, norm)
    if name == "square":
        seen = attack(model, x, y, generator=generator())
        assert torch.equal(attack(Detached(model), x, y, generator=generator()), seen)
        return
    with pytest.raises(DataError, match=r"No gradient comes back.*attack=square"):
        attack(Detached(model), x, y, generator=generator())


@pytest.mark.parametrize("norm", NORMS)
def test_the_result_can_be_trained_on(norm: str) -> None:
    model = network()
    x, y = batch(model, 4)
    x_adv = part("square", norm)(model, x, y, generator=generator())
    torch.nn.functional.cross_entropy(model(x_adv), y).backward()  # no inference tensor
    assert model[0].weight.grad is not None


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3])
def test_with_few_classes_says_what_was_run_instead(norm: str, classes: int) -> None:
    model = network(classes)
    x, y = batch(model, 12)
    its = ensemble(norm, tuple(FEW))
    x_adv = its(model, x, y, generator=generator())
    assert not right(model, x_adv, y).all()
    whole = from_catalogue("autoattack", norm).effective_settings(classes)
    targeted = whole["attacks"]["apgd_t"]
    assert targeted["targets"] == classes - 1
    assert targeted["loss"] == "difference"
    assert f"apgd_t: {classes} classes: {classes - 1} target classes" in whole["instead"]
    assert "instead" not in from_catalogue("autoattack", norm).effective_settings(10)
    plus = from_catalogue("autoattack_plus", norm).effective_settings(classes)["attacks"][
        "apgd_dlr"
    ]
    assert plus["loss"] == ("difference" if classes == 2 else "dlr")


# --- the cascade ---


@pytest.mark.parametrize("norm", NORMS)
def test_is_its_stages_one_after_another_on_what_is_left(norm: str) -> None:
    model = network()
    x, y = batch(model, 16, wrong=1)
    draws = generator(5)
    expected, left = x.clone(), right(model, x, y).nonzero()[:, 0]
    its = ensemble(norm)
    for _, stage in its.stages():
        tried = stage(model, x[left], y[left], generator=draws)
        nearer = margin_of(model, tried, y[left]) > margin_of(model, expected[left], y[left])
        expected[left[nearer]] = tried[nearer]
        left = left[right(model, tried, y[left])]
    assert 0 < len(left) < 15
    assert torch.equal(its(model, x, y, generator=generator(5)), expected)


def test_a_later_attack_sees_only_what_is_left() -> None:
    model = network()
    x, y = batch(model, 16)
    seen: list[int] = []

    class Spy:
        norm, epsilon, bounded, adversarial = "linf", EPSILON["linf"], True, True

        def __call__(self, model: nn.Module, x: Any, y: Any, *, generator: Any = None) -> Any:
            seen.append(len(x))
            return x

    first = part("apgd_ce", "linf")
    fallen = int((~right(model, first(model, x, y, generator=generator()), y)).sum())
    assert 0 < fallen < 16
    spied = Ensemble("linf", EPSILON["linf"], {"first": first, "spy": Spy()})  # type: ignore[dict-item]
    spied(model, x, y, generator=generator())
    assert seen == [16 - fallen]


@pytest.mark.parametrize(("name", "norm"), [("apgd_t", "linf"), ("fab_t", "l2"), ("fab", "l1")])
def test_runs_that_are_done_at_once_find_what_they_find_in_turn(
    name: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same start for each image, whatever is drawn with it.
    for module in (apgd, fab):
        monkeypatch.setattr(
            module, "sphere_start", lambda x, *_: (x + 0.01 * (x - 0.5)).clamp(0, 1)
        )
    model = network()
    x, y = batch(model, 12)
    more = {"restarts": 3} if name == "fab" else {"restarts": 1, "targets": 2}
    its = attack(name, norm, EPSILON[norm] / 2, steps=12, **more)
    found, passes = [], []
    for room in (1, 12, 1000):
        sizes: list[int] = []
        handle = model.register_forward_hook(lambda _, i, __: sizes.append(len(i[0])))  # noqa: B023
        found.append(its(model, x, y, batch_size=room))
        handle.remove()
        passes.append(len(sizes))
        assert max(sizes) <= max(room, 12)
    assert passes[0] > passes[2], "what was done at once needed no pass of its own"
    stands = [right(model, images, y) for images in found]
    assert 0 < int(stands[0].sum()) < 12
    assert all(torch.equal(stands[0], those) for those in stands[1:])
    # Sums over other batches round differently, and steps carry that on; an image that several
    # runs turn is returned as the first of them left it.
    left = stands[0]
    assert all((found[0] - images)[left].abs().max() < 1e-4 for images in found[1:])


def test_parts_of_another_threat_model_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"attacks\.a\.norm"):
        Ensemble("l2", EPSILON["linf"], {"a": part("square", "linf")})
    with pytest.raises(ConfigError, match=r"attacks\.a\.epsilon"):
        Ensemble("linf", 0.2, {"a": part("square", "linf")})
    with pytest.raises(ConfigError, match="at least one"):
        Ensemble("linf", 0.2, {})
