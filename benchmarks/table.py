"""What was measured, as a Markdown table and as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.timing import Row

HEADER = (
    "work",
    "network",
    "contestant",
    "median s",
    "fastest - slowest",
    "n",
    "images/s",
    "x fastest peer",
    "found",
    "TFLOP",
    "TFLOP/s",
    "of peak",
    "goal",
)


def markdown(rows: list[Row], about: dict[str, Any]) -> str:
    """The table, below what it was measured on."""
    lines = [f"- {name}: {_plain(value)}" for name, value in about.items()]
    lines += ["", _line(HEADER), _line(["---"] * len(HEADER))]
    lines += [_line(_cells(row, about["peaks"])) for row in rows]
    return "\n".join(lines) + "\n"


def write(folder: Path, rows: list[Row], about: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.md").write_text(markdown(rows, about))
    content = {"about": about, "rows": [asdict(row) for row in rows]}
    (folder / "benchmarks.json").write_text(json.dumps(content, indent=1))


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(row: Row, peaks: dict[str, float]) -> list[str]:
    rate = row.flops / row.seconds if row.flops else None
    precision = "bfloat16" if row.contestant.endswith("bfloat16") else "float32"
    peak = max(value for name, value in peaks.items() if name.endswith(precision))
    return [
        row.work,
        row.network,
        f"**{row.contestant}**" if row.ours else row.contestant,
        f"{row.seconds:.3g}",
        f"{row.fastest:.3g} - {row.slowest:.3g}",
        str(row.rounds),
        f"{row.items / row.seconds:,.0f}" if row.items > 1 else "",
        _ratio(row),
        "" if row.found is None else f"{row.meaning} {row.found:.4f}",
        f"{row.flops / 1e12:.3g}" if row.flops else "",
        f"{rate / 1e12:.3g}" if rate else "",
        f"{rate / peak:.0%}" if rate else "",
        row.goal,
    ]


def _ratio(row: Row) -> str:
    """With the least and the largest of the turns, where they differ from it."""
    if not row.ratio:
        return ""
    low, high = row.spread or (row.ratio, row.ratio)
    return f"{row.ratio:.2f}" + (f" ({low:.2f} - {high:.2f})" if low < high else "")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items()) or "none"
    return f"{value / 1e9:,.0f} G/s" if isinstance(value, float) and value > 1e6 else str(value)
