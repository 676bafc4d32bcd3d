"""What holds for every tracker."""

import ast
import json
import sys
from pathlib import Path

import pytest

import robustrun
from robustrun.command_line.main import run_command_line
from trackers.tracked_run import SHORT

PACKAGE = Path(robustrun.__file__).parent


@pytest.mark.parametrize(
    ("tracker", "module"),
    [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")],
)
def test_a_missing_package_is_named_with_its_extra_before_training(
    tracker: str,
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    words = [*SHORT, f"tracker={tracker}", "hydra.run.dir=run"]
    assert run_command_line(words) == 2
    assert f"pip install 'robustrun[{tracker}]'" in capfd.readouterr().err
    assert not (tmp_path / "run" / "metrics.csv").exists()
    run = json.loads((tmp_path / "run" / "results.json").read_text())["run"]
    assert (run["status"], run["lost"]) == ("failed", {})  # what never started ends without words


def test_no_tracker_is_named_outside_its_folder() -> None:
    names = {"tensorboard", "wandb", "mlflow"}
    extras = PACKAGE / "command_line" / "diagnosis" / "extras.py"  # what each pip extra is for
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "trackers" or path == extras:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            words = {node.value} if isinstance(node, ast.Constant) else set()
            if isinstance(node, ast.Import | ast.ImportFrom):
                words = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
            assert not any(name in str(word).split(".") for word in words for name in names), path
