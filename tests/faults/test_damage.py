"""Files that are cut, damaged, poisoned or missing; disks that are full, folders in the way."""

import io
import json
import os
import pickle
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SHORT, changed, fingerprint
from PIL import Image
from process import Command, robustrun

from robustrun.errors import DataError
from robustrun.run_folder import checkpoint


@pytest.fixture
def interrupted(tmp_path: Path, stopped: Path) -> Path:
    """A run of one's own that was stopped with two checkpoints."""
    shutil.copytree(stopped, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped")
    command = Command.start(folder, *SHORT, "hydra.run.dir=run", "training.checkpoint_steps=1")
    command.wait_until((folder / "run" / "checkpoint" / "previous.ckpt").exists)
    command.child.kill()
    command.end()
    return folder / "run"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    robustrun(folder, *SHORT, "hydra.run.dir=run", "training.checkpoint_steps=1")
    return folder / "run"


# --- checkpoints ------------------------------------------------------------------------------


@pytest.mark.parametrize("tenth", range(10))
def test_a_checkpoint_cut_at_any_tenth_is_passed_over_for_the_one_before(
    interrupted: Path, whole: Path, tenth: int
) -> None:
    last = interrupted / "checkpoint" / "last.ckpt"
    content = last.read_bytes()
    last.write_bytes(content[: len(content) * tenth // 10])
    if tenth in (0, 5):  # the whole way for two of them, a second each
        said = robustrun(interrupted.parent, "resume", "run")
        assert "last.ckpt is passed over" in said
        assert fingerprint(interrupted) == fingerprint(whole)
    else:
        before = checkpoint.load(interrupted / "checkpoint")
        assert before is not None
        (interrupted / "checkpoint" / "previous.ckpt").rename(last)
        expected = checkpoint.load(interrupted / "checkpoint")
        assert expected is not None
        assert before["fit"]["learner"]["steps"] == expected["fit"]["learner"]["steps"]


def test_200_flipped_bits_of_a_checkpoint_are_all_noticed(interrupted: Path) -> None:
    folder = interrupted / "checkpoint"
    (folder / "previous.ckpt").unlink()
    content, drawn = (folder / "last.ckpt").read_bytes(), random.Random(0)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
        (folder / "last.ckpt").write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            checkpoint.load(folder)


def test_without_any_whole_checkpoint_the_files_are_named(interrupted: Path) -> None:
    for name in ("last.ckpt", "previous.ckpt"):
        (interrupted / "checkpoint" / name).write_bytes(b"<html>not found</html>")
    said = robustrun(interrupted.parent, "resume", "run", code=2)
    assert "last.ckpt: it is empty, damaged" in said
    assert "previous.ckpt" in said


class Payload:
    """Unpickling it would make a folder."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.canary),)


def test_a_poisoned_checkpoint_with_a_right_checksum_is_not_run(interrupted: Path) -> None:
    canary, folder = interrupted.parent / "canary", interrupted / "checkpoint"
    for name in ("last.ckpt", "previous.ckpt"):
        buffer = io.BytesIO()
        torch.save({"about": Payload(canary)}, buffer)
        digest = checkpoint.hashlib.sha256(buffer.getvalue()).hexdigest().encode()
        (folder / name).write_bytes(checkpoint.MARK + digest + b"\n" + buffer.getvalue())
    robustrun(interrupted.parent, "resume", "run", code=2)
    assert not canary.exists()


def test_an_origin_that_is_damaged_is_named(interrupted: Path) -> None:
    (interrupted / "checkpoint" / "origin.json").write_text('{"command":')
    assert "origin.json is damaged" in robustrun(interrupted.parent, "resume", "run", code=2)


@pytest.mark.parametrize("cut", [1, 40, 10**6])
def test_a_journal_that_is_torn_or_of_another_network_is_not_believed(
    tmp_path: Path, whole: Path, cut: int
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    run = tmp_path / "run"
    journal = run / "checkpoint" / "evaluation.journal"
    content = journal.read_bytes()
    torn = content[: max(len(content) - cut, 0)]
    journal.write_bytes(torn if cut < 10**6 else content.replace(b'"subject", "', b'"subject", "0'))
    (run / "results.json").unlink()
    robustrun(tmp_path, "resume", "run")
    assert fingerprint(run) == fingerprint(whole)


def test_a_results_file_that_is_damaged_does_not_stop_a_resume(tmp_path: Path, whole: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text('{"run": {"status": "compl')
    robustrun(tmp_path, "resume", "run")
    assert fingerprint(tmp_path / "run") == fingerprint(whole)


# --- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["empty", "html", "cut", "pickle", "other"])
def test_weights_that_are_none_are_refused_and_never_run(
    tmp_path: Path, whole: Path, kind: str
) -> None:
    canary, good = tmp_path / "canary", (whole / "model.safetensors").read_bytes()
    state = {"conv1.weight": torch.zeros(6, 1, 3, 3)}
    other = io.BytesIO()
    torch.save(state, other)
    content = {
        "empty": b"",
        "html": b"<html><title>404</title></html>",
        "cut": good[: len(good) // 2],
        "pickle": pickle.dumps(Payload(canary)),
        "other": other.getvalue(),
    }[kind]
    name = "weights.safetensors" if kind in ("empty", "html", "cut") else "weights.pt"
    (tmp_path / name).write_bytes(content)
    words = ["model=simple_cnn", "evaluation=none", "evaluation.examples=20"]
    said = robustrun(tmp_path, "evaluate", name, *words, code=2)
    assert "weights" in said
    assert "Traceback" not in said
    assert not canary.exists()
    if kind == "other":
        assert "conv1.weight" in said.partition("in the network")[2]
        assert "6 x 1 x 3 x 3" in said


@pytest.mark.parametrize("length", [0, 100, -100])
def test_a_finished_runs_weights_that_were_cut_are_named(
    tmp_path: Path, whole: Path, length: int
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    weights = tmp_path / "run" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    said = robustrun(tmp_path, "evaluate", "run", "evaluation=none", code=2)
    assert "model.safetensors" in said
    assert "Traceback" not in said


# --- data -------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    drawn = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / "images" / split / label).mkdir(parents=True)
            for number in range(8):
                pixels = drawn.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / f"images/{split}/{label}/{number}.png")
    return tmp_path


FOLDER = changed(SHORT, "dataset=image_folder", "dataset.root=images", "training.batch_size=4")


@pytest.mark.parametrize("memory", ["1", "0"])
def test_an_image_that_cannot_be_read_is_named(pictures: Path, memory: str) -> None:
    bad = pictures / "images" / "train" / "b" / "3.png"
    bad.write_bytes(bad.read_bytes()[:40])
    words = [*FOLDER, f"dataset.memory_limit_gb={memory}", "dataset.workers=0"]
    assert "b/3.png" in robustrun(pictures, *words, code=2)


def test_a_class_that_only_one_split_has_is_named(pictures: Path) -> None:
    shutil.rmtree(pictures / "images" / "test" / "b")
    assert (
        "'b'" in robustrun(pictures, *FOLDER, code=2)
        or "class" in Path(pictures / "stderr.txt").read_text()
    )


def test_a_data_folder_that_is_missing_or_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for root in ("nowhere", "file"):
        words = [*SHORT, "dataset=image_folder", f"dataset.root={root}"]
        assert "is not a folder" in robustrun(tmp_path, *words, code=2)


def test_cifar_files_of_wrong_content_are_named_and_never_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"]
    for name in names:
        (folder / name).write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    words = [*SHORT, "dataset=cifar10", "dataset.root=data"]
    command = Command.start(tmp_path, *words)
    assert command.end() == 2
    assert "Traceback" not in command.said()
    assert not (tmp_path / "canary").exists()
    assert not list(tmp_path.glob("outputs/*/*/metrics.csv"))


def test_a_worker_that_is_killed_is_a_failure_with_its_name(pictures: Path) -> None:
    more = ["dataset.memory_limit_gb=0", "dataset.workers=1", "training.epochs=500"]
    words = changed(FOLDER, *more)
    command = Command.start(pictures, *words, "hydra.run.dir=run", "evaluation=none")
    command.wait_until((pictures / "run" / "metrics.csv").exists)
    children = Path(f"/proc/{command.child.pid}/task/{command.child.pid}/children")
    killed = 0
    while command.child.is_alive() and killed < 200:
        for child in children.read_text().split() if children.exists() else ():
            try:
                os.kill(int(child), 9)
                killed += 1
            except ProcessLookupError:
                pass
    assert killed > 0
    assert command.end() == 1
    found = json.loads((pictures / "run" / "results.json").read_text())
    assert found["run"]["status"] == "failed"
    assert "worker" in found["run"]["error"]


# --- disks and folders ------------------------------------------------------------------------


def test_a_disk_that_is_full_fails_the_run_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    # A limit on the size of files is what a full disk looks like from within: writes fail.
    words = [*SHORT, "hydra.run.dir=run", "training.checkpoint_steps=1"]
    command = Command.start(tmp_path, *words)
    command.wait_until((tmp_path / "run" / "checkpoint" / "previous.ckpt").exists)
    command.child.kill()
    command.end()
    before = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert before is not None
    size = (tmp_path / "run" / "checkpoint" / "last.ckpt").stat().st_size
    said = robustrun(tmp_path, "resume", "run", code=1, limit=size // 2)
    assert "No space is left" in said or "File too large" in said
    after = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert after is not None
    assert after["fit"]["learner"]["steps"] == before["fit"]["learner"]["steps"]
    assert not [p for p in (tmp_path / "run").rglob(".*")], "a write that was cut short"
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["run"]["status"] == "failed"
    robustrun(tmp_path, "resume", "run")  # with room again


def test_an_output_path_that_is_a_file_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("in the way")
    said = robustrun(tmp_path, *SHORT, code=2)
    assert "outputs" in said
    assert "Traceback" not in said


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a disk in memory with these options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options: str) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("mounting needs root")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def test_a_disk_that_is_really_full_fails_the_run_which_goes_on_once_there_is_room(
    disk: Callable[[str], Path], tmp_path: Path, stopped: Path
) -> None:
    one = (stopped / "checkpoint" / "last.ckpt").stat().st_size
    run = disk(f"size={one * 3 // 2}") / "run"  # room for one checkpoint of this run, not for two
    said = robustrun(
        tmp_path, *SHORT, f"hydra.run.dir={run}", "training.checkpoint_steps=1", code=1
    )
    assert "No space is left on the disk" in said
    assert json.loads((run / "results.json").read_text())["run"]["status"] == "failed"
    assert checkpoint.load(run / "checkpoint") is not None
    subprocess.run(["mount", "-o", "remount,size=20m", str(run.parent)], check=True)
    assert "continuing in epoch" in robustrun(tmp_path, "resume", str(run))


def test_a_read_only_disk_is_named_before_any_work(
    disk: Callable[[str], Path], tmp_path: Path
) -> None:
    said = robustrun(tmp_path, *SHORT, f"hydra.run.dir={disk('ro')}/run", code=2)
    assert "Read-only file system" in said
    assert "Traceback" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into any folder")
def test_a_folder_that_is_read_only_is_named_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    said = robustrun(tmp_path, *SHORT, "hydra.run.dir=closed/run", code=2)
    assert "closed" in said


# --- numbers ----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_keeps_the_checkpoint_from_before(tmp_path: Path) -> None:
    words = [*SHORT, "optimizer.lr=1e30", "hydra.run.dir=run", "training.checkpoint_steps=1"]
    said = robustrun(tmp_path, *words, code=1)
    assert "no longer finite (epoch 1" in said
    kept = checkpoint.load(tmp_path / "run" / "checkpoint")
    if kept is not None:
        assert torch.isfinite(kept["fit"]["loss"])
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["run"]["status"] == "failed"
    assert "finite" in found["run"]["error"]


def test_a_zip_bomb_of_weights_is_no_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("../../outside.txt", "0" * 10**7)
    words = ["model=simple_cnn", "evaluation=none"]
    robustrun(tmp_path, "evaluate", "bomb.pt", *words, code=2)
    assert not (tmp_path.parent.parent / "outside.txt").exists()
