"""RobustBench's checkpoints, of a package in its place with the same functions."""

import json
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from robustrun.command_line.main import run_command_line
from robustrun.errors import ConfigError, DataError
from robustrun.models.robustbench import RobustBench

INFO = {"eps": "8/255", "clean_acc": "83.34", "autoattack_acc": "43.21", "architecture": "linear"}


class BenchmarkDataset(Enum):
    cifar_10 = "cifar10"
    cifar_100 = "cifar100"
    imagenet = "imagenet"


class ThreatModel(Enum):
    Linf = "Linf"
    L2 = "L2"
    corruptions = "corruptions"


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def load_model(
    model_name: str, model_dir: str, dataset: str, threat_model: str, custom_checkpoint: str = ""
) -> nn.Module:
    assert (dataset, threat_model) == ("cifar10", "Linf")
    place = Path(model_dir) / dataset / threat_model / f"{model_name}.pt"
    network = linear()
    network.load_state_dict(torch.load(place, weights_only=True))
    return network.eval()


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, a checkpoint where it would be, and the leaderboard's number of it."""
    names = (
        "robustbench",
        "robustbench.utils",
        "robustbench.model_zoo",
        "robustbench.model_zoo.enums",
    )
    root, utils, zoo, enums = modules = [ModuleType(name) for name in names]
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)
    contents: dict[ModuleType, dict[str, Any]] = {
        root: {"__file__": str(tmp_path / "robustbench" / "__init__.py"), "__path__": []},
        utils: {"load_model": load_model},
        enums: {"BenchmarkDataset": BenchmarkDataset, "ThreatModel": ThreatModel},
    }
    known = {ThreatModel.Linf: {"Three2020Always": {"model": linear, "gdrive_id": "1"}}}
    contents[zoo] = {
        "__path__": [],
        "enums": enums,
        "model_dicts": {BenchmarkDataset.cifar_10: known},
    }
    contents[root] |= {"utils": utils, "model_zoo": zoo}
    for module, content in contents.items():
        vars(module).update(content)
    monkeypatch.chdir(tmp_path)
    checkpoints, numbers = Path("models/cifar10/Linf"), Path("model_info/cifar10/Linf")
    checkpoints.mkdir(parents=True)
    numbers.mkdir(parents=True)
    state = {"1.weight": torch.zeros(10, 64), "1.bias": torch.eye(10)[3]}  # always a three
    torch.save(state, checkpoints / "Three2020Always.pt")
    (numbers / "Three2020Always.json").write_text(json.dumps(INFO))


def three(**settings: Any) -> RobustBench:
    plain: dict[str, Any] = {
        "id": "Three2020Always",
        "dataset": "cifar10",
        "threat_model": None,
        "norm": "linf",
        "epsilon": 8 / 255,
        "folder": "models",
        "model_info": None,
        "weights": "pretrained",
    }
    return RobustBench(**plain | settings)


def test_the_package_loads_the_checkpoint_and_is_needed_for_nothing_else() -> None:
    network = three().build((1, 8, 8), 10)
    assert network(torch.rand(2, 1, 8, 8)).argmax(dim=1).tolist() == [3, 3]
    assert three().architecture == "Three2020Always"
    assert [n for n, _ in three(weights="random").build((1, 8, 8), 10).named_children()] == [
        "0",
        "1",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"id": "Three2020"},
            r"^model\.id is 'Three2020'.*for cifar10 and Linf.*'Three2020Always'",
        ),
        ({"dataset": "digits"}, "checkpoints are of cifar10, cifar100, imagenet"),
        ({"norm": "l1"}, r"model\.threat_model is null and attack\.norm is l1"),
        ({"threat_model": "L2"}, "does not have for cifar10 and L2"),
    ],
)
def test_what_robustbench_does_not_have_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        three(**settings).build((1, 8, 8), 10)


def test_a_missing_package_and_a_missing_checkpoint_are_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = r"belongs to elsewhere/cifar10/Linf/Three2020Always\.pt"
    with pytest.raises(DataError, match=place):
        three(folder="elsewhere").build((1, 8, 8), 10)
    monkeypatch.setitem(sys.modules, "robustbench", None)
    with pytest.raises(
        ConfigError, match=r"that package .*pip install git\+https://github\.com/Rob"
    ):
        three().build((1, 8, 8), 10)


def test_numbers_are_shown_for_their_own_threat_model_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = {number.attack: number.accuracy for number in three().published()}
    assert numbers == pytest.approx({"clean": 0.8334, "autoattack": 0.4321})
    for other in ({"epsilon": 4 / 255}, {"norm": "l2", "threat_model": "Linf"}):
        assert [number.attack for number in three(**other).published()] == ["clean"]
    assert "Three2020Always is published for Linf 8/255, and measured for l2 0.03137" in caplog.text
    Path("model_info").rename("numbers")
    assert three().published() == ()
    assert "model.model_info=FOLDER" in caplog.text
    assert len(three(model_info="numbers").published()) == 2


def test_a_checkpoint_is_measured_with_its_published_numbers_beside_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    words = ["model=robustbench", "model.id=Three2020Always", "model.dataset=cifar10"]
    more = ["model.folder=models", "attack=fgsm", "attack.epsilon=8/255", "evaluation=none"]
    assert run_command_line(["evaluate", *words, *more, "keep.figures=false"]) == 0
    shown = capsys.readouterr().out
    assert "model=Three2020Always on digits, Three2020Always" in shown
    assert "83.34%" in shown
    assert "published for autoattack, which was not measured: 43.21%" in shown
    assert "published, not run here: RobustBench, cifar10 Linf 8/255: Three2020Always" in shown
    (folder,) = Path("outputs").glob("*/*")
    results = json.loads((folder / "results.json").read_text())
    assert [entry["attack"] for entry in results["model"]["published"]] == ["clean", "autoattack"]
    assert results["evaluation"]["clean"]["per_class"][3] == 1.0
    evaluated = results["evaluated"]
    assert (evaluated["source"], evaluated["kind"]) == ("model=Three2020Always", "model")
    assert len(evaluated["weights_sha256"]) == 64
    assert run_command_line(["report", str(folder)]) == 0


def test_a_network_with_random_weights_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["evaluate", "model=small_cnn", "attack=fgsm"]) == 2
    assert "model.weights is 'random': small_cnn has learnt nothing" in capsys.readouterr().err
