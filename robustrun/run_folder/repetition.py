"""A finished run composed again: from the words that it was made from, and others.

Settings that follow others (`method.epsilon` follows `attack.epsilon`) follow them again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException

from robustrun.configuration import composition, words
from robustrun.configuration.catalogue import options_by_group
from robustrun.configuration.decoding import dump, number
from robustrun.configuration.former_keys import with_present_words
from robustrun.configuration.run_config import load_config
from robustrun.configuration.words import Line
from robustrun.errors import ConfigError, DataError
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import FILE, FOLDER
from robustrun.run_folder.load import configuration, raw_config
from robustrun.run_folder.schema import read_run

MEASURING = ("attack", "evaluation", "device", "tracker", "dataset", "keep")  # by `evaluate`
IN_PIXELS = ("epsilon", "step_size")  # that mean something else in another norm
# What others follow is set first: then the others need no word of their own.
LEADERS = (
    "dataset",
    "recipe",
    "attack.norm",
    "attack.epsilon",
    "attack",
    "method.norm",
    "method.epsilon",
)
ROUNDS = 60  # of setting what differs; each sets one key that others may follow


@dataclass
class Repetition:
    """The words that make a run's configuration again."""

    run: Path
    before: dict[str, Any]  # its configuration
    words: list[str]
    folders: list[Path]
    remarks: list[str] = field(default_factory=list)


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a run, and not a configuration that someone wrote."""
    if (folder / FOLDER / FILE).is_file():
        return True
    try:
        raw = provenance.configuration(folder)
    except DataError:
        return False
    sections = {"seed", "dataset", "attack", "method", "model", "training", "evaluation"}
    return sections <= set(raw) and "defaults" not in raw


def repeated_line(line: Line) -> tuple[Line, list[Path], list[str]]:
    """The line `--config-path RUN WORDS` without the flag and with the words that make the run's
    configuration with these others; the folders of its options; what is to be said of it."""
    run = Path(line.value("--config-path") or ".")
    about = provenance.read(run) if (run / FOLDER / FILE).is_file() else None
    if about is not None and about.source is not None:
        raise DataError(
            f"{run} is an evaluation of {about.source}: repeat it with robustrun evaluate. "
            f"It was made by: {about.command}"
        )
    repetition = settled(run, line)
    given = with_others(repetition, line.words)
    gone = ("--config-path", "--config-name")
    flags = tuple(flag for flag in line.flags if flag[0] not in gone)
    return Line(flags, tuple(given)), repetition.folders, repetition.remarks


def measured_again(run: Path, line: Line) -> tuple[dict[str, Any], list[str]]:
    """The configuration of a finished run with other attacks, evaluation, device or data; what is
    to be said of it. What the training was stays as the run has it."""
    typed = words.parse_all(line.words)
    if wrong := {words.group(word) for word in typed} - {*MEASURING, "plugins"}:
        raise ConfigError(
            f"{' and '.join(sorted(wrong))}: evaluate does not train again. It can choose "
            f"{', '.join(MEASURING)}; robustrun --config-path RUN repeats a run with any change."
        )
    if not typed:
        return dump(load_config(raw_config(run))), []
    repetition = settled(run, line, MEASURING)
    raw = composition.compose_config(with_others(repetition, line.words), repetition.folders)
    _require_own_normalisation(repetition, typed, raw)
    _keep_own_orientation(repetition, typed, raw)
    chosen = {name: raw[name] for name in MEASURING if touches(name, typed)}
    options = {name: option for name, option in raw["options"].items() if name in chosen}
    chosen["options"] = repetition.before["options"] | options
    modules = [*repetition.before["plugins"], *composition.named_modules(typed)]
    chosen["plugins"] = list(dict.fromkeys(modules))
    return repetition.before | chosen, repetition.remarks


def _require_own_normalisation(
    repetition: Repetition, typed: Iterable[Override], raw: dict[str, Any]
) -> None:
    """ConfigError for another mean or std than the network's own, which it was trained with."""
    for key in ("mean", "std"):
        own = repetition.before["model"].get(key, repetition.before["dataset"][key])
        now = _numbers(raw["dataset"][key])
        if f"dataset.{key}" in {words.key(word) for word in typed} and now != own:
            raise ConfigError(
                f"dataset.{key} is {now}, but the network of {repetition.run} normalises inside "
                f"itself with {own}, as it was trained: images are given to it in [0, 1]. Leave "
                "the word out."
            )


def _keep_own_orientation(
    repetition: Repetition, typed: Iterable[Override], raw: dict[str, Any]
) -> None:
    """Have the images of the run's own data set lie as its network learnt them (EMNIST's lay on
    their side in earlier versions), unless the words say otherwise; either is told."""
    before, now = repetition.before["dataset"], raw["dataset"]
    own, key = before.get("transpose"), "dataset.transpose"
    if before.get("source") != now.get("source") or own == now.get("transpose"):
        return
    taught = f"{before['source']} with {key}={words.literal(own)}"
    learnt = f"the network of {repetition.run} learnt {taught}"
    if key in {words.key(word) for word in typed}:
        unknown = "As it is read now, the network does not know the images."
        repetition.remarks.append(f"{learnt}. {unknown}")
        return
    now["transpose"] = own
    repetition.remarks.append(f"{learnt}: so it is read here.")


def touches(section: str, typed: Iterable[Override]) -> bool:
    """Whether these words may change a section: itself, or what it borrows from."""
    borrows = {"attack": {"dataset"}, "evaluation": {"dataset", "attack"}}
    return bool({words.group(word) for word in typed} & {section, *borrows.get(section, ())})


def settled(run: Path, line: Line, sections: Iterable[str] = ()) -> Repetition:
    """The words from which the catalogue makes the run's configuration today; of these `sections`
    alone, if any are named. Hydra's error if the words of `line` name what there is not."""
    about = provenance.read(run) if (run / FOLDER / FILE).is_file() else None
    folders = _folders(run, about.folders if about else [], composition.named_folders(line))
    raw = configuration(run)
    before = dump(load_config(raw))
    told = about.overrides if about else _told_overrides(run)
    given = _options_of(before, folders) if told is None else with_present_words(told, [raw])
    repetition = Repetition(run, before, given, folders)
    _set_what_differs(repetition, sections, line.words)
    if told is None:
        repetition.remarks.append(
            f"{run} does not keep the words that it was made from. From its config.yaml they may "
            f"have been: {' '.join(repetition.words)}"
        )
    elif added := repetition.words[len(given) :]:
        set_now = ", ".join(words.key(words.parse(word)) for word in added)
        repetition.remarks.append(
            f"the catalogue is no longer the one that {run} was made from: these keep the run's "
            f"values: {set_now}."
        )
    return repetition


def _folders(run: Path, kept: Iterable[str], named: list[Path]) -> list[Path]:
    """Those of options that are named now, then the run's own; DataError if only these would do
    and one is gone."""
    own = [Path(folder) for folder in kept]
    if (missing := [folder for folder in own if not folder.is_dir()]) and not named:
        raise DataError(
            f"{run} was made with options in {missing[0]}, which is not there. Put the folder "
            f"back, or name the one that has them now with -cd FOLDER."
        )
    return [*named, *(folder for folder in own if folder.is_dir())]


def _require_known(repetition: Repetition, others: Iterable[str]) -> None:
    """Hydra's error if these words name what there is not, so that nobody waits seconds for it.
    Keys that the run has are judged when its words are complete, and so is a sweep."""
    typed = [word for word in words.parse_all(others) if not words.key(word).startswith("hydra")]
    if any(word.is_sweep_override() for word in typed):
        return
    known, groups = replace(repetition, remarks=[]), options_by_group(repetition.folders)
    try:
        given = with_others(known, [str(word.input_line) for word in typed])
        composition.compose_config(given, known.folders)
    except HydraException:
        keys = map(words.key, typed)
        if any(key in groups or not _held(repetition.before, key) for key in keys):
            raise


def _held(block: Any, key: str) -> bool:
    """Whether a configuration has this dotted key."""
    for part in key.split("."):
        if not isinstance(block, Mapping) or part not in block:
            return False
        block = block[part]
    return True


def _told_overrides(run: Path) -> list[str] | None:
    """The words that the results name, of a run that came without its checkpoint/."""
    told = read_run(run)
    return None if told is None or told.overrides is None else list(told.overrides)


def _options_of(before: dict[str, Any], folders: list[Path]) -> list[str]:
    """A word for each group: the option that the run names, or the likest of those that might be
    it."""
    given: list[str] = []
    for group, options in options_by_group(folders).items():
        named = before["options"].get(group)
        if named in options:
            given.append(f"{group}={named}")
        elif group in before:
            given.append(f"{group}={_likest(group, options, before, folders)}")
    return given


def _likest(group: str, options: list[str], before: dict[str, Any], folders: list[Path]) -> str:
    """The option whose block differs from the run's in the fewest keys."""
    name = str(before[group].get("name", ""))
    like = [option for option in options if option.startswith(name)] or options
    if len(like) == 1:
        return like[0]

    def distance(option: str) -> tuple[int, bool]:
        block = composition.compose_config([f"{group}={option}"], folders)[group]
        return len(list(provenance.differences(before[group], _numbers(block)))), option != name

    return min(like, key=distance)


def _numbers(value: Any) -> Any:
    """Fractions as the numbers that they are."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    try:
        return number(value, "") if isinstance(value, str) else value
    except ConfigError:
        return value


def _set_what_differs(
    repetition: Repetition, sections: Iterable[str], others: Iterable[str]
) -> None:
    """Add words to `repetition` until the catalogue makes the run's configuration of them; what
    cannot be right in the `others` that follow is an error before the second round."""
    for done in range(ROUNDS):
        now = dump(load_config(composition.compose_config(repetition.words, repetition.folders)))
        differing = [
            (key, then)
            for key, then, _ in provenance.differences(repetition.before, now)
            if key.partition(".")[0] in (tuple(sections) or repetition.before)
            and key[:8] != "options."
        ]
        if not differing:
            return
        if done == 0:
            _require_known(repetition, others)
        key, then = min(differing, key=lambda item: _rank(item[0]))
        repetition.words = [*repetition.words, _setting(key, then, repetition.before)]
    raise DataError(
        f"The configuration of {repetition.run} cannot be made from the catalogue any more: {key} "
        f"was {then!r}."
    )


def _rank(key: str) -> tuple[int, int]:
    places = [n for n, leader in enumerate(LEADERS) if f"{key}.".startswith(f"{leader}.")]
    return (places[0] if places else len(LEADERS), key.count("."))


def _setting(key: str, value: Any, before: dict[str, Any]) -> str:
    """The word that gives `key` the run's value: that it is not there, if it was not."""
    return f"++{key}={words.literal(value)}" if _held(before, key) else f"~{key}"


def with_others(repetition: Repetition, others: Iterable[str]) -> list[str]:
    """The run's words with these others: a key's new value replaces the old one, and old words
    that a changed option has no key for are left out, as are radii where the norm changes."""
    new = words.parse_all(others)
    old = words.parse_all(repetition.words)
    taken = {words.key(word): word for word in new}
    kept = [word for word in old if words.key(word) not in taken]
    as_before = {words.key(word): word for word in old if words.key(word) in taken}
    given = [_in_the_form_of(as_before.get(words.key(word)), word) for word in new]
    changed = {key for key in taken if _changes(repetition, key, taken[key])}
    dropped = [word for word in kept if not _applies(word, changed, given, repetition)]
    dropped += _of_another_norm([w for w in kept if w not in dropped], given, repetition)
    if dropped:
        left = ", ".join(str(word.input_line) for word in dropped)
        repetition.remarks.append(
            f"of the words of {repetition.run}, these no longer apply: {left}."
        )
    return [*(str(w.input_line) for w in kept if w not in dropped), *given]


def _in_the_form_of(before: Override | None, word: Override) -> str:
    """A new value for what an old word has added is added in its place."""
    line = str(word.input_line)
    if before is None or word.type is not OverrideType.CHANGE:
        return line
    return {OverrideType.ADD: "+", OverrideType.FORCE_ADD: "++"}.get(before.type, "") + line


def _changes(repetition: Repetition, key: str, word: Override) -> bool:
    """Whether a word chooses another option of a group."""
    if key not in options_by_group(repetition.folders):
        return False
    return word.is_sweep_override() or word.value() != repetition.before["options"].get(key)


def _applies(word: Override, changed: set[str], given: list[str], repetition: Repetition) -> bool:
    """Whether an old word still means something where these groups have other options."""
    if words.group(word) not in changed or words.key(word) in options_by_group(repetition.folders):
        return True
    added = word.type is OverrideType.ADD  # to the option that was there
    return not added and _exists(words.key(word), _alone(given, repetition), repetition)


def _alone(given: list[str], repetition: Repetition) -> list[list[str]]:
    """The groups' options among the run's words and these, once for each option that is swept."""
    groups = options_by_group(repetition.folders)
    chosen = [w for w in words.parse_all(given) if words.key(w) in groups]
    keys = {words.key(word) for word in chosen}
    old = [w for w in words.parse_all(repetition.words) if words.key(w) in groups]
    fixed = [str(w.input_line) for w in old if words.key(w) not in keys]
    fixed += [str(w.input_line) for w in chosen if not w.is_sweep_override()]
    swept = [w for w in chosen if w.is_sweep_override()]
    return [
        [*fixed, f"{words.key(word)}={option}"]
        for word in swept
        for option in word.sweep_iterator()
    ] or [fixed]


def _exists(key: str, choices: list[list[str]], repetition: Repetition) -> bool:
    return all(
        _held(composition.compose_config(given, repetition.folders), key) for given in choices
    )


def _of_another_norm(
    kept: list[Override], given: list[str], repetition: Repetition
) -> list[Override]:
    """Old words for radii and steps, where the new words change the norm."""
    candidates = [
        word
        for word in kept
        if words.key(word).rpartition(".")[2] in IN_PIXELS and words.group(word) != "dataset"
    ]
    typed = words.parse_all(given)
    if not candidates or not {words.group(word) for word in typed} & {"attack", "method"}:
        return []
    others = [str(word.input_line) for word in kept if word not in candidates]
    fixed = [str(word.input_line) for word in typed if not word.is_sweep_override()]
    now = composition.compose_config([*others, *fixed], repetition.folders)
    return candidates if now["attack"]["norm"] != repetition.before["attack"]["norm"] else []
