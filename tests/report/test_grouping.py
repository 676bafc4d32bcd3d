"""Runs that differ in their seed alone are one row; the best among rows, and what audits say."""

from pathlib import Path

import pytest
import run_folders

from robustrun.report import collect, grouping, query


@pytest.fixture
def runs(tmp_path: Path) -> list[collect.StoredRun]:
    return collect.find_runs([run_folders.sweep(tmp_path / "sweep")])


def test_runs_that_differ_in_their_seed_are_one_group(runs: list[collect.StoredRun]) -> None:
    standard, trades = grouping.grouped(runs, query.keys_of_groups(runs, []))
    assert (standard.title, trades.title) == ("standard", "trades")
    spread = trades.spread("worst_case")
    assert spread is not None
    assert (spread.mean, spread.runs) == (pytest.approx(0.49), 3)
    assert spread.deviation == pytest.approx(0.01)  # of 0.48, 0.49 and 0.50


def test_only_what_was_judged_alike_competes_for_the_best(tmp_path: Path) -> None:
    small = {"name": "pgd", "norm": "linf", "epsilon": 0.01}
    for place, (method, robust, config) in enumerate(
        [("a", 40, {}), ("b", 10, {}), ("c", 90, {"attack": small})]
    ):
        run_folders.run(tmp_path / str(place), run_folders.results(method, 0, 95, robust, **config))
    runs = collect.find_runs([tmp_path])
    grouped = grouping.grouped(runs, ["method.name"])
    tops = grouping.highest(grouped, ["pgd", "clean"])
    assert [grouping.best(group, "pgd", tops) for group in grouped] == [True, False, False]
    assert [grouping.best(group, "clean", tops) for group in grouped] == [True, True, False]


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ([], ""),
        (["pass"], "pass"),
        (["pass", "warn"], "warn"),
        (["warn", "fail", "pass"], "fail"),
        (["", "pass"], "pass"),
    ],
)
def test_a_group_has_the_worst_verdict_of_its_runs(
    statuses: list[str], worst: str, tmp_path: Path
) -> None:
    for seed, status in enumerate(statuses):
        results = run_folders.results("standard", seed, 90, 80)
        checks = [{"check": "c", "status": status, "why": "w"}] if status else []
        results["evaluation"]["audit"] = checks
        run_folders.run(tmp_path / str(seed), results)
    run_folders.run(tmp_path / "other", run_folders.results("trades", 0, 90, 80))
    groups = grouping.grouped(collect.find_runs([tmp_path]), ["method.name"])
    verdicts = {group.title: group.audit for group in groups}
    assert verdicts == {"trades": ""} | ({"standard": worst} if statuses else {})
