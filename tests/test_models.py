"""Networks: the published sizes, independent re-implementations, normalisation, weights, errors."""

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from robustrun.errors import ConfigError, DataError
from robustrun.models.resnet import PreactResnet18, Resnet
from robustrun.models.simple_cnn import SimpleCnn
from robustrun.models.timm import Timm
from robustrun.models.torchvision import Torchvision
from robustrun.models.vgg_features import VggFeatures, vgg16_features
from robustrun.models.wide_resnet import WideResNet, WideResNetNetwork
from robustrun.types import HasFeatures, Model, Shape

PLAIN: dict[str, Any] = {"mean": (0.0,), "std": (1.0,)}
LINEAR: dict[str, Any] = {"hidden": (120, 84)} | PLAIN


def wide(depth: int, widen_factor: int, name: str = "wide_resnet", dropout: float = 0.0) -> Any:
    return WideResNet(name, depth, widen_factor, dropout, **PLAIN)  # type: ignore[arg-type]


OURS: dict[str, Model] = {
    "simple_cnn": SimpleCnn(widths=(6, 16), **LINEAR),
    "vgg_features": VggFeatures(weights="random", layers=9, **LINEAR),
    "resnet18": Resnet(name="resnet18", **PLAIN),
    "resnet50": Resnet(name="resnet50", **PLAIN),
    "preact_resnet18": PreactResnet18(**PLAIN),
    "wide_resnet28_10": wide(28, 10, name="wide_resnet28_10"),
    "wide_resnet34_10": wide(34, 10, name="wide_resnet34_10"),
}
SMALL = ["simple_cnn", "vgg_features", "preact_resnet18"]  # cheap enough to compute with
COLOUR: Shape = (3, 32, 32)
DIGITS: Shape = (1, 8, 8)

# float32 sums in another order: logits of size 1 to 10 differ in the last digits.
ROUNDING: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def sizes(network: nn.Module) -> list[int]:
    return [p.numel() for p in network.parameters()]


def built(name: str, shape: Shape = COLOUR, classes: int = 10) -> Any:
    return OURS[name].build(shape, classes).eval()


def sketched(model: Model, shape: Shape = COLOUR, classes: int = 10) -> Any:
    """The network without memory for its weights: shapes are computed, and nothing else."""
    with torch.device("meta"):
        return model.build(shape, classes)


def set_at_random(network: nn.Module) -> None:
    """Batch norm that does something: fresh layers pass almost everything through."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.running_var):
                nn.init.uniform_(values, 0.5, 1.5)  # type: ignore[arg-type]
            for values in (layer.bias, layer.running_mean):
                nn.init.normal_(values, std=0.1)  # type: ignore[arg-type]


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("simple_cnn", 62_006),  # the notebook's
        ("resnet18", 11_173_962),
        ("resnet50", 23_520_842),
        ("preact_resnet18", 11_172_170),  # counted in Rice et al.'s and AWP's own networks
        ("wide_resnet28_10", 36_479_194),
        ("wide_resnet34_10", 46_160_474),
    ],
)
def test_networks_have_as_many_parameters_as_published(name: str, parameters: int) -> None:
    assert sum(sizes(sketched(OURS[name]))) == parameters


def test_vgg_features_end_before_the_second_pooling_as_the_notebooks_slice_does() -> None:
    network = sketched(OURS["vgg_features"])
    assert network.fc1.in_features == 128 * 16 * 16
    longer = sketched(VggFeatures(weights="random", layers=10, **LINEAR))
    assert longer.fc1.in_features == 128 * 8 * 8
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    assert frozen == 260_160  # of the first four convolutions


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (1, 28, 28), (3, 64, 48), (3, 33, 35)])
@pytest.mark.parametrize("name", list(OURS))
def test_every_network_takes_every_size(name: str, shape: Shape) -> None:
    network = sketched(OURS[name], shape, classes=7)
    assert isinstance(network, HasFeatures)
    logits, activations = network.with_features(torch.empty(2, *shape, device="meta"))
    assert logits.shape == (2, 7)
    assert all(a.dim() == 4 and len(a) == 2 for a in activations)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("simple_cnn", [(6, 28, 28), (16, 10, 10)]),
        ("vgg_features", [(64, 32, 32), (128, 16, 16)]),
        ("preact_resnet18", [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]),
        ("resnet50", [(256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]),
        ("wide_resnet28_10", [(160, 32, 32), (320, 16, 16), (640, 8, 8)]),
    ],
)
def test_features_are_those_of_the_stages(name: str, shapes: list[Shape]) -> None:
    _, activations = sketched(OURS[name]).with_features(torch.empty(2, *COLOUR, device="meta"))
    assert [a.shape[1:] for a in activations] == shapes


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("simple_cnn", 4), ("vgg_features", 2), ("preact_resnet18", 8), ("wide_resnet28_10", 4)],
)
def test_too_small_images_are_refused_with_the_smallest_size(name: str, smallest: int) -> None:
    logits = sketched(OURS[name], (3, smallest, smallest))(
        torch.empty(2, 3, smallest, smallest, device="meta")
    )
    assert logits.shape == (2, 10)
    message = f"^model.name is '{name}'.* from {smallest} x {smallest} pixels"
    with pytest.raises(ConfigError, match=message):
        OURS[name].build((3, 32, smallest - 1), 10)


@pytest.mark.parametrize("name", list(OURS))
def test_the_last_linear_layer_gives_the_logits(name: str) -> None:
    layers = [m for m in sketched(OURS[name], classes=7).modules() if isinstance(m, nn.Linear)]
    assert layers[-1].out_features == 7


# --- what they compute -------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_features_come_with_the_same_logits(name: str) -> None:
    network, x = built(name, DIGITS), torch.rand(3, *DIGITS)
    assert torch.equal(network.with_features(x)[0], network(x))


@pytest.mark.parametrize(("shape", "padding"), [(COLOUR, 0), (DIGITS, 2)])
def test_simple_cnn_is_the_notebooks(shape: Shape, padding: int) -> None:
    network, x = built("simple_cnn", shape), torch.rand(3, *shape)
    p, h = network.state_dict(), x
    for layer in ("conv1", "conv2"):
        h = F.conv2d(h, p[f"{layer}.weight"], padding=padding)
        h = (h + p[f"{layer}.bias"].view(1, -1, 1, 1)).clamp_min(0)
        n, c, height, width = h.shape
        h = h.view(n, c, height // 2, 2, width // 2, 2).amax(dim=(3, 5))
    h = h.reshape(3, -1)
    for layer in ("fc1", "fc2", "fc3"):
        h = h @ p[f"{layer}.weight"].T + p[f"{layer}.bias"]
        h = h if layer == "fc3" else h.clamp_min(0)
    torch.testing.assert_close(network(x), h, **ROUNDING)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnets_are_torchvisions_but_for_the_first_layers(name: str) -> None:
    from torchvision import models

    network, x = built(name, (3, 8, 8)), torch.rand(2, 3, 8, 8)
    set_at_random(network)
    reference = models.get_model(name, num_classes=10)
    reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool = nn.Identity()
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
    mine, theirs = ([m for m in n.modules() if isinstance(m, kinds)] for n in (network, reference))
    for from_layer, to_layer in zip(mine, theirs, strict=True):
        to_layer.load_state_dict(from_layer.state_dict())
    torch.testing.assert_close(network(x), reference.eval()(x), **ROUNDING)


def preact(stages: nn.ModuleList, x: Tensor) -> Tensor:
    """The stages of a PreAct ResNet, after the formulas of the paper."""

    def active(name: str, x: Tensor) -> Tensor:
        mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, p[f"{name}.weight"], p[f"{name}.bias"]).clamp_min(0)

    for index, stage in enumerate(stages):
        for number, block in enumerate(cast(nn.Sequential, stage)):
            p = block.state_dict()
            stride = 2 if index > 0 and number == 0 else 1
            first = active("bn1", x)
            inner = active("bn2", F.conv2d(first, p["conv1.weight"], None, stride, padding=1))
            if (projection := p.get("projection.weight")) is not None:
                x = F.conv2d(first, projection, None, stride)
            x = x + F.conv2d(inner, p["conv2.weight"], padding=1)
    return x


def test_preact_resnet_computes_the_papers_formulas_and_ends_in_batch_norm() -> None:
    network, x = built("preact_resnet18", DIGITS), torch.rand(2, *DIGITS)
    set_at_random(network)
    last = preact(network.stages, F.conv2d(x, network.first.weight, padding=1))
    pooled = network.end[0](last).clamp_min(0).flatten(2).mean(dim=2)
    torch.testing.assert_close(network(x), network.linear(pooled), **ROUNDING)


def test_wide_resnet_computes_the_papers_formulas_and_ends_in_batch_norm() -> None:
    normalize = nn.Identity()
    network = WideResNetNetwork(normalize, 1, 10, wide(16, 10)).eval()  # type: ignore[arg-type]
    set_at_random(network)
    x = torch.rand(2, 1, 4, 4)
    last = preact(network.stages, F.conv2d(x, network.conv1.weight, padding=1))
    pooled = network.bn(last).clamp_min(0).flatten(2).mean(dim=2)
    # Two blocks a stage of up to 640 channels: longer sums than the others'.
    torch.testing.assert_close(network(x), network.linear(pooled), rtol=1e-3, atol=1e-4)


def test_wide_resnet_drops_activations_in_training_alone() -> None:
    normalize = nn.Identity()
    network = WideResNetNetwork(normalize, 1, 10, wide(10, 10, dropout=0.5))  # type: ignore[arg-type]
    x = torch.rand(2, 1, 8, 8)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_wide_resnet_comes_in_any_depth_and_width_but_a_name_keeps_its_own() -> None:
    # Summed by hand over convolutions, batch norms and the linear layer.
    assert sum(sizes(sketched(wide(10, 1)))) == 77_850
    with pytest.raises(ConfigError, match="depth is 12"):
        wide(12, 1)
    with pytest.raises(ConfigError, match=r"\(28, 10\) by its name"):
        wide(10, 1, name="wide_resnet28_10")


@pytest.mark.parametrize("name", ["simple_cnn", "preact_resnet18"])
def test_weights_come_from_the_global_seed(name: str) -> None:
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(torch.cat([p.flatten() for p in built(name, DIGITS).parameters()]))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_changes_nothing(name: str) -> None:
    network, x = built(name, (3, 8, 8)), torch.rand(2, 3, 8, 8)
    expected = network(x)
    network.to(memory_format=torch.channels_last)
    found = network(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, **ROUNDING)


# --- normalisation -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_images_are_normalised_inside(name: str) -> None:
    plain = built(name, (3, 8, 8))
    normalising = built(name, (3, 8, 8))
    normalising.load_state_dict(plain.state_dict())
    mean, std = torch.tensor([0.5, 0.25, 0.75]), torch.tensor([0.5, 2.0, 0.25])
    normalising.normalize.mean.copy_(mean.view(1, 3, 1, 1))
    normalising.normalize.std.copy_(std.view(1, 3, 1, 1))
    x = torch.rand(2, 3, 8, 8)
    by_hand = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(normalising(x), plain(by_hand), **ROUNDING)
    assert not torch.allclose(normalising(x), plain(x))


@pytest.mark.parametrize("mean", [(0.5,), (0.5, 0.25, 0.75)])
def test_statistics_are_set_from_the_configuration_and_saved_with_the_weights(
    mean: tuple[float, ...],
) -> None:
    settings = SimpleCnn(widths=(6, 16), hidden=(120, 84), mean=mean, std=(0.25, 0.5, 1.0))
    saved = settings.build(COLOUR, 10).state_dict()
    assert saved["normalize.mean"].flatten().tolist() == list(mean) * (3 // len(mean))
    assert saved["normalize.std"].flatten().tolist() == [0.25, 0.5, 1.0]


def test_statistics_of_another_number_of_channels_are_refused() -> None:
    settings = SimpleCnn(widths=(6, 16), hidden=(120, 84), mean=(0.5, 0.5), std=(1.0,))
    with pytest.raises(ConfigError, match=r"^model\.mean has 2 values for 3 channels"):
        settings.build(COLOUR, 10)


@pytest.mark.parametrize("std", [(0.0,), (0.5, -1.0, 0.5), ()])
def test_a_standard_deviation_that_is_not_above_zero_is_refused(std: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^std is"):
        PreactResnet18(mean=(0.0,), std=std)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"layers": 3}, "layers is 3, but must be from 4 to 31"),
        ({"layers": 32}, "layers is 32"),
        ({"hidden": (0, 84)}, "hidden is"),
    ],
)
def test_values_out_of_range_are_refused(changed: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"weights": "random", "layers": 9, **LINEAR}
    with pytest.raises(ConfigError, match=message):
        VggFeatures(**settings | changed)


# --- frozen features ---------------------------------------------------------------------------


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


# --- weights from files ------------------------------------------------------------------------


def vgg_state() -> dict[str, Tensor]:
    return {k: v for k, v in vgg16_features().state_dict().items() if int(k.split(".")[0]) < 15}


def vgg(weights: str) -> Any:
    return VggFeatures(weights=weights, layers=9, **LINEAR).build(DIGITS, 10)


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


# --- pretrained --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        VggFeatures(weights="pretrained", layers=9, **LINEAR),
        Torchvision(architecture="resnet18", weights="pretrained", **PLAIN),
    ],
)
def test_pretrained_weights_without_network_are_explained(
    settings: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("robustrun.storage.downloads.urlopen", no_network)
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
    monkeypatch.setattr("robustrun.storage.downloads.unreachable", lambda url: None)
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
    settings = Torchvision(architecture=architecture, weights="pretrained", **PLAIN)
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
    settings = Torchvision(architecture="resnet18", weights="pretrained", **PLAIN)
    with caplog.at_level("INFO"):
        loaded: Any = settings.build(COLOUR, 1000)
    assert not caplog.text
    assert torch.equal(loaded.network.fc.weight, state["fc.weight"])


# --- libraries' networks -----------------------------------------------------------------------


def tv(architecture: str, weights: str = "random") -> Torchvision:
    return Torchvision(architecture=architecture, weights=weights, mean=(0.5,), std=(0.25,))


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


def test_images_that_a_torchvision_network_cannot_take_are_refused() -> None:
    message = r"^model\.architecture 'squeezenet1_1' cannot take images of 8 x 8 pixels with 1 ch"
    with pytest.raises(ConfigError, match=message):
        tv("squeezenet1_1").build(DIGITS, 10)


def timm(architecture: str, weights: str = "random") -> Timm:
    return Timm(architecture=architecture, weights=weights, mean=(0.5,), std=(0.25,))


def test_missing_timm_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'robustrun\[timm\]'"):
        timm("resnet18").build(COLOUR, 10)


class FakeTimm(SimpleNamespace):
    """As much of timm as is used: timm is an extra, which need not be there."""

    __version__ = "1.0"

    def is_model(self, name: str) -> bool:
        return name in self.list_models()

    def list_models(self) -> list[str]:
        return ["linear", "resnet18"]

    def create_model(
        self, name: str, pretrained: bool, num_classes: int, in_chans: int
    ) -> nn.Module:
        if pretrained and name == "linear":
            raise OSError("no network\nat all")
        if pretrained and name == "resnet18":
            network = nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 64, num_classes))
            network.pretrained_cfg = {"num_classes": 1000}  # type: ignore[assignment]
            return network
        return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 64, num_classes))


def test_timm_networks_are_built_normalised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())
    network: Any = timm("linear").build(DIGITS, 7)
    x = torch.rand(2, *DIGITS)
    torch.testing.assert_close(network(x), network.network((x - 0.5) / 0.25), **ROUNDING)
    torch.save(network.network.state_dict(), tmp_path / "w.pth")
    again = timm("linear", str(tmp_path / "w.pth")).build(DIGITS, 7)
    assert torch.equal(again(x), network(x))
    with pytest.raises(ConfigError, match=r"'resent18', which timm 1\.0.*'resnet18'"):
        timm("resent18").build(DIGITS, 7)
    with pytest.raises(ConfigError, match="cannot take images of 9 x 9"):
        timm("linear").build((1, 9, 9), 7)
    with pytest.raises(DataError, match=r"could not be fetched \(no network\)"):
        timm("linear", "pretrained").build(DIGITS, 7)


def test_timms_pretrained_networks_tell_of_a_new_last_layer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())
    with caplog.at_level("INFO"):
        timm("resnet18", "pretrained").build(DIGITS, 1000)
        assert not caplog.text
        timm("resnet18", "pretrained").build(DIGITS, 7)
    told = "the last layer (1) has new, random weights for 7 classes: pretrained resnet18 has 1000"
    assert told in caplog.text


def test_timms_own_networks_are_built() -> None:
    pytest.importorskip("timm")
    network = timm("resnet18").build(DIGITS, 7)
    assert network(torch.rand(2, *DIGITS)).shape == (2, 7)
