"""What decides a run beside its configuration: the content of its images and files."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_origin, get_type_hints

import torch
from torch import nn

from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig
from robustrun.datasets.contents import content_digests
from robustrun.datasets.run_data import Data
from robustrun.evaluation.corruptions import folder_digests
from robustrun.run_folder.schema import EvaluatedSection
from robustrun.types import Images

PARTS = (  # of a configuration, in which a text may name a file
    *("attack", "method", "model", "recipe", "optimizer", "schedule", "training", "evaluation"),
    *("device", "tracker", "published"),
)
SHARED = ("processes", "sync_batchnorm")  # of a device: how several processes share a run
CORRUPTED = "corrupted images in"
HELD = (".npy", ".safetensors")  # files of a folder that a configuration names: corruptions, a run


def inputs(cfg: RunConfig, data: Data) -> dict[str, str | None]:
    """What decides a run beside its configuration, by name: the data's classes, the content of its
    images, and of every file that the configuration names (weights, corruptions …); of corrupted
    images in folders, their names and sizes."""
    images = {f"{name} images": content for name, content in data.fingerprints.items()}
    classes = ", ".join(map(repr, data.splits.class_names))
    return {"class names": classes} | images | _named_files(cfg) | _corrupted(cfg, data)


def _corrupted(cfg: RunConfig, data: Data) -> dict[str, str]:
    plan = cfg.evaluation.corruptions
    found = {} if plan is None else folder_digests(plan, data.splits)
    return {f"{CORRUPTED} {folder}": digest for folder, digest in found.items()}


def measured_subject(
    cfg: RunConfig,
    data: Data,
    images: Images,
    model: nn.Module,
    evaluated: EvaluatedSection | None,
) -> str:
    """Names what is measured with what: configuration, images, weights and program."""
    about = {
        "config": _of_measuring(dump(cfg)),
        "inputs": inputs(cfg, data),
        "images": images.fingerprint(),
        "evaluated": evaluated and asdict(evaluated),
        "robustrun": version("robustrun"),
    }
    return weights_digest(model, json.dumps(about).encode())


def weights_digest(model: nn.Module, before: bytes = b"") -> str:
    """SHA-256 of these bytes, and of the name and content of each tensor of the network."""
    digest = hashlib.sha256(before)
    for name, value in model.state_dict().items():
        whole = value.detach().cpu().contiguous().flatten().view(torch.uint8)  # of any type
        digest.update(name.encode() + whole.numpy().tobytes())
    return digest.hexdigest()


def _of_measuring(plain: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what no verdict depends on: files that are kept, and processes."""
    device = {key: value for key, value in plain["device"].items() if key not in SHARED}
    return {key: value for key, value in plain.items() if key != "keep"} | {"device": device}


def as_older_versions(
    now: dict[str, str | None], before: dict[str, str | None] | None, data: Data
) -> dict[str, str | None]:
    """`now`, but with the test images' pixels where a checkpoint knows these: earlier versions
    decoded a folder that fits into memory as a whole, and did not go by its files. Nor did they go
    by folders of corrupted images."""
    key = "test images"
    if before is None:
        return now
    now = {name: it for name, it in now.items() if name in before or not name.startswith(CORRUPTED)}
    if before.get(key) == now[key]:
        return now
    pixels = data.splits.test.to(torch.device("cpu")).fingerprint()
    return now | {key: pixels} if before.get(key) == pixels else now


def _named_files(cfg: RunConfig) -> dict[str, str | None]:
    """SHA-256 of the files that texts of the configuration name, in themselves or as the folder
    that holds them; the data set's own are among its images."""
    digests: dict[str, str | None] = {}
    for part in (getattr(cfg, name) for name in PARTS):
        for text in _texts(part):
            for file in _files_at(Path(text).expanduser()):
                (digest,) = content_digests(file.parent, [os.fsencode(file.name)])
                digests[str(file)] = digest.hex()
    return digests


def _texts(part: Any) -> Iterator[str]:
    """The texts of a part, and of the parts in it, that may be anything: not those that name an
    option of a few, which a folder may be called by chance."""
    if is_dataclass(part):
        kinds = get_type_hints(type(part))
        for name in (field.name for field in fields(part)):
            if get_origin(kinds[name]) is not Literal and name not in ("name", "attack"):
                yield from _texts(getattr(part, name))
    elif isinstance(part, dict | list | tuple):
        for item in part.values() if isinstance(part, dict) else part:
            yield from _texts(item)
    elif isinstance(part, str) and part:
        yield part


def _files_at(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return sorted(file for ending in HELD for file in path.glob(f"*{ending}"))
        return [path] if path.is_file() else []
    except (OSError, ValueError):  # no path at all
        return []
