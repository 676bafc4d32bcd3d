"""The one run of a command, from the configuration that Hydra composed."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from robustrun.command_line.execute import execute, load_composed
from robustrun.command_line.process import import_torch
from robustrun.command_line.request import request
from robustrun.command_line.session import Session
from robustrun.errors import RobustrunError, RunFailure
from robustrun.run_folder import provenance
from robustrun.run_folder.folder import FILE, FOLDER

DAY = "????-??-??"  # the folder of a day's runs


def run_alone(composed: DictConfig, session: Session) -> None:
    """The run; what goes wrong is kept in the session, because Hydra would add its own words."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        import_torch()
        run_config = load_composed(composed, session.folders)
        before = _begun_before(folder, run_config) if _resumes(composed) else None
    except Exception as error:
        session.leave_nothing()  # Hydra made its folder, and nothing has run
        session.error = error
        return
    if before is not None and before != folder:
        session.leave_nothing()
    try:
        asked = request(session, list(hydra.overrides.task), run_config)
        execute(run_config, before or provenance.claim(folder, asked))
    except Exception as error:
        session.error = error
    except SystemExit as error:
        session.error = RunFailure(f"A part of the run called sys.exit({error.code!r}).")


def _resumes(composed: DictConfig) -> bool:
    resume = composed.get("resume", "never")
    if resume not in ("never", "auto"):
        raise RobustrunError(f"resume is {resume!r}, but must be never or auto.")
    return bool(resume == "auto")


def _begun_before(folder: Path, run_config: Any) -> Path | None:
    """The latest unfinished run with this configuration: in `folder` itself or, if that was named
    by the time, among the runs of all days beside it."""
    from robustrun.configuration.decoding import dump

    plain = dump(run_config)
    if provenance.taken(folder):
        return folder
    if not fnmatch(folder.parent.name, DAY):
        return None
    begun = folder.parent.parent.glob(f"{DAY}/*/{FOLDER}/{FILE}")
    for file in sorted(begun, reverse=True):
        if provenance.resumable(file.parents[1], plain):
            return file.parents[1]
    return None
