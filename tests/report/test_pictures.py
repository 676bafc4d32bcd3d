"""Pictures are shown as long as there is room; what a report could not read is named in it."""

from pathlib import Path

import pytest
import run_folders

from robustrun.report import collect, grouping, page, pictures


@pytest.mark.parametrize("damage", [None, b"", b"no picture"])
def test_a_report_names_the_runs_whose_picture_or_curve_it_lacks(
    damage: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [tmp_path / name for name in ("whole", "poor")]
    for seed, folder in enumerate(folders):
        run_folders.run(folder, run_folders.results("trades", seed, 80, 50))
    picture = folders[1] / "figures" / "adversarial_images.png"
    picture.unlink()
    if damage is not None:
        picture.write_bytes(damage)
    (folders[1] / "metrics.csv").write_text("epoch,train_loss\none,two\n")
    page.write_sweep(tmp_path, folders)
    assert "No picture could be read of: poor." in (tmp_path / "report.html").read_text()
    assert [f"no training curve of {folders[1] / 'metrics.csv'}" in m for m in caplog.messages] == [
        True
    ]


@pytest.mark.parametrize(
    ("room", "most", "shown"),
    [(0, 9, []), (10**6, 0, []), (10**6, 1, ["0"]), (10**6, 3, ["0", "3", "1"])],
)
def test_one_run_of_each_group_comes_first(
    room: int, most: int, shown: list[str], tmp_path: Path
) -> None:
    runs = collect.find_runs([run_folders.sweep(tmp_path)])
    groups = grouping.grouped(runs, ["method.name"])
    chosen = pictures.choose(runs, groups, room, most)
    assert [picture.name for picture in chosen.shown] == shown
    assert chosen.left_out == 6 - len(shown)


def test_what_is_shown_stays_within_the_room(tmp_path: Path) -> None:
    runs = collect.find_runs([run_folders.sweep(tmp_path)])
    size = len(pictures.choose(runs, [], 10**6, 1).shown[0].source)
    assert len(pictures.choose(runs, [], 2 * size, 9).shown) == 2
    assert len(pictures.choose(runs, [], 2 * size - 1, 9).shown) == 1


def test_after_many_missing_pictures_no_more_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_UNREADABLE", 2)
    for number in range(5):
        results = run_folders.results("trades", number, 80, 50)
        run_folders.written(tmp_path / str(number), results)
    chosen = pictures.choose(collect.find_runs([tmp_path]), [], 10**6, 9)
    assert (chosen.shown, chosen.unreadable) == ([], ["0", "1"])


def test_runs_that_were_to_draw_nothing_lack_nothing(tmp_path: Path) -> None:
    run_folders.run(tmp_path / "0", run_folders.results("trades", 0, 80, 50))
    without = run_folders.results("trades", 1, 80, 50, keep={"figures": False})
    run_folders.written(tmp_path / "1", without)
    runs = collect.find_runs([tmp_path])
    chosen = pictures.choose(runs, grouping.grouped(runs, ["seed"]), 10**6, 9)
    assert [picture.name for picture in chosen.shown] == ["0"]
    assert (chosen.unreadable, chosen.left_out) == ([], 0)
