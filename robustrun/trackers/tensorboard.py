"""TensorBoard's event files, https://www.tensorflow.org/tensorboard."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from robustrun.trackers.contents import final, model, numbers, package, pictures
from robustrun.types import TRACKERS

_WRITERS: dict[Path, Any] = {}  # the open files, by run: a tracker knows a run by its folder


@TRACKERS.register("tensorboard")
@dataclass(frozen=True)
class TensorBoard:
    """Writes into `tensorboard/` of the run's folder: `tensorboard --logdir outputs` finds it.

    What an epoch wrote is on the disk when the next begins, so that a kill loses none.
    """

    flush_seconds: int  # of the writer's own thread, beside the flush after every epoch

    def start(self, folder: Path, config: dict[str, Any]) -> None:
        module = package("torch.utils.tensorboard", "tensorboard")
        writer = module.SummaryWriter(str(folder / "tensorboard"), flush_secs=self.flush_seconds)
        _WRITERS[folder] = writer
        text = yaml.safe_dump(config, sort_keys=False)
        writer.add_text("config", _code(text))
        writer.flush()

    def epoch(self, folder: Path, row: dict[str, Any]) -> None:
        writer = _WRITERS[folder]
        for name, value in numbers(row).items():
            writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    def finish(self, folder: Path, results: dict[str, Any]) -> None:
        writer = _WRITERS.pop(folder)
        try:
            for name, value in final(results).items():
                writer.add_scalar(name, value, 0)
            for path in pictures(folder):
                with Image.open(path) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                writer.add_image(path.stem, pixels, dataformats="HWC")
            # Event files hold no weights: what they can hold of the model is where it is.
            for path in model(folder):
                text = path.read_text(encoding="utf-8") if path.suffix == ".md" else str(path)
                writer.add_text(f"model/{path.name}", text if path.suffix == ".md" else _code(text))
        finally:
            writer.close()


def _code(text: str) -> str:
    """Indented, which Markdown shows as it is."""
    return "\n".join(f"    {line}" for line in text.splitlines())
