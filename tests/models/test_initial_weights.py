"""The weights that a network begins with: from a file or a run, and which of them are new."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from short_run import SHORT
from torch import Tensor

from models.networks import DIGITS, OURS, wide
from robustrun.command_line.main import run_command_line
from robustrun.configuration.decoding import decode, dump
from robustrun.errors import ConfigError, DataError
from robustrun.models.initial_weights import taken_by
from robustrun.models.resnet import PreActResNet18
from robustrun.types import MODELS, Model

MODELS_OF_OURS = {
    "simple_cnn": OURS["simple_cnn"],
    "preact_resnet18": OURS["preact_resnet18"],
    "wide_resnet": wide(10, 1),
}


def beginning_with(model: Model, weights: Path) -> Model:
    block = dump(model) | {"weights": str(weights)}
    begun: Model = decode(Model, block, "model")
    return begun


@pytest.mark.parametrize("name", MODELS_OF_OURS)
def test_every_network_begins_with_the_weights_of_a_file_but_for_a_head_of_other_classes(
    name: str, tmp_path: Path
) -> None:
    model, file = MODELS_OF_OURS[name], tmp_path / "w.safetensors"
    donor: dict[str, Tensor] = model.build(DIGITS, 10).state_dict()
    save_file(donor, file)
    same = beginning_with(model, file).build(DIGITS, 10)
    assert all(torch.equal(value, donor[key]) for key, value in same.state_dict().items())
    other = beginning_with(model, file).build(DIGITS, 7)
    different = {k for k, v in other.state_dict().items() if not torch.equal(v, donor[k])}
    taken = taken_by(other)
    assert taken is not None
    assert different == set(taken.new)
    assert len(taken.new) == 2
    assert taken.taken == len(donor) - 4  # mean and std are the configuration's


def test_other_channels_are_refused_with_both_numbers(tmp_path: Path) -> None:
    save_file(OURS["simple_cnn"].build((3, 8, 8), 10).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="number of channels differs: 3 in the file, 1 in the net"):
        beginning_with(OURS["simple_cnn"], tmp_path / "w.safetensors").build(DIGITS, 10)


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no finished run: it has no model\.safetensors"):
        beginning_with(OURS["simple_cnn"], tmp_path).build(DIGITS, 10)


def test_a_configuration_from_before_networks_had_weights_is_read() -> None:
    block = {"name": "preact_resnet18", "mean": [0.5], "std": [0.5]}
    assert decode(Model, block, "model") == PreActResNet18("random", (0.5,), (0.5,))
    with pytest.raises(ConfigError, match="weight"):
        decode(Model, block | {"weight": "random"}, "model")
    assert "weights" in dump(decode(Model, block, "model"))
    assert "preact_resnet18" in MODELS


def run(*words: str) -> dict[str, object]:
    """What a short run's results say of its network."""
    folder = words[0].partition("=")[2]
    given = {word.partition("=")[0]: word for word in [*SHORT, *words]}
    assert run_command_line([*given.values()]) == 0
    about: dict[str, object] = json.loads((Path(folder) / "results.json").read_text())["model"]
    return about


def test_a_run_is_fine_tuned_and_says_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = "dataset.imbalance_ratio=0.02"
    assert run("hydra.run.dir=first", few)["weights"] is None
    words = ("model.weights=first", "training.freeze=all_but_head", few)
    about = run("hydra.run.dir=second", *words)
    assert "weights from first: 10 tensors taken\n" in capsys.readouterr().err
    first, second = (load_file(f"{name}/model.safetensors") for name in ("first", "second"))
    changed = {key for key in first if not torch.equal(first[key], second[key])}
    assert changed == {"fc3.weight", "fc3.bias"}
    assert about["trainable_parameters"] == 84 * 10 + 10
    weights = about["weights"]
    assert isinstance(weights, dict)
    assert (weights["source"], weights["taken"], weights["new"]) == ("first", 10, [])
    assert len(weights["sha256"]) == 64
    about = run("hydra.run.dir=third", "method=robal", "model.weights=first")
    weights = about["weights"]
    assert isinstance(weights, dict)
    assert weights["new"] == ["fc3.weight", "fc3.log_prior"]  # the method's own head
