"""Where a run is: a folder, one file, or a repository of the hub; strangers' are looked through."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robustrun.configuration import composition, words
from robustrun.errors import DataError
from robustrun.run_folder import hub, provenance
from robustrun.run_folder.folder import require_finished
from robustrun.run_folder.portable import NO_TRACKER
from robustrun.run_folder.schema import read_run
from robustrun.storage.header import holds_run


def is_remote(place: str) -> bool:
    """Whether `place` is an address of the Hugging Face hub."""
    return place.startswith("hf:/")  # as a Path has it, with one slash


def require_run(place: str) -> None:
    """DataError for a folder of no finished run, and for what does not exist. What a file or the
    hub has is seen when it is read."""
    if not is_remote(place) and not Path(place).is_file():
        require_finished(Path(place))


def local(place: str | Path, trusted: Iterable[str] = ()) -> Path:
    """The folder or file at `place`, which may be `hf://OWNER/NAME[@REVISION]`.

    A run that came alone, as one file or from the hub, is DataError if it would import Python
    modules that are not imported yet and that the user does not name (`trusted`), read environment
    variables, or send numbers to a tracker.
    """
    text = str(place)
    remote = is_remote(text)
    path = hub.fetched(text) if remote else Path(place)
    if remote or holds_run(path):
        _require_harmless(provenance.configuration(path), path, text, set(trusted))
    return path


def _require_harmless(raw: dict[str, Any], path: Path, text: str, trusted: set[str]) -> None:
    told = read_run(path)
    typed = [words.parse(word) for word in (told and told.overrides) or ()]
    modules = {*map(str, raw.get("plugins") or []), *composition.named_modules(typed)}
    unknown = sorted(modules - {*trusted, *sys.modules})
    if (code := code_of(raw)) is not None and code not in trusted:  # even os:system
        unknown.append(code)
    if unknown:
        raise DataError(
            f"{text} was made with the Python modules {', '.join(unknown)}, which are not imported "
            f"because a file from elsewhere names them. Where you have and trust them, name them "
            f"behind it: plugins=[{','.join(unknown)}], in Python load_run(…, plugins={unknown})."
        )
    refused = [str(word.input_line) for word in typed if words.group(word) == "hydra"]
    refused += ["tracker"] if raw.get("tracker", NO_TRACKER) != NO_TRACKER else []
    refused += ["${oc.…}"] if "${oc." in f"{raw} {told}" else []
    if refused:
        raise DataError(
            f"{text} asks for {', '.join(refused)}, which is not taken from elsewhere: its "
            f"configuration may not read this machine's environment or send numbers away."
        )


def code_of(raw: dict[str, Any]) -> str | None:
    """The module of the user's own code that a configuration's network is made of (`my_net`, of
    `model.network=my_net.py:Net`); None for a network of the catalogue."""
    model = raw.get("model") or {}
    if model.get("name") != "file":
        return None
    place = str(model.get("network", "")).rpartition(":")[0]
    return Path(place).stem if place.endswith(".py") else place
