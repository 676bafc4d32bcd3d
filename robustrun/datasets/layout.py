"""Which folders of a data set's root hold the training and the test images.

`train/` and `test/`; `train/` and `val/` (or `valid/`, `validation/`), which is then the test part;
`train/` alone, or class folders alone, from which a test part is cut; a test part alone, to be
measured. What else might be meant is refused.
"""

import logging
import os
from pathlib import Path

from robustrun.datasets.holdout import HoldoutSettings, hold_out
from robustrun.datasets.tree import Tree, quoted, read_class_folders, read_tree
from robustrun.errors import DataError

log = logging.getLogger(__name__)
TRAIN, TEST = "train", "test"
VALIDATION = ("val", "valid", "validation")
# No classes of a flat tree: what such a folder holds is a split, under a name that is not read.
SPLITS = (TRAIN, TEST, *VALIDATION, "training", "testing", "tests", "trainset", "testset", "dev")
EXPECTED = (
    "train/CLASS/IMAGE and test/CLASS/IMAGE (or val/ in place of test/), train/CLASS/IMAGE alone, "
    "or CLASS/IMAGE, from which a test part is cut; or a file of paths and labels (dataset.labels)"
)


def image_tree(root: str, settings: HoldoutSettings) -> Tree:
    """The images below `root`; DataError if it is not plain which are to train and to test on."""
    top = Path(root).expanduser().absolute()
    if not top.is_dir():
        raise DataError(
            f"{top} is not a folder. dataset.root is {root!r}; below it, images are expected as "
            f"{EXPECTED}."
        )
    folders = _folders(top)
    measured = _test_folder(top, folders)
    if measured is not None:
        return _with_test_part(top, measured, folders)
    _require_plain(top, folders)
    return _in_one_piece(top / TRAIN if TRAIN in folders else top, settings)


def _folders(top: Path) -> list[str]:
    with os.scandir(top) as entries:
        return sorted(entry.name for entry in entries if _counts(entry))


def _counts(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith((".", "__"))


def _test_folder(top: Path, folders: list[str]) -> str | None:
    """The folder of the test part."""
    validation = [name for name in VALIDATION if name in folders]
    if TEST in folders:
        if validation:
            log.info("%s is not used: test/ is measured", top / validation[0])
        return TEST
    if len(validation) > 1:
        raise DataError(
            f"{top} has {quoted(validation)} and no test/: which one is the test part cannot be "
            f"seen. Rename it to test/."
        )
    return validation[0] if validation else None


def _with_test_part(top: Path, measured: str, folders: list[str]) -> Tree:
    tree = read_tree(top / TRAIN, top / measured)
    if measured == TEST:
        return tree
    log.info("%s is taken as the test part: there is no test/", top / measured)
    return tree._replace(test_from=f"{measured}/")


def _in_one_piece(folder: Path, settings: HoldoutSettings) -> Tree:
    """The images of one folder of class folders, with a test part cut off."""
    names, files = read_class_folders(folder)
    part = hold_out(files.labels, names, settings, str(folder))
    return Tree(names, files.subset(part.train), files.subset(part.test), part.told)


def _require_plain(top: Path, folders: list[str]) -> None:
    """DataError if a folder may be a split or a class."""
    beside = [name for name in folders if name != TRAIN]
    if TRAIN in folders and beside:
        raise DataError(
            f"{top} has train/ and beside it {quoted(beside)}, but neither test/ nor val/: what is "
            f"meant cannot be seen. Rename the test part to test/, or move what is none elsewhere: "
            f"of train/ alone, a test part is cut."
        )
    if unread := [name for name in folders if name.lower() in SPLITS and name != TRAIN]:
        raise DataError(
            f"{top} has {quoted(unread)}, which seems to be a split and not a class. Expected is "
            f"{EXPECTED}."
        )
