"""ONNX files: written with what they say of themselves, and read as networks without gradients."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustrun.errors import ConfigError, DataError
from robustrun.models.trial import reason

IMAGES, LOGITS = "images", "logits"  # the names of what goes in and comes out
SUFFIX = ".onnx"


class ONNXNetwork(nn.Module):
    """What ONNX Runtime answers, on the CPU. No gradient comes back from it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file
        self.session = _session(file)
        self.training = False

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """What the file answers; of several outputs, each by its name."""
        (entry,) = self.session.get_inputs()
        images: np.ndarray = x.detach().cpu().numpy()
        names = [output.name for output in self.session.get_outputs()]
        answers = self.session.run(None, {entry.name: images})
        tensors = [torch.from_numpy(answer).to(x.device) for answer in answers]
        return tensors[0] if len(tensors) == 1 else dict(zip(names, tensors, strict=True))

    def __deepcopy__(self, memo: dict[int, Any]) -> "ONNXNetwork":
        return ONNXNetwork(self.file)


def load_onnx(file: Path) -> nn.Module:
    """The network in `file`; DataError if it cannot be read, ConfigError without onnxruntime."""
    runtime = _installed("onnxruntime")
    try:
        return ONNXNetwork(file)
    except Exception as error:  # the runtime has a dozen classes of errors, none of them public
        version = runtime.__version__
        raise DataError(
            f"{file} cannot be loaded by ONNX Runtime {version} ({reason(error)})."
        ) from error


def _session(file: Path) -> Any:
    runtime = _installed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    return runtime.InferenceSession(
        str(file), sess_options=options, providers=["CPUExecutionProvider"]
    )


def require_exporter() -> None:
    """ConfigError without what torch.onnx.export and the check of its file need."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _installed(package)


def _installed(package: str) -> Any:
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ConfigError(
            f"ONNX needs {package}, which is not installed: pip install 'robustrun[onnx]'."
        ) from None


def described(model: Any, properties: dict[str, str]) -> bytes:
    """A ModelProto as a file, checked, with these properties; the paths of this machine, which
    PyTorch's exporter notes at each node, are taken out."""
    onnx = _installed("onnx")
    for part in _parts(model.graph, *model.functions):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _parts(*graphs: Any) -> Iterable[Any]:
    """Every part of these graphs that may have metadata, with those of graphs inside nodes."""
    for graph in graphs:
        yield graph
        for name in ("node", "input", "output", "value_info", "initializer"):
            yield from (part for part in getattr(graph, name, ()) if hasattr(part, "DESCRIPTOR"))
        for node in graph.node:
            for attribute in node.attribute:
                yield from _parts(*([attribute.g] if attribute.HasField("g") else []))
                yield from _parts(*attribute.graphs)
