"""Runs in repositories of the Hugging Face hub: `hf://OWNER/NAME[@REVISION]` as a local folder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from robustrun.errors import DataError
from robustrun.run_folder.folder import CONFIGURATION, RESULTS, WEIGHTS
from robustrun.storage.offline import keep_hub_offline

SCHEME = "hf://"
CARD = "README.md"
FILES = (WEIGHTS, CONFIGURATION, RESULTS)  # all that is read, and nothing is unpickled
ADDRESS = re.compile(r"hf://?(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^\s@]+))?")
CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)/snapshots/([0-9a-f]{40})/?$")
LOG_IN = "hf auth login, or the variable HF_TOKEN"


def fetched(place: str) -> Path:
    """The folder in the hub's cache that holds the run at `hf://OWNER/NAME`, downloaded if it is
    not there; without a network, what is there. DataError if it cannot be had or is no run."""
    matched = ADDRESS.fullmatch(place)
    if matched is None:
        raise DataError(f"{place} is no address: write {SCHEME}OWNER/NAME or with @REVISION.")
    hub = installed_hub(place)
    with explained(place, ", and these files are not in the cache of this machine"):
        name, revision = matched["name"], matched["revision"]
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=[*FILES, CARD]))
    if missing := [file for file in FILES if not (folder / file).is_file()]:
        raise DataError(
            f"{place} has no {missing[0]}: it is no run that robustrun push put there. Weights "
            f"alone can be downloaded (hf download) and measured: robustrun evaluate FILE model=…"
        )
    return folder


def address(folder: Path) -> str | None:
    """`hf://OWNER/NAME@REVISION` of a folder in the hub's cache; None of any other path."""
    found = CACHED.search(folder.absolute().as_posix())
    return f"{SCHEME}{found[1]}/{found[2]}@{found[3]}" if found else None


def installed_hub(text: str) -> Any:
    """The package huggingface_hub; DataError, which begins with `text`, without it."""
    keep_hub_offline()
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        if error.name != "huggingface_hub":
            raise
        raise DataError(
            f"{text} needs huggingface_hub, which is not installed: pip install 'robustrun[hub]'."
        ) from None
    return huggingface_hub


@contextmanager
def explained(text: str, unreachable: str) -> Iterator[None]:
    """What the hub fails with in this context, as a DataError that says what can be done;
    `unreachable` is what it means that nothing answers."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # of the hub's own classes and of the HTTP library behind it
        kinds = {kind.__name__ for kind in type(error).__mro__}
        said = shorten(str(error), 200, placeholder=" …")
        raise DataError(
            f"{text}: {_advice(kinds, _status(error), unreachable)} ({said})"
        ) from error


def _status(error: Exception) -> int | None:
    """The number with which the server answered."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _advice(kinds: set[str], status: int | None, unreachable: str) -> str:
    """What is wrong, and what would be right, for an error of these classes."""
    if "RevisionNotFoundError" in kinds:
        return "the repository has no such branch, tag or commit."
    if "GatedRepoError" in kinds:
        return f"the repository is gated: ask for access on its page, and log in ({LOG_IN})."
    if "RepositoryNotFoundError" in kinds:
        return f"there is no such repository, or it is private and you are not logged in ({LOG_IN})"
    if "LocalTokenNotFoundError" in kinds or status in (401, 403):
        return f"the hub does not let you do that. Log in with a token that may: {LOG_IN}."
    if "HFValidationError" in kinds:
        return "the hub has no such names; write OWNER/NAME in letters, digits, - _ and ."
    if kinds & {"LocalEntryNotFoundError", "ConnectError", "OfflineModeIsEnabled", "OSError"}:
        return f"the hub cannot be reached{unreachable}."
    return "the hub answers with an error."
