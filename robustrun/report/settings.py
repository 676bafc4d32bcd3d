"""The configurations of many runs as dotted keys; what is equal in several runs is one object."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from robustrun.storage.files import flat

Value = TypeVar("Value")
Block = dict[str, Any]  # what a configuration says of one group, by dotted keys


class Pool:
    """Equal values as one object: the runs of a sweep have most of what they say in common."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._blocks: dict[str, Block] = {}

    def shared(self, value: Value) -> Value:
        """The first value that is written like this one."""
        first: Value = self._values.setdefault(repr(value), value)
        return first

    def block(self, group: str, content: Any, option: str | None) -> Block:
        """A group of a configuration as one level of keys; its name is what the user chose."""
        text = f"{group} {option} {content!r}"
        if text not in self._blocks:
            name = {} if option is None else {f"{group}.name": option}
            self._blocks[text] = flat(content, group) | name
        return self._blocks[text]


class Settings(Mapping[str, Any]):
    """A configuration as one level of dotted keys, group by group."""

    def __init__(self, blocks: dict[str, Block]) -> None:
        self.blocks = blocks

    def __getitem__(self, key: str) -> Any:
        return self.blocks[key.partition(".")[0]][key]

    def __iter__(self) -> Iterator[str]:
        for block in self.blocks.values():
            yield from block

    def __len__(self) -> int:
        return sum(map(len, self.blocks.values()))


def keys(settings: Iterable[Settings]) -> dict[str, None]:
    """Every key of any of them, in the order in which they come."""
    blocks = {id(block): block for one in settings for block in one.blocks.values()}
    return dict.fromkeys(key for block in blocks.values() for key in block)


def varying_keys(settings: Sequence[Settings]) -> list[str]:
    """The keys that have several values, or are not in all of them, in the order in which they
    come."""
    blocks = {id(block): (group, block) for one in settings for group, block in one.blocks.items()}
    contents: dict[str, list[Block]] = {}
    for group, block in blocks.values():
        contents.setdefault(group, []).append(block)
    for group in contents:
        if any(group not in one.blocks for one in settings):
            contents[group].append({})
    several = {group: different for group, different in contents.items() if len(different) > 1}
    candidates = dict.fromkeys(k for g, block in blocks.values() if g in several for k in block)
    return [key for key in candidates if _varies(key, several[key.partition(".")[0]])]


def _varies(key: str, blocks: list[Block]) -> bool:
    first = repr(blocks[0].get(key))
    return any(repr(block.get(key)) != first for block in blocks)
