"""A network that someone exported with its weights: TorchScript, torch.export or ONNX."""

import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robustrun.compute import environment
from robustrun.errors import ConfigError, DataError
from robustrun.models.onnx import SUFFIX, load_onnx
from robustrun.models.trial import reason
from robustrun.types import MODELS, Shape


@MODELS.register("program")
@dataclass(frozen=True)
class Program:
    """Takes images in [0, 1] and returns logits; measured as it is, never trained.

    A program runs what its author wrote, in the operators of PyTorch or ONNX. Nothing in the file
    is unpickled in a way that could run Python. An ONNX file answers through ONNX Runtime, from
    which no gradient comes back: only attacks that need none can measure it.
    """

    file: str

    def build(self, shape: Shape, classes: int) -> nn.Module:
        return ProgramNetwork(load(Path(self.file).expanduser()))


class ProgramNetwork(nn.Module):
    """The program, which has no modes to switch: it is as it was when it was exported."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program
        self.training = False

    def train(self, mode: bool = True) -> "ProgramNetwork":
        if mode:
            raise ConfigError(
                "model.name is 'program', which can be measured (robustrun evaluate FILE), but "
                "not trained: choose the network itself and give the weights as model.weights."
            )
        return self

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.program(x)
        return logits


def kind(file: Path) -> str | None:
    """`torchscript` or `exported`, from what the file holds, `onnx` from its name; None for any
    other file."""
    if not file.is_file():
        return None
    if not zipfile.is_zipfile(file):
        return "onnx" if file.suffix == SUFFIX else None
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    if any("/code/" in name for name in names):
        return "torchscript"
    exported = ("models/model.json", "serialized_exported_program.json")
    return "exported" if any(name.endswith(exported) for name in names) else None


def load(file: Path) -> nn.Module:
    """The program in `file`, on the CPU; DataError if there is none or it cannot be read."""
    form = kind(file)
    if form is None:
        raise DataError(
            f"model.file is {file}, which is no TorchScript, no torch.export and no .onnx file."
        )
    if form == "onnx":
        return load_onnx(file)
    try:
        if form == "torchscript":
            with warnings.catch_warnings():  # deprecated, and still what many files are
                warnings.simplefilter("ignore", FutureWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                scripted: nn.Module = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
                return scripted.eval()
        # torch.export falls back on unpickling anything: torch.load refuses to.
        with environment.variable("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "1"):
            return torch.export.load(file).module()
    except Exception as error:
        raise DataError(
            f"{file} cannot be loaded ({type(error).__name__}: {reason(error)}). It may be "
            f"damaged, come from another version of PyTorch, or hold objects that only unpickling "
            f"could restore, which is never done to a file from elsewhere."
        ) from error
