"""Data sets: which images they give, how these are augmented, and what bad files lead to."""

import dataclasses
import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from robustrun.datasets.augmentation import Augment, random_crop, random_flip
from robustrun.datasets.cifar import Cifar
from robustrun.datasets.digits import Digits
from robustrun.datasets.files import FileImages
from robustrun.datasets.folder import ImageFolder, ImageNet
from robustrun.datasets.longtail import long_tailed_counts, long_tailed_indices, make_splits
from robustrun.datasets.settings import Radii
from robustrun.datasets.tensors import TensorImages
from robustrun.datasets.validation import cut_validation
from robustrun.errors import ConfigError, DataError
from robustrun.types import Images, Splits

COMMON: dict[str, Any] = {
    "policy": None,
    "crop_padding": 0,
    "crop_border": "zeros",
    "flip": False,
    "color_jitter": 0.0,
    "rotation": 0.0,
    "imbalance_ratio": None,
    "imbalance_seed": 0,
    "mean": (0.5,),
    "std": (0.25,),
    "epsilon": Radii(linf=0.1, l2=0.5, l1=2.0),
}
# With Python 3.12 and later, a fork of a process that has threads (torch's own) is warned of.
forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def digits(**changed: Any) -> Digits:
    return Digits(**COMMON | changed)


def numbered(count: int, augment: Augment | None = None) -> TensorImages:
    """Images 1 x 2 x 2 of which each pixel holds the image's own number."""
    pixels = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 1, 2, 2)
    return TensorImages(pixels.contiguous(), torch.arange(count) % 3, augment)


def numbers(images: Images) -> list[int]:
    return [round(float(x[0, 0, 0]) * 255) for batch, _ in images.batches(4) for x in batch]


def whole(images: Images, batch_size: int = 7, order: Tensor | None = None) -> Tensor:
    return torch.cat([x for x, _ in images.batches(batch_size, order)])


# --- digits ------------------------------------------------------------------------------------


def test_digits_are_the_1797_of_the_source_split_in_file_order() -> None:
    splits = digits().load()
    assert (len(splits.train), len(splits.test)) == (1437, 360)
    assert splits.train.shape == (1, 8, 8)
    assert splits.class_names == tuple("0123456789")
    x = whole(splits.train)
    assert x.dtype == torch.float32
    assert torch.equal(x.unique(), torch.arange(17) / 16)
    # The first ten digits of the source file, as its documentation shows them.
    assert splits.train.labels[:10].tolist() == list(range(10))


# --- long tails --------------------------------------------------------------------------------


def test_long_tailed_counts_are_the_published_ones() -> None:
    cifar10 = [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100]
    assert long_tailed_counts(5000, 10, 0.02) == cifar10
    assert sum(cifar10) == 13_996
    cifar100 = long_tailed_counts(500, 100, 0.1)
    assert (cifar100[0], cifar100[-1], sum(cifar100)) == (500, 50, 19_573)


def test_counts_that_are_whole_numbers_are_not_rounded_down() -> None:
    # 1e-3 ** (1 / 3) is 0.09999999999999998 in floating point.
    assert long_tailed_counts(1000, 4, 1e-3) == [1000, 100, 10, 1]


def test_long_tailed_subset_is_the_authors_at_their_seed() -> None:
    labels = torch.from_numpy(np.random.default_rng(1).permutation(np.repeat(np.arange(10), 50)))
    mine = long_tailed_indices(labels, 10, 0.1, seed=3)
    # Once more by the book, from NumPy's global generator as the authors have it.
    np.random.seed(3)
    theirs: list[int] = []
    for label in range(10):
        indices = np.where(labels.numpy() == label)[0]
        np.random.shuffle(indices)
        theirs += indices[: int(50 * 0.1 ** (label / 9))].tolist()
    assert mine.tolist() == theirs


def test_long_tailed_subset_leaves_the_test_part_and_numpys_global_generator_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    splits = digits(imbalance_ratio=0.1).load()
    assert np.array_equal(np.random.get_state()[1], before)
    assert len(splits.test) == 360
    assert splits.chosen is not None
    assert len(splits.chosen.unique()) == len(splits.train) == len(splits.chosen)
    assert torch.equal(splits.train.labels, digits().load().train.labels[splits.chosen])
    counts = splits.train.labels.bincount().tolist()
    assert counts == long_tailed_counts(143, 10, 0.1)
    assert not torch.equal(
        splits.chosen, digits(imbalance_ratio=0.1, imbalance_seed=1).load().chosen
    )


def test_classes_of_differing_size_keep_at_most_what_they_have() -> None:
    labels = torch.tensor([0] * 2 + [1] * 10)
    assert long_tailed_indices(labels, 2, 0.5, seed=0).sort().values[:2].tolist() == [0, 1]
    assert labels[long_tailed_indices(labels, 2, 0.5, seed=0)].bincount().tolist() == [2, 3]


def test_ratio_that_empties_a_class_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"imbalance_ratio is 0\.001.* class [0-9]"):
        digits(imbalance_ratio=0.001).load()


# --- settings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crop_padding", -1),
        ("color_jitter", 1.5),
        ("rotation", -1.0),
        ("imbalance_ratio", 0.0),
        ("imbalance_ratio", 1.5),
        ("imbalance_seed", -1),
        ("mean", ()),
        ("std", (1.0, 1.0)),
        ("std", (0.0,)),
    ],
)
def test_settings_out_of_range_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{key} is "):
        digits(**{key: value})


def test_radius_that_is_not_positive_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^l2 is 0"):
        Radii(linf=0.1, l2=0.0, l1=1.0)


# --- augmentation ------------------------------------------------------------------------------


def test_crop_shifts_by_at_most_the_padding_and_finds_every_offset() -> None:
    torch.manual_seed(0)
    image = torch.arange(1, 3 * 5 * 6 + 1, dtype=torch.uint8).view(1, 3, 5, 6)
    padded = torch.nn.functional.pad(image, [2] * 4)[0]
    windows = {(dy, dx): padded[:, dy : dy + 5, dx : dx + 6] for dy in range(5) for dx in range(5)}
    counts = dict.fromkeys(windows, 0)
    for crop in random_crop(image.expand(2000, 3, 5, 6), 2):
        (found,) = [place for place, window in windows.items() if torch.equal(crop, window)]
        counts[found] += 1
    # 2000 crops over 25 places: 80 each, standard deviation 8.8; 40 is 4.5 of them away.
    assert min(counts.values()) > 40
    assert max(counts.values()) < 120


def test_crop_takes_each_image_from_itself() -> None:
    torch.manual_seed(0)
    crops = random_crop(
        torch.arange(1, 101, dtype=torch.uint8).view(100, 1, 1, 1).expand(-1, 2, 4, 4), 1
    )
    for number, crop in enumerate(crops, start=1):
        assert set(crop.unique().tolist()) <= {0, number}
        assert (crop == number).sum() >= 2 * 3 * 3


def test_half_of_the_images_are_mirrored() -> None:
    torch.manual_seed(0)
    image = torch.arange(12.0).view(1, 2, 2, 3)
    flipped = random_flip(image.expand(4000, 2, 2, 3))
    mirrored = (flipped == image.flip(-1)).all(dim=(1, 2, 3))
    same = (flipped == image).all(dim=(1, 2, 3))
    assert (mirrored ^ same).all()
    # Standard deviation of the share: 0.0079.
    assert abs(mirrored.float().mean() - 0.5) < 0.04


def test_augmentation_is_repeated_under_the_same_seed_and_changes_under_another() -> None:
    images = TensorImages(
        torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8),
        torch.zeros(50, dtype=torch.int64),
        Augment(crop_padding=2, flip=True),
    )
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(whole(images))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_plain_images_are_the_stored_ones_and_draw_nothing() -> None:
    images = numbered(9, Augment(crop_padding=1, flip=True)).plain()
    before = torch.get_rng_state()
    assert numbers(images) == list(range(9))
    assert torch.equal(torch.get_rng_state(), before)


# --- batches -----------------------------------------------------------------------------------


def test_batches_come_in_the_given_order_with_their_labels() -> None:
    images = numbered(10)
    order = torch.tensor([9, 0, 4, 7, 1])
    batches = list(images.batches(2, order))
    assert [len(x) for x, _ in batches] == [2, 2, 1]
    assert [
        round(v) for v in (whole(images, 2, order)[:, 0, 0, 0] * 255).tolist()
    ] == order.tolist()
    assert torch.cat([y for _, y in batches]).tolist() == (order % 3).tolist()


def test_subset_and_order_compose() -> None:
    assert numbers(numbered(10).subset(torch.tensor([8, 2, 5])).subset(torch.tensor([2, 0]))) == [
        5,
        8,
    ]


def test_changing_a_batch_does_not_change_the_data() -> None:
    splits = digits().load()
    before = splits.test.fingerprint()
    for x, _ in splits.test.batches(100):
        x.zero_()
    assert splits.test.fingerprint() == before


def test_fingerprint_depends_on_pixels_labels_and_shape_alone() -> None:
    images = numbered(6)
    same = dataclasses.replace(images, pixels=images.pixels.clone(), augment=Augment(1, True))
    assert images.fingerprint() == same.fingerprint()
    changed = images.pixels.clone()
    changed[5, 0, 1, 1] += 1
    others = [
        dataclasses.replace(images, pixels=changed),
        dataclasses.replace(images, labels=images.labels.flip(0)),
        dataclasses.replace(images, pixels=images.pixels.view(6, 2, 2, 1)),
        images.subset(torch.arange(5)),
    ]
    assert len({i.fingerprint() for i in [images, *others]}) == 5


# --- validation --------------------------------------------------------------------------------


def splits_of(train: Images, **changed: Any) -> Splits:
    return Splits(train, numbered(2), ("a", "b", "c"), **changed)


@pytest.mark.parametrize("validation_from", ["random", "tail"])
def test_training_and_validation_are_disjoint_and_complete(validation_from: str) -> None:
    splits = splits_of(numbered(50), validation_from=validation_from)
    train, validation = cut_validation(splits, 0.1, seed=0)
    assert validation is not None
    assert len(validation) == 5
    assert sorted(numbers(train) + numbers(validation)) == list(range(50))


def test_random_validation_depends_on_its_seed_alone() -> None:
    splits = splits_of(numbered(50))
    cuts = []
    for state, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        validation = cut_validation(splits, 0.1, seed)[1]
        assert validation is not None
        assert torch.equal(torch.get_rng_state(), before)
        cuts.append(numbers(validation))
    assert cuts[0] == cuts[1] != cuts[2]


def test_tail_is_the_tail_of_the_files_also_in_a_long_tailed_subset() -> None:
    whole_tail = cut_validation(splits_of(numbered(50), validation_from="tail"), 0.1, seed=0)[1]
    assert whole_tail is not None
    assert numbers(whole_tail) == [45, 46, 47, 48, 49]
    full = numbered(60)
    splits = make_splits(full, full, ("a", "b", "c"), 0.5, 0, validation_from="tail")
    train, tail = cut_validation(splits, 0.3, seed=0)
    assert tail is not None
    assert splits.chosen is not None
    last = splits.chosen.sort().values[-len(tail) :]
    assert sorted(numbers(tail)) == last.tolist()
    assert max(numbers(train)) < min(numbers(tail))
    assert len(tail.labels.unique()) > 1


def test_validation_is_not_augmented_and_training_is() -> None:
    splits = splits_of(numbered(50, Augment(crop_padding=1, flip=True)))
    train, validation = cut_validation(splits, 0.5, seed=0)
    assert isinstance(train, TensorImages)
    assert isinstance(validation, TensorImages)
    assert validation.augment is None
    assert train.augment == Augment(crop_padding=1, flip=True)
    assert digits().load().test.augment is None  # type: ignore[attr-defined]


def test_fraction_zero_gives_none_and_a_tiny_one_gives_one_image() -> None:
    splits = splits_of(numbered(10))
    train, validation = cut_validation(splits, 0.0, seed=0)
    assert validation is None
    assert train is splits.train
    train, validation = cut_validation(splits, 1e-6, seed=0)
    assert validation is not None
    assert (len(train), len(validation)) == (9, 1)


def test_fraction_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="validation_fraction"):
        cut_validation(splits_of(numbered(4)), 0.99, seed=0)


# --- image folders -----------------------------------------------------------------------------


def save(path: Path, seed: int, size: tuple[int, int] = (10, 10), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = {"L": 1, "RGB": 3}[mode]
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands), dtype=np.uint8)
    Image.fromarray(levels.squeeze(-1) if bands == 1 else levels).save(path)


def make_tree(root: Path, test: str = "test", **how: Any) -> Path:
    """Two classes, of 5 and 3 training images and 2 test images each."""
    for split, counts in (("train", (5, 3)), (test, (2, 2))):
        for name, count in zip(("bee", "ant"), counts, strict=True):
            for number in range(count):
                seed = hash_of(f"{split}{name}{number}")
                save(root / split / name / f"{number}.png", seed, **how)
    return root


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def folder(root: Path, **changed: Any) -> ImageFolder:
    settings: dict[str, Any] = {
        "root": str(root),
        "image_size": None,
        "channels": None,
        "background": (1.0,),
        "memory_limit_gb": 1.0,
        "workers": 0,
    }
    return ImageFolder(**settings | COMMON | changed)


def test_folder_gives_classes_in_alphabetical_order_and_the_files_pixels(tmp_path: Path) -> None:
    splits = folder(make_tree(tmp_path)).load()
    assert splits.class_names == ("ant", "bee")
    assert splits.train.labels.tolist() == [0] * 3 + [1] * 5
    assert (len(splits.test), splits.train.shape) == (4, (3, 10, 10))
    with Image.open(tmp_path / "train" / "bee" / "4.png") as image:
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    assert torch.equal(whole(splits.train)[7], expected)


@forks
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("image_size", [None, 8])
def test_folder_read_lazily_gives_the_same_batches_as_from_memory(
    tmp_path: Path, workers: int, image_size: int | None
) -> None:
    make_tree(tmp_path, size=(12, 10) if image_size else (10, 10))
    how: dict[str, Any] = {"image_size": image_size, "crop_padding": 2, "flip": True}
    how |= {"crop_border": "reflect", "policy": "randaugment", "color_jitter": 0.2, "rotation": 5.0}
    kept = folder(tmp_path, **how, workers=workers).load()
    lazy = folder(tmp_path, **how, workers=workers, memory_limit_gb=0.0).load()
    assert isinstance(kept.train.to(torch.device("cpu")), TensorImages)
    assert isinstance(lazy.train.to(torch.device("cpu")), FileImages)
    order = torch.tensor([7, 0, 3, 3, 5])
    for split in ("train", "test"):
        batches = []
        for splits in (kept, lazy):
            torch.manual_seed(0)
            batches.append(list(getattr(splits, split).batches(2, order % 4)))
        for (x, y), (u, v) in zip(*batches, strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)


def test_files_subset_plain_and_fingerprint_follow_the_files(tmp_path: Path) -> None:
    lazy = folder(make_tree(tmp_path), memory_limit_gb=0.0, crop_padding=2).load().train
    kept = folder(tmp_path).load().train
    some = torch.tensor([6, 1])
    assert torch.equal(whole(lazy.subset(some).plain()), whole(kept.subset(some)))
    assert lazy.subset(some).labels.tolist() == [1, 0]
    before = lazy.fingerprint()
    assert before == lazy.plain().fingerprint()
    assert before != lazy.subset(some).fingerprint()
    save(tmp_path / "train" / "ant" / "0.png", seed=0, size=(10, 11))
    assert before != lazy.fingerprint()


def test_image_size_scales_the_shorter_side_and_takes_the_middle(tmp_path: Path) -> None:
    make_tree(tmp_path, size=(12, 6))
    levels = np.zeros((6, 12, 3), dtype=np.uint8)
    levels[:, 3:9] = 200  # the middle square
    Image.fromarray(levels).save(tmp_path / "train" / "ant" / "0.png")
    x = whole(folder(tmp_path, image_size=6).load().train)[0]
    assert torch.equal(x, torch.full((3, 6, 6), 200 / 255))


@pytest.mark.parametrize(
    ("mode", "channels", "expected"), [("L", None, 1), ("L", 3, 3), ("RGB", 1, 1), ("RGB", None, 3)]
)
def test_channels_are_as_set_or_as_in_the_first_image(
    tmp_path: Path, mode: str, channels: int | None, expected: int
) -> None:
    train = folder(make_tree(tmp_path, mode=mode), channels=channels).load().train
    assert whole(train).shape == (8, expected, 10, 10)


def test_folder_can_be_long_tailed(tmp_path: Path) -> None:
    splits = folder(make_tree(tmp_path), imbalance_ratio=0.5).load()
    assert splits.train.labels.bincount().tolist() == [3, 2]
    assert len(splits.test) == 4


def broken(root: Path, fault: str) -> None:
    """A good tree with one fault."""
    make_tree(root)
    bee = root / "train" / "bee"
    if fault == "corrupt":
        (bee / "1.png").write_bytes(b"not an image")
    elif fault == "truncated":
        (bee / "1.png").write_bytes((bee / "1.png").read_bytes()[:60])
    elif fault == "size":
        save(bee / "1.png", seed=0, size=(9, 10))
    elif fault == "deep":
        Image.fromarray(np.zeros((10, 10), dtype=np.uint16)).save(bee / "1.png")
    elif fault == "empty class":
        for file in bee.iterdir():
            file.rename(file.with_suffix(".txt"))
    elif fault == "missing split":
        (root / "test").rename(root / "val")
    elif fault == "extra in test":
        save(root / "test" / "cat" / "0.png", seed=0)
    elif fault == "extra in train":
        save(root / "train" / "cat" / "0.png", seed=0)
    elif fault == "one class":
        (root / "train" / "ant").rename(root / "ant")


@forks
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("memory_limit_gb", [0.0, 1.0])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("corrupt", r"train/bee/1\.png cannot be read"),
        ("truncated", r"train/bee/1\.png cannot be read"),
        ("size", r"train/bee/1\.png is 9 x 10 .*10 x 10\. Set dataset\.image_size"),
        ("deep", r"train/bee/1\.png has more than 8 bits"),
    ],
)
def test_bad_image_among_good_ones_is_named(
    tmp_path: Path, fault: str, message: str, memory_limit_gb: float, workers: int
) -> None:
    broken(tmp_path, fault)
    with pytest.raises(DataError, match=message) as caught:
        whole(folder(tmp_path, memory_limit_gb=memory_limit_gb, workers=workers).load().train)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("empty class", r"train/bee has no images"),
        ("missing split", r"/test is not a folder.*test/CLASS/IMAGE"),
        ("extra in test", r"/test has 1 class folder that .*/train lacks: 'cat'"),
        ("extra in train", r"/train has 1 class folder that .*/test lacks: 'cat'"),
        ("one class", r"/train needs at least two class folders.*only 'bee'"),
    ],
)
def test_tree_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, fault: str, message: str
) -> None:
    broken(tmp_path, fault)
    with pytest.raises(DataError, match=message):
        folder(tmp_path).load()


def test_empty_and_missing_trees_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not a folder.*dataset\.root"):
        folder(tmp_path / "nowhere").load()
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"at least two class folders.*has none"):
        folder(tmp_path).load()


def test_colour_among_grey_images_is_refused_unless_channels_is_set(tmp_path: Path) -> None:
    make_tree(tmp_path, mode="L")
    save(tmp_path / "train" / "bee" / "1.png", seed=0)
    with pytest.raises(DataError, match=r"bee/1\.png is in colour.*dataset\.channels=3"):
        folder(tmp_path).load().train.to(torch.device("cpu"))
    assert folder(tmp_path, channels=1).load().train.shape == (1, 10, 10)


def test_hidden_and_other_files_do_not_count(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "train" / "bee" / "._0.png").write_bytes(b"")
    (tmp_path / "train" / "bee" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "train" / ".cache").mkdir()
    assert len(folder(tmp_path).load().train) == 8


# --- ImageNet ----------------------------------------------------------------------------------


def imagenet(root: Path, **changed: Any) -> ImageNet:
    settings: dict[str, Any] = {"root": str(root), "image_size": 8, "resize": 10, "workers": 0}
    settings["background"] = None
    return ImageNet(**settings | COMMON | changed)


@forks
def test_imagenet_gives_the_same_random_crops_for_any_number_of_workers(tmp_path: Path) -> None:
    make_tree(tmp_path, test="val", size=(20, 15))
    runs = []
    for workers, seed in ((0, 0), (2, 0), (0, 1)):
        torch.manual_seed(seed)
        runs.append(whole(imagenet(tmp_path, workers=workers, flip=True).load().train, 3))
    assert runs[0].shape == (8, 3, 8, 8)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_imagenet_crops_differ_between_epochs(tmp_path: Path) -> None:
    train = imagenet(make_tree(tmp_path, test="val", size=(20, 15))).load().train
    back = torch.arange(len(train)).flip(0)  # another epoch has another order
    assert not torch.equal(whole(train), whole(train, order=back).flip(0))


def test_no_images_at_all_are_no_batches(tmp_path: Path) -> None:
    train = folder(make_tree(tmp_path), memory_limit_gb=0.0).load().train
    none = torch.zeros(0, dtype=torch.long)
    assert list(train.batches(3, none)) == []
    assert list(train.subset(none).batches(3)) == []


@pytest.mark.parametrize("kind", ["folder", "imagenet"])
def test_an_epoch_goes_on_in_its_middle_with_the_images_it_would_have_had(
    tmp_path: Path, kind: str
) -> None:
    root = make_tree(tmp_path, test="val" if kind == "imagenet" else "test", size=(20, 15))
    load = imagenet if kind == "imagenet" else folder
    train = load(root).load().train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1))
    every = [x for x, _ in train.batches(3, order)]
    for skip in (1, 2):
        torch.manual_seed(0)
        rest = [x for x, _ in train.batches(3, order, skip=skip)]
        torch.testing.assert_close(torch.cat(rest), torch.cat(every[skip:]), rtol=0, atol=0)


def test_imagenet_tests_on_the_centre_and_draws_nothing(tmp_path: Path) -> None:
    splits = imagenet(make_tree(tmp_path, test="val", size=(20, 10))).load()
    with Image.open(tmp_path / "val" / "ant" / "0.png") as image:
        levels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    before = torch.get_rng_state()
    assert torch.equal(whole(splits.test)[0], levels[:, 1:9, 6:14] / 255)
    assert torch.equal(whole(splits.train.plain()), whole(splits.train.plain()))
    assert torch.equal(torch.get_rng_state(), before)


def test_imagenet_refuses_a_crop_larger_than_the_image(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^resize is 7"):
        imagenet(tmp_path, resize=7)


# --- CIFAR -------------------------------------------------------------------------------------


def cifar(root: Path, **changed: Any) -> Cifar:
    settings: dict[str, Any] = {"name": "cifar10", "root": str(root), "download": False}
    return Cifar(**settings | COMMON | changed)


def fake_cifar10(root: Path, each: int) -> np.ndarray:
    """Files laid out as the official ones, with `each` images per batch file; all their pixels."""
    batches = root / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (6, each, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name, part in zip(names, pixels, strict=True):
        content = {"data": part, "labels": [i % 10 for i in range(each)]}
        (batches / name).write_bytes(pickle.dumps(content))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    return pixels


def test_cifar_pixels_are_those_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = fake_cifar10(tmp_path, each=20)
    # The fake files cannot have the official MD5 sums.
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5: True)
    splits = cifar(tmp_path, crop_padding=4, flip=True).load()
    assert (len(splits.train), len(splits.test)) == (100, 20)
    assert splits.class_names == tuple("abcdefghij")
    assert splits.train.labels[:20].tolist() == [*range(10), *range(10)]
    stored = whole(splits.train.plain())
    assert torch.equal(stored, torch.from_numpy(pixels[:5]).view(100, 3, 32, 32) / 255)
    assert not torch.equal(whole(splits.train), stored)
    assert torch.equal(whole(splits.test), torch.from_numpy(pixels[5]).view(20, 3, 32, 32) / 255)


def test_cifar_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        cifar(tmp_path).load()
    message = str(caught.value)
    for part in (
        f"{tmp_path / 'cifar-10-batches-py'} is not there",
        "dataset.download is false",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
        "dataset.root",
    ):
        assert part in message
    assert "\n" not in message


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def test_damaged_cifar_file_is_named_with_the_sum_expected_and_never_unpickled(
    tmp_path: Path,
) -> None:
    fake_cifar10(tmp_path, each=1)
    canary = tmp_path / "canary"
    first = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    first.write_bytes(pickle.dumps(MakesFolder(canary)))
    with pytest.raises(
        DataError, match=r"data_batch_1 is damaged.*c99cafc152244af753f735de768cd75f"
    ):
        cifar(tmp_path).load()
    assert not canary.exists()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").unlink()
    with pytest.raises(DataError, match="data_batch_1 is missing"):
        cifar(tmp_path).load()


def test_cifar_without_network_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robustrun.datasets.cifar.unreachable", lambda url: "no answer at all")
    with pytest.raises(DataError, match=r"cannot be reached \(no answer at all\)"):
        cifar(tmp_path, download=True).load()


def test_cifar_that_cannot_be_written_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("robustrun.datasets.cifar.unreachable", lambda url: None)
    occupied = tmp_path / "file"
    occupied.write_text("")
    with pytest.raises(DataError, match="download or unpacking failed"):
        cifar(occupied, download=True).load()
