"""A run's results as strangers may have them: without names of machines, folders and accounts."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from robustrun.run_folder.schema import RunRecord

NO_TRACKER = {"name": "none"}
PATH = r"(?:~[\w.-]*/|/|[A-Za-z]:[\\/]|\\\\)[^\s'\",;:)\]}]+"
IN_TEXT = re.compile(rf"(?<![\w.:/~%-])(?:file://)?{PATH}")


@dataclass
class Portable:
    """The values of results.json, and what was changed in them."""

    results: dict[str, Any]
    changes: dict[str, str] = field(default_factory=dict)  # dotted key: what became of it


def portable(record: RunRecord) -> Portable:
    """What results.json says, but for the machine's name, a tracker's settings (addresses and
    accounts), and the folders of absolute paths, of which the last part stays."""
    made = Portable({})
    results = record.to_json()
    environment, config = results.get("environment"), results.get("config") or {}
    if environment and environment.get("host"):
        results["environment"] = environment | {"host": ""}
        made.changes["environment.host"] = "left out"
    if (config.get("tracker") or NO_TRACKER) != NO_TRACKER:
        options = {**(config.get("options") or {}), "tracker": "none"}
        results["config"] = config | {"tracker": NO_TRACKER, "options": options}
        made.changes["config.tracker"] = "left out"
    results["run"] = _without_tracker(results["run"])
    made.results = _cleaned(results, "", made.changes)
    return made


def _without_tracker(run: dict[str, Any]) -> dict[str, Any]:
    """What the run says of itself, without words that set a tracker."""
    if run.get("overrides") is not None:
        run = run | {"overrides": [word for word in run["overrides"] if not _of_tracker(word)]}
    try:
        words = shlex.split(run.get("command") or "")
    except ValueError:  # no command line of a shell
        return run
    if words:
        kept = [clean(word) for word in words if not _of_tracker(word)]
        run = run | {"command": shlex.join(kept)}
    return run


def _of_tracker(word: str) -> bool:
    return re.match(r"[+~]*tracker[.=]", word) is not None


def _cleaned(value: Any, key: str, changes: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            clean(name): _cleaned(item, f"{key}.{name}".lstrip("."), changes)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_cleaned(item, f"{key}.{n}", changes) for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    if (now := clean(value)) != value:
        changes[key] = f"{value} -> {now}"
    return now


def clean(text: str) -> str:
    """The text with the last part alone of every absolute path; the whole text, or the value of a
    word `key=value`, may be a path with spaces."""
    key, equals, value = text.partition("=")
    if equals and re.fullmatch(r"[\w@.+~/-]*", key) and not re.match(PATH, key):
        return f"{key}={clean(value)}"
    if re.match(PATH, text) and "\n" not in text:
        return _last(text)
    return IN_TEXT.sub(lambda found: _last(found[0]), text)


def _last(path: str) -> str:
    kind = PureWindowsPath if re.match(r"[A-Za-z]:|\\\\", path) else PurePosixPath
    return kind(path).name or "."
