"""What `robustrun report` finds, keeps, orders and groups."""

import json
from pathlib import Path

import pytest
import run_folders

from robustrun.errors import RobustrunError
from robustrun.report import collect, grouping, query, tables


@pytest.fixture
def runs(tmp_path: Path) -> list[collect.StoredRun]:
    return collect.find_runs([run_folders.sweep(tmp_path / "sweep")])


def test_conditions_take_groups_numbers_fractions_and_comparisons(
    runs: list[collect.StoredRun],
) -> None:
    def kept(*conditions: str) -> list[str]:
        return [run.name for run in query.where(runs, conditions)]

    assert kept("method=trades", "seed=0,2") == ["3", "5"]
    assert kept("attack.epsilon=8/255", "worst_case>=0.5") == ["5"]
    assert kept("epsilon=0.031") == []  # near 8/255, and another radius
    assert query.resolve("name", ["model.name", "attack.name"], "--by") == "attack.name"
    assert kept("method.name!=trades") == ["0", "1", "2"]
    assert kept("status=failed") == []


def test_a_column_that_no_run_has_gives_the_nearest(runs: list[collect.StoredRun]) -> None:
    with pytest.raises(RobustrunError, match="Did you mean 'method'"):
        query.where(runs, ["metod=trades"])
    with pytest.raises(RobustrunError, match="worst_case"):
        query.ordered(runs, "worst_cas")
    with pytest.raises(RobustrunError, match="COLUMN=VALUE"):
        query.where(runs, ["method"])
    with pytest.raises(RobustrunError, match="not a number"):
        query.where(runs, ["clean>high"])


def test_the_best_accuracy_comes_first_and_the_smallest_of_the_rest(
    runs: list[collect.StoredRun],
) -> None:
    assert [run.name for run in query.ordered(runs, "worst_case")] == list("543210")
    assert [run.name for run in query.ordered(runs, "seed")] == list("031425")
    assert [run.name for run in query.ordered(runs, "seed", reverse=True)] == list("251403")


def test_runs_that_differ_in_their_seed_are_one_group(runs: list[collect.StoredRun]) -> None:
    standard, trades = grouping.grouped(runs, query.keys_of_groups(runs, []))
    assert (standard.title, trades.title) == ("standard", "trades")
    spread = trades.spread("worst_case")
    assert spread is not None
    assert (spread.mean, spread.runs) == (pytest.approx(0.49), 3)
    assert spread.deviation == pytest.approx(0.01)  # of 0.48, 0.49 and 0.50


def test_tables_have_what_is_best_or_ties_in_bold_and_published_numbers_marked(
    runs: list[collect.StoredRun],
) -> None:
    grouped = grouping.grouped(runs, ["method.name"])
    markdown, latex = tables.markdown(runs, grouped), tables.latex(runs, grouped)
    # Clean, 91 and 86 of 100 images tie; under attack, 31 and 51 do not.
    assert "| trades | **86.00 ± 1.00 (77.3, 91.7)** | **51.00 ± 1.00 (41.1, 60.9)** |" in markdown
    assert r"standard & \textbf{91.00 $\pm$ 1.00 (82.9, 95.5)} & 31.00 $\pm$ 1.00 (2" in latex
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1
    assert r"worst\_case (\%)" in latex
    for text in (markdown.lower(), latex):
        assert "published, not run here" in text
        assert "TRADES (Zhang et al. 2019)".lower() in text.lower()
        assert "cifar100" not in text


def test_a_failed_audit_stands_beside_the_numbers_that_it_doubts(tmp_path: Path) -> None:
    doubtful = run_folders.results("standard", 0, 90, 80)
    doubtful["evaluation"]["audit"] = [{"check": "c", "status": "fail", "why": "w"}]
    runs = collect.find_runs([run_folders.run(tmp_path / "0", doubtful)])
    text = tables.markdown(runs, grouping.grouped(runs, ["method.name"]))
    line = next(line for line in text.splitlines() if line.startswith("| standard"))
    assert line.count("(audit fails)") == 3  # pgd, autoattack, worst_case; clean stands
    assert "| 90.00 (82.6, 94.5) |" in line  # one run has no deviation
    assert "±" not in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
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
    assert query.complete_row(runs[0])["worst_case"] == 0.28


def test_only_what_was_judged_alike_competes_for_the_best(tmp_path: Path) -> None:
    small = {"name": "pgd", "norm": "linf", "epsilon": 0.01}
    for place, (method, robust, config) in enumerate(
        [("a", 40, {}), ("b", 10, {}), ("c", 90, {"attack": small})]
    ):
        run_folders.run(tmp_path / str(place), run_folders.results(method, 0, 95, robust, **config))
    runs = collect.find_runs([tmp_path])
    grouped = grouping.grouped(runs, ["method.name"])
    assert [grouping.best(group, grouped, "pgd") for group in grouped] == [True, False, False]
    assert [grouping.best(group, grouped, "clean") for group in grouped] == [True, True, False]


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
