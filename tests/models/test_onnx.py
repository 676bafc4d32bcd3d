"""ONNX files as networks: what they answer, and what cannot be measured with them."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustrun.command_line.main import run_command_line
from robustrun.errors import ConfigError, DataError
from robustrun.models import onnx, program
from robustrun.models.trial import tried

SHAPE = (1, 8, 8)
QUICK = ["evaluation=none", "evaluation.examples=8", "device.threads=1", "keep.figures=false"]


class Tiny(nn.Module):
    """Ten logits of a digit."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x.flatten(1))
        return logits


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user of torch.onnx has."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    batch = {0: torch.export.Dim("batch", min=1)}
    made = torch.onnx.export(
        Tiny().eval(), (torch.rand(2, *SHAPE),), dynamo=True, dynamic_shapes=(batch,), verbose=False
    )
    assert made is not None
    path.write_bytes(onnx.described(made.model_proto, {"note": "mine"}))
    return path


def test_an_onnx_file_answers_as_the_network_it_was_made_from(file: Path) -> None:
    torch.manual_seed(0)
    network, x = Tiny().eval(), torch.rand(5, *SHAPE)
    assert program.kind(file) == "onnx"
    loaded = program.load(file)
    for count in (1, 5):
        torch.testing.assert_close(loaded(x[:count]), network(x[:count]).detach())


class Several(Tiny):
    """Logits behind what could be taken for them."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        logits = super().forward(x)
        return logits.roll(1, 1), logits


@pytest.mark.parametrize("called", ["logits", "z"])
def test_of_several_outputs_the_one_named_logits_is_measured_and_none_is_guessed(
    file: Path, tmp_path: Path, called: str
) -> None:
    torch.manual_seed(0)
    network, x = Several().eval(), torch.rand(3, *SHAPE)
    path = tmp_path / "several.onnx"
    made = torch.onnx.export(
        network,
        (x,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        output_names=["auxiliary", called],
        verbose=False,
    )
    assert made is not None
    path.write_bytes(onnx.described(made.model_proto, {}))
    loaded = program.load(path)
    if called == "logits":
        torch.testing.assert_close(tried(loaded, x, 10, "it")(x), network(x)[1].detach())
    else:
        with pytest.raises(DataError, match="auxiliary: 2 x 10 float32, z: 2 x 10 float32"):
            tried(loaded, x, 10, "it")


def test_it_is_measured_by_attacks_that_need_no_gradient(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["evaluate", str(file), "attack=fgsm", *QUICK]) == 2
    said = capsys.readouterr().err
    assert "No usable gradient comes back" in said
    assert "These attacks need none: gaussian_noise" in said
    words = ["attack=square", "attack.queries=20"]
    assert run_command_line(["evaluate", str(file), *words, *QUICK]) == 0
    results = json.loads(max(Path("outputs").glob("*/*/results.json")).read_text())
    (attack,) = results["evaluation"]["attacks"]
    assert (attack["name"], attack["total"]) == ("square", 8)
    assert attack["correct"] <= results["evaluation"]["clean"]["correct"]


def test_a_damaged_file_and_a_missing_package_are_said(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"damaged\.onnx cannot be loaded by ONNX Runtime"):
        program.load(damaged)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"onnxruntime.*pip install 'robustrun\[onnx\]'"):
        program.load(file)
    with pytest.raises(ConfigError, match=r"onnxruntime, which is not installed"):
        onnx.require_exporter()
