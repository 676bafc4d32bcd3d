"""A finished run put into a repository of the Hugging Face hub, with nothing that is private."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from robustrun.errors import ConfigError, DataError
from robustrun.run_folder import hub, model_card, place
from robustrun.run_folder.folder import CONFIGURATION, RESULTS, WEIGHTS
from robustrun.run_folder.load import raw_config, weights_of
from robustrun.run_folder.portable import portable
from robustrun.run_folder.schema import RunRecord, read_record
from robustrun.storage.files import json_bytes, write_atomically

Files = dict[str, bytes]


@dataclass(frozen=True)
class Upload:
    """What goes into the repository: the files by name, and what they do not say any more."""

    repository: str
    files: Files
    changes: dict[str, str]  # key of results.json: what became of its value


def prepare(
    run: str | Path, repository: str, license: str | None = None, plugins: Iterable[str] = ()
) -> Upload:
    """The files of a finished run as they would be uploaded to `repository`, OWNER/NAME. DataError
    if the run is none, or has no weights or evaluation of its own."""
    if hub.ADDRESS.fullmatch(f"{hub.SCHEME}{repository}") is None or "@" in repository:
        raise ConfigError(f"The repository is {repository!r}, but must be OWNER/NAME.")
    folder = place.local(run, plugins)
    raw_config(folder)
    record = read_record(folder)
    if record.evaluation is None or record.run.status != "completed":
        raise DataError(f"{run} is not complete: there are no results to put beside the weights.")
    made = portable(record)
    shared = RunRecord.from_json(json.dumps(made.results).encode(), folder)
    card = model_card.text(shared, f"{hub.SCHEME}{repository}", license)
    files = {
        hub.CARD: card.encode(),
        CONFIGURATION: yaml.safe_dump(made.results["config"], sort_keys=False).encode(),
        RESULTS: json_bytes(made.results),
        WEIGHTS: weights_of(folder).read_bytes(),
    }
    code = place.code_of(made.results["config"])
    needs = f"left out: whoever loads the network needs {code} (of its .pt2 or ONNX file, nobody)"
    left = {} if code is None else {"code": needs}
    return Upload(repository, files, made.changes | left)


def push(
    run: str | Path,
    repository: str,
    *,
    public: bool = False,
    license: str | None = None,
    plugins: Iterable[str] = (),
) -> str:
    """Upload a finished run to OWNER/NAME on the Hugging Face hub, in one commit; returns the
    address that `load_run` takes, with the commit.

    A new repository is private unless `public`. The card, the configuration, the results and the
    weights are uploaded, without names of machines, folders and accounts. DataError or ConfigError
    (each a ValueError) for a run that is not complete, for a repository that everyone can see
    where `public` is not said, and for what the hub refuses. `plugins` as for `load_run`.
    """
    return send(prepare(run, repository, license, plugins), public)


def send(upload: Upload, public: bool) -> str:
    """As `push`, of files that are prepared."""
    repository, address = upload.repository, f"{hub.SCHEME}{upload.repository}"
    package = hub.installed_hub(address)
    with hub.explained(address, ": nothing was uploaded"), TemporaryDirectory() as aside:
        write(upload, Path(aside))
        api = package.HfApi(library_name="robustrun")
        api.create_repo(repository, private=not public, exist_ok=True)
        _require_private(api, repository, public)
        commit = api.upload_folder(
            repo_id=repository, folder_path=aside, commit_message="Upload a run of robustrun"
        )
    return f"{address}@{commit.oid}"


def _require_private(api: Any, repository: str, public: bool) -> None:
    if not public and not api.repo_info(repository).private:
        raise ConfigError(
            f"{repository} exists and everyone can see it: add --public if that is meant, or take "
            f"another name. Nothing was uploaded."
        )


def write(upload: Upload, folder: Path) -> None:
    """The files as they would be uploaded, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in upload.files.items():
        write_atomically(folder / name, content)
