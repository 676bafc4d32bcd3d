"""A CSV or TSV file of image paths and labels: columns path, label, and split if there is one."""

import csv
import io
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from robustrun.datasets.checks import require_learnt
from robustrun.datasets.holdout import HoldoutSettings, hold_out
from robustrun.datasets.tree import FileList, Tree, quoted
from robustrun.errors import DataError, did_you_mean, shown

log = logging.getLogger(__name__)
COLUMNS = ("path", "label", "split")
SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
KEY = "dataset.labels"


class Row(NamedTuple):
    """An image of the file; `split` is empty where the file has no such column."""

    number: int  # of its line, from 1
    path: str
    label: str
    split: str


def listed_tree(file: str, root: str, settings: HoldoutSettings) -> Tree:
    """The images that a file lists, below `root`; DataError, with the row, if one is wrong.

    Classes are in the order of their numbers if all labels are whole numbers, else alphabetical.
    Without a test part, val is it; without val, one is held out.
    """
    top = Path(root).expanduser().absolute()
    path = _found(file, top)
    rows = read_rows(path)
    _require_files(rows, top, path)
    parts = _parts(rows, path)
    used = [row for part in parts.values() for row in part]
    names = in_order({row.label for row in used})
    if len(names) < 2:
        raise DataError(f"{KEY}: {path} needs images of two classes, but has {quoted([*names])}.")
    train, test = (_files(parts.get(name, []), names, top) for name in ("train", "test"))
    if not parts.get("test"):
        part = hold_out(train.labels, names, settings, str(path))
        return Tree(names, train.subset(part.train), train.subset(part.test), part.told)
    if len(train.names):
        labels = train.labels, test.labels
        require_learnt(labels, names, "the part to train on", f"{KEY}: the test part of {path}")
    from_val = not any(SPLITS.get(row.split.lower()) == "test" for row in rows)
    return Tree(names, train, test, "val" if from_val else None)


def _found(file: str, top: Path) -> Path:
    """The file, as it is named or below the root."""
    here, below = Path(file).expanduser().absolute(), top / file
    for path in (here, below):
        if path.is_file():
            return path
    raise DataError(f"{KEY}: {shown(here)} is not there, nor is {shown(below)}.")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file; DataError for a column, a cell or a split that is not as it should be."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{KEY}: {shown(path)} cannot be read as UTF-8 ({error}).") from error
    reader = csv.reader(io.StringIO(text), delimiter=_delimiter(path, text.partition("\n")[0]))
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _require_columns(header, path)
        rows = [_row(header, cells, reader.line_num, path) for cells in reader if cells]
    except csv.Error as error:
        raise DataError(f"{KEY}: {path}, row {reader.line_num}: {error}.") from error
    if not rows:
        raise DataError(f"{KEY}: {path} lists no image.")
    first: dict[str, int] = {}
    for row in rows:
        place = os.path.normpath(row.path)
        if (before := first.setdefault(place, row.number)) != row.number:
            raise DataError(
                f"{KEY}: {path}, row {row.number}: {row.path!r} is in row {before} already."
            )
    return rows


def _delimiter(path: Path, header: str) -> str:
    if path.suffix.lower() in (".tsv", ".tab") or ("\t" in header and "," not in header):
        return "\t"
    return ";" if ";" in header and "," not in header else ","


def _require_columns(header: Sequence[str], path: Path) -> None:
    unknown = [name for name in header if name not in COLUMNS]
    wrong = [f"{name!r} is not a column.{did_you_mean(name, COLUMNS)}" for name in unknown]
    wrong += [f"it has no column {name!r}." for name in COLUMNS[:2] if name not in header]
    wrong += ["it has a column twice."] if len(set(header)) < len(header) else []
    if wrong:
        raise DataError(
            f"{KEY}: {path}, row 1: {wrong[0]} The first row names the columns: path, label, and "
            f"split if parts are given."
        )


def _row(header: Sequence[str], cells: Sequence[str], number: int, path: Path) -> Row:
    if len(cells) != len(header):
        raise DataError(
            f"{KEY}: {path}, row {number} has {len(cells)} cells, but there are {len(header)} "
            f"columns. A comma inside a cell needs quotes around the cell."
        )
    row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
    if empty := [name for name, cell in row.items() if not cell]:
        raise DataError(f"{KEY}: {path}, row {number}: the {empty[0]} is empty.")
    split = row.get("split", "")
    if split and split.lower() not in SPLITS:
        raise DataError(
            f"{KEY}: {path}, row {number}: the split is {split!r}, but must be train, test or val."
        )
    return Row(number, row["path"], row["label"], split)


def _require_files(rows: Sequence[Row], top: Path, path: Path) -> None:
    missing = [row for row in rows if not (top / row.path).is_file()]
    if not missing:
        return
    first = missing[0]
    hint = f" They are expected below dataset.root, which is {shown(top)}."
    if (path.parent / first.path).is_file():
        hint += f" This one is below {shown(path.parent)}: set dataset.root to that."
    raise DataError(
        f"{KEY}: {path}, row {first.number}: there is no file {first.path!r} (of {len(rows)} rows, "
        f"{len(missing)} have none).{hint}"
    )


def _parts(rows: Sequence[Row], path: Path) -> dict[str, list[Row]]:
    """The rows to train on, and those to test on if a part says so."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(SPLITS[row.split.lower()] if row.split else "train", []).append(row)
    if "val" in parts and "test" in parts:
        log.info(
            "the %d rows of %s with val are not used: test is measured", len(parts["val"]), path
        )
        del parts["val"]
    elif "val" in parts:
        log.info("the part val of %s is taken as the test part: there is no test", path)
        parts["test"] = parts.pop("val")
    if "train" not in parts:
        log.warning("%s has a test part alone: there are no training images", path)
    return parts


def in_order(labels: set[str]) -> tuple[str, ...]:
    if all(label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _files(rows: Sequence[Row], names: Sequence[str], top: Path) -> FileList:
    places = {name: place for place, name in enumerate(names)}
    paths = [os.fsencode(path) for path in _below(rows, top)]
    labels = torch.tensor([places[row.label] for row in rows], dtype=torch.int64)
    return FileList(top, np.array(paths, dtype=None if paths else "S1"), labels)


def _below(rows: Sequence[Row], top: Path) -> Iterator[str]:
    """The paths as seen from the root, with forward slashes."""
    for row in rows:
        yield Path(os.path.relpath(top / row.path, top)).as_posix()
