"""The benchmarks' archives: unpacked where they were put, or told with their sums."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from robustrun.datasets import corruption_archives
from robustrun.datasets.corruption_archives import TREES, WHOLE, TreeArchive, fetched
from robustrun.datasets.corruptions import CORRUPTIONS, EXTRA_CORRUPTIONS
from robustrun.errors import DataError
from robustrun.storage.transfer import RemoteFile

KEY = "evaluation.corruptions.root"


def make_tar(place: Path, *names: str) -> RemoteFile:
    """An archive with a file of each name."""
    with tarfile.open(place, "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return RemoteFile(
        f"https://example.invalid/{place.name}",
        f"md5:{hashlib.md5(place.read_bytes()).hexdigest()}",
    )


def test_each_archive_of_imagenet_c_holds_its_corruptions_and_all_have_sums() -> None:
    held = [name for archive in TREES["ImageNet-C"] for name in archive.holds]
    assert sorted(held) == sorted(CORRUPTIONS + EXTRA_CORRUPTIONS)
    files = [*WHOLE.values(), *(archive.file for archive in TREES["ImageNet-C"])]
    sums = {file.checksum for file in files}
    assert len(sums) == len(files) == 9
    assert all(len(checksum or "") == len("md5:") + 32 for checksum in sums)


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_a_folder_that_is_called_as_a_benchmark_is_told_with_its_archive(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(DataError) as caught:
        fetched(str(tmp_path / name), ["fog"], KEY, download=False)
    for part in (
        f"{KEY}: {name}.tar could not be fetched (evaluation.corruptions.download is false)",
        f"zenodo.org/records/{WHOLE[name].url.split('/')[4]}/files/{name}.tar",
        f"put it at {tmp_path / name}.tar",
    ):
        assert part in str(caught.value)


def test_an_archive_beside_its_folder_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_tar(tmp_path / "CIFAR-10-C.tar", "CIFAR-10-C/fog.npy", "CIFAR-10-C/labels.npy")
    monkeypatch.setitem(corruption_archives.WHOLE, "CIFAR-10-C", file)
    root = fetched(str(tmp_path / "CIFAR-10-C"), ["fog"], KEY, download=False)
    assert sorted(path.name for path in root.iterdir()) == ["fog.npy", "labels.npy"]


def test_of_imagenet_c_only_archives_are_needed_whose_corruptions_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "ImageNet-C"
    (root / "weather" / "snow").mkdir(parents=True)  # sorted by kind
    image = "1/n01/a.JPEG"
    file = make_tar(root / "blur.tar", f"glass_blur/{image}", f"zoom_blur/{image}")
    known = TreeArchive(file, ("glass_blur", "zoom_blur"))
    others = [archive for archive in TREES["ImageNet-C"] if "glass_blur" not in archive.holds]
    monkeypatch.setitem(corruption_archives.TREES, "ImageNet-C", (known, *others))
    assert fetched(str(root), ["snow", "zoom_blur"], KEY, download=False) == root
    assert (root / "zoom_blur" / image).is_file()
    with pytest.raises(DataError, match=r"noise\.tar could not be fetched .*22,565\.7 MB"):
        fetched(str(root), ["shot_noise"], KEY, download=False)


def test_a_folder_of_another_name_is_taken_as_it_is(tmp_path: Path) -> None:
    assert fetched(str(tmp_path / "mine"), ["fog"], KEY, download=True) == tmp_path / "mine"
