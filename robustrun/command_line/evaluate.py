"""`robustrun evaluate`: a trained network measured again."""

import logging
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from robustrun.command_line.execute import execute
from robustrun.command_line.failures import DONE, print_remarks
from robustrun.configuration import composition, plugins, words
from robustrun.configuration.words import Line
from robustrun.errors import RobustrunError
from robustrun.run_folder import provenance

MEASURED_WITH = ("attack", "evaluation", "device", "tracker")  # nothing of a training


def evaluate(arguments: list[str]) -> int:
    """`robustrun evaluate RUN_OR_WEIGHTS [OVERRIDE ...]`"""
    if not arguments or ("=" in arguments[0] and not Path(arguments[0]).exists()):
        raise RobustrunError(
            "robustrun evaluate takes a finished run's folder or a file of weights, then overrides."
        )
    source, line = Path(arguments[0]), words.split(arguments[1:])
    if not source.exists():
        raise RobustrunError(f"{source} does not exist.")
    if other := [name for name, _ in line.flags if name != "--config-dir"]:
        raise RobustrunError(f"robustrun evaluate takes no {other[0]}: one run or file at a time.")
    from robustrun import console
    from robustrun.configuration.decoding import dump
    from robustrun.configuration.run_config import left_out, load_config

    logging.basicConfig(level=logging.INFO, handlers=[console.handler()])
    raw = _to_measure(source, line)
    run_config = load_config(raw)
    remarks = left_out(raw).items()
    print_remarks(said for key, said in remarks if key.startswith("evaluation."))
    now = datetime.now()
    measured = run_config.name_of("method") if source.is_dir() else source.stem
    names = re.sub(r"[^\w.-]+", "_", f"evaluate_{measured}_{run_config.name_of('dataset')}")
    folder = Path("outputs", f"{now:%Y-%m-%d}", f"{now:%H-%M-%S-%f}_{names}").resolve()
    about = provenance.new(
        source,
        shlex.join(["robustrun", "evaluate", *arguments]),
        folders=[str(place) for place in composition.named_folders(line)],
        plugins=plugins.places(run_config),
        configuration=dump(run_config),
    )
    execute(run_config, provenance.claim(folder, about), source)
    return DONE


def _to_measure(source: Path, line: Line) -> dict[str, Any]:
    """The configuration of an evaluation of a finished run, or of a file of weights."""
    from robustrun.models import program
    from robustrun.run_folder import repetition
    from robustrun.run_folder.load import raw_config

    folders = composition.named_folders(line)
    for folder in folders:
        plugins.look_in(folder)
    if source.is_dir():
        raw_config(source)
        raw, remarks = repetition.measured_again(source, line)
        print_remarks(remarks)
        return raw
    file = words.quoted(str(source.absolute()))
    more = ["model=program", f"model.file={file}"] if program.kind(source) else []
    return _trained_as_may_be([*more, *line.words], folders)


def _trained_as_may_be(given: list[str], folders: list[Path]) -> dict[str, Any]:
    """The configuration for measuring a file: how it was trained is not known, and nothing of
    that follows the attack that it is measured with."""
    raw = composition.compose_config(given, folders)
    typed = [words.parse(word) for word in given]
    others = [str(word.input_line) for word in typed if words.group(word) not in MEASURED_WITH]
    before = composition.compose_config(others, folders)
    return raw | {name: before[name] for name in ("method", "training", "recipe")}
