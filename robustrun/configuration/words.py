"""The words of a command line: flags apart from overrides, and one parser for these: Hydra's."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException

from robustrun.errors import ConfigError

# Hydra's flags that take a value, by each of their names.
VALUED = {
    **dict.fromkeys(("--config-path", "-cp"), "--config-path"),
    **dict.fromkeys(("--config-name", "-cn"), "--config-name"),
    **dict.fromkeys(("--config-dir", "-cd"), "--config-dir"),
    **dict.fromkeys(("--cfg", "-c"), "--cfg"),
    **dict.fromkeys(("--package", "-p"), "--package"),
    "--experimental-rerun": "--experimental-rerun",
}
INFORMATION = ("--info", "-i")  # whose value may be left out
TOPICS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
MULTIRUN = ("--multirun", "-m")


@dataclass(frozen=True)
class Line:
    """A command line: its flags, each with its value or None, and its overrides."""

    flags: tuple[tuple[str, str | None], ...]
    words: tuple[str, ...]

    def value(self, flag: str) -> str | None:
        """The value that `flag` was given last; None without it."""
        values = self.values(flag)
        return values[-1] if values else None

    def values(self, flag: str) -> list[str]:
        """All values that `flag` was given."""
        return [value for name, value in self.flags if name == flag and value is not None]

    @property
    def sweeps(self) -> bool:
        return any(name in MULTIRUN for name, _ in self.flags)

    def arguments(self) -> list[str]:
        """Flags before overrides, which Hydra takes in one block."""
        flags = [name if value is None else f"{name}={value}" for name, value in self.flags]
        return [*flags, *self.words]


def split(arguments: Iterable[str]) -> Line:
    """The command line of these arguments, in any order; ConfigError if a flag lacks its value."""
    flags: list[tuple[str, str | None]] = []
    words: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
        elif name in VALUED and equals:
            flags.append((VALUED[name], value))
        elif name in VALUED:
            if not waiting:
                raise ConfigError(f"{name} needs a value.")
            flags.append((VALUED[name], waiting.pop(0)))
        elif name in INFORMATION and equals:
            flags.append((INFORMATION[0], value))
        elif word in INFORMATION:
            topic = waiting.pop(0) if waiting and waiting[0] in TOPICS else "all"
            flags.append((INFORMATION[0], topic))
        else:
            flags.append((word, None))
    return Line(tuple(flags), tuple(words))


def parse(word: str) -> Override:
    """One override, as Hydra reads it; ConfigError that blames the word and says what is right."""
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise ConfigError(f"{word!r} {_complaint(word, error)}") from None


def parse_all(words: Iterable[str]) -> list[Override]:
    """The overrides; ConfigError if two of them set one key, of which Hydra would take the last."""
    overrides = [parse(word) for word in words]
    before: dict[str, str] = {}
    for override in overrides:
        if override.type is OverrideType.DEL:
            continue
        name, word = key(override), str(override.input_line)
        if name in before:
            raise ConfigError(
                f"{name} is given twice: {before[name]} and {word}. Give it once"
                f" (a sweep takes several values as -m {name}=one,other)."
            )
        before[name] = word
    return overrides


def require_single(overrides: Iterable[Override], right: str) -> None:
    """ConfigError if an override has several values, as of a sweep; `right` says what to do."""
    for override in overrides:
        if override.is_sweep_override():
            word = str(override.input_line)
            name, _, values = word.partition("=")
            raise ConfigError(
                f"{word} has several values. {right} A list is {name}=[{values}], and a text with "
                f'commas "{name}={quoted(values)}".'
            )


def _complaint(word: str, error: HydraException) -> str:
    """What is wrong with a word that is no override, and how it would be one."""
    plain = unicodedata.normalize("NFKC", word)
    name, equals, value = word.partition("=")
    strange = next((c for c in word if not c.isascii()), None)
    if plain != word and plain.isascii():
        return f"has {_named(strange)}: write {plain!r}."
    if not equals and not word.startswith("~"):
        more = f" It has {_named(strange)}." if strange else ""
        return f"is neither a sub-command nor an override such as key=value.{more}"
    if _strange_key(name):
        return f"has a key, {name!r}, that no configuration has."
    if value and _meant_as_text(value):
        because = f"has {_named(strange)}, which" if strange else "has a value that"
        return f'{because} must stand in quotes: "{name}={quoted(value)}".'
    if decimal := _in_decimals(value):
        return f"has a fraction where Hydra takes decimal numbers only: write {name}={decimal}."
    return f"is no override: {' '.join(str(error).split())}"


def _in_decimals(value: str) -> str:
    """An interval or a range of fractions with the same numbers; empty for anything else."""
    if re.search(r"\b(interval|range)\(", value) is None:
        return ""
    typed = re.compile(r"(\d+(?:\.\d+)?)/([1-9]\d*)")
    decimal = typed.sub(lambda match: repr(float(match[1]) / int(match[2])), value)
    return decimal if decimal != value else ""


def _named(character: str | None) -> str:
    return f"{character!r} ({unicodedata.name(character or ' ', 'a character without a name')})"


def _strange_key(name: str) -> bool:
    return re.fullmatch(r"[+~]{0,2}[\w./@:-]+", name, re.ASCII) is None


def _meant_as_text(value: str) -> bool:
    """Whether a value that cannot be read would be a text in quotes: no list, call or text that
    has lost one of its own quotes."""
    return not re.match(r"""['"\[{(]|\w+\(""", value)


def key(override: Override) -> str:
    """What an override sets: `attack.epsilon`, `method`, `attack@evaluation.attacks.mine`."""
    return str(override.get_key_element()).lstrip("+~")


def group(override: Override) -> str:
    """The first part of the key: the group or block that an override is about, where it lands."""
    place = override.package if override.package is not None else override.key_or_group
    return str(place).partition(".")[0]


def value_text(override: Override) -> str:
    """The value as a reader would write it: without quotes; empty for a deletion."""
    typed = str(override.input_line).partition("=")[2]
    value: Any = None if override.is_sweep_override() else override.value()
    return value if isinstance(value, str) else typed


def quoted(text: str) -> str:
    """`text` as a value that means exactly it in one of Hydra's words, whatever it holds.

    The only text that no quotes can protect is `???`, which is OmegaConf's for a missing value.
    """
    literal = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", text)
    return "'" + re.sub(r"(\\*)('|\Z)", _escaped, literal) + "'"


def _escaped(match: re.Match[str]) -> str:
    return match[1] * 2 + ("\\'" if match[2] else "")


def fraction(value: float | str) -> Fraction:
    """A number, or a text such as `8/255` or `0.5/255`; ValueError for any other text, and
    ZeroDivisionError for a fraction of 0."""
    above, slash, below = value.partition("/") if isinstance(value, str) else (value, "", "")
    if "/" in below:
        raise ValueError(f"{value!r} has several strokes")
    return Fraction(above) / Fraction(below) if slash else Fraction(above)


def literal(value: object) -> str:
    """A plain value (number, text, null, list, mapping) as Hydra reads it in a word."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{literal(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(literal, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return quoted(value) if isinstance(value, str) else repr(value)
