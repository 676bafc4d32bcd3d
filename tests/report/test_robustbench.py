"""The JSON that RobustBench's leaderboard takes."""

import json
from pathlib import Path

import pytest
import run_folders

from robustrun.errors import DataError
from robustrun.report import collect, robustbench

REQUIRED = {"link", "name", "authors", "additional_data", "number_forward_passes", "dataset"} | {
    "venue", "architecture", "eps", "clean_acc", "reported", "autoattack_acc"
}  # fmt: skip


def test_a_run_becomes_a_file_of_the_leaderboard(tmp_path: Path) -> None:
    runs = collect.find_runs(
        [run_folders.run(tmp_path / "0", run_folders.results("trades", 0, 85, 52))]
    )
    (path,) = robustbench.export(runs, tmp_path / "out")
    assert path.relative_to(tmp_path / "out").parent == Path("model_info/cifar10/Linf")
    info = json.loads(path.read_text())
    assert set(info) >= REQUIRED
    assert (info["eps"], info["clean_acc"], info["autoattack_acc"]) == ("8/255", "85.00", "50.00")
    assert info["unreliable"] is False
    assert "100 images" in info["footnote"]


def test_only_the_standard_autoattack_counts(tmp_path: Path) -> None:
    weaker = run_folders.results("trades", 0, 85, 52)
    weaker["evaluation"]["attacks"][1]["settings"]["version"] = "rand"
    runs = collect.find_runs([run_folders.run(tmp_path / "0", weaker)])
    with pytest.raises(DataError, match="evaluation=standard"):
        robustbench.export(runs, tmp_path / "out")


def test_runs_of_like_names_get_a_file_each(tmp_path: Path) -> None:
    for name, clean in (("a-b", 85), ("a_b", 80)):
        run_folders.run(tmp_path / name, run_folders.results("trades", 0, clean, 52))
    paths = robustbench.export(collect.find_runs([tmp_path]), tmp_path / "out")
    assert [json.loads(path.read_text())["clean_acc"] for path in paths] == ["85.00", "80.00"]


@pytest.mark.parametrize(("clean", "attacked"), [(0, 0), (2, 0), (1, 7)])
def test_images_without_an_answer_are_counted_in_the_footnote(
    clean: int, attacked: int, tmp_path: Path
) -> None:
    results = run_folders.results("trades", 0, 85, 52)
    results["evaluation"]["clean"]["non_finite"] = clean
    results["evaluation"]["attacks"][1]["non_finite"] = attacked
    run = collect.read(run_folders.run(tmp_path / "0", results))
    footnote = robustbench.model_info(run)["footnote"]
    counts = {"clean": clean, "autoattack": attacked}
    told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    assert footnote.endswith(f"count as wrong: {told}." if told else "on 100 images.")
