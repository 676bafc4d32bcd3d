"""Packages that are missing, too old, hidden, or do not fit together."""

import sys
from importlib import metadata
from pathlib import Path

import pytest

from robustrun.command_line.diagnosis import installation
from robustrun.command_line.diagnosis.findings import Finding

TORCH = metadata.version("torch")


def broken() -> dict[str, str]:
    """What is said of each package that is broken."""
    rows = installation.section().findings
    return {row.name: row.text for row in rows if row.state == "broken"}


def versions(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    """Let packages have other versions than they have, or none."""
    real = metadata.version

    def version(name: str) -> str:
        if (found := changed.get(name.replace("-", "_"), "")) == "":
            return real(name)
        if found is None:
            raise metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(metadata, "version", version)


def test_this_installation_is_whole() -> None:
    rows = {row.name: row for row in installation.section().findings}
    assert broken() == {}
    assert rows["torch"] == Finding("torch", TORCH)
    assert {"robustrun", "Python", "torchvision", "hydra-core", "msgspec"} <= set(rows)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, rich=None)
    assert broken() == {"rich": "missing, and no run goes without it: pip install 'rich>=13'"}


def test_a_package_that_is_too_old_is_named_with_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    versions(monkeypatch, hydra_core="1.1.0")
    assert list(broken()) == ["hydra-core"]
    assert broken()["hydra-core"].startswith("1.1.0, but robustrun needs hydra-core")


@pytest.mark.parametrize(
    ("needs", "fits"),
    [("torch (>=2.14.0)", True), ("torch==2.15.0", True), ("torch (==2.9.1)", False)],
)
def test_a_torch_that_torchvision_was_not_built_for_is_named(
    needs: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions(monkeypatch, torch="2.15.0+cpu")
    real = metadata.requires
    told = {"torchvision": ["numpy", needs]}
    monkeypatch.setattr(metadata, "requires", lambda name: told.get(name) or real(name))
    text = f"it was built for {needs}, and torch 2.15.0+cpu is installed: pip install "
    assert list(broken()) == ([] if fits else ["torchvision"])
    assert fits or broken()["torchvision"].startswith(text)


def test_a_file_that_hides_a_package_is_named_where_python_looks_there_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/usr/bin", *sys.path])
    assert broken() == {}
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    assert list(broken()) == ["torch.py"]
