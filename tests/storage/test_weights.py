"""Files of weights as the world saves them: containers and formats."""

import io
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
from models.state_dicts import OPTIMIZER, same, state
from safetensors.torch import save_file

from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS
from robustrun.errors import DataError
from robustrun.storage.weights import Weights, read


def saved(folder: Path, value: Any, name: str = "w.pt", **how: Any) -> str:
    torch.save(value, folder / name, **how)
    return str(folder / name)


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
    wrap: Callable[[Weights], Any], place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
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
