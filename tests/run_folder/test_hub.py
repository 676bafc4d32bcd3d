"""Addresses of the hub: what is fetched, and what is said where nothing can be."""

import json
import sys
from pathlib import Path

import pytest

from robustrun.errors import DataError
from robustrun.run_folder import hub
from tests.run_folder import a_hub


@pytest.mark.parametrize(
    "word",
    ["hf://owner", "hf://owner/name@", "hf://a/b/c", "hf://a/b@x y", "hf:///b", "hf://a/../b"],
)
def test_what_is_no_address_is_said(word: str) -> None:
    with pytest.raises(DataError, match="is no address: write hf://OWNER/NAME"):
        hub.fetched(word)


def test_only_the_files_of_a_run_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = a_hub.opened(monkeypatch, tmp_path)
    made.commits["me/net"] = "0" * 40
    repository = tmp_path / "hub" / "me" / "net"
    repository.mkdir(parents=True)
    for name in (*hub.FILES, "README.md", "pytorch_model.bin", "evil.py"):
        (repository / name).write_text(json.dumps({}))
    folder = hub.fetched("hf://me/net")
    assert {path.name for path in folder.iterdir()} == {*hub.FILES, "README.md"}
    assert hub.address(folder) == f"hf://me/net@{'0' * 40}"
    assert hub.fetched("hf:/me/net@main") == folder  # as a Path has it
    assert hub.address(repository) is None
    (folder / "config.yaml").unlink()
    (repository / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"hf://me/net has no config\.yaml: it is no run"):
        hub.fetched("hf://me/net")
    with pytest.raises(DataError, match="no such branch, tag or commit"):
        hub.fetched("hf://me/net@v9")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("RepositoryNotFoundError", "no such repository, or it is private and you are not logged"),
        ("GatedRepoError", "ask for access on its page"),
        ("LocalTokenNotFoundError", "Log in with a token that may: hf auth login"),
        ("HFValidationError", "letters, digits"),
        ("LocalEntryNotFoundError", "cannot be reached, and these files are not in the cache"),
        ("EntryNotFoundError", "the hub answers with an error"),
    ],
)
def test_each_failure_has_its_way_out(
    kind: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("huggingface_hub")
    from huggingface_hub import errors

    failure = getattr(errors, kind)
    answered = issubclass(failure, errors.HfHubHTTPError)
    error = failure("why", response=a_hub.answer(404)) if answered else failure("why")

    def fail(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(package, "snapshot_download", fail)
    with pytest.raises(DataError, match=f"^hf://me/net: .*{said}"):
        hub.fetched("hf://me/net")


def test_offline_the_package_itself_opens_no_connection_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("ROBUSTRUN_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")  # both are set, and put back
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match="not in the cache of this machine"):
        hub.fetched("hf://me/net")


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r"pip install 'robustrun\[hub\]'"):
        hub.fetched("hf://me/net")
