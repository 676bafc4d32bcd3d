"""Readable names of classes that are numbered as in WordNet (n01443537)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path


def readable(wnids: Sequence[str], words: Mapping[str, str]) -> tuple[str, ...]:
    """The first of each class's words, with its number where several share it; a class without
    words keeps its number."""
    first = [words.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    counts = Counter(first)
    return tuple(
        name if counts[name] == 1 else f"{name} ({wnid})"
        for name, wnid in zip(first, wnids, strict=True)
    )


def read_words(path: Path) -> dict[str, str]:
    """ImageNet's words.txt: a number, a tab, and the words of it; empty if there is no such
    file."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {wnid: words for wnid, tab, words in (line.partition("\t") for line in lines) if tab}
