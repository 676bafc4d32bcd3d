"""Files of weights as the world saves them: containers, wrappers, formats, normalisation."""

import io
import json
import logging
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS
from robustrun.cli import run_command_line
from robustrun.errors import DataError
from robustrun.models.normalize import Normalize
from robustrun.models.weights import aligned, fill
from robustrun.storage.weights import read

State = dict[str, Tensor]


class Small(nn.Module):
    """A network of ours: normalisation, then layers."""

    def __init__(self, classes: int = 10, width: int = 4, channels: int = 1) -> None:
        super().__init__()
        self.normalize = Normalize((0.5,), (0.25,), channels)
        self.conv1 = nn.Conv2d(channels, width, 3)
        self.layer = nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))
        self.fc = nn.Linear(width * 36, classes)


class Theirs(nn.Module):
    """The same layers under the same names, without normalisation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.layer = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4 * 36, 10)


def state() -> State:
    return dict(Theirs().state_dict())


def behind(prefix: str, tensors: State | None = None) -> State:
    return {f"{prefix}{key}": value for key, value in (tensors or state()).items()}


def put(tensors: State, network: nn.Module | None = None) -> State:
    """What the network holds once the tensors are in it, normalisation apart."""
    network = network or Small()
    fill(network, aligned(network, tensors, "w.pt"), "w.pt")
    return {k: v for k, v in network.state_dict().items() if not k.startswith("normalize.")}


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


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


def normalised(mean: Tensor, std: Tensor, names: tuple[str, str], prefix: str = "") -> State:
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


# --- containers ---


def saved(folder: Path, value: Any, name: str = "w.pt", **how: Any) -> str:
    torch.save(value, folder / name, **how)
    return str(folder / name)


OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("wrap", "place"),
    [
        (lambda s: s, ""),
        (lambda s: {"state_dict": s, "epoch": 3}, "state_dict"),
        (lambda s: {"model_state_dict": s, "optimizer": OPTIMIZER}, "model_state_dict"),
        (lambda s: {"net": s, "acc": 93.1, "epoch": torch.tensor(3)}, "net"),
        (lambda s: {"checkpoint": {"model": s, "optimizer": OPTIMIZER}}, "checkpoint.model"),
        (lambda s: {"optimizer_state": OPTIMIZER, "my_own_name": s}, "my_own_name"),
        (lambda s: {"params": s, "cfg": {"lr": torch.tensor(1.0)}}, "params"),
        (lambda s: {"ema": {"module": s}}, "ema.module"),
    ],
)
def test_the_state_dict_is_found_in_what_a_training_saved(
    wrap: Callable[[State], Any], place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert same(read(saved(tmp_path, wrap(state())), "model.weights"), state())
    assert caplog.text.count("the weights are those of") == bool(place)
    assert f"those of {place}\n" in caplog.text or not place


def test_of_weights_and_their_average_the_weights_are_taken_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zero = {key: torch.zeros_like(value) for key, value in state().items()}
    for plain, average in (
        ("model", "ema"),
        ("state_dict", "state_dict_ema"),
        ("net", "ema_model"),
    ):
        file = saved(tmp_path, {average: zero, plain: state(), "optimizer": OPTIMIZER})
        assert same(read(file, "model.weights"), state())
        assert f"those of {plain}; {average} left out" in caplog.text
        assert caplog.records[-1].levelname == "WARNING"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"first": {"w": torch.ones(1)}, "second": {"w": torch.ones(1)}}, "first, second"),
        ({"optimizer": OPTIMIZER, "epoch": 3}, "its keys are optimizer, epoch"),
        ({}, "its keys are none"),
        ([1, 2], "holds a list"),
        (torch.ones(2), "holds a Tensor"),
        ({"model": {}}, "its keys are model"),
    ],
)
def test_a_file_without_one_state_dict_is_refused_with_its_keys(
    value: Any, says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^model\.weights names .*w\.pt") as caught:
        read(saved(tmp_path, value), "model.weights")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


# --- formats ---


def test_what_a_file_is_decides_and_not_its_ending(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "a.safetensors")
    save_file(state(), tmp_path / "a.pt")
    torch.save(state(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("a.safetensors", "a.pt", "old.bin"):
        assert same(read(str(tmp_path / name), "model.weights"), state())


def archived(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    return made.getvalue()


def as_numpy() -> bytes:
    made = io.BytesIO()
    np.savez(made, weight=np.ones(3))
    return made.getvalue()


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (Path(self.path),)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"<html>not found</html>", "begins with b'<html>"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + bytes(90), "HDF5"),
        (archived("a/b.txt"), "that torch.save did not write (a/b.txt)"),
        (archived("m/code/__torch__.py", "m/data.pkl"), "robustrun evaluate FILE"),
        (archived("a.txt")[:40], "cut short"),
        (tarred(), "tar archive, as PyTorch saved before 0.1.10"),
        (as_numpy(), "NumPy's npz"),
        ((10).to_bytes(8, "little") + b'{"a":[1]}', "damaged"),
        (pickle.dumps({"w": Payload("canary")}), "holds more than tensors"),
    ],
    ids=str.split("empty page pointer hdf5 zip program cut tar npz damaged pickle"),
)
def test_other_files_are_told_apart_and_never_unpickled(
    content: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"^lpips\.weights names w\.pt, which") as caught:
        read("w.pt", "lpips.weights")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("canary").exists()


def test_a_checkpoint_with_objects_names_what_only_unpickling_could_restore(tmp_path: Path) -> None:
    for form in (True, False):
        value = {"model": state(), "args": Payload(str(tmp_path / "canary"))}
        file = saved(tmp_path, value, _use_new_zipfile_serialization=form)
        with pytest.raises(DataError, match=r"more than tensors.*torch\.save\(network\.state_dict"):
            read(file, "model.weights")
        assert not (tmp_path / "canary").exists()


def test_an_lpips_networks_weights_are_read_the_same_way(tmp_path: Path) -> None:
    first = LPIPS_NETWORKS["alexnet_cifar"]("random", None).load()
    layers = {f"module.features.{k}": v for k, v in first.features.state_dict().items()}
    save_file(layers, tmp_path / "alexnet.pt")  # the ending says something else
    file = saved(tmp_path, {"state_dict": layers, "optimizer": OPTIMIZER}, "checkpoint.pt")
    for source in (str(tmp_path / "alexnet.pt"), file):
        second = LPIPS_NETWORKS["alexnet_cifar"](source, None).load()
        assert same(dict(second.features.state_dict()), dict(first.features.state_dict()))


def test_the_command_line_measures_a_wrapped_file_as_the_network_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["model=simple_cnn", "evaluation=none", "evaluation.examples=60", "device.threads=1"]
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
