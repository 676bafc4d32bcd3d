"""Weights are put into a network, whatever wrappers they were saved in."""

import json
import logging
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from models.state_dicts import OPTIMIZER, Theirs, behind, same, state
from robustrun.command_line.main import run_command_line
from robustrun.errors import DataError
from robustrun.models.normalize import Normalize
from robustrun.models.weights import aligned, fill
from robustrun.storage.weights import Weights


class Small(nn.Module):
    """A network of ours: normalisation, then layers."""

    def __init__(self, classes: int = 10, width: int = 4, channels: int = 1) -> None:
        super().__init__()
        self.normalize = Normalize((0.5,), (0.25,), channels)
        self.conv1 = nn.Conv2d(channels, width, 3)
        self.layer = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))
        self.fc = nn.Linear(width * 36, classes)


def put(tensors: Weights, network: nn.Module | None = None) -> Weights:
    """What the network holds once the tensors are in it, normalisation apart."""
    network = network or Small()
    fill(network, aligned(network, tensors, "w.pt"), "w.pt")
    return {k: v for k, v in network.state_dict().items() if not k.startswith("normalize.")}


# --- wrappers ---
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["module", "_orig_mod", "model", "net", "network", "backbone", "1", "a_wrapper"]
        ),
        max_size=5,
    )
)
def test_wrappers_are_peeled_in_any_order(wrappers: list[str]) -> None:
    prefix = "".join(f"{name}." for name in wrappers)
    assert same(put(behind(prefix)), state())


def test_wrappers_inside_the_network_are_peeled_too() -> None:
    inside = {k.replace("layer.", "layer.module._orig_mod."): v for k, v in state().items()}
    assert same(put(inside), state())
    assert same(put(behind("module.", inside)), state())


def test_a_network_that_is_wrapped_itself_takes_what_is_not() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Theirs()

    expected = behind("model.")
    for tensors in (state(), behind("module."), behind("model."), behind("net.model.")):
        assert same(put(tensors, Wrapped()), expected)


def test_what_else_a_training_saved_beside_the_network_is_left_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = behind("model.") | {"criterion.weight": torch.ones(10), "n_averaged": torch.tensor(3)}
    with caplog.at_level(logging.INFO):
        assert same(put(file), state())
    assert "taken is what is under model, not 1 others" in caplog.text


def test_of_two_networks_in_a_file_the_usual_one_is_taken_and_said_or_the_file_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = {key: torch.zeros_like(value) for key, value in state().items()}
    assert same(put(behind("teacher.", other) | behind("student.")), state())
    assert "under student; teacher would fit as well" in caplog.text
    with pytest.raises(DataError, match="several networks that fit, under left, right"):
        put(behind("left.") | behind("right.", other))


# --- normalisation ---
def normalised(mean: Tensor, std: Tensor, names: tuple[str, str], prefix: str = "") -> Weights:
    return {names[0]: mean, names[1]: std} | behind(prefix)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (("0.mean", "0.std"), "1."),
        (("module.0.mean", "module.0.std"), "module.1."),
        (("mu", "sigma"), ""),
        (("normalize.mean", "normalize.std"), "network."),
        (("normalize.mean", "normalize.std"), ""),
    ],
)
def test_normalisation_in_a_file_must_be_the_configured_one(
    shape: tuple[int, ...], names: tuple[str, str], prefix: str
) -> None:
    half, quarter = torch.full(shape, 0.5), torch.full(shape, 0.25)
    assert same(put(normalised(half, quarter, names, prefix)), state())
    assert same(put(normalised(half + 4e-4, quarter, names, prefix)), state()), "rounded"
    with pytest.raises(DataError) as caught:
        put(normalised(half - 0.1, quarter, names, prefix))
    said = str(caught.value)
    assert "mean [0.4], std [0.25] in the file, mean [0.5], std [0.25] here" in said
    assert "'model.mean=[0.4]' 'model.std=[0.25]'" in said


def test_normalisation_per_channel_is_compared_and_other_buffers_are_not_taken_for_it() -> None:
    network = Small(channels=3)
    tensors = dict(Small(channels=3).state_dict())
    tensors["normalize.mean"] = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
    with pytest.raises(DataError, match=r"'model\.mean=\[0\.4914,0\.4822,0\.4465\]'"):
        put(tensors, network)


# --- what does not fit ---
@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Small(classes=7), "number of classes differs: 10 in the file, 7 in the network"),
        (Small(channels=3), "number of channels differs: 1 in the file, 3 in the network"),
        (Small(width=8), "another width"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "another architecture"),
    ],
)
def test_what_does_not_fit_is_a_table_with_a_hint(network: nn.Module, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        put(state(), network)
    head, *table = str(caught.value).splitlines()
    assert head.startswith("model.weights: w.pt holds the weights of another network. Of the ")
    assert table[0].split() == ["tensor", "in", "the", "file", "in", "the", "network"]
    assert len({line.find("in the network") for line in table if "in the network" in line}) == 1


def test_a_long_table_is_cut_and_counted() -> None:
    many = {f"layer{n}.weight": torch.ones(n + 1) for n in range(50)}
    with pytest.raises(DataError) as caught:
        put(many)
    lines = str(caught.value).splitlines()
    assert len(lines) < 15
    assert lines[-1].strip() == f"and {50 + 10 - 10} more"


def test_the_command_line_measures_a_wrapped_file_as_the_network_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["model=simple_cnn", "evaluation=none", "evaluation.examples=60", "device.threads=1"]
    words += ["keep.figures=false"]
    training = ["method=standard", "training.epochs=4", "optimizer.lr=0.02"]
    assert run_command_line([*training, *words]) == 0
    (folder,) = tmp_path.glob("outputs/*/*")
    tensors = load_file(folder / "model.safetensors")
    mean, std = tensors.pop("normalize.mean"), tensors.pop("normalize.std")
    wrapped = behind("_orig_mod.module.1.", tensors)
    wrapped |= {"_orig_mod.module.0.mean": mean, "_orig_mod.module.0.std": std}
    torch.save({"net": wrapped, "acc": 1.0, "optimizer": OPTIMIZER}, "wild.safetensors")
    assert run_command_line(["evaluate", "wild.safetensors", *words]) == 0
    (other,) = (p for p in tmp_path.glob("outputs/*/*") if p != folder)
    found = [json.loads((p / "results.json").read_text())["evaluation"] for p in (folder, other)]
    assert found[0]["clean"]["correct"] == found[1]["clean"]["correct"] > 12, "not by chance"
    assert found[0]["attacks"][0]["correct"] == found[1]["attacks"][0]["correct"]
    capfd.readouterr()
    assert run_command_line(["evaluate", "wild.safetensors", *words, "model.mean=[0.1]"]) == 2
    assert "trained with another normalisation" in capfd.readouterr().err
