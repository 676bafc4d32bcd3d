"""A finished run that keeps little: it is reported, evaluated, shown, repeated as any other."""

import json
from pathlib import Path

import pytest
import yaml

from robustrun.command_line.main import run_command_line
from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.experiment import run
from robustrun.report import collect, grouping, page, query
from robustrun.run_folder import checkpoint, provenance
from robustrun.run_folder.load import load_run
from tests.short_run import DRAWN

LITTLE = ["keep.checkpoint=false", "keep.figures=false"]
CHECKPOINT = {"origin.json", "lock"}


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps little and one that keeps all, alike but for that."""
    root = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, words in (("little", LITTLE), ("all", [])):
            assert run_command_line([*DRAWN, *words, f"hydra.run.dir={name}"]) == 0
    return root


@pytest.fixture
def here(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(outputs)
    return outputs


def test_the_checkpoint_and_the_figures_go_and_all_else_stays(outputs: Path) -> None:
    little, whole = outputs / "little", outputs / "all"
    assert names(little) == names(whole) - {"figures"}
    assert names(little / "checkpoint") == CHECKPOINT
    assert names(whole / "checkpoint") >= CHECKPOINT | {"last.ckpt", "evaluation.journal"}
    assert not json.loads((little / "results.json").read_bytes())["run"]["lost"]
    for name in ("model.safetensors", "predictions.npz"):
        assert (little / name).read_bytes() == (whole / name).read_bytes()


def test_by_default_a_run_keeps_both() -> None:
    assert compose_config([])["keep"] == {"checkpoint": True, "figures": True}


def test_it_is_reported_beside_others_as_the_same_network(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = collect.find_runs([here / "all", here / "little"])
    groups = grouping.grouped(runs, query.keys_of_groups(runs, []))
    assert [(len(group.runs), len(group.repeats)) for group in groups] == [(1, 1)]
    page.write(here / "report.html", runs, groups)
    assert "No picture could be read" not in (here / "report.html").read_text()
    assert run_command_line(["report", "little", "--csv", "little.csv"]) == 0
    assert "measured with" in capfd.readouterr().out


def test_resume_shows_it_and_changes_nothing(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in (here / "little").rglob("*") if p.is_file()}
    assert run_command_line(["resume", "little"]) == 0
    assert "measured with" in capfd.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in (here / "little").rglob("*") if p.is_file()} == before


def test_the_same_run_in_its_folder_again_returns_its_record(here: Path) -> None:
    config = load_config(yaml.safe_load((here / "little" / "config.yaml").read_bytes()))
    assert run(config, here / "little").run.status == "completed"
    assert names(here / "little" / "checkpoint") == CHECKPOINT


def test_it_is_evaluated_again_and_that_keeps_as_little(here: Path) -> None:
    _, network = load_run(here / "little")
    assert sum(p.numel() for p in network.parameters()) > 0
    for words, kept in (([], False), (["keep.figures=true"], True)):
        assert run_command_line(["evaluate", "little", *words]) == 0
        folder = max((here / "outputs").glob("*/*evaluate*"))
        assert names(folder / "checkpoint") == CHECKPOINT
        assert (folder / "figures").exists() == kept
        assert provenance.status(folder) == "completed"


def test_it_is_repeated_with_other_words(here: Path) -> None:
    words = ["--config-path", "little", "seed=1", "keep.figures=true", "hydra.run.dir=again"]
    assert run_command_line(words) == 0
    assert names(here / "again" / "checkpoint") == CHECKPOINT
    assert (here / "again" / "figures" / "training.png").is_file()
    assert collect.read(here / "again").settings["seed"] == 1


def test_an_unfinished_run_keeps_what_it_continues_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("robustrun.experiment.measure", lambda *_: 1 / 0)
        assert run_command_line([*DRAWN, *LITTLE, "hydra.run.dir=run"]) == 1
    assert "last.ckpt" in names(tmp_path / "run" / "checkpoint")
    assert run_command_line(["resume", "run"]) == 0
    assert names(tmp_path / "run" / "checkpoint") == CHECKPOINT


def test_a_configuration_from_before_there_was_a_choice_keeps_both() -> None:
    raw = compose_config([])
    early = {key: value for key, value in raw.items() if key != "keep"}
    assert load_config(early) == load_config(raw)


def test_what_cannot_be_removed_does_no_harm(tmp_path: Path) -> None:
    for name in ("last.ckpt", "previous.ckpt", "evaluation.journal", *CHECKPOINT):
        (tmp_path / name).touch()
    (tmp_path / "mine").mkdir()
    checkpoint.discard(tmp_path)
    assert names(tmp_path) == CHECKPOINT | {"mine"}
