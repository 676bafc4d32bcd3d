"""TensorBoard."""

from pathlib import Path

import pytest

from robustrun.trackers.tensorboard import TensorBoard
from trackers.tracked_run import CONFIG, RESULTS, row


def test_tensorboard_has_every_point_on_disk_before_the_run_ends(folder: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install robustrun[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = TensorBoard(flush_seconds=3600).start(folder, CONFIG)
    for epoch in range(1, 51):
        run.epoch(row(epoch))
    killed = EventAccumulator(str(folder / "tensorboard")).Reload()  # nothing was closed
    assert len(killed.Scalars("epoch/train_loss")) == 50
    assert "epoch/train_accuracy" not in killed.Tags()["scalars"]
    run.finish(RESULTS)
    ended = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert ended.Scalars("final/worst_case")[0].value == 0.75
    assert ended.Tags()["images"] == ["training"]
    texts = set(ended.Tags()["tensors"])
    assert texts >= {"config/text_summary", "model/MODEL_CARD.md/text_summary"}
