"""Attacks that consist of attacks: each stage on what is left."""

from typing import Any

import pytest
import torch
from torch import nn

from attacks.small_attacks import ensemble, part
from attacks.small_networks import EPSILON, NORMS, batch, generator, margin_of, network, right
from robustrun.attacks.ensemble import Ensemble
from robustrun.errors import ConfigError


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


def test_parts_of_another_threat_model_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"attacks\.a\.norm"):
        Ensemble("l2", EPSILON["linf"], {"a": part("square", "linf")})
    with pytest.raises(ConfigError, match=r"attacks\.a\.epsilon"):
        Ensemble("linf", 0.2, {"a": part("square", "linf")})
    with pytest.raises(ConfigError, match="at least one"):
        Ensemble("linf", 0.2, {})


def test_only_what_looks_for_mistakes_in_the_ball_is_a_stage() -> None:
    class Stage:
        norm, epsilon = "linf", 0.1

        def __init__(self, bounded: bool, adversarial: bool) -> None:
            self.bounded, self.adversarial = bounded, adversarial

    Ensemble("linf", 0.1, {"a": Stage(True, True)})  # type: ignore[dict-item]
    for bounded, adversarial in ((False, True), (True, False), (False, False)):
        with pytest.raises(ConfigError, match=r"attacks\.a is .* must be a bounded adversary"):
            Ensemble("linf", 0.1, {"a": Stage(bounded, adversarial)})  # type: ignore[dict-item]


def test_an_attack_with_stages_of_its_own_is_run_stage_by_stage() -> None:
    inner = ensemble("linf", ("apgd_ce", "square"))
    whole = Ensemble("linf", EPSILON["linf"], {"first": part("apgd_t", "linf"), "then": inner})
    assert whole.stages() == [
        ("first", part("apgd_t", "linf")),
        ("then/apgd_ce", part("apgd_ce", "linf")),
        ("then/square", part("square", "linf")),
    ]
    model = network()
    x, y = batch(model, 12)
    flat = ensemble("linf", ("apgd_t", "apgd_ce", "square"))
    found = whole(model, x, y, generator=generator(3))
    assert torch.equal(right(model, found, y), right(model, flat(model, x, y), y))
    assert whole.with_radius(0.01).attacks["then"] == inner.with_radius(0.01)
    few = whole.effective_settings(2)
    assert few["attacks"]["first"]["targets"] == 1
    assert "instead" not in ensemble("linf", ("square",)).effective_settings(2)
