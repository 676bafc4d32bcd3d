"""An evaluation as a plain table of text, for a terminal and a notebook, and numbers as tables of
any kind have them."""

import math
from collections.abc import Sequence

import numpy as np

from robustrun.evaluation.statistics import accuracy, wilson

LEVELS = 255  # of a pixel's brightness above black
TICKS = 6  # of an axis, beside that at 0, at most
HEAD = ("measured with", "radius", "accuracy", "95% interval", "correct")


def as_table(rows: Sequence[tuple[str, str, np.ndarray]]) -> str:
    """A line for each name, radius and bool array over the measured examples."""
    cells = [HEAD, *((name, radius, *_score(right)) for name, radius, right in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join([name.ljust(widths[0]), *map(str.rjust, others, widths[1:])])
        for name, *others in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def as_text(value: float) -> str:
    """A number with four digits; 8/255 or 0.5/255 where it is so many levels of a pixel, or a half
    one, and no decimal number with four digits says so."""
    text, levels = f"{value:.4g}", round(2 * LEVELS * value) / 2
    is_decimal = math.isclose(float(text), value, rel_tol=1e-6)  # of float32, too
    if is_decimal or not 0 < levels < LEVELS or abs(levels - LEVELS * value) > 1e-4:
        return text
    return f"{levels:g}/{LEVELS}"


def level_ticks(radii: Sequence[float]) -> dict[float, str]:
    """Where an axis of these radii has its ticks, and what they say: 2/255, 4/255 …; none unless
    all are so many levels of a pixel, or half ones, and `as_text` writes one of them so."""
    halves = [2 * LEVELS * radius for radius in radii]
    if not all(abs(half - round(half)) < 1e-3 for half in halves):
        return {}
    if not any("/" in as_text(radius) for radius in radii):
        return {}
    most = max(halves) / 2
    step = 2 ** max(math.ceil(math.log2(most / TICKS)), 0)
    return {
        level / LEVELS: f"{level}/{LEVELS}" if level else "0"
        for level in range(0, math.floor(most + 1e-3) + 1, step)
    }


def _score(right: np.ndarray) -> tuple[str, str, str]:
    correct, total = int(right.sum()), len(right)
    low, high = wilson(correct, total)
    share = f"{100 * accuracy(right):.2f}%"
    return share, f"{100 * low:.1f}-{100 * high:.1f}%", f"{correct}/{total}"
