"""Parts from outside the package: an installed one with an entry point."""

import os
import subprocess
import sys
from pathlib import Path

PLUGIN = """
from dataclasses import dataclass

import torch.nn.functional as F

from robustrun.types import METHODS


@METHODS.register("theirs")
@dataclass(frozen=True)
class Theirs:
    \"\"\"L = strength * CE(f(x), y).\"\"\"

    strength: float

    def step(self, learner, x, y):
        loss = self.strength * F.cross_entropy(learner.model(x), y)
        learner.update(loss)
        return loss
"""
SHORT = ["training.epochs=1", "attack=fgsm", "evaluation=none", "evaluation.examples=20"]
SHORT += ["keep.figures=false"]


def install(site: Path) -> None:
    """What `pip install` of their package would leave."""
    package, info = site / "their_package", site / "their_package-1.0.dist-info"
    (package / "conf" / "method").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "parts.py").write_text(PLUGIN)
    (package / "conf" / "method" / "theirs.yaml").write_text(
        "# Their method, from elsewhere\nname: theirs\nstrength: 1/2\n"
    )
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[robustrun.plugins]\ntheirs = their_package.parts\n")


def test_an_installed_package_adds_a_method_with_its_own_yaml(tmp_path: Path) -> None:
    install(tmp_path / "site")

    def said(*words: str) -> str:
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path])}
        command = [sys.executable, "-m", "robustrun", *words]
        found = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return found.stdout

    assert "Their method, from elsewhere" in said("list", "method")
    assert "theirs on digits" in said("method=theirs", "method.strength=1/4", *SHORT)
