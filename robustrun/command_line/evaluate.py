"""`robustrun evaluate`: a trained network measured again."""

import logging
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

from robustrun.command_line import process, typos
from robustrun.command_line.execute import execute
from robustrun.command_line.exit_codes import DONE
from robustrun.command_line.failures import print_remarks
from robustrun.command_line.parser import CommandParser, line_of
from robustrun.configuration import composition, plugins, words
from robustrun.configuration.words import Line
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import require_finished
from robustrun.run_folder.place import is_remote, local

log = logging.getLogger(__name__)
MEASURED_WITH = ("attack", "evaluation", "device", "tracker")  # nothing of a training
FIRST = "robustrun evaluate takes a finished run's folder or a file of weights first"
DESCRIPTION = """\
Measures a trained network again: with another attack, radius or evaluation, or on other data. It
writes a new folder in outputs/ and leaves the run as it is. Overrides are the same as for a run."""
EXAMPLES = """\
Of a file, name the network and the data that it was trained on, unless they are the defaults.

Examples
  robustrun evaluate outputs/RUN attack.epsilon=4/255
  robustrun evaluate outputs/RUN evaluation=audit
  robustrun evaluate weights.safetensors model=resnet18 dataset=cifar10 attack=autoattack
  robustrun evaluate hf://OWNER/NAME attack=autoattack
  robustrun evaluate model=timm model.architecture=resnet18 model.weights=pretrained \\
    model.mean=weights model.std=weights dataset=imagenet
  robustrun evaluate outputs/RUN -cd mine plugins=[my_attack] attack=my_attack"""


def parser() -> CommandParser:
    own = CommandParser("evaluate", DESCRIPTION, EXAMPLES)
    what = "a finished run's folder, a file of weights, an exported network, or hf://OWNER/NAME; "
    what += "none: the network as the overrides make it, with model.weights"
    own.add_argument("source", metavar="RUN_OR_WEIGHTS", help=what)
    own.add_argument(
        "overrides", nargs="*", default=[], metavar="OVERRIDE", help="such as attack=autoattack"
    )
    own.add_folders()
    return own


def evaluate(arguments: list[str]) -> int:
    """`robustrun evaluate RUN_OR_WEIGHTS [OVERRIDE ...]`"""
    named, line = _read(arguments)
    process.log_to_terminal()
    process.import_torch()
    from robustrun.configuration.decoding import dump
    from robustrun.configuration.run_config import left_out, load_config
    from robustrun.run_folder.load import as_source

    local = None if named is None else _local(named, line)
    raw = _as_configured(line) if local is None else _to_measure(local, line)
    run_config = load_config(raw, composition.named_folders(line))
    source = as_source(run_config) if local is None else local
    for key, remark in left_out(raw).items():
        if key.startswith("evaluation."):
            log.warning(remark)
    measured = run_config.name_of("method") if source.is_dir() else source.stem
    folder = _new_folder(source.name if local is None else measured, run_config.name_of("dataset"))
    about = provenance.new(
        source,
        shlex.join(["robustrun", "evaluate", *arguments]),
        folders=[str(place) for place in composition.named_folders(line)],
        plugins=plugins.places(run_config),
        configuration=dump(run_config),
    )
    execute(run_config, provenance.claim(folder, about), source)
    return DONE


def _read(arguments: list[str]) -> tuple[str | None, Line]:
    """The run or file that is named, or None for the network that the overrides make, and these;
    RobustrunError for what is wrong in them and can be told before torch is imported."""
    if not arguments:
        parser().error(f"{FIRST}, as in robustrun evaluate outputs/RUN attack=autoattack")
    options = parser().read(arguments)
    place = Path(options.source)
    as_configured = "=" in options.source and not place.exists()
    first = [options.source] if as_configured else []
    line = line_of([*first, *options.overrides], options.config_dir)
    if not (as_configured or is_remote(options.source) or place.exists()):
        parser().error(f"{options.source} does not exist. {FIRST}")
    typos.require_overrides(line)
    words.require_single(words.parse_all(line.words), "An evaluation has one: give one value.")
    if place.is_dir():
        require_finished(place)
    return (None if as_configured else options.source), line


def _new_folder(measured: str, dataset: str) -> Path:
    """A folder of outputs/ that is named after the time and what is measured on what."""
    names = re.sub(r"[^\w.-]+", "_", f"evaluate_{measured}_{dataset}")
    return Path("outputs", f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}_{names}").resolve()


def _local(source: str, line: Line) -> Path:
    """The run or file, downloaded if it is of the hub."""
    return local(source, trusted=composition.named_modules(words.parse_all(line.words)))


def _to_measure(source: Path, line: Line) -> dict[str, Any]:
    """The configuration of an evaluation of a finished run, or of a file of weights."""
    from robustrun.models import program
    from robustrun.run_folder import repetition
    from robustrun.run_folder.load import raw_config
    from robustrun.storage.header import holds_run

    folders = composition.opened_folders(line)
    if source.is_dir() or holds_run(source):
        raw_config(source)
        raw, remarks = repetition.measured_again(source, line)
        print_remarks(remarks)
        return raw
    file = words.quoted(str(source.absolute()))
    more = ["model=program", f"model.file={file}"] if program.kind(source) else []
    return _trained_as_may_be([*more, *line.words], folders)


def _as_configured(line: Line) -> dict[str, Any]:
    """The configuration of an evaluation of the network that it describes."""
    return _trained_as_may_be([*line.words], composition.opened_folders(line))


def _trained_as_may_be(given: list[str], folders: list[Path]) -> dict[str, Any]:
    """The configuration for measuring a file: how it was trained is not known, and nothing of
    that follows the attack that it is measured with."""
    raw = composition.compose_config(given, folders)
    typed = [words.parse(word) for word in given]
    others = [str(word.input_line) for word in typed if words.group(word) not in MEASURED_WITH]
    before = composition.compose_config(others, folders)
    return raw | {name: before[name] for name in ("method", "training", "recipe")}
