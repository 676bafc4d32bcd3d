"""`robustrun --help`, without Hydra, which would compose a run for it."""

import yaml

from robustrun.command_line.exit_codes import DONE
from robustrun.command_line.wrapping import fitted
from robustrun.configuration.catalogue import catalogue, options_by_group


def print_help() -> int:
    """What `conf/hydra/help` says, and the groups with their options."""
    file = catalogue() / "hydra" / "help" / "robustrun.yaml"
    text = yaml.safe_load(file.read_text(encoding="utf-8"))
    groups = options_by_group().items()
    options = "\n".join(f"{group}: {', '.join(names)}" for group, names in groups)
    print(fitted(f"{text['header']}\nOptions (group=option)\n\n{options}\n\n{text['footer']}"))
    return DONE
