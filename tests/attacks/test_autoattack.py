"""AutoAttack: its protocol to the letter (https://github.com/fra31/auto-attack at a392200)."""

from typing import Any

import pytest

from attacks.small_attacks import FEW, ensemble, from_catalogue
from attacks.small_networks import EPSILON, NORMS, batch, generator, network, right
from robustrun.attacks.ensemble import Ensemble
from robustrun.configuration.decoding import decode, dump
from robustrun.errors import ConfigError
from robustrun.types import Attack

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
