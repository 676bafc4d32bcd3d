"""Linear layers on VGG's frozen features, and the weights of these from files."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.networks import DIGITS, LINEAR, OURS, ROUNDING, built, sketched
from robustrun.errors import ConfigError, DataError
from robustrun.models.initial_weights import taken_by
from robustrun.models.vgg_features import VGGFeatures, vgg16_features


def test_vgg_features_end_before_the_second_pooling_as_the_notebooks_slice_does() -> None:
    network = sketched(OURS["vgg_features"])
    assert network.fc1.in_features == 128 * 16 * 16
    longer = sketched(VGGFeatures(layers=10, **LINEAR))
    assert longer.fc1.in_features == 128 * 8 * 8
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    assert frozen == 260_160  # of the first four convolutions


def test_vgg_features_stay_as_they_are_in_training() -> None:
    network = built("vgg_features", DIGITS).train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x = torch.rand(4, *DIGITS, requires_grad=True)
    network(x).square().sum().backward()
    optimizer.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")}
    assert network.training
    assert not any(m.training for m in network.features.modules())
    assert all(p.grad is None for p in network.features.parameters())
    assert x.grad is not None
    assert x.grad.abs().sum() > 0  # attacks go through the frozen part


def test_grey_images_are_shown_to_vgg_as_colour() -> None:
    grey, colour = built("vgg_features", DIGITS), built("vgg_features", (3, 8, 8))
    colour.load_state_dict(grey.state_dict())
    x = torch.rand(2, *DIGITS)
    torch.testing.assert_close(grey(x), colour(x.repeat(1, 3, 1, 1)), **ROUNDING)
    with pytest.raises(ConfigError, match="1 or 3 channels; these have 2"):
        OURS["vgg_features"].build((2, 8, 8), 10)


def test_vgg_layers_are_torchvisions() -> None:
    from torchvision.models import vgg16

    with torch.device("meta"):
        ours, theirs = vgg16_features(), vgg16().features
    assert [type(layer) for layer in ours] == [type(layer) for layer in theirs]
    shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (ours, theirs)]
    assert shapes[0] == shapes[1]


def vgg_state() -> dict[str, Tensor]:
    return {k: v for k, v in vgg16_features().state_dict().items() if int(k.split(".")[0]) < 15}


def vgg(weights: str) -> Any:
    return VGGFeatures(layers=9, **LINEAR | {"weights": weights}).build(DIGITS, 10)


@pytest.mark.parametrize("layout", ["whole", "features", "checkpoint", "safetensors"])
def test_vgg_weights_come_from_a_file(tmp_path: Path, layout: str) -> None:
    state = vgg_state()
    whole = {f"features.{k}": v for k, v in state.items()} | {"classifier.0.bias": torch.ones(3)}
    file = tmp_path / f"vgg.{'safetensors' if layout == 'safetensors' else 'pth'}"
    if layout == "safetensors":
        save_file(whole, file)
    else:
        layouts = {"whole": whole, "features": state, "checkpoint": {"state_dict": whole, "at": 3}}
        torch.save(layouts[layout], file)
    loaded = vgg(str(file)).features.state_dict()
    assert len(loaded) == 8
    assert all(torch.equal(loaded[k], state[k]) for k in loaded)
    assert not any(p.requires_grad for p in vgg(str(file)).features.parameters())


def test_a_network_of_this_kind_begins_with_all_of_another_ones_weights(tmp_path: Path) -> None:
    donor = VGGFeatures(layers=9, **LINEAR).build(DIGITS, 10)
    save_file(donor.state_dict(), tmp_path / "model.safetensors")
    same = vgg(str(tmp_path)).state_dict()  # the folder of a run
    assert all(torch.equal(same[key], value) for key, value in donor.state_dict().items())
    other = VGGFeatures(layers=9, **LINEAR | {"weights": str(tmp_path)}).build(DIGITS, 7)
    taken = taken_by(other)
    assert taken is not None
    assert taken.new == ("fc3.weight", "fc3.bias")
    assert not any(p.requires_grad for p in other.features.parameters())


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def test_files_that_are_no_weights_are_refused_and_never_run(tmp_path: Path) -> None:
    good = tmp_path / "good.pth"
    torch.save(vgg_state(), good)
    canary = tmp_path / "canary"
    contents = {
        "empty.pth": b"",
        "cut.pth": good.read_bytes()[:100_000],
        "text.pth": b"no weights at all",
        "text.safetensors": b"no weights at all",
        "code.pth": pickle.dumps({"0.weight": MakesFolder(canary)}),
        "list.pth": None,
    }
    torch.save([1, 2], tmp_path / "list.pth")
    for name, content in contents.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"^model\.weights names .*{name}") as caught:
            vgg(str(tmp_path / name))
        assert "\n" not in str(caught.value)
    assert not canary.exists()
    with pytest.raises(DataError, match=r"'nowhere\.pth', but there is no such file"):
        vgg("nowhere.pth")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.ones(64, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(
        DataError,
        match=r"another network\. Of the 8 .* 1 fit, 7 are missing(.|\n)*  0\.bias +- +64",
    ):
        vgg(str(tmp_path / "w.pth"))
