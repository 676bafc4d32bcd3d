"""The parser of a sub-command: its help, and one paragraph for what is wrong."""

import argparse
from collections.abc import Iterable
from typing import NoReturn

from robustrun.command_line.wrapping import fitted
from robustrun.configuration import composition, words
from robustrun.configuration.words import Line
from robustrun.errors import RobustrunError, did_you_mean


class CommandParser(argparse.ArgumentParser):
    """Of `robustrun COMMAND`: flags and other words in any order. Wrong words are a RobustrunError,
    where argparse would print the usage and leave the process."""

    def __init__(self, command: str, description: str, examples: str) -> None:
        super().__init__(
            prog=f"robustrun {command}",
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """What the arguments say; `--help` prints and raises SystemExit."""
        known = self._option_string_actions
        long = [word for word in arguments if word.startswith("--") and word != "--"]
        self._require_none([word for word in long if word.partition("=")[0] not in known])
        options, unknown = self.parse_known_intermixed_args(arguments)
        self._require_none(unknown)
        return options

    def _require_none(self, unknown: list[str]) -> None:
        """Flags that there are not are named before words that are missing."""
        if unknown:
            flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
            self.error(f"{unknown[0]} is no flag of {self.prog}.{did_you_mean(unknown[0], flags)}")

    def format_help(self) -> str:
        return fitted(super().format_help())

    def error(self, message: str) -> NoReturn:
        raise RobustrunError(f"{message.rstrip('.')}. See {self.prog} --help.")

    def add_folders(self) -> None:
        """`-cd FOLDER`, as running takes it."""
        self.add_argument(
            *("-cd", "--config-dir"),
            action="append",
            default=[],
            metavar="FOLDER",
            help="a folder with options of your own, and the Python files that register them",
        )

    def add_modules(self) -> None:
        """`plugins=[MODULE]`, as running takes it, and `-cd FOLDER`, where they are found, too."""
        text = "Python modules that a file or a repository was made with, and that you trust"
        self.add_argument("plugins", nargs="*", default=[], metavar="plugins=[MODULE]", help=text)
        self.add_folders()

    def modules(self, options: argparse.Namespace) -> list[str]:
        """The modules that are named; those of `-cd FOLDER` are found from now on."""
        composition.opened_folders(line_of([], options.config_dir))
        if others := [word for word in options.plugins if not word.startswith("plugins=")]:
            self.error(f"{others[0]} is no word of {self.prog}")
        return composition.named_modules(words.parse_all(options.plugins))


def line_of(words: Iterable[str], folders: Iterable[str]) -> Line:
    """The overrides of a sub-command, and its `-cd FOLDER`, as Hydra's command line has them."""
    return Line(tuple(("--config-dir", folder) for folder in folders), tuple(words))
