"""What decides a run beside its configuration, as earlier versions wrote it and as it is now."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from robustrun.configuration import composition
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.datasets import run_data
from robustrun.datasets.run_data import Data
from robustrun.run_folder.inputs import as_older_versions, inputs
from robustrun.types import Images


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunConfig, Data]:
    """The configuration and the data of a run on a small folder, of which two images are tested."""
    for number in range(16):
        path = tmp_path / ("train" if number < 8 else "test") / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number, dtype=np.uint8)).save(path)
    words = ["dataset=image_folder", f"dataset.root={tmp_path}", "dataset.workers=0"]
    run_config = load_config(composition.compose_config(words))

    def first_two(test: Images) -> tuple[Images, np.ndarray]:
        return test.subset(torch.arange(2)), np.arange(2)

    return run_config, run_data.load(run_config.dataset, 0.25, 0, first_two)


def test_a_checkpoint_that_knows_the_pixels_of_a_whole_test_folder_is_of_the_same_run(
    run: tuple[RunConfig, Data],
) -> None:
    now = inputs(*run)
    before = now | {"test images": run[1].splits.test.to(torch.device("cpu")).fingerprint()}
    assert before["test images"] != now["test images"]
    assert as_older_versions(now, before, run[1]) == before


@pytest.mark.parametrize("before", [None, {"test images": "others"}, {}])
def test_other_test_images_stay_others(
    run: tuple[RunConfig, Data], before: dict[str, Any] | None
) -> None:
    now = inputs(*run)
    assert as_older_versions(now, before, run[1]) == now
