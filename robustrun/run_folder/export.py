"""A finished run's network as one file for other programs, compared with the network it is of."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.compute.predictions import logit_difference
from robustrun.console import step
from robustrun.errors import ConfigError, DataError, RunFailure, did_you_mean
from robustrun.models.normalize import Normalize
from robustrun.models.trial import reason
from robustrun.run_folder.export_formats import FORMATS, Format
from robustrun.run_folder.load import data_section, load_run
from robustrun.run_folder.portable import portable
from robustrun.run_folder.schema import RunRecord
from robustrun.storage.files import naming, replace, write_atomically
from robustrun.storage.header import RUN
from robustrun.types import Shape

BATCHES = (1, 3, 8)  # images in the batches that are compared: a file must take any number
# How far the logits may part, as a share of the largest. float32 sums in another order differ by
# 1e-6, in the deepest networks by some 1e-5; a wrong layer or mode differs by 1e-2 and more.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how well it agrees with the run's network."""

    path: Path
    format: str
    size: int  # bytes
    difference: float  # the largest of the logits, as a share of the largest logit


def export(
    run: str | Path, to: str, path: str | Path | None = None, plugins: Iterable[str] = ()
) -> Exported:
    """Write the network of a finished run (its selected weights, with the normalisation inside) to
    `path`, as `to`: "safetensors", "onnx" or "torch.export". Without `path`, into the current
    folder, under the run's name.

    `run` and `plugins` are all that `load_run` takes. The file is read back and must give the
    logits of the network for the same images, in batches of different sizes, before it gets its
    name. ConfigError or DataError (each a ValueError) for a format that there is not, a file that
    exists, a run that cannot be loaded or a network that the format cannot express; RunFailure
    where the logits differ.
    """
    form = format_of(to)
    record, network = load_run(run, plugins)
    target = Path(path) if path is not None else Path(f"{_name(run, record)}{form.suffix}")
    _require_new(target)
    with step(f"writing {target} as {to}"):
        content = _content(form, network, record)
    target.parent.mkdir(parents=True, exist_ok=True)
    with naming(target), TemporaryDirectory(prefix=".export", dir=target.parent) as aside:
        written = Path(aside, f"network{form.suffix}")
        write_atomically(written, content)
        with step("comparing its logits with the network's"):
            exported = form.read(written, network)
            difference = _difference(exported, network, data_section(record).input_shape)
        if not difference <= TOLERANCE:
            raise RunFailure(
                f"{target} was not written: the logits of the {to} file differ from the network's "
                f"by {difference:.1e} of the largest logit, and more than {TOLERANCE:g} is no "
                f"rounding."
            )
        replace(written, target)
    return Exported(target, to, len(content), difference)


def format_of(name: str) -> Format:
    if name not in FORMATS:
        raise ConfigError(f"The format {name!r} is not known.{did_you_mean(name, FORMATS)}")
    return FORMATS[name]


def _name(run: str | Path, record: RunRecord) -> str:
    return Path(run).resolve().stem if Path(run).is_file() else record.run.id or "network"


def _require_new(target: Path) -> None:
    if target.exists():
        raise DataError(f"{target} exists already: name another file with --output, or delete it.")


def _content(form: Format, network: nn.Module, record: RunRecord) -> bytes:
    """The file; DataError with the reason where the format cannot express the network."""
    shape = data_section(record).input_shape
    try:
        return form.content(network, torch.rand(2, *shape), about(record, network))
    except DataError:
        raise
    except Exception as error:  # exporters fail in their own ways
        raise DataError(
            f"The network of {record.folder} cannot be written as {form.name} ({reason(error)}). "
            f"As safetensors every network can be written."
        ) from error


def about(record: RunRecord, network: nn.Module) -> dict[str, Any]:
    """What a file says of itself: all that is needed to use it, and what was measured."""
    data, evaluation, config = data_section(record), record.evaluation, record.config
    scores = evaluation.scores.items() if evaluation else ()
    attack = config.get("attack", {})
    return {
        "version": record.environment.robustrun if record.environment else "",
        "model": record.model.name if record.model else "",
        "dataset": data.name,
        "class_names": list(data.class_names),
        "input_shape": list(data.input_shape),
        "pixels": "in [0, 1], channels first; the network normalises inside",
        **_normalisation(network),
        "threat_model": {"norm": attack.get("norm"), "epsilon": attack.get("epsilon")},
        "accuracy": {name: score.accuracy for name, score in scores},
        "measured_on": evaluation.images if evaluation else "",
        RUN: portable(record).results,
    }


def _normalisation(network: nn.Module) -> dict[str, list[float] | None]:
    """`mean` and `std` of each channel, by which the network normalises; None of one that does it
    in a way of its own."""
    ours = next((part for part in network.modules() if isinstance(part, Normalize)), None)
    values = {} if ours is None else dict(ours.named_buffers())
    digits = {name: [round(it, 6) for it in values[name].flatten().tolist()] for name in values}
    return {"mean": digits.get("mean"), "std": digits.get("std")}


def _difference(exported: nn.Module, network: nn.Module, shape: Shape) -> float:
    """The largest difference of the logits of the same images, as a share of the largest."""
    images = _images(max(BATCHES), shape)
    with torch.no_grad():
        pairs = [(exported(images[:count]), network(images[:count])) for count in BATCHES]
    return max(logit_difference(theirs, own) for theirs, own in pairs)


def _images(count: int, shape: Shape) -> Tensor:
    """Noise, the same each time, and an image of black and one of white pixels."""
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    images[0], images[1] = 0, 1
    return images
