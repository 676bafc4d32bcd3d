"""Arrays of .npz files: mapped or read, checked, and never unpickled."""

from pathlib import Path

import numpy as np
import pytest
from storage.zips import encrypt

from robustrun.datasets.stored_arrays import StoredArrays
from robustrun.errors import DataError

LEVELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        LEVELS,
        np.asfortranarray(LEVELS),
        LEVELS[:, ::2],
        LEVELS.astype(">f4"),
        LEVELS[:0],
        LEVELS[0, 0, 0],
    ],
)
def test_an_array_is_what_was_saved(tmp_path: Path, save: object, array: np.ndarray) -> None:
    save(tmp_path / "a.npz", first=LEVELS, mine=array)  # type: ignore[operator]
    stored = StoredArrays(tmp_path / "a.npz", "dataset.file")
    assert stored.names == ["first", "mine"]
    assert stored["mine"].dtype == array.dtype
    assert np.array_equal(stored["mine"], array)


def test_what_is_not_compressed_is_mapped_and_the_file_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, mine=LEVELS)
    mapped = StoredArrays(path, "dataset.file")["mine"]
    assert isinstance(mapped, np.memmap)
    mapped[:] = 0
    assert np.array_equal(StoredArrays(path, "dataset.file")["mine"], LEVELS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_changed_byte_is_noticed(tmp_path: Path, save: object) -> None:
    path = tmp_path / "a.npz"
    save(path, mine=np.random.default_rng(0).integers(0, 256, 500, dtype=np.uint8))  # type: ignore[operator]
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"^dataset\.file: the array 'mine' of .* cannot be read"):
        StoredArrays(path, "dataset.file")["mine"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_encrypted_file_is_told_so(tmp_path: Path, save: object) -> None:
    save(tmp_path / "a.npz", mine=LEVELS)  # type: ignore[operator]
    stored = StoredArrays(encrypt(tmp_path / "a.npz"), "dataset.file")
    with pytest.raises(
        DataError, match=r"'mine' of .*a\.npz cannot be read \(File 'mine\.npy' is enc"
    ):
        stored["mine"]


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_python_objects_are_refused_and_never_unpickled(tmp_path: Path, save: object) -> None:
    canary = tmp_path / "canary"
    objects = np.array([MakesFolder(canary)], dtype=object)
    save(tmp_path / "a.npz", mine=objects)  # type: ignore[operator]
    with pytest.raises(DataError, match="holds Python objects, which are not unpickled"):
        StoredArrays(tmp_path / "a.npz", "dataset.file")["mine"]
    assert not canary.exists()


def test_what_is_no_npz_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.npz is not there"):
        StoredArrays(tmp_path / "none.npz", "dataset.file")
    np.save(tmp_path / "a.npy", LEVELS)
    with pytest.raises(DataError, match=r"a\.npy is no \.npz file.*numpy\.savez"):
        StoredArrays(tmp_path / "a.npy", "dataset.file")
    np.savez(tmp_path / "a.npz", mine=LEVELS)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-30])
    with pytest.raises(DataError, match="or is incomplete"):
        StoredArrays(tmp_path / "a.npz", "dataset.file")
