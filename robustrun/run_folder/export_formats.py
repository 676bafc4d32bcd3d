"""The formats that a network is exported to: how each is written, and how it answers when read."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from robustrun.models import onnx, program
from robustrun.run_folder.load import loaded
from robustrun.run_folder.place import code_of
from robustrun.storage.header import EXTRA, KEY, RUN, header
from robustrun.storage.weights import read

OPSET = 18  # of ONNX: the first that PyTorch's exporter writes, so that older programs read it too
BATCH = "batch"


@dataclass(frozen=True)
class Format:
    """A kind of file. `content` makes one of a network in eval mode, two images for it, and what
    is to be said of it; `read` is the network that a program has from the file (of code that does
    not come with it, a copy of the one that was written, filled from the file)."""

    name: str
    suffix: str
    content: Callable[[nn.Module, Tensor, dict[str, Any]], bytes]
    read: Callable[[Path, nn.Module], nn.Module]


def _safetensors(network: nn.Module, x: Tensor, about: dict[str, Any]) -> bytes:
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    return safetensors.torch.save(tensors, {KEY: json.dumps(about)})


def _rebuilt(path: Path, network: nn.Module) -> nn.Module:
    """From the file alone; a network of the user's own code has that from its run."""
    if code_of(header(path)[RUN]["config"]) is None:
        return loaded(path)[1]
    copied = copy.deepcopy(network)
    for tensor in copied.state_dict().values():
        tensor.zero_()
    copied.load_state_dict(read(str(path), "The file"))
    return copied


def _torch_export(network: nn.Module, x: Tensor, about: dict[str, Any]) -> bytes:
    shapes = ({0: torch.export.Dim(BATCH, min=1)},)
    with _quiet():
        exported = torch.export.export(network, (x,), dynamic_shapes=shapes)
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    buffer = io.BytesIO()
    torch.export.save(exported, buffer, extra_files={EXTRA: _without_run(about)})
    return buffer.getvalue()


def _onnx(network: nn.Module, x: Tensor, about: dict[str, Any]) -> bytes:
    shapes = ({0: torch.export.Dim(BATCH, min=1)},)
    onnx.require_exporter()
    with _quiet():
        exported = torch.onnx.export(
            network,
            (x,),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=[onnx.IMAGES],
            output_names=[onnx.LOGITS],
            opset_version=OPSET,
            verbose=False,
        )
    assert exported is not None  # of dynamo=True
    names = json.dumps(about["class_names"])
    return onnx.described(exported.model_proto, {KEY: _without_run(about), "class_names": names})


def _without_run(about: dict[str, Any]) -> str:
    return json.dumps({key: value for key, value in about.items() if key != RUN})


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters' remarks on their own insides are kept back; lines of ours are not."""
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    loggers = [logger for logger in known if isinstance(logger, logging.Logger)]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    for handler in handlers:
        handler.addFilter(_is_ours_or_an_error)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(_is_ours_or_an_error)


def _is_ours_or_an_error(record: logging.LogRecord) -> bool:
    return record.name.startswith("robustrun") or record.levelno > logging.WARNING


FORMATS = {
    form.name: form
    for form in (
        Format("safetensors", ".safetensors", _safetensors, _rebuilt),
        Format("onnx", ".onnx", _onnx, lambda path, network: onnx.load_onnx(path)),
        Format("torch.export", ".pt2", _torch_export, lambda path, network: program.load(path)),
    )
}
