"""Where robustrun writes, and what is said where it cannot."""

from pathlib import Path

import pytest

from robustrun.command_line.diagnosis import folders
from robustrun.command_line.diagnosis.findings import Finding
from robustrun.storage import offline

VARIABLES = ("ROBUSTRUN_CACHE", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*VARIABLES, *offline.VARIABLES, *folders.PROXIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROBUSTRUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows() -> dict[str, Finding]:
    return {row.name: row for row in folders.section().findings}


def test_nothing_is_left_where_it_is_tried_to_write(here: Path) -> None:
    assert rows()["outputs"].state == "fine"
    assert list(here.iterdir()) == []


def test_outputs_that_cannot_be_written_are_broken(here: Path) -> None:
    (here / "outputs").write_text("a file")
    row = rows()["outputs"]
    assert row.state == "broken"
    assert "Not a directory" in row.text
    assert "hydra.run.dir=FOLDER" in row.text


def test_a_cache_is_shown_with_its_size_and_one_that_cannot_be_written_is_a_remark(
    here: Path,
) -> None:
    (here / "cache" / "deep").mkdir(parents=True)
    (here / "cache" / "deep" / "file").write_bytes(bytes(2_000_000))
    row = rows()["cache of robustrun"]
    assert (row.state, "2.0 MB, writable" in row.text) == ("fine", True)
    (here / "cache" / "deep" / "file").unlink()
    (here / "cache" / "deep").rmdir()
    (here / "cache").rmdir()
    (here / "cache").write_text("a file")
    assert rows()["cache of robustrun"].state == "remark"


def test_folders_are_those_that_pytorch_and_hugging_face_use(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "xdg"))
    monkeypatch.setenv("HF_HOME", str(here / "hf"))
    places = folders.caches()
    assert places["weights (torch.hub)"] == here / "xdg" / "torch" / "hub"
    assert places["Hugging Face"] == here / "hf"
    monkeypatch.setenv("TORCH_HOME", str(here / "torch"))
    assert folders.caches()["weights (torch.hub)"] == here / "torch" / "hub"


def test_a_proxy_is_named_and_its_password_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows()["network"].text == "downloads are allowed"
    monkeypatch.setenv("HTTPS_PROXY", "http://ada:secret@proxy")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = rows()["network"].text
    assert text == "HF_HUB_OFFLINE=1 forbids downloads; a proxy is set (HTTPS_PROXY)"


def test_a_folder_of_many_files_is_counted_for_half_a_second_at_most(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "file").write_bytes(bytes(3_000_000))
    assert folders.occupied(here) == "3.0 MB"
    monkeypatch.setattr(folders, "COUNTING", -1.0)
    assert folders.occupied(here).startswith("over ")
