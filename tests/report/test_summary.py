"""Columns of summary.csv, and how keys are called."""

import csv
from pathlib import Path

import run_folders

from robustrun.command_line.report import command
from robustrun.report import summary


def header(path: Path) -> list[str]:
    with path.open() as file:
        return next(csv.reader(file))


def test_columns_of_the_file_do_not_depend_on_which_runs_are_selected(tmp_path: Path) -> None:
    root = run_folders.sweep(tmp_path / "sweep")
    further = run_folders.results("mart", 0, 80, 40)
    further["config"]["method"]["gamma"] = 2
    run_folders.run(root / "9", further)
    path = str(root)
    selections = [
        [path],
        [path, "--where", "seed=0"],
        [path, "--where", "method=mart"],
        [path, "--by", "status"],
        [str(root / "0")],
        [str(root / "9")],
    ]
    heads = []
    for place, words in enumerate(selections):
        command([*words, "--csv", str(tmp_path / f"{place}.csv")])
        heads.append(header(tmp_path / f"{place}.csv"))
    assert all(head == heads[0] for head in heads)
    command([path, "--by", "method.gamma", "--csv", str(tmp_path / "by.csv")])
    assert set(header(tmp_path / "by.csv")) - set(heads[0]) == {"method.gamma"}
    with (tmp_path / "2.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["method.name"], row["clean"], row["images"]) == ("mart", "0.8", "100")
    assert float(row["clean_low"]) < 0.8 < float(row["clean_high"])
    assert '"method.gamma": 2' in row["settings"]


def test_heads_of_columns_are_short_where_that_is_not_ambiguous() -> None:
    keys = ["method.name", "attack.epsilon", "method.epsilon", "seed"]
    assert summary.heads(keys) == ["method", "attack.epsilon", "method.epsilon", "seed"]
