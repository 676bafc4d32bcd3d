"""`robustrun list` and `robustrun explain`: what can be chosen, told by the catalogue itself."""

import inspect
from pathlib import Path

from omegaconf import OmegaConf

from robustrun import console
from robustrun.configuration import composition, plugins
from robustrun.configuration.catalogue import catalogue, option_file, options_by_group
from robustrun.errors import RobustrunError, did_you_mean


def print_list(arguments: list[str]) -> int:
    """Every option of one group, or of all, with the first line of its YAML file."""
    groups = options_by_group()
    wanted = arguments or list(groups)
    for group in wanted:
        if group not in groups:
            raise RobustrunError(f"There is no group {group!r}.{did_you_mean(group, groups)}")
    for group in wanted:
        print(group)
        texts = {name: headline(option_file(group, name)) for name in groups[group]}
        print("\n".join(console.entries(texts)))
    return 0


def print_help() -> int:
    """What `conf/hydra/help` says, and the groups; Hydra would compose a run for it (0.3 s)."""
    text = OmegaConf.load(catalogue() / "hydra" / "help" / "robustrun.yaml")
    options = "\n".join(
        f"{group}: {', '.join(names)}" for group, names in options_by_group().items()
    )
    print(f"{text.header}\nOptions (group=option)\n\n{options}\n\n{text.footer}")
    return 0


def headline(path: Path) -> str:
    """The first comment of a YAML file that says what the option is: no package, no command."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith(("# @package", "# robustrun ")):
            return line.lstrip("# ")
    return ""


def print_explanation(arguments: list[str]) -> int:
    """An option's paper and formula from its class, its settings and units from its YAML file."""
    if len(arguments) != 1 or "=" not in arguments[0]:
        raise RobustrunError("robustrun explain takes one GROUP=NAME, such as method=trades.")
    group, _, option = arguments[0].partition("=")
    options = options_by_group().get(group)
    if options is None:
        raise RobustrunError(
            f"There is no group {group!r}.{did_you_mean(group, options_by_group())}"
        )
    if option not in options:
        raise RobustrunError(f"There is no {group} {option!r}.{did_you_mean(option, options)}")
    if documented := _class_text(group, option):
        print(f"{documented}\n")
    print(f"Settings, as {option_file(group, option).name} has them:\n")
    print(option_file(group, option).read_text(encoding="utf-8").rstrip())
    return 0


def _class_text(group: str, option: str) -> str:
    """The docstrings of the module and class that the option names, if it names one."""
    from robustrun.configuration.decoding import REGISTRIES

    plugins.load()
    word = "+" if group == "experiment" else ""
    chosen = composition.compose_config([f"{word}{group}={option}"]).get(group)
    name = chosen.get("name") if isinstance(chosen, dict) else None
    for registry in REGISTRIES.values():
        if registry.group == group and name in registry:
            cls = registry[str(name)]
            module = inspect.getdoc(inspect.getmodule(cls)) or ""
            return f"{module}\n\n{inspect.getdoc(cls) or ''}"
    return ""
