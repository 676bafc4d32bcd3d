"""The user's own code that a run's network is made of: copied into its folder, and read from there.

So a run that is resumed, measured again or loaded has the code that it was trained with.
"""

import dataclasses
import logging
from pathlib import Path

from robustrun.compute import processes
from robustrun.configuration.run_config import RunConfig
from robustrun.models.initial_weights import digest_of
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import FILE, FOLDER
from robustrun.run_folder.schema import RunRecord
from robustrun.storage import files
from robustrun.types import HasCode

log = logging.getLogger(__name__)
CODE = "code"  # in a run's folder


def with_kept_code(run_config: RunConfig, folder: Path) -> RunConfig:
    """The configuration with the network of the copy in `folder`, which is made now unless the run
    has one; as it is where the network is not of the user's code."""
    if not isinstance(run_config.model, HasCode):
        return run_config
    if processes.is_first() and not (folder / CODE).is_dir():
        _copy(run_config.model.code(), folder / CODE)
    processes.wait_for_all()
    return of_run(run_config, folder)


def of_run(run_config: RunConfig, folder: Path) -> RunConfig:
    """The configuration of the run in `folder` with the network of its copy, if it has one; where
    the code has changed since, that is said."""
    model = run_config.model
    if not isinstance(model, HasCode) or not (folder / CODE).is_dir():
        return run_config
    kept = model.from_folder(folder / CODE)
    origin = _origin(model, folder)
    changed = [k for k, v in digests(folder).items() if _digest(origin / k) not in (None, v)]
    if changed:
        taken = "its copy of then is used" if kept != model else "what is importable now is used"
        names = ", ".join(changed)
        log.warning("%s changed since %s was trained: %s", names, folder, taken)
    return dataclasses.replace(run_config, model=kept)


def warn_of_another(run_config: RunConfig, record: RunRecord) -> None:
    """Say if the network of a run that came without its code, as one file or from the hub, is made
    of other code here than it was trained with."""
    model, known = run_config.model, record.model.code if record.model else {}
    if not isinstance(model, HasCode) or not known or (record.folder / CODE).is_dir():
        return
    here = {Path(name).as_posix(): digest_of(file) for name, file in model.code().items()}
    changed = [name for name in {**known, **here} if known.get(name) != here.get(name)]
    if changed:
        names = ", ".join(changed)
        log.warning(
            "%s is not what %s was trained with: its answers may differ", names, record.folder
        )


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of code that the run in `folder` keeps, by its name below it."""
    place = folder / CODE
    found = sorted(file for file in place.rglob("*.py") if file.is_file())
    return {file.relative_to(place).as_posix(): digest_of(file) for file in found}


def _copy(code: dict[str, Path], place: Path) -> None:
    for name, file in code.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(place / name, file.read_bytes())


def _origin(model: HasCode, folder: Path) -> Path:
    """Where the run had its code from; a relative path begins where the run was started."""
    known = (folder / FOLDER / FILE).is_file()
    return Path(provenance.read(folder).directory if known else "", model.source_folder())


def _digest(file: Path) -> str | None:
    return digest_of(file) if file.is_file() else None
