"""TensorBoard's event files, https://www.tensorflow.org/tensorboard."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from robustrun.trackers.contents import final, model, numbers, package, pictures
from robustrun.types import TRACKERS


class TensorBoardRun:
    """The open event file of one run."""

    def __init__(self, writer: Any, folder: Path) -> None:
        self.writer, self.folder = writer, folder

    def epoch(self, row: dict[str, Any]) -> None:
        for name, value in numbers(row).items():
            self.writer.add_scalar(name, value, row["epoch"])
        self.writer.flush()

    def finish(self, results: dict[str, Any]) -> None:
        try:
            for name, value in final(results).items():
                self.writer.add_scalar(name, value, 0)
            for path in pictures(self.folder):
                with Image.open(path) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                self.writer.add_image(path.stem, pixels, dataformats="HWC")
            # Event files hold no weights: what they can hold of the model is where it is.
            for path in model(self.folder):
                card = path.suffix == ".md"
                text = path.read_text(encoding="utf-8") if card else _code(str(path))
                self.writer.add_text(f"model/{path.name}", text)
        finally:
            self.writer.close()


@TRACKERS.register("tensorboard")
@dataclass(frozen=True)
class TensorBoard:
    """Writes into `tensorboard/` of the run's folder: `tensorboard --logdir outputs` finds it.

    What an epoch wrote is on the disk when the next begins, so that a kill loses none.
    """

    flush_seconds: int  # of the writer's own thread, beside the flush after every epoch

    def start(self, folder: Path, config: dict[str, Any]) -> TensorBoardRun:
        module = package("torch.utils.tensorboard", "tensorboard")
        writer = module.SummaryWriter(str(folder / "tensorboard"), flush_secs=self.flush_seconds)
        text = yaml.safe_dump(config, sort_keys=False)
        writer.add_text("config", _code(text))
        writer.flush()
        return TensorBoardRun(writer, folder)


def _code(text: str) -> str:
    """Indented, which Markdown shows as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
