"""Where runs are; those of strangers may not import, read or send anything."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from robustrun.errors import DataError
from robustrun.run_folder.place import local
from robustrun.storage.header import KEY
from tests.report import run_folders


def alone(file: Path, overrides: list[str] | None = None, **config: Any) -> Path:
    """A run as one file."""
    results = run_folders.results("trades", 3, 85, 52, **config)
    results["run"]["overrides"] = overrides
    about = {KEY: json.dumps({"run": results})}
    safetensors.torch.save_file({"w": torch.ones(2)}, file, about)
    return file


def test_a_folder_and_a_file_are_where_they_are(tmp_path: Path) -> None:
    assert local(str(tmp_path)) == tmp_path
    assert local(tmp_path / "missing") == tmp_path / "missing"
    file = alone(tmp_path / "a.safetensors", ["method=trades", "seed=3"])
    assert local(file) == file


def test_modules_are_imported_where_the_user_names_them_alone(tmp_path: Path) -> None:
    for words, config in ((["plugins=[never_seen]"], {}), ([], {"plugins": ["never_seen"]})):
        file = alone(tmp_path / "a.safetensors", words, **config)
        with pytest.raises(DataError, match=r"plugins=\[never_seen\].*plugins=\['never_seen'\]"):
            local(file)
        assert local(file, trusted=["never_seen"]) == file
    assert local(alone(tmp_path / "b.safetensors", plugins=["json"]))  # imported already


@pytest.mark.parametrize("network", ["/x/os.py:system", "os:system"])
def test_neither_is_a_file_of_code_run_that_a_network_names(tmp_path: Path, network: str) -> None:
    file = alone(tmp_path / "a.safetensors", model={"name": "file", "network": network})
    with pytest.raises(DataError, match="was made with the Python modules os, which"):
        local(file)
    assert local(file, trusted=["os"]) == file


@pytest.mark.parametrize(
    ("words", "config", "named"),
    [
        ([], {"tracker": {"name": "wandb", "entity": "mallory"}}, "tracker"),
        (["hydra.searchpath=[pkg://theirs]"], {}, "hydra.searchpath"),
        (["dataset.root=${oc.env:HOME}"], {}, "oc."),
        ([], {"options": {"x": "${oc.env:HF_TOKEN}"}}, "oc."),
    ],
)
def test_what_would_read_or_send_is_refused(
    tmp_path: Path, words: list[str], config: dict[str, Any], named: str
) -> None:
    file = alone(tmp_path / "a.safetensors", words, **config)
    with pytest.raises(DataError, match=f"asks for .*{named}.*not taken from elsewhere"):
        local(file)


def test_a_run_in_a_folder_of_the_users_own_is_not_looked_through(tmp_path: Path) -> None:
    results = run_folders.results("trades", 3, 85, 52, tracker={"name": "wandb"})
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert local(tmp_path) == tmp_path
