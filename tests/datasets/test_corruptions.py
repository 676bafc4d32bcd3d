"""The official files of the common corruptions, and what a run measures on them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from robustrun.datasets import corruptions
from robustrun.errors import DataError

COUNT = 4  # test images, officially 10,000


def write(folder: Path, names: tuple[str, ...] = ("fog", "snow")) -> np.ndarray:
    """Files in the official form, with few images; returns the labels of one severity."""
    random = np.random.default_rng(0)
    labels = np.arange(COUNT, dtype=np.uint8)
    np.save(folder / "labels.npy", np.tile(labels, 5))
    for name in names:
        pixels = random.integers(0, 256, (5 * COUNT, 32, 32, 3), dtype=np.uint8)
        np.save(folder / f"{name}.npy", pixels)
    return labels


def test_every_corruption_and_severity_is_its_part_of_the_file(tmp_path: Path) -> None:
    labels = write(tmp_path)
    found = list(corruptions.corrupted(str(tmp_path), ["snow", "fog"]))
    assert [(c.corruption, c.severity) for c in found] == [
        (name, severity) for name in ("snow", "fog") for severity in (1, 2, 3, 4, 5)
    ]
    stored = np.load(tmp_path / "fog.npy")
    third = found[7].images  # fog, severity 3
    assert third.labels.tolist() == labels.tolist()
    assert third.labels.dtype == torch.int64
    assert third.shape == (3, 32, 32)
    expected = torch.from_numpy(stored[2 * COUNT : 3 * COUNT]).permute(0, 3, 1, 2)
    assert torch.equal(third.pixels, expected)
    x, _ = next(third.batches(2))
    torch.testing.assert_close(x, expected[:2] / 255, rtol=0, atol=1e-7)  # one division in float32


def test_only_the_first_examples_and_the_severities_asked_for(tmp_path: Path) -> None:
    write(tmp_path)
    found = list(corruptions.corrupted(str(tmp_path), ["fog"], severities=(5, 1), examples=3))
    assert [(c.severity, len(c.images)) for c in found] == [(5, 3), (1, 3)]
    stored = np.load(tmp_path / "fog.npy")
    assert np.array_equal(
        found[0].images.pixels.permute(0, 2, 3, 1).numpy(), stored[4 * COUNT : 4 * COUNT + 3]
    )


def test_the_official_names() -> None:
    assert len(set(corruptions.CORRUPTIONS)) == 15
    assert len(set(corruptions.CORRUPTIONS + corruptions.EXTRA_CORRUPTIONS)) == 19
    assert len(set(corruptions.PERTURBATIONS)) == 10


def test_sequences_come_frame_after_frame_with_the_label_of_their_image(tmp_path: Path) -> None:
    sequences = np.random.default_rng(1).integers(0, 256, (COUNT, 6, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "tilt.npy", sequences)
    (tilt,) = corruptions.perturbed(str(tmp_path), torch.tensor([3, 1, 2, 0]), ["tilt"], 3)
    assert tilt.frames == 6
    assert tilt.images.labels.tolist() == [3] * 6 + [1] * 6 + [2] * 6
    assert torch.equal(tilt.images.pixels[7], torch.from_numpy(sequences[1, 1]).permute(2, 0, 1))


def test_flips_are_counted_from_frame_to_frame_and_for_noise_from_the_first() -> None:
    predictions = np.array([0, 1, 1, 0, 2, 2, 2, 2])
    # Two sequences of four frames: two flips of three, and none of three.
    assert corruptions.flip_rate(predictions, 4, "tilt") == pytest.approx(1 / 3)
    predictions = np.array([0, 1, 1, 1])
    assert corruptions.flip_rate(predictions, 4, "tilt") == pytest.approx(1 / 3)
    assert corruptions.flip_rate(predictions, 4, "shot_noise") == 1.0


def damage_shape(folder: Path) -> None:
    np.save(folder / "fog.npy", np.zeros((5 * COUNT, 3, 32, 32), dtype=np.uint8))


def damage_type(folder: Path) -> None:
    np.save(folder / "fog.npy", np.zeros((5 * COUNT, 32, 32, 3), dtype=np.float32))


def damage_pickle(folder: Path) -> None:
    np.save(folder / "fog.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def damage_length(folder: Path) -> None:
    whole = (folder / "fog.npy").read_bytes()
    (folder / "fog.npy").write_bytes(whole[: len(whole) // 2])


def damage_empty(folder: Path) -> None:
    (folder / "fog.npy").write_bytes(b"")


def damage_missing(folder: Path) -> None:
    (folder / "fog.npy").unlink()


def damage_labels(folder: Path) -> None:
    np.save(folder / "labels.npy", np.arange(5 * COUNT))


def damage_labels_count(folder: Path) -> None:
    np.save(folder / "labels.npy", np.zeros(5 * COUNT - 1, dtype=np.uint8))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_shape, r"fog\.npy holds uint8 of shape .*20 x 32 x 32 x 3"),
        (damage_type, r"fog\.npy holds float32"),
        (damage_pickle, r"fog\.npy cannot be read"),
        (damage_length, r"fog\.npy cannot be read"),
        (damage_empty, r"fog\.npy cannot be read"),
        (damage_missing, r"fog\.npy is missing"),
        (damage_labels, r"labels\.npy is not CIFAR-10-C's"),
        (damage_labels_count, r"labels\.npy holds"),
    ],
)
def test_a_damaged_file_is_named_before_any_image_is_read(
    tmp_path: Path, damage: object, says: str
) -> None:
    write(tmp_path)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(DataError, match=says):
        corruptions.corrupted(str(tmp_path), ["snow", "fog"])


def test_a_wrong_name_severity_or_folder_is_refused_with_what_is_right(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"'fogg' is not a corruption.*'fog'"):
        corruptions.corrupted(str(tmp_path), ["fogg"])
    with pytest.raises(DataError, match="severity is 6"):
        corruptions.corrupted(str(tmp_path), ["fog"], severities=(6,))
    with pytest.raises(DataError, match="is not a folder"):
        corruptions.corrupted(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="'fog' is not a perturbation"):
        corruptions.perturbed(str(tmp_path), torch.arange(COUNT), ["fog"])


def test_the_mean_corruption_error_is_alexnets_share_and_needs_all_fifteen() -> None:
    alexnet = {name: 1 - error for name, error in corruptions.ALEXNET_ERRORS.items()}
    assert corruptions.mean_corruption_error(alexnet) == pytest.approx(1)
    perfect = dict.fromkeys(corruptions.CORRUPTIONS, 1.0)
    assert corruptions.mean_corruption_error(perfect) == 0
    one_wrong = perfect | {"fog": 1 - 0.819324 / 2, "spatter": 0.0}  # spatter does not count
    assert corruptions.mean_corruption_error(one_wrong) == pytest.approx(0.5 / 15)
    del perfect["snow"]
    assert corruptions.mean_corruption_error(perfect) is None
