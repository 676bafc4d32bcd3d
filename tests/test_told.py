"""What a user asked for and did not get is named: in the log, in the results and at the end."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from robustrun import console
from robustrun.command_line.main import run_command_line
from robustrun.report import page
from robustrun.run_folder import figures, model_card
from robustrun.trackers.none import UntrackedRun
from tests.short_run import DRAWN, SHORT


def short(*words: str) -> list[str]:
    """A short run with these words, in the place of those of the same key."""
    keys = {word.partition("=")[0] for word in words}
    return [*words, *(word for word in SHORT if word.partition("=")[0] not in keys)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(*_: Any) -> None:
    raise OSError("the pen is dry")


def results_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob("outputs/**/results.json"))]


LOST = {
    "figures/training.png": (figures, "training_curves"),
    "figures/accuracy_against_radius.png": (figures, "accuracy_against_radius"),
    "figures/adversarial_images.png": (figures, "adversarial_grid"),
    "MODEL_CARD.md": (model_card, "write"),
}


@pytest.mark.parametrize("what", LOST)
def test_what_could_not_be_made_is_named_and_nothing_else_is_lost(
    what: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(*LOST[what], fails)
    assert run_command_line(DRAWN) == 0
    (results,) = results_of(here)
    assert results["run"]["status"] == "completed"
    assert results["run"]["lost"] == {what: "OSError: the pen is dry"}
    (folder,) = here.glob("outputs/*/*")
    assert [name for name in LOST if not (folder / name).exists()] == [what]
    said = f"not made: {what} (OSError: the pen is dry)"
    assert said in capfd.readouterr().out, "below the table"
    assert said in (folder / "run.log").read_text()


def test_a_run_from_which_nothing_is_missing_says_so_in_its_results(here: Path) -> None:
    assert run_command_line(short("evaluation.examples=null")) == 0
    (results,) = results_of(here)
    assert results["run"]["lost"] == {}
    assert results["evaluation"]["subset"]["classes_without_images"] == []


def test_a_tracker_that_broke_is_named_at_the_end(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(UntrackedRun, "epoch", fails)
    assert run_command_line(SHORT) == 0
    assert "OSError: the pen is dry" in results_of(here)[0]["run"]["lost"]["tracker"]
    assert "not made: tracker (OSError: the pen is dry" in capfd.readouterr().out


def test_a_sweep_names_at_its_end_what_its_runs_lack(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "training_curves", fails)
    monkeypatch.setattr(page, "write_sweep", fails)
    assert run_command_line(["-m", "seed=0,1", *DRAWN]) == 0
    (sweep,) = here.glob("outputs/*/*_sweep")
    page_of_sweep = sweep / "report.html"
    last = [line.partition(" WARNING ")[2] for line in capfd.readouterr().err.splitlines()[-3:]]
    assert last == [
        "0: not made: figures/training.png (OSError: the pen is dry)",
        "1: not made: figures/training.png (OSError: the pen is dry)",
        f"not made: {page_of_sweep} (OSError: the pen is dry)",
    ]


@pytest.mark.parametrize(
    ("swept", "same"),
    [
        # training.epochs=1 is set beside it, so that nothing follows the recipe
        (["recipe.epochs=1,2"], ["0 and 1 are the same run: recipe.epochs changes nothing"]),
        (["attack.epsilon=1/10,0.1"], ["0 and 1 are the same run: attack.epsilon changes nothing"]),
        (["seed=0,1"], []),
        (["recipe.lr=0.1,0.2"], []),
    ],
)
def test_a_swept_key_that_changes_nothing_is_told(
    swept: list[str], same: list[str], here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["-m", *swept, *SHORT]) == 0
    lines = capfd.readouterr().err.splitlines()
    told = [line.partition(" WARNING ")[2] for line in lines if "the same run" in line]
    assert [line.partition(" here")[0] for line in told] == same


def test_classes_without_a_measured_image_are_named(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluation.examples=3", "evaluation.choose=first"]
    assert run_command_line(short(*words)) == 0
    evaluation = results_of(here)[0]["evaluation"]
    empty = [str(n) for n, share in enumerate(evaluation["clean"]["per_class"]) if share is None]
    assert evaluation["subset"]["classes_without_images"] == empty
    assert len(empty) >= 7
    said = f"{len(empty)} of 10 classes have no measured image ({', '.join(empty)})"
    assert said in capfd.readouterr().out


@pytest.mark.parametrize("name", ["seed", "method", "worst_case"])
def test_an_attack_cannot_take_the_column_of_something_else(
    name: str, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([*SHORT, f"+attack@evaluation.attacks.{name}=fgsm"]) == 2
    assert f"evaluation.attacks is '{name}'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said", "radii"),
    [
        (["attack=gaussian_noise", "evaluation.radii=[2]"], "no accuracy against radius", []),
        (["attack.epsilon=0", "evaluation.radii=[1/2,2]"], "multiple of the radius 0 is 0", [0]),
        (["evaluation.radii=[1/2,20]"], "radii above 1 are not measured", [0, 0.05, 0.1]),
    ],
)
def test_radii_that_cannot_be_measured_are_told(
    words: list[str],
    said: str,
    radii: list[float],
    here: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_command_line(short(*words)) == 0
    curve = results_of(here)[0]["evaluation"]["curve"]
    assert [point["epsilon"] for point in curve] == pytest.approx(radii)
    assert said in capfd.readouterr().err


def test_radii_that_look_alike_are_measured_each(here: Path) -> None:
    """Findings are kept by name: under one name the second radius would get the first one's."""
    factors = [1.00000001, 1.00000002]
    words = [f"evaluation.radii={factors}", "evaluation.examples=null"]
    assert run_command_line(short(*words)) == 0
    (journal,) = here.glob("outputs/*/*/checkpoint/evaluation.journal")
    for factor in factors:
        assert f"{factor} x radius batch 0" in journal.read_text()


def test_fewer_test_images_than_asked_for_are_told(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(short("evaluation.examples=5000")) == 0
    said = "evaluation.examples is 5000, but the test set has 360 images"
    assert said in capfd.readouterr().err


def test_published_numbers_all_stand_somewhere(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    one = "{attack: fgsm, measure: accuracy, accuracy: 0.51, source: A}"
    two = "{attack: fgsm, measure: accuracy, accuracy: 0.52, source: B}"
    worst = "{attack: worst_case, measure: accuracy, accuracy: 0.47, source: A}"
    other = "{attack: cw, measure: accuracy, accuracy: 0.48, source: A}"
    assert run_command_line(short(f"published=[{one},{two},{worst},{other}]")) == 0
    said = capfd.readouterr().out
    assert "51.00%; 52.00%" in said
    assert "47.00%" in said
    assert "published for cw, which was not measured: 48.00%" in said


def test_in_a_log_training_and_attacks_tell_where_they_are_from_their_first_step_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "FIRST_LINE", 0.0)  # as if each first step took so long
    assert run_command_line(short("evaluation.batch_size=2", "attack=pgd")) == 0
    lines = [line.partition(" INFO ")[2] for line in capfd.readouterr().err.splitlines()]
    training = r"training: 1 of 6, 0:00:\d\d left  epoch 1/1  step 1  loss 2\.\d{4} .* images/s$"
    attack = r"attack pgd: 2 of \d+, 0:00:\d\d left  \d+\.\d% stand"
    for pattern in (training, attack):
        assert any(re.match(pattern, line) for line in lines)
