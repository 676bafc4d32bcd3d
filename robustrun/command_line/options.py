"""`robustrun list` and `robustrun explain`: what can be chosen, told by the catalogue itself."""

import inspect
from pathlib import Path

from robustrun import console
from robustrun.command_line import process, typos
from robustrun.command_line.failures import print_remarks
from robustrun.command_line.parser import CommandParser, line_of
from robustrun.command_line.wrapping import fitted
from robustrun.configuration import composition, plugins, source, words
from robustrun.configuration.catalogue import option_file, options_by_group
from robustrun.errors import RobustrunError, did_you_mean

LIST_EXAMPLES = """\
Examples
  robustrun list
  robustrun list attack method
  robustrun list model --timm 'vit_tiny*'  the networks of timm, and their pretrained weights
  robustrun list -cd mine                  with the options of a folder of your own"""
EXPLAIN_EXAMPLES = """\
Examples
  robustrun explain method=trades
  robustrun explain dataset=digits
  robustrun explain -cd mine plugins=[my_method] method=my_method"""


def list_parser() -> CommandParser:
    text = "Shows everything that can be chosen, with one line each."
    own = CommandParser("list", text, LIST_EXAMPLES)
    own.add_argument(
        "groups", nargs="*", default=[], metavar="GROUP", help="only these groups of options"
    )
    for library in ("timm", "torchvision"):
        what = f"search the networks of {library} and their weights; nothing is downloaded"
        own.add_argument(f"--{library}", nargs="?", const="*", metavar="PATTERN", help=what)
    own.add_folders()
    return own


def explain_parser() -> CommandParser:
    text = "Shows what an option does: its paper, its formula, and its settings with their units."
    own = CommandParser("explain", text, EXPLAIN_EXAMPLES)
    own.usage = "robustrun explain [-h] [-cd FOLDER] GROUP=NAME [plugins=[MODULE]]"
    own.add_argument("option", nargs="+", metavar="GROUP=NAME", help="the option")
    own.add_folders()
    return own


def print_list(arguments: list[str]) -> int:
    """Every option of one group, or of all, with the first line of its YAML file."""
    given = list_parser().read(arguments)
    if patterns := {k: v for k in ("timm", "torchvision") if (v := getattr(given, k)) is not None}:
        return _print_architectures(patterns, given.groups)
    folders = composition.opened_folders(line_of([], given.config_dir))
    options = options_by_group(folders)
    chosen, _ = _without_plugins(given.groups)
    for group in chosen:
        if group not in options:
            raise RobustrunError(_no_group(group, options))
    for group in chosen or options:
        print(group)
        texts = {name: headline(option_file(group, name, folders)) for name in options[group]}
        print("\n".join(console.entries(texts)))
    return 0


def _print_architectures(patterns: dict[str, str], groups: list[str]) -> int:
    from robustrun.command_line.architectures import print_architectures

    if groups not in ([], ["model"]):
        flags = " and ".join(f"--{library}" for library in patterns)
        raise RobustrunError(
            f"{flags} searches networks: write robustrun list model {flags} 'PATTERN'."
        )
    process.log_to_terminal()
    print_architectures(patterns)
    return 0


def _without_plugins(given: list[str]) -> tuple[list[str], list[str]]:
    """The words that are not `plugins=[...]`, and the modules that these name."""
    typed = {word: words.parse(word) for word in given if word.startswith("plugins=")}
    return [word for word in given if word not in typed], composition.named_modules(typed.values())


def _no_group(group: str, options: dict[str, list[str]]) -> str:
    option = typos.meant(group.partition("=")[0], group.partition("=")[2], options)
    if option and "NAME" not in option:
        return f"robustrun list takes groups, not {group!r}: write robustrun explain {option}."
    return f"There is no group {group!r}.{did_you_mean(group, options)}"


def headline(path: Path) -> str:
    """The first comment of a YAML file that says what the option is: no package, no command."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith(("# @package", "# robustrun ")):
            return line.lstrip("# ")
    return ""


def print_explanation(arguments: list[str]) -> int:
    """An option's paper and formula from its class, its settings and units from its YAML file."""
    if not arguments:
        explain_parser().error("robustrun explain takes an option, as in method=trades")
    given = explain_parser().read(arguments)
    folders = composition.opened_folders(line_of([], given.config_dir))
    chosen, modules = _without_plugins(given.option)
    group, option = _chosen(chosen, options_by_group(folders))
    file = option_file(group, option, folders)
    if documented := _class_text(group, option, folders, modules):
        print(fitted(f"{documented}\n"))
    print(f"Settings, as {file.name} has them:\n")
    print(file.read_text(encoding="utf-8").rstrip())
    return 0


def _chosen(given: list[str], options: dict[str, list[str]]) -> tuple[str, str]:
    """The group and the name of the one option that is given; RobustrunError that says what is
    right if there is none so called."""
    first, *others = given or [""]
    group, equals, option = first.partition("=")
    if not equals or others:
        meant = typos.meant(first, "".join(others[:1]), options) if not equals else first
        right = meant or "GROUP=NAME"
        explain_parser().error(
            f"{' '.join(given)!r} is not one option. Write robustrun explain {right}"
        )
    if group not in options:
        raise RobustrunError(f"There is no group {group!r}.{did_you_mean(group, options)}")
    if option not in options[group]:
        near = did_you_mean(option, options[group])
        raise RobustrunError(f"There is no {group} {option!r}.{near}")
    return group, option


def _class_text(group: str, option: str, folders: list[Path], modules: list[str]) -> str:
    """The docstrings of the module and class that the option names, if it names one. Those of our
    own are read from their source: importing them would import torch, which takes seconds."""
    word = "+" if group == "experiment" else ""
    chosen = composition.compose_config([f"{word}{group}={option}"], folders).get(group)
    name = chosen.get("name") if isinstance(chosen, dict) else None
    if own := source.documentation(group, str(name)):
        return own
    from robustrun.configuration.decoding import REGISTRIES

    plugins.load(modules)
    for registry in REGISTRIES.values():
        if registry.group == group and name in registry:
            cls = registry[str(name)]
            module = inspect.getdoc(inspect.getmodule(cls)) or ""
            return f"{module}\n\n{inspect.getdoc(cls) or ''}"
    if not modules and (hint := plugins.hint(group, str(name), folders)):
        print_remarks([hint])
    return ""
