"""Tables of images and labels (Apache Arrow): which columns they are, and what is in them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustrun import console
from robustrun.compute.threads import free_cores
from robustrun.datasets.image_reader import ImageReader
from robustrun.errors import DataError, listed

AT_ONCE = 500  # rows that are read together
SHOWN = 12  # columns that a message lists
IMAGE_NAMES = ("image", "img", "picture", "pixels", "image_bytes", "x")
LABEL_NAMES = ("label", "labels", "class", "target", "fine_label", "category", "y")


@dataclass(frozen=True)
class Table:
    """One split: what is known of its columns, and its rows, a few hundred at a time."""

    place: str  # that messages name
    columns: dict[str, str]  # name -> type, as Arrow writes it
    features: dict[str, dict[str, Any]]  # what `datasets` notes of columns: _type, names
    rows: int
    batches: Callable[[str], Iterator[list[Any]]]  # the values of a column

    def first(self, column: str) -> Any:
        """The value of a column in the first row; DataError if there is none."""
        for batch in self.batches(column):
            if batch:
                return batch[0]
        raise DataError(f"{self.place} has no rows.")


def image_column(table: Table, wanted: str | None) -> str:
    """The column that holds images: that which is so marked, or is called so and holds bytes."""
    if wanted is not None:
        return _known(table, wanted, "image")
    marked = [name for name in table.columns if _kind(table, name) == "Image"]
    binary = [name for name, kind in table.columns.items() if "binary" in kind]
    named = [name for name in IMAGE_NAMES if name in binary]
    return _the_one(table, marked or named or binary, "image")


def label_column(table: Table, wanted: str | None) -> str:
    """The column that holds classes: the one that is so marked, or is called so."""
    if wanted is not None:
        return _known(table, wanted, "label")
    marked = [name for name in table.columns if _kind(table, name) == "ClassLabel"]
    named = [name for name in LABEL_NAMES if name in (marked or table.columns)]
    return _the_one(table, marked if len(marked) == 1 else named[:1], "label")


def _kind(table: Table, column: str) -> str | None:
    kind: str | None = table.features.get(column, {}).get("_type")
    return kind


def _known(table: Table, wanted: str, key: str) -> str:
    if wanted not in table.columns:
        raise DataError(f"dataset.{key}_column is {wanted!r}, but {table.place} has {_all(table)}.")
    return wanted


def _the_one(table: Table, found: Sequence[str], key: str) -> str:
    if len(found) != 1:
        seems = f"{listed(map(repr, found), SHOWN)} may be" if found else "none seems to be"
        raise DataError(
            f"{table.place} has {_all(table)}: {seems} the {key}s. Name the column: "
            f"dataset.{key}_column=…"
        )
    return found[0]


def _all(table: Table) -> str:
    names = (f"{name!r} ({kind[:40]})" for name, kind in table.columns.items())
    return f"the columns {listed(names, SHOWN)}"


class Labels(NamedTuple):
    """The classes of a table's rows."""

    values: list[Any]
    names: tuple[str, ...] | None  # of the classes 0, 1, …, where they are noted


def read_labels(table: Table, column: str) -> Labels:
    """The values of the column, which are whole numbers or texts; DataError names the row of one
    that is not."""
    values = [value for batch in table.batches(column) for value in batch]
    for row, value in enumerate(values):
        if not isinstance(value, (int, str)):
            raise DataError(
                f"{table.place}, row {row}: {column!r} is {value!r}, but a label is a whole number "
                f"or a text."
            )
    noted = table.features.get(column, {}).get("names")
    return Labels(values, tuple(noted) if noted else None)


def numbered(labels: Sequence[Labels]) -> tuple[tuple[str, ...], list[Tensor]]:
    """(class names, the labels of each table as whole numbers from 0). Where names are not noted,
    the classes are the values that occur in any table, sorted."""
    noted = labels[0].names
    if len(orders := {one.names for one in labels if one.names}) > 1:
        one, other = (listed(names, SHOWN) for names in sorted(orders)[:2])
        raise DataError(
            f"dataset.path: one part notes the classes {one}, another {other}: the same number "
            f"does not mean the same class."
        )
    if noted is not None and all(isinstance(value, int) for one in labels for value in one.values):
        return noted, [torch.tensor(one.values, dtype=torch.int64) for one in labels]
    values = {value for one in labels for value in one.values}
    classes = list(noted or sorted(values, key=lambda value: (isinstance(value, str), value)))
    places = {value: place for place, value in enumerate(classes)}
    if unknown := values - set(classes):
        raise DataError(f"the label {min(map(str, unknown))!r} is none of the noted classes.")
    counted = [torch.tensor([places[value] for value in one.values]) for one in labels]
    return tuple(map(str, classes)), counted


def first_image(table: Table, column: str) -> bytes:
    """The file that is in the first row."""
    return _content(table, table.first(column), 0)


def decoded(table: Table, column: str, reader: ImageReader) -> Tensor:
    """All images of the column, uint8 N x C x H x W; DataError names the row of one that cannot be
    read."""
    pixels = torch.empty((table.rows, *reader.shape), dtype=torch.uint8)

    def read(row: int, value: Any) -> None:
        place = Path(f"{table.place}, row {row}")
        pixels[row] = reader(place, content=_content(table, value, row)).pixels

    row = 0
    title = f"decoding {table.place}"
    with (
        ThreadPoolExecutor(free_cores(), "decode") as pool,
        console.bar(title, table.rows, images=1) as bar,
    ):
        for batch in table.batches(column):
            list(pool.map(read, range(row, row + len(batch)), batch))
            row += len(batch)
            bar.advance(len(batch))
    return pixels


def _content(table: Table, value: Any, row: int) -> bytes:
    """The bytes of an image: alone, or beside a path, as `datasets` stores them."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return content
    path = value.get("path") if isinstance(value, dict) else None
    if path and Path(path).is_file():
        return Path(path).read_bytes()
    raise DataError(
        f"{table.place}, row {row} holds no image: neither the bytes of a file nor a path to one."
    )
