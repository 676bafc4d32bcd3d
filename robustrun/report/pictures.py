"""The images of runs that report.html carries: small copies, as long as there is room."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from robustrun.report import summary
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group
from robustrun.report.page_tables import VERDICTS

WIDTH = 900  # pixels
MOST_UNREADABLE = 100  # pictures; further ones are not looked for


@dataclass(frozen=True)
class Picture:
    """A grid of clean image, change and attacked image, as a data URL."""

    name: str
    caption: str
    source: str


@dataclass(frozen=True)
class Pictures:
    shown: list[Picture]
    unreadable: list[str]  # names of runs whose picture is missing or damaged
    left_out: int


def choose(runs: list[StoredRun], groups: list[Group], room: int, most: int) -> Pictures:
    """At most `most` pictures, together below `room` characters; one run of each group first."""
    measured = {run.folder: run for run in runs if _drew(run)}
    first = {group.runs[0].folder: group.runs[0] for group in groups if _drew(group.runs[0])}
    pictures = Pictures([], [], 0)
    tried = 0
    for run in (first | measured).values():
        picture = _picture(run)
        if picture is None:
            pictures.unreadable.append(run.name)
            if len(pictures.unreadable) == MOST_UNREADABLE:
                break
        elif len(picture.source) > room or len(pictures.shown) == most:
            break
        else:
            room -= len(picture.source)
            pictures.shown.append(picture)
        tried += 1
    return Pictures(pictures.shown, pictures.unreadable, len(measured) - tried)


def _drew(run: StoredRun) -> bool:
    return run.evaluation is not None and run.settings.get("keep.figures") is not False


def _picture(run: StoredRun) -> Picture | None:
    small = _smaller(run.folder / "figures" / "adversarial_images.png")
    if small is None:
        return None
    source = f"data:image/webp;base64,{base64.b64encode(small).decode()}"
    caption = f"{run.name}: {run.settings.get('method.name')}, {VERDICTS[summary.verdict(run)]}"
    return Picture(run.name, caption, source)


def _smaller(path: Path) -> bytes | None:
    try:
        with Image.open(path) as picture:
            shown = picture.convert("RGB")
            shown.thumbnail((WIDTH, WIDTH))
            buffer = io.BytesIO()
            shown.save(buffer, "webp", quality=80)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return buffer.getvalue()
