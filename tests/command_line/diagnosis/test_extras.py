"""Optional packages: what each is for, and the line that installs it."""

import shutil
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from robustrun.command_line.diagnosis import extras

PROJECT = Path(__file__).resolve().parents[3] / "pyproject.toml"


def test_what_each_extra_is_for_is_known() -> None:
    declared = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    assert set(extras.NEEDED_BY) == set(declared)


def test_a_missing_extra_is_shown_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "optuna":
            raise metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(metadata, "version", version)
    rows = {row.name: row.text for row in extras.section().findings}
    use = "hydra/sweeper=optuna, a search for the best settings"
    assert rows["search"] == f"not installed. For {use}: pip install 'robustrun[search]'"
    use = "model=timm, and the ViT, XCiT and ConvNeXt of the catalogue"
    assert rows["timm"] == f"timm 1.0. For {use}"


@pytest.mark.parametrize("sbatch", [None, "/usr/bin/sbatch"])
def test_it_is_said_where_a_cluster_is_not_reached(
    sbatch: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "1.0")
    monkeypatch.setattr(shutil, "which", lambda name: sbatch)
    rows = {row.name: row.text for row in extras.section().findings}
    assert ("slurm_local goes here" in rows["slurm"]) == (sbatch is None)
