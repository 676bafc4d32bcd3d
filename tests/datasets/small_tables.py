"""Small parquet files, as they are published on the Hugging Face hub."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="robustrun[hf] is not installed")
import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = ["ant", "bee", "cat"]


def picture(seed: int, size: tuple[int, int] = (6, 6), mode: str = "RGB") -> bytes:
    """A PNG file."""
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(levels).convert(mode).save(stored := io.BytesIO(), "png")
    return stored.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def write_parquet(
    place: Path,
    images: list[Any],
    labels: list[Any],
    features: dict[str, Any] | None = None,
    names: tuple[str, str] = ("img", "label"),
    kind: Any = IMAGE,
) -> Path:
    """The images (files' bytes) and their labels; `features`: what `datasets` notes of columns."""
    place.parent.mkdir(parents=True, exist_ok=True)
    stored = [{"bytes": x, "path": None} if kind is IMAGE else x for x in images]
    table = pa.table({names[0]: pa.array(stored, kind), names[1]: pa.array(labels)})
    if features is not None:
        noted = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": noted})
    pq.write_table(table, place, row_group_size=2)
    return place


FEATURES = {"img": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
