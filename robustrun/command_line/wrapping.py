"""Text of any width on a terminal that is narrower: lines of whole words."""

import shutil
import sys
import textwrap


def fitted(text: str) -> str:
    """The text with lines that the terminal has room for, each continued further in; unchanged
    where stdout is no terminal."""
    if not sys.stdout.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, 20)
    return "\n".join(_fitted(line, width) for line in text.split("\n"))


def _fitted(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        " ".join(line.split()),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
