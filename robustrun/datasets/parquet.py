"""Parquet files on the disk, as data sets are published on the Hugging Face hub: which files are of
which split, and their rows (https://huggingface.co/docs/hub/datasets-file-names-and-splits).
"""

import json
import logging
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from robustrun.datasets.arrow import AT_ONCE, Table
from robustrun.errors import ConfigError, DataError

log = logging.getLogger(__name__)
TRAIN, TEST = "train", "test"
SHARD = re.compile(r"(.+)-(\d+)-of-(\d+)")  # of a file's name: one of so many
# Words in a file's or a folder's name, and the split that they mean.
WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), TEST),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
}


def read_parquet(place: Path, config: str | None) -> dict[str, Table]:
    """The splits of a parquet file, or of all below a folder; `config` is a sub-folder of it. Files
    whose names say no split are training images. DataError for a file that is none."""
    top = place / config if config is not None else place
    files = [top] if top.is_file() else sorted(top.rglob("*.parquet"))
    if not files:
        raise DataError(
            f"dataset.path: {top} holds no parquet files. Class folders of images are read by "
            f"dataset=image_folder dataset.root={place}."
        )
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(split_of(file.relative_to(place.parent)), []).append(file)
    _require_one_config(top, files)
    if top.is_dir():  # and one file was not chosen
        for name, parts in splits.items():
            _require_all_shards(name, parts)
    return {name: _table(name, files, top) for name, files in splits.items()}


def split_of(file: Path) -> str:
    """The split that the name of a file, or else of a folder above it, says: `train` if none."""
    for part in (file.stem, *reversed(file.parts[1:-1])):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in WORDS:
                return WORDS[word]
    return TRAIN


def _require_one_config(top: Path, files: list[Path]) -> None:
    """DataError if several sub-folders of `top` are variants of a data set: they must not be
    mixed."""
    below = {
        file.relative_to(top).parts[0] for file in files if file.parent not in (top, top.parent)
    }
    if len(variants := sorted(name for name in below if name not in WORDS)) > 1:
        raise DataError(
            f"dataset.path: {top} holds several data sets: {', '.join(variants)}. Choose one: "
            f"dataset.config={variants[0]}"
        )


def _require_all_shards(split: str, files: list[Path]) -> None:
    """Of the files NAME-00000-of-00003.parquet, NAME-00001-of-00003 … all must be there: DataError,
    or for images to train on, a warning."""
    shards = [(file, found) for file in files if (found := SHARD.fullmatch(file.stem))]
    wholes = {(file.parent, found[1], found[3]): file for file, found in shards}
    present = set(files)
    for (_, stem, count), file in wholes.items():
        names = [f"{stem}-{n:0{len(count)}}-of-{count}{file.suffix}" for n in range(int(count))]
        if missing := [name for name in names if file.with_name(name) not in present]:
            said = (
                f"dataset.path: {file.parent} lacks {missing[0]}: {len(missing)} of the "
                f"{int(count)} files of split {split!r} are missing"
            )
            if split != TRAIN:
                raise DataError(f"{said}, and a part of the images would be measured. Fetch them.")
            log.warning(said)
            return


def _table(split: str, files: list[Path], top: Path) -> Table:
    opened = [_opened(file) for file in files]
    schema = opened[0].schema_arrow
    features = _features(opened[0])
    for file, other in zip(files, opened, strict=True):
        if other.schema_arrow.names != schema.names:
            raise DataError(f"{file} has other columns than {files[0]}: {other.schema_arrow.names}")
        if _features(other) != features:
            raise DataError(f"{file} notes other classes or kinds of columns than {files[0]}.")
    return Table(
        place=str(files[0] if len(files) == 1 else f"{top}, {split}"),
        columns={field.name: str(field.type) for field in schema},
        features=features,
        rows=sum(file.metadata.num_rows for file in opened),
        batches=partial(_batches, opened),
    )


def _features(file: Any) -> dict[str, dict[str, Any]]:
    """What `datasets` noted of the columns of a file."""
    noted = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    features: dict[str, dict[str, Any]] = noted.get("info", {}).get("features", {})
    return features


def _opened(file: Path) -> Any:
    pyarrow = installed_pyarrow()
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowInvalid, OSError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read as parquet ({text}).") from error


def _batches(files: list[Any], column: str) -> Iterator[list[Any]]:
    for file in files:
        for batch in file.iter_batches(AT_ONCE, columns=[column]):
            yield batch.column(0).to_pylist()


def installed_pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "pyarrow":
            raise
        raise ConfigError(
            "dataset.path: parquet files are read by pyarrow, which is not installed: "
            "pip install 'robustrun[hf]'."
        ) from None
    return pyarrow
