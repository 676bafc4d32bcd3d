"""What `robustrun.attacks` offers, and what FGSM, PGD and the parts of AutoAttack promise."""

import copy
import dataclasses
import inspect
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import robustrun.attacks
from attacks.small_attacks import PARTS, attack, from_catalogue, part
from attacks.small_networks import (
    DUAL,
    EPSILON,
    SHAPE,
    Counting,
    Detached,
    batch,
    generator,
    margin_of,
    network,
    right,
    two_classes,
)
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.search.apgd_settings import Phase
from robustrun.errors import ConfigError, DataError
from robustrun.types import ATTACKS


def test_the_package_of_attacks_offers_every_attack_and_nothing_else() -> None:
    attacks = {ATTACKS[name].__name__ for name in ATTACKS if _ours(ATTACKS[name])}
    assert robustrun.attacks.__all__ == sorted(attacks)


def test_the_generator_is_given_by_its_name() -> None:
    for name in filter(lambda name: _ours(ATTACKS[name]), ATTACKS):
        taken = list(inspect.signature(ATTACKS[name].__call__).parameters.values())
        assert [its.name for its in taken[1:4]] == ["model", "x", "y"], name
        assert all(its.kind is its.POSITIONAL_OR_KEYWORD for its in taken[1:4]), name
        assert {its.name for its in taken[4:]} <= {"generator", "batch_size"}, name
        assert all(its.kind is its.KEYWORD_ONLY for its in taken[4:]), name


def test_an_attack_cannot_be_changed_once_it_is_made() -> None:
    """What an evaluation measures with is what its results say."""
    ours = [ATTACKS[name] for name in ATTACKS if _ours(ATTACKS[name])]
    assert all(attack.__dataclass_params__.frozen for attack in ours)  # type: ignore[attr-defined]


PROMISES: dict[str, tuple[bool, bool, bool | None]] = {
    # stays in the ball of its norm; looks for mistakes; may search a copy, also in bfloat16 (None:
    # it does more with a network than to call it)
    "apgd": (True, True, True),
    "autoattack": (True, True, None),
    "cw_l2": (True, True, None),
    "ensemble": (True, True, None),
    "fab": (True, True, False),
    "fast_lpa": (False, True, None),
    "fgsm": (True, True, True),
    "fmn": (True, True, None),
    "gaussian_noise": (False, False, None),
    "lpa": (False, True, None),
    "mi_fgsm": (True, True, True),
    "multi_targeted": (True, True, True),
    "notebook_noise": (False, False, None),
    "pgd": (True, True, True),
    "ppgd": (False, True, None),
    "recolor": (False, True, None),
    "salt_and_pepper": (False, False, None),
    "screen": (True, True, True),
    "square": (True, True, False),
    "stadv": (False, True, None),
}


def test_each_attack_says_what_an_evaluation_may_rely_on() -> None:
    ours: dict[str, Any] = {name: ATTACKS[name] for name in ATTACKS if _ours(ATTACKS[name])}
    said = {
        name: (its.bounded, its.adversarial, getattr(its, "low_precision", None))
        for name, its in ours.items()
    }
    assert said == PROMISES


BALL = EPSILON["linf"]
LIMITS: dict[str, list[tuple[str, Any, Any]]] = {  # the last value that is right, one that is wrong
    "apgd_ce": [
        *(("steps", 1, 0), ("restarts", 1, 0), ("eot", 1, 0), ("targets", 0, -1)),
        ("targets", 0, 1),  # of cross-entropy, which has no target
        *(("step_size", 0.0, -0.01), ("momentum", 0.0, -0.01), ("momentum", 1.0, 1.01)),
        *(("rho", 0.0, -0.01), ("rho", 1.0, 1.01)),
        ("phases", (Phase(1.0, 0.5),), ()),
        ("phases", (Phase(1.0, 0.5),), (Phase(2.0, 0.5),)),
        ("phases", (Phase(1.0, 0.5),), (Phase(1.0, 0.5), Phase(1.0, 0.5))),
    ],
    "apgd_t": [("targets", 1, -1)],
    "cw_l2": [
        *(("steps", 1, 0), ("searches", 1, 0), ("constant", 1e-6, 0.0)),
        *(("confidence", 0.0, -0.01), ("lr", 1e-6, 0.0)),
    ],
    "fab": [
        *(("steps", 1, 0), ("restarts", 1, 0), ("targets", 0, -1), ("alpha_max", 0.0, -0.01)),
        *(("alpha_max", 1.0, 1.01), ("eta", 1.0, 0.99), ("beta", 0.01, 0.0), ("beta", 1.0, 1.01)),
    ],
    "fast_lpa": [("bound", 0.0, -0.01), ("steps", 1, 0)],
    "fgsm": [("epsilon", 0.0, -0.01), ("epsilon", 1.0, 1.01)],
    "fmn": [
        ("norm", "l2", "l1"),
        *(("steps", 1, 0), ("alpha", 0.01, 0.0), ("alpha_final", 0.0, -0.01)),
        *(("alpha_final", 1.0, 1.01), ("gamma", 0.99, 1.0), ("gamma", 0.001, 0.0)),
        *(("gamma_final", 0.0, -0.001), ("gamma_final", 0.05, 0.051)),
    ],
    "gaussian_noise": [("epsilon", 0.0, -0.01)],
    "lpa": [
        *(("bound", 0.0, -0.01), ("steps", 1, 0), ("rounds", 1, 0), ("penalty", 1e-6, 0.0)),
        *(("confidence", 0.0, -0.01), ("probe", 1e-6, 0.0), ("start_std", 1e-6, 0.0)),
    ],
    "mi_fgsm": [("steps", 1, 0), ("step_size", 0.0, -0.01), ("decay", 0.0, -0.01)],
    "multi_targeted": [
        *(("targets", 1, 0), ("steps", 1, 0), ("restarts", 1, 0)),
        *(("step_size", 0.0, -0.01), ("drops", (0.01,), (0.0,)), ("drops", (0.99,), (1.0,))),
    ],
    "notebook_noise": [("epsilon", 0.0, -0.01)],
    "pgd": [
        *(("steps", 1, 0), ("restarts", 1, 0), ("step_size", 0.0, -0.01)),
        ("step_size", 2 * BALL, 2.01 * BALL),
    ],
    "ppgd": [
        *(("bound", 0.0, -0.01), ("steps", 1, 0), ("step_size", 0.0, -0.01), ("cg_steps", 1, 0)),
        *(("confidence", 0.0, -0.01), ("probe", 1e-9, 0.0), ("start_std", 0.0, -0.01)),
    ],
    "recolor": [
        *(("bound", 0.01, 0.0), ("bound", 1.0, 1.01), ("steps", 1, 0), ("lr", 1e-6, 0.0)),
        *(("smoothness", 0.0, -0.01), ("lattice", (2, 2, 2), (2, 2, 1))),
        *(("lattice", (2, 2, 2), (2, 2)), ("lattice", (2, 2, 2), (2, 2, 2, 2))),
    ],
    "salt_and_pepper": [("amount", 0.0, -0.01), ("amount", 1.0, 1.01)],
    "screen": [
        *(("first_steps", 1, 0), ("targets", 1, 0), ("steps", 1, 0)),
        *(("step_size", 0.0, -0.01), ("last_step", 0.0, -0.01), ("last_step", 1.0, 1.01)),
    ],
    "square": [("queries", 1, 0), ("restarts", 1, 0), ("p_init", 0.01, 0.0), ("p_init", 1.0, 1.01)],
    "stadv": [
        *(("bound", 0.01, 0.0), ("bound", 2.0, 2.01), ("steps", 1, 0), ("lr", 1e-6, 0.0)),
        ("smoothness", 0.0, -0.01),
    ],
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_setting_out_of_its_range_is_refused_by_name(name: str) -> None:
    its = from_catalogue(name, "l2" if name == "cw_l2" else "linf")
    for key, last, wrong in LIMITS[name]:
        assert getattr(dataclasses.replace(its, **{key: last}), key) == last
        with pytest.raises(ConfigError, match=rf"^{key} is .* but must be "):
            dataclasses.replace(its, **{key: wrong})


def _ours(attack: type) -> bool:
    return attack.__module__.startswith("robustrun.attacks.")  # not what another test registered


FGSM_AND_PGD = [("fgsm", "linf"), ("fgsm", "l2"), ("pgd", "linf"), ("pgd", "l2")]


@pytest.mark.parametrize(("name", "norm"), FGSM_AND_PGD)
def test_a_linear_model_falls_exactly_from_its_distance_on(name: str, norm: str) -> None:
    model, x, y, margins, slope = two_classes()
    away = margins / torch.linalg.vector_norm(slope, DUAL[norm])
    epsilon = float(away.median())
    found = attack(name, norm, epsilon)(model, x, y, generator=generator())
    # Within a thousandth of the boundary float32 decides.
    sure = (away / epsilon - 1).abs() > 1e-3
    assert torch.equal(right(model, found, y)[sure], (away > epsilon)[sure])


@pytest.mark.device
@pytest.mark.parametrize(("name", "norm"), FGSM_AND_PGD)
def test_stays_in_the_ball_and_in_the_image_and_leaves_the_model_alone(
    name: str, norm: str, device: torch.device
) -> None:
    model = network().to(device)
    x, y = batch(model, 12, wrong=2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = attack(name, norm)(model, x, y, generator=generator(0, device))
    assert distance(found, x, norm).max() <= EPSILON[norm] * (1 + 1e-5)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.shape == x.shape
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(("name", "norm"), FGSM_AND_PGD)
def test_no_image_at_all_is_fine(name: str, norm: str) -> None:
    model = network()
    x, y = batch(model, 3)
    assert attack(name, norm)(model, x[:0], y[:0], generator=generator()).shape == x[:0].shape


@pytest.mark.device
@pytest.mark.parametrize(("name", "norm"), PARTS)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.0, 1.5))
def test_stays_in_ball_and_box_and_never_gives_back_a_safer_image(
    name: str, norm: str, seed: int, share: float, device: torch.device
) -> None:
    model = network().to(device)
    x, y = batch(model, 6, wrong=2)
    its = part(name, norm).with_radius(share * EPSILON[norm])
    x_adv = its(model, x, y, generator=generator(seed, device))
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


@pytest.mark.device
@pytest.mark.parametrize(("name", "norm"), PARTS)
def test_finds_something_and_the_same_again_under_the_same_seed(
    name: str, norm: str, device: torch.device
) -> None:
    model = network().to(device)
    x, y = batch(model, 16)
    once = part(name, norm)(model, x, y, generator=generator(1, device))
    assert not right(model, once, y).all(), "at this radius some fall"
    assert torch.equal(once, part(name, norm)(model, x, y, generator=generator(1, device)))
    torch.manual_seed(1)
    unnamed = part(name, norm)(model, x, y)
    assert torch.equal(once, unnamed), "without a generator, torch's global one"


@pytest.mark.device
@pytest.mark.parametrize(("name", "norm"), PARTS)
def test_leaves_the_model_as_it_was(name: str, norm: str, device: torch.device) -> None:
    model = network().to(device)
    model[1].eval()  # a layer in another mode than the rest
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    part(name, norm)(model, *batch(model, 4), generator=generator(0, device))
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


STRONG: dict[str, dict[str, Any]] = {  # each with room for more than one run
    "pgd": {"epsilon": 0.9, "step_size": 0.5, "steps": 30, "restarts": 3},
    "mi_fgsm": {"epsilon": 0.9, "step_size": 0.1, "steps": 30},
    "multi_targeted": {"epsilon": 0.9, "step_size": 0.3, "steps": 30, "restarts": 2},
    "screen": {"epsilon": 0.9, "step_size": 0.3},
    "apgd_ce": {"epsilon": 0.9, "restarts": 3},
    "apgd_t": {"epsilon": 0.9},
    "fab": {"epsilon": 0.9, "restarts": 3},
    "fab_t": {"epsilon": 0.9},
    "square": {"epsilon": 0.9, "queries": 300, "restarts": 3},
    "cw_l2": {"epsilon": 20.0, "steps": 60, "constant": 10.0},
    "fmn": {"epsilon": 0.9},
}


@pytest.mark.parametrize("name", STRONG)
def test_once_all_images_have_fallen_the_model_is_passed_through_no_more(name: str) -> None:
    model = network().eval()
    x, y = batch(model, 6)
    sizes: list[int] = []
    model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    found = from_catalogue(name, "l2" if name == "cw_l2" else "linf")
    found = dataclasses.replace(found, **STRONG[name])(model, x, y, generator=generator())
    assert min(sizes) > 0, "no batch without images"
    assert not right(model, found, y).any()


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
