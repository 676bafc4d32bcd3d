"""Run folders of any version are read; a damaged one is listed."""

import copy
import json
from pathlib import Path

import pytest
import run_folders

from robustrun.configuration.composition import compose_config
from robustrun.report import collect, summary

WHOLE = run_folders.results("m", 0, 9, 5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "not a run's result"),
        ("[]", "not a run's result"),
        ('{"schema_version": 1}', "not a run's result"),
        ('{"schema_version": 99, "run": {"status": "completed"}}', "newer"),
        (
            json.dumps(run_folders.results("m", 0, 9, 5) | {"evaluation": {"clean": 3}}),
            "not a run's",
        ),
        (json.dumps(run_folders.results("m", 0, 9, 5) | {"config": 3}), "not a run's result"),
    ],
)
def test_a_damaged_run_is_listed_and_the_others_are_read(
    tmp_path: Path, text: str, problem: str
) -> None:
    run_folders.sweep(tmp_path / "sweep")
    (tmp_path / "sweep" / "1" / "results.json").write_text(text)
    runs = collect.find_runs([tmp_path / "sweep"])
    assert [bool(run.problem) for run in runs] == [False, True, False, False, False, False]
    assert problem in runs[1].problem


def test_results_of_an_earlier_schema_are_read_without_what_they_lack(tmp_path: Path) -> None:
    early = run_folders.results("standard", 0, 90, 30) | {"schema_version": 0}
    for name in ("curve", "audit", "subset"):
        del early["evaluation"][name]
    for name in ("environment", "training", "model"):
        del early[name]
    del early["config"]["published"]
    runs = collect.find_runs([run_folders.run(tmp_path / "early", early)])
    assert not runs[0].problem
    assert summary.row(runs[0], [])["worst_case"] == 0.28


def test_runs_of_an_earlier_version_that_did_the_same_differ_in_nothing(tmp_path: Path) -> None:
    raw = compose_config(["method=pgd_at", "training.label_smoothing=0.1"])
    early = copy.deepcopy(raw)
    early["method"]["label_smoothing"] = early["training"].pop("label_smoothing")
    early["schedule"]["warmup"] = early["training"].pop("warmup")
    for block in ("training", "recipe"):
        for key in ("weight_perturbation", "weight_perturbation_warmup"):
            del early[block][key]
    del early["recipe"]["label_smoothing"]
    for name, config in (("now", raw), ("early", early)):
        run_folders.run(
            tmp_path / name, run_folders.results("pgd_at", 0, 90, 50) | {"config": config}
        )
    runs = collect.find_runs([tmp_path])
    assert summary.varying_keys(runs) == []
    assert runs[0].settings["training.label_smoothing"] == 0.1
