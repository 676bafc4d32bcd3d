"""Words that no command has, and what would be right in their place."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from robustrun.command_line.commands import COMMANDS
from robustrun.configuration import composition, words
from robustrun.configuration.catalogue import options_by_group
from robustrun.configuration.words import Line
from robustrun.errors import RobustrunError

FLAGS = (  # of Hydra, beside those that take a value
    *("--help", "--hydra-help", "--version", "--resolve", "--run", "--multirun"),
    *("--shell-completion", "--info"),
)
SHORT_FLAGS = ("-h", "-r", "-m", "-sc", "-i")
ALL_FLAGS = (*FLAGS, *SHORT_FLAGS, *words.VALUED)
Groups = dict[str, list[str]]  # each group with its options


def require_usual(arguments: list[str]) -> None:
    """RobustrunError unless these can be the words of a run or a sweep: flags that Hydra has, and
    overrides."""
    line = words.split(arguments)
    if line.words[:1] == tuple(arguments[:1]):  # the place of a sub-command
        require_overrides(line, COMMANDS, first=1)
    for flag, value in line.flags:
        if flag not in ALL_FLAGS:
            raise RobustrunError(
                _of_a_flag(flag if value is None else f"{flag}={value}", arguments)
            )
    if line.sweeps and not line.words and len(line.flags) == 1:
        raise RobustrunError(
            "-m needs an override with several values, as in robustrun -m seed=0,1,2. One run is "
            "robustrun alone."
        )
    require_overrides(line, COMMANDS)


def require_overrides(line: Line, commands: Collection[str] = (), first: int | None = None) -> None:
    """RobustrunError if a word of the line, or of its `first` ones, is no override: has no `=`."""
    groups = options_by_group(composition.typed_folders(line))
    for place, word in enumerate(line.words[:first]):
        if word.isascii() and not word.startswith("~") and "=" not in word.lstrip("="):
            raise RobustrunError(_of_a_word(place, line, groups, commands))


def _of_a_flag(flag: str, arguments: list[str]) -> str:
    name, equals, _ = flag.partition("=")
    bare = flag.lstrip("-")
    near = [name.lower()] if name.lower() in ALL_FLAGS else []
    if near := near or get_close_matches(name, ALL_FLAGS, n=1, cutoff=0.75):
        return f"{flag} is no flag. Did you mean {near[0]}?"
    value = "".join(arguments[arguments.index(flag) + 1 :][:1]) if flag in arguments else ""
    if equals or (len(bare) > 1 and re.fullmatch(r"[^-=~][^=]*", value)):
        override = bare if equals else f"{bare}={value}"
        return f"{flag} is no flag. An override has no dashes: write {override}."
    return f"{flag} is no flag. robustrun --hydra-help shows those that there are."


def _of_a_word(place: int, line: Line, groups: Groups, commands: Collection[str]) -> str:
    """What is wrong with the word without `=` at this place, and what is right."""
    word, before, after = line.words[place], line.words[:place], line.words[place + 1 :]
    if before and before[-1].endswith("="):
        return f"{before[-1]} {word} has a space. Write {before[-1]}{word}."
    if after and after[0].startswith("="):
        whole = "".join([word, *after[: 2 if after[0] == "=" else 1]])
        return f"{word} {after[0]} has a space. Write {whole}."
    if word in commands:
        others = [argument for argument in line.arguments() if argument != word]
        return f"{word} is a sub-command and stands first: robustrun {' '.join([word, *others])}."
    kind = "neither a sub-command nor an override" if commands else "no override"
    return f"{word!r} is {kind} such as seed=1. {_advice(word, after, groups, commands)}"


def _advice(word: str, after: tuple[str, ...], groups: Groups, commands: Collection[str]) -> str:
    near = get_close_matches(word, [*commands, *groups], n=1)
    if word in ("help", "version", "info"):
        return f"Write --{word}."
    if near and near[0] in commands:
        return f"Did you mean robustrun {near[0]}?"
    if option := meant(word, "".join(after[:1]), groups):
        return f"Write {option}."
    if Path(word).exists():
        return f"To measure what it holds, write robustrun evaluate {word}."
    if after and re.fullmatch(r"[\w./@]+", word):
        return f"Write {word}={after[0]}."
    if not commands:
        return "robustrun list shows what can be chosen."
    return f"Sub-commands are {', '.join(commands)}; a run has none: robustrun method=trades."


def meant(word: str, after: str, groups: Groups) -> str:
    """The override, such as `method=trades`, that is meant by a group with or without its option
    behind it, or by an option alone, also where a letter is wrong; empty if none is near."""
    if word in groups:
        return f"{word}={_option_meant(word, after, groups[word])}"
    every = sorted({option for options in groups.values() for option in options})
    near = [word] if word in every else get_close_matches(word, groups, n=1, cutoff=0.75)
    if near and near[0] in groups:
        return f"{near[0]}={_option_meant(near[0], after, groups[near[0]])}"
    near = near or get_close_matches(word, every, n=1, cutoff=0.75)
    return " or ".join(f"{g}={near[0]}" for g in groups if near and near[0] in groups[g])


def _option_meant(group: str, typed: str, options: list[str]) -> str:
    """The option that was typed, several with commas between them, or the nearest."""
    if set(typed.split(",")) <= set(options):
        return typed
    near = get_close_matches(typed, options, n=1)
    return near[0] if near else f"NAME (robustrun list {group})"
