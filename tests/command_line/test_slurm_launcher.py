"""hydra/launcher=slurm: its settings; its jobs are in tests/engines."""

from pathlib import Path

import pytest

pytest.importorskip("submitit", reason="submitit is not installed")
pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="its plugin is not installed")

from robustrun.command_line.slurm_launcher import SubmititLauncher
from robustrun.errors import ConfigError

SETTINGS = {"submitit_folder": "jobs", "nodes": 1, "tasks_per_node": 1, "timeout_min": 5}


def test_a_run_is_one_task_of_one_node(tmp_path: Path) -> None:
    SubmititLauncher("local", **SETTINGS)
    for name in ("nodes", "tasks_per_node"):
        with pytest.raises(ConfigError, match=rf"hydra\.launcher\.{name}.*device\.processes"):
            SubmititLauncher("slurm", **{**SETTINGS, name: 2})


def test_settings_of_slurm_alone_carry_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, object] = {}

    class Executor:
        def __init__(self, folder: object, **more: object) -> None:
            made.update(folder=folder, **more)

        def update_parameters(self, **more: object) -> None:
            made.update(more)

    monkeypatch.setattr("submitit.AutoExecutor", Executor)
    more = {"partition": "gpu", "max_num_timeout": 7, "qos": None}
    SubmititLauncher("slurm", **SETTINGS, **more)._executor()
    assert made == {
        "folder": "jobs",
        "cluster": "slurm",
        "slurm_max_num_timeout": 7,
        "nodes": 1,
        "tasks_per_node": 1,
        "timeout_min": 5,
        "slurm_partition": "gpu",
    }
