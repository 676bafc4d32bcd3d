"""Keys of earlier versions, wherever a configuration still has them."""

from typing import Any

import pytest

from robustrun.configuration.composition import compose_config
from robustrun.configuration.former_keys import (
    present_key,
    with_present_keys,
    with_present_words,
)
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.errors import ConfigError


def former(option: str, *words: str) -> dict[str, Any]:
    """What an earlier version wrote into config.yaml for a method with AWP."""
    raw: dict[str, Any] = compose_config([f"method={option}", *words])
    size, warmup = raw["training"]["weight_perturbation"], raw["recipe"].pop("warmup")
    warm = raw["recipe"]["weight_perturbation_warmup"]
    raw["method"] = {"name": "awp", "gamma": size, "warmup": warm, "base": raw["method"]}
    raw["schedule"]["warmup"] = raw["training"].pop("warmup")
    raw["recipe"]["warmup"] = warmup
    for block in ("training", "recipe"):
        for key in ("label_smoothing", "weight_perturbation", "weight_perturbation_warmup"):
            del raw[block][key]
    return raw


@pytest.mark.parametrize("option", ["trades_awp", "at_awp", "mart_awp"])
def test_a_run_of_an_earlier_version_with_awp_is_the_run_of_today(option: str) -> None:
    words = ("recipe.warmup=0.1",)
    assert load_config(former(option, *words)) == load_config(
        compose_config([f"method={option}", *words])
    )


@pytest.mark.parametrize("option", ["pgd_at", "fast_at", "n_fgsm", "free_at"])
def test_smoothed_labels_of_an_earlier_version_stay_smoothed(option: str) -> None:
    raw = compose_config([f"method={option}"])
    raw["method"]["label_smoothing"] = 0.4
    config = load_config(raw)
    assert (config.training.label_smoothing, config.recipe.label_smoothing) == (0.4, 0.4)
    assert "label_smoothing" not in vars(config.method)


def test_a_block_of_ones_own_with_former_keys_is_read_among_todays(tmp_path: Any) -> None:
    folder = tmp_path / "method"
    folder.mkdir()
    (folder / "mine.yaml").write_text(
        "name: awp\ngamma: 0.02\nwarmup: 0.1\nbase:\n  name: pgd_at\n  norm: linf\n"
        "  epsilon: 8/255\n  label_smoothing: 0.0\n  clean_pass: true\n  inner:\n    loss: ce\n"
        "    steps: 2\n    step_size: 0.01\n    start: uniform\n    start_std: 0.0\n"
        "    bn_mode: train\n"
    )
    config: RunConfig = load_config(compose_config(["method=mine"], [tmp_path]))
    training = config.training
    assert (training.weight_perturbation, training.weight_perturbation_warmup) == (0.02, 0.1)
    assert type(config.method).__name__ == "PGDAT"


def test_a_key_in_both_places_with_two_values_is_refused() -> None:
    raw = compose_config(["method=pgd_at", "training.label_smoothing=0.1"])
    raw["method"]["label_smoothing"] = 0.4
    with pytest.raises(ConfigError, match=r"method\.label_smoothing is 0\.4, but is called"):
        load_config(raw)
    raw["method"]["label_smoothing"] = 0.0  # its default then
    assert load_config(raw).training.label_smoothing == 0.1


def test_the_same_name_in_a_method_of_another_is_left_alone() -> None:
    raw = {"method": {"name": "mine", "label_smoothing": 0.4}}
    assert with_present_keys(raw) == raw


@pytest.mark.parametrize(
    ("former", "present"),
    [
        ("method.base.inner.steps", "method.inner.steps"),
        ("method.gamma", "training.weight_perturbation"),
        ("schedule.warmup", "training.warmup"),
    ],
)
def test_a_former_key_on_the_command_line_is_told_where_it_is_now(
    former: str, present: str
) -> None:
    from robustrun.configuration.objects import compose

    assert present_key(former) == present
    said = f"'{former}' is not a key of the configuration: what was there before is {present} now"
    with pytest.raises(ConfigError, match=said):
        compose(["method=trades_awp", f"{former}=1"])


def test_where_a_former_key_has_no_present_one_nothing_is_said_of_it() -> None:
    from robustrun.configuration.objects import compose

    with pytest.raises(ConfigError, match=r"'method\.base\.x' is not a key of the configuration\."):
        compose(["method=robal", "method.base.x=1"])


@pytest.mark.parametrize(
    ("word", "present"),
    [
        ("method=trades_awp", "method=trades_awp"),
        ("method.gamma=0.01", "training.weight_perturbation=0.01"),
        ("++method.base.inner.steps=2", "++method.inner.steps=2"),
        ("method.base.beta=1=2", "method.beta=1=2"),
        ("~schedule.warmup", "~training.warmup"),
        ("seed=3", "seed=3"),
    ],
)
def test_the_words_of_a_run_with_awp_have_their_keys_where_they_are_now(
    word: str, present: str
) -> None:
    assert with_present_words([word], [former("trades_awp")]) == [present]


def test_a_key_of_another_method_with_a_former_name_stays() -> None:
    raw = compose_config(["method=robal"])
    assert with_present_words(["method.gamma=0.1"], [raw]) == ["method.gamma=0.1"]
    smoothed = compose_config(["method=pgd_at"])
    words = with_present_words(["method.label_smoothing=0.1"], [smoothed])
    assert words == ["training.label_smoothing=0.1"]
