"""The archives of the corruption benchmarks, on Zenodo, by the folder that they become."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from robustrun.storage.archives import unpacked
from robustrun.storage.transfer import RemoteFile

ZENODO = "https://zenodo.org/records"


class TreeArchive(NamedTuple):
    """An archive of some corruptions, each a folder."""

    file: RemoteFile
    holds: tuple[str, ...]


ARRAYS = {  # NAME.npy in each
    "CIFAR-10-C": RemoteFile(
        f"{ZENODO}/2535967/files/CIFAR-10-C.tar",
        "md5:56bf5dcef84df0e2308c6dcbcbbd8499",
        2_918_471_680,
    ),
    "CIFAR-10-P": RemoteFile(
        f"{ZENODO}/2535967/files/CIFAR-10-P.tar", "md5:125d6775afc5846ea84584d7524dedff"
    ),
    "CIFAR-100-C": RemoteFile(
        f"{ZENODO}/3555552/files/CIFAR-100-C.tar",
        "md5:11f0ed0f1191edbf9fa23466ae6021d3",
        2_918_473_216,
    ),
}
IMAGENET_C = f"{ZENODO}/2235448/files"
TREES = {  # CORRUPTION/SEVERITY/WNID/IMAGE in each
    "ImageNet-C": (
        TreeArchive(
            RemoteFile(
                f"{IMAGENET_C}/noise.tar", "md5:e80562d7f6c3f8834afb1ecf27252745", 22_565_673_785
            ),
            ("gaussian_noise", "shot_noise", "impulse_noise"),
        ),
        TreeArchive(
            RemoteFile(
                f"{IMAGENET_C}/blur.tar", "md5:2d8e81fdd8e07fef67b9334fa635e45c", 7_112_704_951
            ),
            ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        ),
        TreeArchive(
            RemoteFile(
                f"{IMAGENET_C}/weather.tar", "md5:33ffea4db4d93fe4a428c40a6ce0c25d", 12_797_438_995
            ),
            ("snow", "frost", "fog", "brightness"),
        ),
        TreeArchive(
            RemoteFile(
                f"{IMAGENET_C}/digital.tar", "md5:89157860d7b10d5797849337ca2e5c03", 7_757_510_705
            ),
            ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
        ),
        TreeArchive(
            RemoteFile(
                f"{IMAGENET_C}/extra.tar", "md5:d492dfba5fc162d8ec2c3cd8ee672984", 15_789_490_144
            ),
            ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
        ),
    ),
}
TINY = RemoteFile(  # becomes Tiny-ImageNet-C/, with the fifteen corruptions
    f"{ZENODO}/8206060/files/Tiny-ImageNet-C.tar", "md5:f9c9a9dbdc11469f0b850190f7ad8be1"
)
FOLDERS = {*TREES, "Tiny-ImageNet-C"}
WHOLE = ARRAYS | {"Tiny-ImageNet-C": TINY}


def fetched(root: str, names: Sequence[str], key: str, download: bool) -> Path:
    """The folder at `root`; what it lacks of `names` is unpacked from an archive that lies there or
    is fetched (`download`), if its own name is that of a benchmark. DataError says what to put
    where; `key` is the setting that names it."""
    folder = Path(root).expanduser().absolute()
    if folder.name in WHOLE:
        return unpacked(WHOLE[folder.name], folder, key, download)
    for archive in TREES.get(folder.name, ()):
        for name in sorted({*names} & {*archive.holds}):
            if not list(folder.glob(f"*/{name}/")):  # sorted into noise/, blur/ …
                unpacked(archive.file, folder / name, key, download)
    return folder
