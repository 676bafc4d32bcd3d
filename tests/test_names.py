"""Results stand under the names that the user chose, and no two measurements share one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from robustrun.command_line.main import run_command_line
from robustrun.configuration import composition
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.errors import ConfigError
from robustrun.report import collect, robustbench, summary
from robustrun.run_folder.load import header

SHORT = (
    "method=standard",
    "device.threads=1",
    "training.epochs=1",
    "evaluation.examples=12",
    "evaluation.radii=[]",
    "keep.figures=false",
)


def loaded(*overrides: str) -> RunConfig:
    return load_config(composition.compose_config(list(overrides)))


def run(*overrides: str) -> Path:
    given = {word.partition("=")[0] for word in overrides}
    short = [word for word in SHORT if word.partition("=")[0] not in given]
    assert run_command_line([*short, *overrides]) == 0
    return max(Path("outputs").glob("*/*"))


def entries(folder: Path) -> list[dict[str, Any]]:
    results = json.loads((folder / "results.json").read_text())
    found: list[dict[str, Any]] = results["evaluation"]["attacks"]
    return found


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("group", "option", "registered"),
    [
        ("method", "trades_awp", "trades"),
        ("method", "mart_awp", "mart"),
        ("method", "robal_r", "robal"),
        ("attack", "apgd_t", "apgd"),
        ("attack", "fab_t", "fab"),
        ("attack", "pgd_l2", "pgd"),
        ("model", "small_cnn", "simple_cnn"),
        ("dataset", "cifar10_lt", "cifar10"),
    ],
)
def test_is_called_as_it_was_chosen(group: str, option: str, registered: str) -> None:
    run_config = loaded(f"{group}={option}")
    assert run_config.name_of(group) == option
    assert dump(getattr(run_config, group))["name"] == registered
    assert load_config(dump(run_config)) == run_config


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_librarys_network_is_called_by_its_architecture(library: str) -> None:
    run_config = loaded(f"model={library}", "model.architecture=resnet18")
    assert run_config.name_of("model") == "resnet18"


def test_everything_that_a_run_leaves_has_the_architectures_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("model=torchvision", "model.architecture=shufflenet_v2_x0_5")
    folder = run(*words, "evaluation=none", "dataset.imbalance_ratio=0.02")
    assert "shufflenet_v2_x0_5 on " in capsys.readouterr().err
    results = json.loads((folder / "results.json").read_text())
    assert results["model"]["name"] == "shufflenet_v2_x0_5"
    title = (folder / "MODEL_CARD.md").read_text().partition("# ")[2].splitlines()[0]
    assert title == "shufflenet_v2_x0_5 trained with standard on digits"
    assert header(folder / "model.safetensors")["model"] == "shufflenet_v2_x0_5"
    assert collect.read(folder).settings["model.name"] == "shufflenet_v2_x0_5"


def test_a_name_that_an_override_made_untrue_is_not_used() -> None:
    run_config = loaded("attack=autoattack", "attack.name=ensemble", "~attack.version")
    assert run_config.name_of("attack") == "ensemble"


def test_a_configuration_from_before_options_were_noted_has_the_registered_names() -> None:
    raw = composition.compose_config(["method=trades_awp", "attack=apgd_ce"])
    del raw["options"]
    run_config = load_config(raw)
    assert (run_config.name_of("method"), run_config.name_of("attack")) == ("trades", "apgd")
    raw["method"] = {"name": "awp", "gamma": 0.005, "warmup": 0.0, "base": raw["method"]}
    assert load_config(raw).name_of("method") == "awp"  # as an earlier version recorded it


def test_the_runs_own_attack_is_not_replaced_by_an_entry_of_its_name() -> None:
    folder = run(
        *("attack=pgd", "attack.steps=5", "evaluation=none"),
        *("+attack@evaluation.attacks.pgd=pgd", "evaluation.attacks.pgd.steps=1"),
    )
    found = {entry["name"]: entry["settings"]["steps"] for entry in entries(folder)}
    assert found == {"pgd": 5, "evaluation.pgd": 1}
    stored = np.load(folder / "predictions.npz")
    assert {"attack/pgd", "attack/evaluation.pgd"} <= set(stored)


@pytest.mark.parametrize(
    ("own", "evaluation", "key", "expected"),
    [
        ("square", "ladder", "queries", {"square": 7, "evaluation.square": 5000}),
        ("autoattack_rand", "standard", "version", {"autoattack_rand": "rand"}),
        ("autoattack_rand", "standard", "version", {"autoattack": "standard"}),
        ("stadv", "pat", "bound", {"stadv": 0.5, "evaluation.stadv": 0.05}),
    ],
)
def test_both_are_measured_each_with_its_own_settings(
    own: str, evaluation: str, key: str, expected: dict[str, Any]
) -> None:
    changes = {"square": ["attack.queries=7"], "stadv": ["attack.bound=0.5"]}.get(own, [])
    attacks = loaded(f"attack={own}", f"evaluation={evaluation}", *changes).attacks()
    assert {name: getattr(attacks[name], key) for name in expected} == expected


def test_the_same_attack_is_measured_once() -> None:
    named = loaded("attack=autoattack", "evaluation=standard").attacks()
    assert list(named) == ["autoattack", "fgsm"]


def test_parts_of_one_family_are_told_apart() -> None:
    parts = ("apgd_ce", "apgd_dlr", "apgd_t", "fab", "fab_t")
    words = [f"+attack@evaluation.attacks.{name}={name}" for name in parts]
    folder = run("attack=pgd", "attack.steps=1", "evaluation=none", *words, *_few(parts))
    found = {entry["name"]: entry["attack"] for entry in entries(folder)}
    families = dict.fromkeys(parts[:3], "apgd") | dict.fromkeys(parts[3:], "fab")
    assert found == {"pgd": "pgd"} | families
    row = summary.row(collect.read(folder), [])
    assert set(parts) <= set(row)


def _few(parts: tuple[str, ...]) -> list[str]:
    return [f"evaluation.attacks.{name}.steps=2" for name in parts]


@pytest.mark.parametrize("name", ["clean", "worst_case", "seconds", "audit"])
def test_an_entry_may_not_take_the_name_of_another_number(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"attacks is '{name}', but must be named otherwise"):
        loaded("evaluation=none", f"+attack@evaluation.attacks.{name}=pgd")


def test_folder_table_results_and_weights_have_the_options_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = run("method=trades_awp", "model=small_cnn", "attack=apgd_ce", "attack.steps=2")
    results = json.loads((folder / "results.json").read_text())
    assert results["training"]["method"] == "trades_awp"
    assert results["model"]["name"] == "small_cnn"
    assert results["evaluation"]["attacks"][0]["name"] == "apgd_ce"
    assert folder.name.endswith("_trades_awp_digits")
    assert "trades_awp on digits, small_cnn" in capsys.readouterr().out
    assert "small_cnn trained with trades_awp" in (folder / "MODEL_CARD.md").read_text()
    settings = collect.read(folder).settings
    assert (settings["method.name"], settings["attack.name"]) == ("trades_awp", "apgd_ce")
    assert run_command_line(["evaluate", str(folder), "attack.epsilon=0.05"]) == 0
    again = max(Path("outputs").glob("*/*"))
    assert again.name.endswith("_evaluate_trades_awp_digits")
    assert entries(again)[0]["name"] == "apgd_ce"


def test_an_option_of_ones_own_is_called_by_its_file(tmp_path: Path) -> None:
    mine = tmp_path / "conf" / "attack"
    mine.mkdir(parents=True)
    block = composition.compose_config(["attack=pgd", "attack.steps=2"])["attack"]
    (mine / "mine.yaml").write_text(yaml.safe_dump(block))
    folder = run("attack=mine", "evaluation=none", "-cd", str(tmp_path / "conf"))
    assert [entry["name"] for entry in entries(folder)] == ["mine"]


def test_a_weaker_attack_called_autoattack_is_not_handed_to_the_leaderboard() -> None:
    words = ("+attack@evaluation.attacks.autoattack=pgd", "evaluation.attacks.autoattack.steps=1")
    folder = run("attack=fgsm", "evaluation=none", *words)
    assert [entry["name"] for entry in entries(folder)] == ["fgsm", "autoattack"]
    with pytest.raises(Exception, match="none of these runs was measured with it"):
        robustbench.export([collect.read(folder)], Path("board"))
