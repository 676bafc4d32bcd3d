"""What `robustrun evaluate` takes from elsewhere: exported networks and state dicts."""

import io
import json
import os
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustrun.command_line.main import run_command_line
from robustrun.errors import ConfigError, DataError
from robustrun.models import program
from robustrun.models.program import Program
from robustrun.models.trial import built
from robustrun.models.weights import aligned, fill

SHAPE, CLASSES = (1, 8, 8), 10
QUICK = ["evaluation=none", "evaluation.examples=40", "attack=pgd", "attack.steps=3"]
QUICK += ["keep.figures=false"]


class Small(nn.Module):
    """Takes digits; batch norm, so that eval mode matters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4 * 36, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits


@pytest.fixture
def network() -> nn.Module:
    return Small().eval()


def scripted(network: nn.Module, file: Path) -> Path:
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.script(network).save(str(file))
    return file


def exported(network: nn.Module, file: Path, **how: object) -> Path:
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    sample = torch.rand(2, *SHAPE)
    made = torch.export.export(network, (sample,), dynamic_shapes=how.get("shapes", (batch,)))
    torch.export.save(made, file)
    return file


@pytest.mark.parametrize("write", [scripted, exported])
def test_a_program_answers_and_is_attacked_as_the_network_it_was_made_from(
    tmp_path: Path, network: nn.Module, write: object
) -> None:
    file = write(network, tmp_path / "program.pt2")  # type: ignore[operator]
    assert program.kind(file) == ("torchscript" if write is scripted else "exported")
    rebuilt = built(Program(str(file)), SHAPE, CLASSES)
    x = torch.rand(5, *SHAPE)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    logits, expected = rebuilt(one), network(other)
    torch.testing.assert_close(logits, expected)
    logits.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(one.grad, other.grad)
    rebuilt.eval()
    with pytest.raises(ConfigError, match="not trained"):
        rebuilt.train()


@pytest.mark.parametrize("write", [scripted, exported])
def test_evaluate_measures_a_program_and_says_what_it_was(
    tmp_path: Path,
    network: nn.Module,
    write: object,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(network, tmp_path / "small.pt2")  # type: ignore[operator]
    assert run_command_line(["evaluate", str(file), *QUICK]) == 0
    (path,) = tmp_path.glob("outputs/*/*/results.json")
    results = json.loads(path.read_text())
    assert results["model"]["name"] == "program"
    assert results["evaluated"]["source"] == str(file)
    assert results["evaluation"]["clean"]["total"] == 40
    assert "small.pt2 on digits" in capfd.readouterr().out


def test_a_program_of_a_fixed_batch_or_other_classes_or_images_is_refused(
    tmp_path: Path, network: nn.Module
) -> None:
    fixed = exported(network, tmp_path / "fixed.pt2", shapes=None)
    with pytest.raises(DataError, match="dynamic batch size"):
        built(Program(str(fixed)), SHAPE, CLASSES)
    free = exported(network, tmp_path / "free.pt2")
    with pytest.raises(DataError, match="the data set has 100 classes"):
        built(Program(str(free)), SHAPE, 100)
    with pytest.raises(DataError, match="images of 3 x 32 x 32"):
        built(Program(str(free)), (3, 32, 32), CLASSES)


def test_files_that_are_no_program_or_damaged_are_named(tmp_path: Path, network: nn.Module) -> None:
    text, archive = tmp_path / "text.pt", tmp_path / "archive.pt"
    text.write_text("<html>not found</html>")
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("inside.txt", "nothing")
    for file in (text, archive, tmp_path / "missing.pt"):
        assert program.kind(file) is None
        with pytest.raises(DataError, match=r"no TorchScript, no torch\.export and no \.onnx"):
            built(Program(str(file)), SHAPE, CLASSES)
    whole = exported(network, tmp_path / "whole.pt2").read_bytes()
    damaged = tmp_path / "damaged.pt2"
    damaged.write_bytes(whole.replace(b"conv2d", b"conv9d"))
    with pytest.raises(DataError, match=r"damaged\.pt2 cannot be loaded"):
        built(Program(str(damaged)), SHAPE, CLASSES)


class Payload:
    """Unpickling it would make a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.canary),)


def test_a_pickle_inside_an_exported_program_is_never_run(
    tmp_path: Path, network: nn.Module
) -> None:
    good = exported(network, tmp_path / "good.pt2")
    canary, evil = tmp_path / "canary", tmp_path / "evil.pt2"
    poison = io.BytesIO()
    torch.save(Payload(canary), poison)
    replaced = 0
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".pt") or content[:2] == b"PK":
                content, replaced = poison.getvalue(), replaced + 1
            target.writestr(name, content)
    assert replaced > 0, "nothing was poisoned: the test would show nothing"
    with pytest.raises(DataError, match="cannot be loaded"):
        built(Program(str(evil)), SHAPE, CLASSES)
    assert not canary.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module.model."])
def test_a_state_dict_is_recognised_behind_what_wrappers_add(
    network: nn.Module, prefix: str
) -> None:
    state = {f"{prefix}{key}": value + 1 for key, value in network.state_dict().items()}
    other = Small()
    fill(other, aligned(other, state), "weights.pt")
    for key, value in network.state_dict().items():
        assert torch.equal(other.state_dict()[key], value + 1), key


def test_a_state_dict_of_another_network_gives_the_list_of_what_differs(network: nn.Module) -> None:
    state = dict(network.state_dict())
    state["head.weight"], state["extra"] = torch.zeros(7, 144), torch.zeros(2, 3)
    del state["features.0.bias"]
    with pytest.raises(DataError) as caught:
        fill(network, aligned(network, state), "weights.pt")
    said = str(caught.value)
    lines = [line.split("  ") for line in said.splitlines()[1:]]
    table = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert table == [
        ["tensor", "in the file", "in the network"],
        ["head.weight", "7 x 144", "10 x 144"],
        ["features.0.bias", "-", "4"],
        ["extra", "2 x 3", "-"],
    ]
    assert "Of the 9 tensors of the network 7 fit, 1 is of another shape, 1 is missing" in said
