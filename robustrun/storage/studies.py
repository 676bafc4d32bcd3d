"""Where an Optuna study is kept: a journal file that survives a kill and network disks, or a
database."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from robustrun.errors import ConfigError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def require_optuna() -> None:
    """ConfigError unless Optuna is installed."""
    if find_spec("optuna") is None:
        raise ConfigError(
            "hydra/sweeper=optuna needs Optuna, which is not installed: "
            "pip install 'robustrun[search]'."
        )


def open_storage(place: str) -> "BaseStorage":
    """The storage at `place`: the path of a journal file, or the URL of a database."""
    from optuna import logging
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    logging.set_verbosity(logging.WARNING)
    if "://" in place:
        return RDBStorage(place)
    return JournalStorage(JournalFileBackend(place, lock_obj=JournalFileOpenLock(place)))


def mend(journal: Path) -> None:
    """Remove the end of a line that a process was writing as it was killed: no line could follow
    it. Not while another process may write."""
    if journal.is_file():
        content = journal.read_bytes()
        os.truncate(journal, content.rfind(b"\n") + 1)
