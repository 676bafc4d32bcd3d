"""torchvision's networks: built, pretrained and read from files."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from models.networks import COLOUR, DIGITS, LINEAR, ROUNDING, sizes
from robustrun.errors import ConfigError, DataError
from robustrun.models.torchvision import Torchvision
from robustrun.models.vgg_features import VGGFeatures
from robustrun.types import Model

SETTINGS: dict[str, Any] = {"image_size": None, "mean": (0.5,), "std": (0.25,)}
LEARNT: dict[str, Any] = {"mean": "weights", "std": "weights"}


def tv(architecture: str, weights: str = "random", **settings: Any) -> Torchvision:
    learnt = LEARNT if weights == "pretrained" else {}
    given = SETTINGS | learnt | settings
    return Torchvision(architecture=architecture, weights=weights, **given)


@pytest.mark.parametrize(
    "settings",
    [
        VGGFeatures(layers=9, **LINEAR | {"weights": "pretrained"}),
        tv("resnet18", "pretrained"),
    ],
)
def test_pretrained_weights_without_network_are_explained(
    settings: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("robustrun.storage.transfer.urlopen", no_network)
    with pytest.raises(DataError) as caught:
        settings.build(COLOUR, 10)
    message = str(caught.value)
    for part in (
        "https://download.pytorch.org/models/",
        "Name or service not known",
        str(tmp_path / "hub" / "checkpoints"),
        "model.weights",
    ):
        assert part in message
    assert "\n" not in message


def serve(state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision find these weights instead of downloading any."""
    monkeypatch.setattr("robustrun.storage.downloads.fetch", lambda *_: None)
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *args, **kwargs: state
    )


@pytest.mark.parametrize(
    ("architecture", "head"), [("resnet18", "fc"), ("squeezenet1_1", "classifier.1")]
)
def test_pretrained_networks_get_a_new_last_layer_for_other_classes(
    architecture: str,
    head: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from torchvision import models

    state = models.get_model(architecture, num_classes=1000).state_dict()
    serve(state, monkeypatch)
    settings = tv(architecture, "pretrained")
    with caplog.at_level("INFO"):
        network: Any = settings.build(COLOUR, 7).eval()
    told = f"the last layer ({head}) has new, random weights for 7 classes: "
    assert f"{told}pretrained {architecture} has 1000 classes" in caplog.text
    assert network(torch.rand(2, *COLOUR)).shape == (2, 7)
    loaded = network.network.state_dict()
    changed = {k for k in state if not torch.equal(loaded[k], state[k])}
    assert changed == {f"{head}.weight", f"{head}.bias"}


def test_pretrained_networks_keep_their_last_layer_for_their_own_classes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from torchvision import models

    state = models.resnet18(num_classes=1000).state_dict()
    serve(state, monkeypatch)
    settings = tv("resnet18", "pretrained")
    with caplog.at_level("INFO"):
        loaded: Any = settings.build(COLOUR, 1000)
    told = "weights from torchvision ResNet18_Weights.IMAGENET1K_V1: 122 tensors taken"
    assert [record.getMessage() for record in caplog.records] == [told]
    assert torch.equal(loaded.network.fc.weight, state["fc.weight"])


def test_pretrained_networks_see_images_normalised_and_sized_as_they_learnt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from torchvision import models

    serve(models.resnet18(num_classes=1000).state_dict(), monkeypatch)
    other = tv("resnet18", "pretrained", mean=(0.4914, 0.4822, 0.4465))
    with pytest.raises(DataError) as caught:
        other.build(COLOUR, 1000)
    message = str(caught.value)
    assert "mean [0.485, 0.456, 0.406]" in message
    assert "here they are by [0.4914, 0.4822, 0.4465]" in message
    assert message.endswith("To use it as it was trained: model.mean=weights.")
    begun: Any = other.build_as_begun(COLOUR, 1000)
    assert begun.normalize.mean.flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465])
    assert f"{message} The run continues as it began." in caplog.text
    settings = tv("resnet18", "IMAGENET1K_V1", image_size="weights", **LEARNT)
    network: Any = settings.build(COLOUR, 1000).eval()
    x = torch.rand(1, *COLOUR)
    scaled = F.interpolate(x, (224, 224), mode="bilinear")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = network.network((scaled - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
    torch.testing.assert_close(network(x), by_hand, **ROUNDING)


def test_torchvision_networks_are_normalised_and_have_the_right_classes() -> None:
    network: Any = tv("resnet18").build(COLOUR, 7).eval()
    x = torch.rand(2, *COLOUR)
    torch.testing.assert_close(network(x), network.network((x - 0.5) / 0.25), **ROUNDING)
    assert network(x).shape == (2, 7)
    assert sum(sizes(tv("resnet18").build((1, 8, 8), 1000))) == 11_689_512  # torchvision's table


def test_torchvision_networks_are_handed_over_in_training_mode_and_give_plain_logits() -> None:
    network = tv("googlenet").build(COLOUR, 7)
    assert network.training
    assert all(m.training for m in network.modules())
    assert network(torch.rand(2, *COLOUR)).shape == (2, 7)


def test_torchvision_weights_come_from_a_file_whatever_its_classes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    donor = tv("squeezenet1_1").build(COLOUR, 5).state_dict()
    save_file(donor, tmp_path / "model.safetensors")  # as a run leaves it, with "network." in front
    same: Any = tv("squeezenet1_1", str(tmp_path / "model.safetensors")).build(COLOUR, 5)
    assert all(torch.equal(v, donor[k]) for k, v in same.state_dict().items())
    with caplog.at_level("INFO"):
        other: Any = tv("squeezenet1_1", str(tmp_path / "model.safetensors")).build(COLOUR, 7)
    told = "the last layer (classifier.1) has new, random weights for 7 classes: "
    assert f"{told}{tmp_path / 'model.safetensors'} has 5 classes" in caplog.text
    changed = {k for k, v in other.state_dict().items() if not torch.equal(v, donor[k])}
    assert changed == {"network.classifier.1.weight", "network.classifier.1.bias"}
    with pytest.raises(DataError, match="holds the weights of another network"):
        tv("squeezenet1_0", str(tmp_path / "model.safetensors")).build(COLOUR, 5)


def test_unknown_torchvision_names_are_refused_with_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"^model\.architecture is 'resent50'.*'resnet50'"):
        tv("resent50").build(COLOUR, 10)
    with pytest.raises(ConfigError, match="torchvision does not have"):
        tv("fcn_resnet50").build(COLOUR, 10)  # segments images, and does not classify them
    with pytest.raises(ConfigError, match=r"'IMAGENET1K_V3', .* for resnet50.*'IMAGENET1K_V2'"):
        tv("resnet50", "IMAGENET1K_V3").build(COLOUR, 10)


def test_images_that_a_torchvision_network_cannot_take_are_refused() -> None:
    message = r"^model\.architecture 'squeezenet1_1' cannot take images of 8 x 8 pixels with 1 ch"
    with pytest.raises(ConfigError, match=message) as caught:
        tv("squeezenet1_1").build(DIGITS, 10)
    assert str(caught.value).endswith("model.image_size=224 scales them inside the network.")
    network = tv("squeezenet1_1", image_size=32).build(DIGITS, 10)
    assert network(torch.rand(2, *DIGITS)).shape == (2, 10)
