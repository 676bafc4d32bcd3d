"""timm's networks, built by timm itself."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import robustrun
from models.networks import COLOUR, DIGITS, ROUNDING
from robustrun.configuration.decoding import decode, dump
from robustrun.errors import ConfigError, DataError
from robustrun.models.initial_weights import taken_by
from robustrun.models.timm import Timm
from robustrun.types import Model
from tests.short_run import SHORT

pytest.importorskip("timm", reason="robustrun[timm] is not installed")

SETTINGS: dict[str, Any] = {
    "arguments": None,
    "patch_size": None,
    "stem": "default",
    "drop_path": 0.0,
    "weights": "random",
    "image_size": None,
    "mean": (0.5,),
    "std": (0.25,),
}
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 2}  # a ViT of 17,000 parameters
LEARNT = {"mean": "weights", "std": "weights"}


def timm(architecture: str, **settings: Any) -> Timm:
    return Timm(architecture=architecture, **SETTINGS | settings)


def vit(**settings: Any) -> Timm:
    return timm("vit_tiny_patch16_224", **{"arguments": TINY, "patch_size": 4} | settings)


def test_missing_timm_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'robustrun\[timm\]'"):
        timm("resnet18").build(COLOUR, 10)


def test_timm_networks_are_built_normalised_and_read_from_files(tmp_path: Path) -> None:
    network: Any = vit().build(DIGITS, 7).eval()
    x = torch.rand(2, *DIGITS)
    assert network(x).shape == (2, 7)
    torch.testing.assert_close(network(x), network.network((x - 0.5) / 0.25), **ROUNDING)
    torch.save(network.network.state_dict(), tmp_path / "w.pth")
    again = vit(weights=str(tmp_path / "w.pth")).build(DIGITS, 7).eval()
    assert torch.equal(again(x), network(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"architecture": "vit_tinypatch16_224"},
            r"not have\. Did you mean 'vit_tiny_patch16_224'",
        ),
        (
            {"architecture": "resnet18.other"},
            r"no weights of resnet18 with the tag 'other'.*a1_in1k",
        ),
        ({"architecture": "resnet18", "patch_size": 4}, "does not take model.patch_size"),
        ({"architecture": "resnet18", "arguments": {"a": 1}}, "does not take model.arguments.a "),
        ({"architecture": "resnet18", "stem": "conv"}, "resnet18 does not begin with patches"),
        ({"patch_size": None}, r"no whole number of patches of 16 x 16.* model\.image_size=224 "),
        ({"patch_size": 3}, "of 8 x 8 pixels are no whole number of patches of 3 x 3"),
        ({"patch_size": 1, "stem": "conv"}, r"model\.patch_size must be 2, 4, 8"),
    ],
)
def test_what_timm_cannot_build_is_explained(settings: dict[str, Any], message: str) -> None:
    model = vit(**settings) if "architecture" not in settings else timm(**settings)
    with pytest.raises(ConfigError, match=message):
        model.build(DIGITS, 7)


def test_a_network_of_one_image_size_sees_images_scaled_to_it() -> None:
    network: Any = vit(patch_size=16, image_size=32).build(DIGITS, 7).eval()
    x = torch.rand(2, *DIGITS, requires_grad=True)
    scaled = F.interpolate(x, (32, 32), mode="bilinear")
    torch.testing.assert_close(network(x), network.network((scaled - 0.5) / 0.25), **ROUNDING)
    (slope,) = torch.autograd.grad(network(x).square().sum(), x)
    assert slope.shape == x.shape  # what is attacked are the pixels before
    assert slope.abs().min() > 0


def pretrain(monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]) -> None:
    """Let timm find these weights instead of downloading any."""
    import timm.models._builder as builder

    monkeypatch.setattr(builder, "load_state_dict_from_hf", lambda *args, **kwargs: dict(state))
    monkeypatch.setattr(builder, "load_custom_from_hf", lambda *args, **kwargs: None)


def test_timms_pretrained_networks_tell_of_a_new_last_layer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import timm as library

    torch.manual_seed(1)
    donor = library.create_model("test_resnet", num_classes=1000).state_dict()
    pretrain(monkeypatch, donor)
    with caplog.at_level("INFO", logger="robustrun"):
        network: Any = timm("test_resnet", weights="pretrained", **LEARNT).build(COLOUR, 7)
    told = "the last layer (fc) has new, random weights for 7 classes: pretrained test_resnet has"
    assert told in caplog.text
    loaded = network.network.state_dict()
    changed = {key for key in donor if not torch.equal(loaded[key], donor[key])}
    assert changed == {"fc.weight", "fc.bias"}
    taken = taken_by(network)
    assert taken is not None
    assert (taken.source, taken.new) == (
        "timm test_resnet.r160_in1k",
        ("network.fc.weight", "network.fc.bias"),
    )
    assert taken.taken == len(donor) - 2
    assert network.normalize.mean.flatten().tolist() == [0.5, 0.5, 0.5]  # of these weights


def test_pretrained_weights_that_cannot_be_had_or_saw_other_images_are_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import timm.models._builder as builder

    def fails(*args: object, **kwargs: object) -> None:
        raise OSError("no network\nat all")

    monkeypatch.setattr(builder, "load_state_dict_from_hf", fails)
    with pytest.raises(DataError, match=r"test_resnet could not be fetched \(no network at all\)"):
        timm("test_resnet", weights="pretrained", **LEARNT).build(DIGITS, 7)
    right = r"by mean \[0\.5\] and std \[0\.5\].* model\.std=weights\.$"
    with pytest.raises(DataError, match=right):  # one channel: the mean of three
        timm("test_resnet", weights="pretrained").build(DIGITS, 7)
    with pytest.raises(ConfigError, match="has no weights of coatnet_0_224"):
        timm("coatnet_0_224", weights="pretrained").build(COLOUR, 7)


def test_a_run_goes_on_with_the_normalisation_it_began_with_and_a_new_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import timm as library

    def stopped(*given: object) -> None:
        raise KeyboardInterrupt

    pretrain(monkeypatch, library.create_model("test_resnet", num_classes=1000).state_dict())
    config = robustrun.compose(
        [*SHORT, "model=timm", "model.architecture=test_resnet", "model.weights=pretrained"]
    )
    with monkeypatch.context() as earlier_version:
        earlier_version.setattr(Timm, "_another_normalisation", lambda *given: "")
        earlier_version.setattr("robustrun.experiment._evaluate", stopped)
        with pytest.raises(KeyboardInterrupt):
            robustrun.run(config, tmp_path / "begun")
    assert "continues as it began" not in caplog.text
    run = robustrun.run(config, tmp_path / "begun")
    assert run.run.status == "completed"
    assert "here they are by [0.305] and [0.376]" in caplog.text
    assert "model.mean=weights model.std=weights. The run continues as it began." in caplog.text
    assert run.model is not None
    assert run.model.weights is not None
    assert run.model.weights.source == "timm test_resnet.r160_in1k"
    with pytest.raises(DataError, match=r"model\.mean=weights model\.std=weights"):
        robustrun.run(config, tmp_path / "new")


def test_a_configuration_from_before_patches_and_stems_is_read() -> None:
    block = {"name": "timm", "architecture": "resnet18", "weights": "random"}
    read = decode(Model, block | {"mean": [0.5], "std": [0.25]}, "model")
    assert read == timm("resnet18")
    assert decode(Model, dump(read), "model") == read
