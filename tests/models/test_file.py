"""A network of the user's own Python file or module."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from robustrun.errors import ConfigError, DataError
from robustrun.models.file import File
from robustrun.models.initial_weights import taken_by
from robustrun.models.trial import built
from robustrun.models.weights import aligned

SHAPE = (3, 8, 8)
NET = """
import torch
from layers import scale
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes, in_channels, image_size, width=4):
        super().__init__()
        self.fc = nn.Linear(width, num_classes)  # not the last to be defined
        self.first = nn.Linear(in_channels * image_size**2, width)

    def forward(self, x):
        return scale * self.fc(self.first(x.flatten(1)).relu())


def wrong_classes():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 5))


def no_network(shape):
    return "a network"


def broken(classes):
    return 1 / (classes - 7)


def lazy(classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


number = 3
least = min
made = lazy(7)
"""


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("my_net.py").write_text(NET)
    Path("layers.py").write_text("scale = 2.0\n")
    return tmp_path


def file(network: str = "my_net.py:Net", **settings: Any) -> File:
    plain: dict[str, Any] = {"arguments": None, "weights": "random", "mean": None, "std": None}
    return File(network, **plain | settings)


def test_a_file_is_called_with_what_the_data_set_says_and_its_arguments() -> None:
    network: Any = file(arguments={"width": 6}).build(SHAPE, 7)
    assert (network.first.in_features, network.first.out_features) == (192, 6)
    x = torch.rand(2, *SHAPE)
    plain = network.fc(network.first(x.flatten(1)).relu())
    assert torch.equal(network(x), 2 * plain)
    assert file().architecture == "my_net.Net"


def test_a_file_is_normalised_unless_it_does_that_itself_and_which_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "robustrun")
    network: Any = file(mean=(0.5,), std=(0.25,)).build(SHAPE, 7)
    assert "it gets images normalised with mean 0.5 and std 0.25 (model.mean" in caplog.text
    file().build(SHAPE, 7)
    assert "it gets images in [0, 1], not normalised" in caplog.text
    x = torch.rand(2, *SHAPE)
    assert torch.equal(network(x), network.network((x - 0.5) / 0.25))
    with pytest.raises(ConfigError, match=r"^std is \(0\.25,\), but must be null where mean is"):
        file(std=(0.25,))


def test_a_file_begins_with_weights_but_for_a_head_of_other_classes() -> None:
    donor = file().build(SHAPE, 7).state_dict()
    save_file(donor, "w.safetensors")
    same = file(weights="w.safetensors").build(SHAPE, 7)
    assert all(torch.equal(value, donor[name]) for name, value in same.state_dict().items())
    taken = taken_by(file(weights="w.safetensors").build(SHAPE, 5))
    assert taken is not None
    assert (taken.taken, taken.new) == (2, ("fc.weight", "fc.bias"))


def test_layers_that_learn_their_size_from_images_begin_with_weights_too() -> None:
    donor = built(file("my_net.py:lazy"), SHAPE, 7)
    torch.save(donor.state_dict(), "weights.pt")
    again = built(file("my_net.py:lazy", weights="weights.pt"), SHAPE, 7).state_dict()
    assert all(torch.equal(again[key], value) for key, value in donor.state_dict().items())
    assert [*again] == ["1.weight", "1.bias"]


def test_modules_beside_a_file_are_its_own(there: Path) -> None:
    other = there / "other"
    other.mkdir()
    (other / "my_net.py").write_text(NET)
    (other / "layers.py").write_text("scale = 3.0\n")
    before = set(sys.modules)
    x, values = torch.rand(2, *SHAPE), []
    for place in (there, other, there):
        torch.manual_seed(0)
        values.append(file(f"{place / 'my_net.py'}:Net").build(SHAPE, 7)(x))
        assert file(f"{place / 'my_net.py'}:Net").code() == {
            "my_net.py": (place / "my_net.py").resolve(),
            "layers.py": (place / "layers.py").resolve(),
        }
    torch.testing.assert_close(values[1], 1.5 * values[0])
    assert torch.equal(values[2], values[0])
    assert "layers" not in set(sys.modules) - before


def test_a_module_is_found_in_the_current_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("some_networks").mkdir()
    Path("some_networks/small.py").write_text(NET.replace("from layers import scale", "scale = 1"))
    network = file("some_networks.small:Net")
    assert network.build(SHAPE, 7)(torch.rand(2, *SHAPE)).shape == (2, 7)
    assert network.architecture == "small.Net"
    assert [*network.code()] == ["small.py"]


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        ("my_net.py", None, r"^network is 'my_net\.py', but must be FILE\.py:NAME or"),
        ("absent.py:Net", None, r"names absent\.py, but there is no such file"),
        ("absent.networks:Net", None, "names the module 'absent.networks', which is not found"),
        ("my_net.py:Nett", None, r"but Nett is not in it.*Did you mean 'Net'"),
        ("my_net.py:number", None, "but number is a int: a class or function is needed"),
        ("my_net.py:made", None, "but made is a Sequential: a class or function is needed"),
        ("my_net.py:least", None, "but least is a builtin_function_or_method: a class or function"),
        ("folder:Net", None, "names 'folder', which is no file: a folder, or built into Python"),
        ("my_net.py:Net", {"widht": 4}, r"my_net\.py:Net\(num_classes.*keyword argument 'widht'"),
        ("my_net.py:Net", {"width": "a"}, r"cannot be made with width='a', num_classes=7.*Error: "),
        ("my_net.py:no_network", None, r"makes a str, but a torch\.nn\.Module is needed"),
        ("my_net.py:broken", None, r"with classes=7: line 26: ZeroDivisionError: division by zero"),
        ("syntax.py:Net", None, r"syntax\.py cannot be imported: line 1: SyntaxError"),
        ("beside.py:Net", None, r"beside\.py cannot be imported: line 2: SyntaxError.*syntax\.py"),
        ("fails.py:Net", None, r"fails\.py cannot be imported: line 2: NameError: .*'undefined'"),
    ],
)
def test_what_is_no_network_is_said_in_a_sentence(
    network: str, arguments: dict[str, Any] | None, message: str
) -> None:
    Path("folder").mkdir()
    Path("syntax.py").write_text("def\n")
    Path("beside.py").write_text("\nimport syntax\n")
    Path("fails.py").write_text("\nundefined\n")
    with pytest.raises(ConfigError, match=message):
        file(network, arguments=arguments).build(SHAPE, 7)


def test_other_logits_than_classes_are_refused_with_the_files_name() -> None:
    message = r"^my_net\.py:wrong_classes answers 2 images with \(2, 5\), but the data set has 7"
    with pytest.raises(DataError, match=message):
        built(file("my_net.py:wrong_classes"), SHAPE, 7)


OWN = """
from torch import nn
from torchvision.transforms.v2 import Normalize
import torch


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
        self.register_buffer("std", torch.full((1, 3, 1, 1), 0.25))

    def forward(self, x):
        return (x - self.mean) / self.std


class Net(nn.Module):
    def __init__(self, classes, first):
        super().__init__()
        self.normalize = {"buffers": Buffers(), "library": Normalize([0.5] * 3, [0.25] * 3)}[first]
        self.fc = nn.Linear(192, classes)

    def forward(self, x):
        return self.fc(self.normalize(x).flatten(1))


class Features(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.mean, self.std = nn.Linear(192, classes), nn.Linear(192, classes)

    def forward(self, x):
        return self.mean(x.flatten(1)) + self.std(x.flatten(1))
"""


@pytest.mark.parametrize("first", ["buffers", "library"])
def test_a_network_that_normalises_itself_is_told_if_it_gets_normalised_images(
    first: str, caplog: pytest.LogCaptureFixture
) -> None:
    Path("own.py").write_text(OWN)
    twice = {"mean": (0.5,), "std": (0.25,)}
    file("own.py:Net", arguments={"first": first}).build(SHAPE, 7)
    file("own.py:Features", **twice).build(SHAPE, 7)
    assert caplog.text == ""
    file("own.py:Net", arguments={"first": first}, **twice).build(SHAPE, 7)
    assert "own.py:Net seems to normalise images itself (normalize), and gets them" in caplog.text
    assert "set model.mean=null model.std=null" in caplog.text


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_what_a_network_normalises_by_is_among_its_weights_whatever_stands_before_it(
    prefix: str,
) -> None:
    Path("own.py").write_text(OWN)
    made = file("own.py:Net", arguments={"first": "buffers"}, mean=(0.1,), std=(0.2,))
    own, target = file("own.py:Net", arguments={"first": "buffers"}), made.build(SHAPE, 7)
    state = {f"{prefix}{key}": 2 * value for key, value in own.build(SHAPE, 7).state_dict().items()}
    found = aligned(target, state)
    assert found["network.normalize.mean"].flatten().tolist() == [1.0] * 3
    assert found["normalize.mean"].flatten().tolist() == pytest.approx([0.1] * 3)
    assert target.state_dict().keys() == found.keys()
    run = {key: value.clone() for key, value in target.state_dict().items()}
    assert aligned(target, run).keys() == run.keys()  # of a run, with both
