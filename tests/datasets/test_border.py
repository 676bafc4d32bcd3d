"""Images are checked where they come in: what is wrong is named, what is harmless is converted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.pgd import PGD
from robustrun.datasets.augmentation import Augment
from robustrun.datasets.border import checked, checked_splits, collected
from robustrun.datasets.checks import require_labels
from robustrun.datasets.tensors import TensorImages
from robustrun.datasets.watched import Watched
from robustrun.errors import DataError, RobustrunError
from robustrun.evaluation.measure import evaluate
from robustrun.types import Images, Shape, Splits
from tests.faults.process import printed

NAMES = ("ant", "bee", "cat")


def pixels(count: int = 12, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, 4, 4)


def labels(count: int = 12) -> Tensor:
    return torch.arange(count) % 3


def splits(train: Any = None, test: Any = None, names: tuple[str, ...] = NAMES) -> Splits:
    good = TensorImages(pixels(), labels())
    return Splits(good if train is None else train, good if test is None else test, names)


def whole(images: Images) -> Tensor:
    return torch.cat([x for x, _ in images.batches(5)])


class Foreign:
    """A plugin's own Images; `spoil` changes each batch on its way out."""

    def __init__(self, x: Tensor, y: Tensor, spoil: Any = lambda x, y: (x, y)) -> None:
        self.x, self.labels, self.spoil = x, y, spoil

    @property
    def shape(self) -> Shape:
        return tuple(self.x.shape[1:])  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "Foreign":
        return Foreign(self.x[indices], self.labels[indices], self.spoil)

    def plain(self) -> "Foreign":
        return self

    def to(self, device: torch.device) -> "Foreign":
        return self

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self)) if order is None else order
        for at in order.split(batch_size)[skip:]:
            yield self.spoil(self.x[at], self.labels[at])

    def fingerprint(self) -> str:
        return "mine"


# --- pixels ------------------------------------------------------------------------------------


def with_one(value: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Good pixels, but for one of image 1200 of 1300."""
    x = torch.full((1300, 1, 2, 2), 0.5, dtype=dtype)
    x[1200, 0, 1, 0] = value
    return x


@pytest.mark.parametrize("place", ["train", "test"])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (with_one(255.0), r"image 1200 has a pixel of 255, .* from 0\.5 to 255\. Divide by 255"),
        (with_one(-1.0), r"image 1200 has a pixel of -1, .* Do not normalise.*\(x \+ 1\) / 2"),
        (with_one(-2.1), r"a pixel of -2\.1, .* Do not normalise them: The network does"),
        (with_one(torch.nan), r"image 1200 has a pixel of nan, .* from 0\.5 to 0\.5"),
        (with_one(torch.inf), r"image 1200 has a pixel of inf"),
        (with_one(1.0002), r"a pixel of 1\.0002.*clamp"),
        (with_one(1.5, torch.float64), r"a pixel of 1\.5"),
        (with_one(-0.5, torch.float16), r"a pixel of -0\.5"),
        (with_one(7.0, torch.bfloat16), r"a pixel of 7"),
        (torch.full((6, 1, 2, 2), torch.nan), r"image 0 has a pixel of nan"),
        (torch.ones(6, 1, 2, 2, dtype=torch.int64), r"are int64, but must be floats .* or uint8"),
        (torch.eye(6).to(torch.uint8).view(6, 1, 3, 2), r"uint8, .* the largest is 1"),
        (torch.rand(6, 4, 4), r"have shape 6 x 4 x 4, but must be N x C x H x W.*x\[:, None\]"),
        (torch.rand(6, 16), r"have shape 6 x 16, but must be N x C x H x W"),
        (torch.rand(6, 8, 8, 3), r"channels seem to come last: x\.permute\(0, 3, 1, 2\)"),
        (torch.rand(6, 1, 0, 4), r"have shape 6 x 1 x 0 x 4"),
    ],
)
def test_wrong_pixels_are_named_with_place_image_value_and_advice(
    place: str, bad: Tensor, message: str
) -> None:
    images = TensorImages(bad, labels(len(bad)))
    with pytest.raises(DataError, match=message) as caught:
        checked_splits(splits(**{place: images}))
    assert str(caught.value).startswith("training images" if place == "train" else "test images")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.float32])
def test_floats_of_any_precision_become_float32_of_the_same_value(dtype: torch.dtype) -> None:
    x = (torch.arange(48).view(3, 1, 4, 4) / 64).to(dtype)  # exact in eight bits of mantissa
    found = checked(TensorImages(x, labels(3)), "images")
    assert isinstance(found, TensorImages)
    assert found.pixels.dtype == torch.float32
    assert torch.equal(found.pixels.double(), x.double())


@pytest.mark.parametrize(("largest", "told"), [(16, True), (31, True), (32, False), (255, False)])
def test_pixels_of_another_range_than_their_type_has_are_told(
    largest: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    x = torch.arange(16).clamp_max(largest).to(torch.uint8).view(1, 1, 4, 4)
    x[0, 0, 0, 0] = largest
    with caplog.at_level("WARNING"):
        found = checked(TensorImages(x, labels(1)), "test images")
    assert isinstance(found, TensorImages)
    assert torch.equal(found.pixels, x), "told, not changed"
    said = f"the largest pixel is {largest}, and uint8 counts as 0 to 255"
    assert (said in caplog.text) == told


def test_uint8_stays_as_it_is_and_is_read_as_255ths() -> None:
    x = torch.arange(48, dtype=torch.uint8).view(3, 1, 4, 4)
    found = checked(TensorImages(x, labels(3)), "images")
    assert torch.equal(whole(found), x / 255)
    black = checked(TensorImages(torch.zeros(3, 1, 4, 4, dtype=torch.uint8), labels(3)), "images")
    assert torch.equal(whole(black), torch.zeros(3, 1, 4, 4))


def test_good_images_are_left_as_they_are() -> None:
    images = TensorImages(pixels(), labels(), Augment(1, True))
    whole_set, before = splits(images), torch.get_rng_state()
    found = checked_splits(whole_set).train
    assert isinstance(found, TensorImages)
    assert found.pixels.data_ptr() == images.pixels.data_ptr()
    assert found.augment == images.augment
    assert found.fingerprint() == images.fingerprint()
    assert torch.equal(torch.get_rng_state(), before)


def test_pixels_that_want_a_gradient_give_none_of_it_to_attacks() -> None:
    found = checked(TensorImages(pixels().requires_grad_(), labels()), "images")
    assert not whole(found).requires_grad


def test_augmentation_that_leaves_the_range_is_noticed() -> None:
    images = TensorImages(pixels(), labels(), lambda x: (x - 0.5) / 0.25)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^training images, augmented: image 0 .*normalise"):
        checked_splits(splits(images))


# --- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (labels() - 1, r"image 0 has label -1 \(one of 4\).* 0 to 2\..*without a label"),
        (labels() + 1, r"image 2 has label 3 .*3 class names.*begin at 1: subtract 1"),
        (torch.full((12,), 7), r"image 0 has label 7 \(one of 12\)"),
        (labels().float(), r"labels are float32, but must be whole numbers"),
        (labels()[:, None], r"labels have shape 12 x 1, but there are 12 images"),
        (nn.functional.one_hot(labels()), r"shape 12 x 3, .*argmax"),
        (labels(11), r"labels have shape 11, but there are 12 images"),
        ([0] * 12, r"labels are a list, but must be a tensor"),
    ],
)
def test_wrong_labels_are_named_with_place_image_and_what_is_right(bad: Any, message: str) -> None:
    for images in ({"train": TensorImages(pixels(), bad)}, {"test": TensorImages(pixels(), bad)}):
        if len(bad) == 11:  # a data set's length is that of its labels
            with pytest.raises(DataError, match="12"):
                collected([(pixels(), bad)], "images")
            continue
        with pytest.raises(DataError, match=message):
            checked_splits(splits(**images))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.int64]
)
def test_labels_of_any_whole_type_become_int64(dtype: torch.dtype) -> None:
    found = checked(TensorImages(pixels(), labels().to(dtype)), "images").labels
    assert found.dtype == torch.int64
    assert torch.equal(found, labels())


def test_fewer_than_two_classes_are_no_classification() -> None:
    with pytest.raises(DataError, match=r"at least 2 classes are needed; logits: 1"):
        require_labels(torch.zeros(3, dtype=torch.long), 1, "images", "logits")


# --- data sets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda: splits(names=("ant", "ant", "cat")), "several classes of the name 'ant'"),
        (lambda: splits(test=TensorImages(pixels(12, 3), labels())), r"are 1 x 4 x 4, .* 3 x 4"),
        (lambda: splits(test=TensorImages(pixels(0), labels(0))), "^test images: there are none"),
        (lambda: splits(train=TensorImages(pixels(0), labels(0))), "^training images: there are n"),
        (lambda: splits(train=pixels()), r"a Tensor is no Images, it has no labels, subset"),
        (lambda: (pixels(), labels()), r"load\(\) gives a tuple, but must give Splits"),
    ],
)
def test_data_set_that_is_not_what_it_should_be_is_refused(bad: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        checked_splits(bad())


# --- foreign images ----------------------------------------------------------------------------


def test_foreign_images_are_converted_batch_by_batch_and_stay_themselves() -> None:
    x, y = pixels().double(), labels().to(torch.int32)
    found = checked(Foreign(x, y), "images")
    assert isinstance(found, Watched)
    assert (len(found), found.shape, found.fingerprint()) == (12, (1, 4, 4), "mine")
    assert torch.equal(whole(found), x.float())
    part = found.plain().to(torch.device("cpu")).subset(torch.tensor([7, 2, 4]))
    assert part.labels.tolist() == [1, 2, 1]
    ((u, v),) = part.batches(2, torch.tensor([2, 0, 1]), skip=1)
    assert torch.equal(u, x[[2]].float())
    assert (v.tolist(), v.dtype) == ([2], torch.int64)


def last_is_bad(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.where(y.view(-1, 1, 1, 1) == 2, -x - 1, x), y


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (last_is_bad, r"image 2 has a pixel of -1"),
        (lambda x, y: (x[:-1], y[:-1]), r"shape 11 x 1 x 4 x 4, but 12 x 1 x 4 x 4 was due"),
        (lambda x, y: (x[..., :3], y), r"shape 12 x 1 x 4 x 3, but 12 x 1 x 4 x 4 was due"),
        (lambda x, y: (x, y.flip(0)), r"labels of batches\(\) are not those of `labels`"),
        (lambda x, y: {"x": x, "y": y}, r"is a dict, but must be a pair \(images, labels\)"),
        (lambda x, y: (x.tolist(), y), r"the images are a list, but must be a tensor"),
    ],
)
@pytest.mark.parametrize("place", ["train", "test"])
def test_foreign_batches_that_are_wrong_are_refused_before_any_work(
    place: str, spoil: Any, message: str
) -> None:
    images = Foreign(pixels(), labels(), spoil)
    with pytest.raises(DataError, match=message):
        checked_splits(splits(**{place: images}))


def test_foreign_images_that_turn_bad_late_are_noticed_when_they_are_read() -> None:
    x = with_one(-3.0)
    bad, good = Foreign(x, labels(len(x))), TensorImages(x.clamp(min=0), labels(len(x)))
    train = checked_splits(splits(train=bad, test=good)).train
    with pytest.raises(DataError, match=r"^training images: image 0 has a pixel of -3"):
        list(train.batches(100))
    with pytest.raises(DataError, match=r"^test images: .* -3"):
        checked_splits(splits(train=good, test=bad))


def test_foreign_images_that_end_too_early_are_refused() -> None:
    class Short(Foreign):
        def batches(self, *how: Any, **more: Any) -> Iterator[tuple[Tensor, Tensor]]:
            yield next(super().batches(*how, **more))

    images = checked(Short(pixels(), labels()), "images")
    with pytest.raises(DataError, match=r"batches\(\) ends after 5 of 12 images"):
        list(images.batches(5))


def test_subclass_of_tensor_images_is_foreign() -> None:
    class Normalised(TensorImages):
        def batches(self, *how: Any, **more: Any) -> Iterator[tuple[Tensor, Tensor]]:
            for x, y in super().batches(*how, **more):
                yield x * 2 - 1, y

    with pytest.raises(DataError, match=r"Do not normalise"):
        checked_splits(splits(test=Normalised(pixels(), labels())))


# --- loaders -----------------------------------------------------------------------------------


def test_batches_of_mixed_types_are_one_set_of_images() -> None:
    levels = torch.arange(48, dtype=torch.uint8).view(3, 1, 4, 4)
    found = collected(
        [(levels, labels(3)), (levels.numpy() / np.float64(255), labels(3).numpy())], "images"
    )
    assert torch.equal(whole(found), torch.cat([levels, levels]) / 255)
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "there are none"),
        ([(pixels(0), labels(0))], r"shape 0 x 1 x 4 x 4"),
        ([pixels()], r"batch 0 is a Tensor, but must be a pair"),
        ([(pixels(), labels()), (pixels(3, 3), labels(3))], r"batch 1 has shape 3 x 3 x 4 x 4, bu"),
        ([(pixels(), labels()), (pixels(), None)], r"batch 1: the labels are a NoneType"),
        ([(np.array(["a"]), labels(1))], r"batch 0: the images are a ndarray"),
    ],
)
def test_loader_that_gives_something_else_is_refused(batches: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        collected(batches, "images")


class Brightness(nn.Module):
    """Two classes: darker or brighter than 1/2 on average."""

    def forward(self, x: Tensor) -> Tensor:
        level = x.mean(dim=(1, 2, 3)) - 0.5
        return torch.stack([-level, level], dim=1)


def brightness() -> tuple[Tensor, Tensor]:
    """Images 0.2 away from the boundary."""
    y = torch.arange(10) % 2
    return (0.3 + 0.4 * y).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone(), y


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
def test_evaluation_gives_the_right_number_for_every_type_of_pixel(dtype: torch.dtype) -> None:
    x, y = brightness()
    x = (x * 255).round().to(dtype) if dtype == torch.uint8 else x.to(dtype)
    attacks = {
        name: PGD("linf", epsilon, 10, 0.1, 1, random_start=False, loss="ce")
        for name, epsilon in (("near", 0.19), ("far", 0.21))
    }
    measured = evaluate(Brightness(), [(x, y.to(torch.uint8))], attacks)
    assert measured.clean_right.sum() == 10
    assert [measured.attacks[name].robust.sum() for name in ("near", "far")] == [10, 0]


@pytest.mark.parametrize(
    ("x_change", "y_change", "message"),
    [
        (lambda x: x * 255, lambda y: y, r"Divide by 255"),
        (lambda x: x * 2 - 1, lambda y: y, r"Do not normalise"),
        (lambda x: x, lambda y: y - 1, r"label -1"),
        (lambda x: x, lambda y: y + 1, r"label 2 .*with 2 logits of the network"),
    ],
)
def test_evaluation_of_wrong_images_is_a_value_error(
    x_change: Any, y_change: Any, message: str
) -> None:
    x, y = brightness()
    with pytest.raises(ValueError, match=message) as caught:
        evaluate(Brightness(), [(x_change(x), y_change(y))], {})
    assert isinstance(caught.value, RobustrunError)
    assert str(caught.value).startswith("images given to evaluate")


def test_network_of_one_logit_is_refused() -> None:
    x, y = brightness()
    one = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="one logit for each of the classes"):
        evaluate(one, [(x, y.clamp(max=0))], {})


# --- a whole run -------------------------------------------------------------------------------

PLUGIN = """
from dataclasses import dataclass

import torch

from robustrun.datasets.tensors import TensorImages
from robustrun.types import DATASETS, Splits


@DATASETS.register("theirs")
@dataclass(frozen=True)
class Theirs:
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def load(self):
        x, y = torch.rand(40, 1, 8, 8) * self.scale, torch.arange(40, dtype=torch.int32) % 2
        return Splits(TensorImages(x, y), TensorImages(x.double(), y.to(torch.uint8)), ("a", "b"))
"""


@pytest.mark.parametrize("scale", [1, 255])
def test_a_plugins_images_are_checked_before_a_run_begins(tmp_path: Path, scale: int) -> None:
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "their_data.py").write_text(PLUGIN)
    text = "# Theirs\nname: theirs\nscale: 1\nmean: [0.5]\nstd: [0.25]\n"
    (tmp_path / "conf" / "dataset" / "theirs.yaml").write_text(text)
    words = ["plugins=[their_data]", "dataset=theirs", f"dataset.scale={scale}", "method=standard"]
    words += ["evaluation=none", "training.epochs=1", "training.batch_size=8", "attack=fgsm"]
    words += ["attack.epsilon=0.1", "device.threads=1"]
    said = printed(tmp_path, "-cd", "conf", *words, code=0 if scale == 1 else 2)
    if scale != 1:
        assert "training images: image 0 has a pixel of " in said
        assert "Divide by 255" in said
        assert not list(tmp_path.glob("outputs/*/*/metrics.csv"))
