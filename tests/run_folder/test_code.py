"""The user's own code is kept in a run's folder, and read from there."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from short_run import SHORT

from robustrun.command_line.main import run_command_line
from robustrun.run_folder.load import load_run

NET = """
from layers import features
from torch import nn


class Net(nn.Sequential):
    def __init__(self, classes):
        layers = nn.Linear(64, features), nn.ReLU(), nn.Linear(features, classes)
        super().__init__(nn.Flatten(), *layers)
"""


def test_a_run_is_measured_again_and_loaded_with_the_code_that_it_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_net.py").write_text(NET)
    Path("layers.py").write_text("features = 8\n")
    words = [*SHORT, "dataset.imbalance_ratio=0.02", "model=file", "hydra.run.dir=run"]
    assert run_command_line(words) == 0
    assert "my_net.py:Net is run as your own code (SHA-256 " in capsys.readouterr().err
    about = json.loads(Path("run/results.json").read_text())["model"]
    assert about["name"] == "my_net.Net"
    assert about["code"] == {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest()
        for name in ("layers.py", "my_net.py")
    }
    _, network = load_run("run")
    Path("layers.py").write_text("features = 16\n")
    assert run_command_line(["evaluate", "run", "attack.epsilon=0.05"]) == 0
    said = capsys.readouterr().err
    assert "layers.py changed since run was trained: its copy of then is used" in said
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    for name in ("my_net.py", "layers.py"):
        (tmp_path / name).unlink()
    again = load_run(tmp_path / "run")[1]
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x), network(x))


def test_a_file_of_weights_is_measured_with_the_users_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_net.py").write_text(NET.replace("from layers import features", "features = 4"))
    shapes = {"1.weight": (4, 64), "1.bias": (4,), "3.weight": (10, 4), "3.bias": (10,)}
    state = {name: torch.zeros(shape) for name, shape in shapes.items()}
    state["3.bias"][3] = 1.0  # every image is a three
    torch.save(state, "weights.pt")
    words = ["model=file", "model.mean=null", "model.std=null", "attack=fgsm", "evaluation=none"]
    assert run_command_line(["evaluate", "weights.pt", *words, "keep.figures=false"]) == 0
    (folder,) = Path("outputs").glob("*/*")
    clean = json.loads((folder / "results.json").read_text())["evaluation"]["clean"]
    assert clean["per_class"] == [float(label == 3) for label in range(10)]
    assert [path.name for path in (folder / "code").iterdir()] == ["my_net.py"]
