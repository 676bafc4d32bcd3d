"""Markdown and LaTeX: what is best in bold, what is doubtful marked, what is published beside."""

from pathlib import Path

import pytest
import run_folders

from robustrun.report import collect, grouping, tables


@pytest.fixture
def runs(tmp_path: Path) -> list[collect.StoredRun]:
    return collect.find_runs([run_folders.sweep(tmp_path / "sweep")])


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
