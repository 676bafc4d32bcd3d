"""What a report could not read is named in it."""

from pathlib import Path

import pytest
import run_folders

from robustrun.report import page


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
