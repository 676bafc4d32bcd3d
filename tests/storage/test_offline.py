"""Connections are forbidden by a variable, to this package and to the libraries it uses."""

import os
import sys
from types import ModuleType

import pytest

from robustrun.storage.offline import keep_hub_offline, offline


@pytest.fixture(autouse=True)
def _connected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROBUSTRUN_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["ROBUSTRUN_OFFLINE", "HF_HUB_OFFLINE"])
def test_either_variable_forbids_connections(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offline() is None
    for value, forbids in (("1", True), ("True", True), ("0", False), ("", False)):
        monkeypatch.setenv(name, value)
        assert offline() == (f"{name}={value}" if forbids else None)


@pytest.mark.parametrize("name", ["huggingface_hub.constants", "datasets.config"])
def test_the_hubs_libraries_are_told_also_when_they_are_imported_already(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = ModuleType(name)
    constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, constants)
    keep_hub_offline()
    assert "HF_HUB_OFFLINE" not in os.environ
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("ROBUSTRUN_OFFLINE", "1")
    keep_hub_offline()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert constants.HF_HUB_OFFLINE is True
