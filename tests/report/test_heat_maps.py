"""Heat maps over two swept numbers, one pair for each setting of the rest."""

from pathlib import Path

import pytest
import run_folders

from robustrun.report import collect, grouping, heat_maps, query


def test_each_setting_has_its_maps_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    number = 0
    for method in ("a", "b", "c"):
        for epsilon, beta in ((0.2, 6), (0.1, 1), (0.2, 1)):
            attack = {"name": "pgd", "norm": "linf", "epsilon": epsilon}
            results = run_folders.results(method, 0, 90, 50, attack=attack)
            results["config"]["method"]["beta"] = beta
            run_folders.run(tmp_path / str(number), results)
            number += 1
    runs = collect.find_runs([tmp_path])
    groups = grouping.grouped(runs, query.keys_of_groups(runs, []))
    maps, without = heat_maps.heat_maps(groups, 2)
    assert (len(maps), without) == (4, 1)
    assert [one.caption for one in maps[:2]] == [
        "clean accuracy (%) a",
        "worst case accuracy (%) a",
    ]
    across, down = maps[0].across, [name for name, _ in maps[0].rows]
    assert {tuple(across), tuple(down)} == {("0.1", "0.2"), ("1", "6")}
    fields = [field for _, row in maps[1].rows for field in row]
    assert [field.text for field in fields if field] == ["48.0"] * 3
    assert fields.count(None) == 1  # 0.1 with 6 was not run


def test_there_is_no_map_over_a_single_number(tmp_path: Path) -> None:
    runs = collect.find_runs([run_folders.sweep(tmp_path)])
    assert heat_maps.heat_maps(grouping.grouped(runs, ["method.name"]), 2) == ([], 0)
    assert heat_maps.heat_maps([], 2) == ([], 0)


@pytest.mark.parametrize(("values", "maps"), [(50, 2), (51, 0)])
def test_draws_of_a_random_search_are_no_map(values: int, maps: int, tmp_path: Path) -> None:
    """50 x 50 fields can be looked at; of 10,000 draws of two numbers all but the diagonal of
    100 million are empty."""
    for number in range(values):
        results = run_folders.results("a", 0, 90, 50)
        results["config"]["method"] |= {"beta": number / 10, "gamma": number / 7}
        run_folders.written(tmp_path / str(number), results)
    groups = grouping.grouped(collect.find_runs([tmp_path]), ["method.beta", "method.gamma"])
    assert len(heat_maps.heat_maps(groups, 6)[0]) == maps
