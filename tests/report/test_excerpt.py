"""Of more groups and runs than a page can show: the front and the best of each kind, in order."""

from pathlib import Path

import pytest
import run_folders

from robustrun.report import collect, excerpt, grouping
from robustrun.report.collect import StoredRun
from robustrun.report.grouping import Group

MEASURED = [(90, 30), (60, 50), (70, 50), (80, 20), (70, 40), (50, 45)]  # clean, robust


def run(name: str, seed: int, clean: int, robust: int, epsilon: float) -> StoredRun:
    results = run_folders.results(name, seed, clean, robust)
    results["config"]["attack"]["epsilon"] = epsilon
    return StoredRun(Path(f"/{name}/{epsilon}/{seed}"), run_folders.record(results))


def groups_of(runs: list[StoredRun]) -> list[Group]:
    return grouping.grouped(runs, ["method.name", "attack.epsilon"])


def names(groups: list[Group]) -> list[tuple[str, float]]:
    return [(group.values["method.name"], group.values["attack.epsilon"]) for group in groups]


@pytest.mark.parametrize(
    ("most", "chosen"),
    [
        (1, "c"),  # best in the worst case, and on the front
        (2, "ac"),  # a: the best clean accuracy
        (3, "abc"),  # b: as robust as c
        (4, "abcf"),
        (6, "abcdef"),
    ],
)
def test_the_front_comes_first_then_the_best_by_worst_case(most: int, chosen: str) -> None:
    runs = [run(name, 0, *scores, 0.1) for name, scores in zip("abcdef", MEASURED, strict=True)]
    shown = excerpt.of_groups(groups_of(runs), most)
    assert names(shown) == [(name, 0.1) for name in chosen]


def test_a_small_radius_does_not_drive_out_the_others() -> None:
    """Accuracies at other radii are no rivals, however high."""
    easy = [run(name, 0, 99, 90 + place, 0.01) for place, name in enumerate("abcd")]
    hard = [run(name, 0, 60, 10 + place, 0.3) for place, name in enumerate("abcd")]
    shown = excerpt.of_groups(groups_of([*easy, *hard]), 4)
    assert names(shown) == [("c", 0.01), ("d", 0.01), ("c", 0.3), ("d", 0.3)]


def test_each_group_has_a_run_before_any_has_two() -> None:
    runs = [run(name, seed, 90, 50, 0.1) for seed in range(3) for name in "ab"]
    runs.insert(0, StoredRun(Path("/damaged"), None, "no results.json"))
    groups = groups_of(runs)
    assert [str(one.folder) for one in excerpt.of_runs(runs, groups, 3)] == [
        "/a/0.1/0",
        "/b/0.1/0",
        "/a/0.1/1",
    ]
    assert excerpt.of_runs(runs, groups[1:], 3) == [runs[2], runs[4], runs[6]]
    assert excerpt.of_runs(runs, groups, 7) == runs


def test_a_page_of_more_than_it_can_show_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from robustrun.report import page

    monkeypatch.setattr(page, "MOST_GROUPS", 2)
    monkeypatch.setattr(page, "MOST_RUNS", 4)
    for place, (clean, robust) in enumerate(MEASURED):
        for seed in range(2):
            results = run_folders.results("abcdef"[place], seed, clean, robust)
            run_folders.run(tmp_path / f"{place}{seed}", results)
    runs = collect.find_runs([tmp_path])
    page.write(tmp_path / "report.html", runs, grouping.grouped(runs, ["method.name"]))
    text = (tmp_path / "report.html").read_text()
    assert "12 runs, 12 of them measured" in text
    assert "Here and in the charts are 2 of 6 rows" in text
    assert "8 further runs are left out here; summary.csv has them." in text
    assert text.count("<tr data-row=") == 2 + 4
    shown = [f'href="{name}/"' in text for name in ("00", "01", "10", "20", "21")]
    assert shown == [True, True, False, True, True]
