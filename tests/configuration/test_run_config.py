"""The configuration: every option composes, decodes, and comes back from its own dump."""

from fractions import Fraction

import pytest

from robustrun.attacks.pgd import PGD
from robustrun.configuration import composition
from robustrun.configuration.catalogue import options_by_group
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig, load_config

OPTIONS = [(group, option) for group, options in options_by_group().items() for option in options]


def loaded(*overrides: str) -> RunConfig:
    return load_config(composition.compose_config(list(overrides)))


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_the_catalogue_loads_and_survives_its_own_dump(
    group: str, option: str
) -> None:
    more = ["dataset.root=somewhere"] if option == "image_folder" else []
    word = "+experiment" if group == "experiment" else group
    found = loaded(f"{word}={option}", *more)
    assert load_config(dump(found)) == found


def test_epsilon_moves_training_and_evaluation_together_and_method_epsilon_parts_them() -> None:
    together = loaded("attack.epsilon=4/255")
    apart = loaded("attack.epsilon=4/255", "method.epsilon=2/255")
    assert together.method.epsilon == together.attack.epsilon == float(Fraction(4, 255))
    assert together.training.validation_attack.epsilon == together.attack.epsilon
    assert apart.method.epsilon == float(Fraction(2, 255))
    assert apart.attack.epsilon == together.attack.epsilon


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_any_attack_can_look_at_the_validation_split_in_the_ball_of_the_runs_own(norm: str) -> None:
    given = [f"attack.norm={norm}", "attack.epsilon=0.3"]
    default = loaded(*given).training.validation_attack
    assert default == PGD(norm, 0.3, 10, 0.075, 1, True, "ce")  # type: ignore[arg-type]
    found = loaded(*given, "attack@training.validation_attack=screen").training.validation_attack
    assert found == loaded("attack=screen", *given).attack
    own = loaded(*given, "training.validation_attack.epsilon=0.2").training.validation_attack
    assert (own.epsilon, own.step_size) == (0.2, 0.075)


def test_the_step_size_follows_the_radius_until_it_is_set() -> None:
    assert loaded("attack.epsilon=0.2").attack.step_size == pytest.approx(0.05)
    assert loaded("attack.epsilon=0.2", "attack.step_size=0.01").attack.step_size == 0.01


def test_the_radius_left_alone_is_the_data_sets_own_for_the_norm() -> None:
    found = loaded("attack=pgd_l2")
    assert found.attack.epsilon == found.dataset.epsilon.l2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.beta=abc", r"method\.beta is 'abc'"),
        ("method.beta=-1", r"method\.beta is -1\.0"),
        ("attack.epsilon=-0.1", r"attack\.epsilon is -0\.1"),
        ("attack.epsilon=8", r"attack\.epsilon is 8\.0.*8/255"),
        ("attack.norm=l3", r"dataset\.epsilon\.l3|attack\.norm"),
        ("attack.steps=0", r"attack\.steps is 0"),
        ("attack.steps=1.5", r"attack\.steps is 1\.5"),
        ("training.batch_size=0", r"training\.batch_size is 0"),
        ("training.epochs=true", r"training\.epochs is True"),
        ("training.validation_fraction=1", r"training\.validation_fraction is 1\.0"),
        ("optimizer.lr=nan", r"optimizer\.lr is"),
        ("device.threads=0", r"device\.threads is 0"),
        ("device.precision=float8", r"device\.precision is 'float8'"),
        ("+method.bete=3", r"method\.bete is not a key.*'beta'"),
        ("seed=-1", r"seed is -1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(override: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        loaded(override)


def test_without_a_validation_split_the_last_weights_are_selected() -> None:
    assert loaded("method=pgd_at", "training.validation_fraction=0").training.select == "last"


def test_a_run_from_before_a_key_existed_is_read_with_what_it_did_then() -> None:
    now = loaded("method=fast_at")
    before = dump(now)
    for key in ("shape", "start", "end", "momentum", "moves", "length"):
        del before["schedule"][key]
    assert load_config(before) == now


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        ((), "auto"),
        (("device=cuda",), "auto"),
        (("device=mps",), "auto"),
        (("device=cpu",), "float32"),
    ],
)
def test_a_run_takes_the_faster_precision_unless_it_names_the_processor(
    words: tuple[str, ...], precision: str
) -> None:
    assert dump(loaded(*words))["device"]["precision"] == precision
