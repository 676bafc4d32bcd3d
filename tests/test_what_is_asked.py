"""Evaluation asks only for what it needs, and what it will need is looked for before training."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustrun.command_line.main import run_command_line
from robustrun.configuration import composition
from robustrun.configuration.catalogue import options_by_group
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.errors import ConfigError

SHORT = [
    "model=simple_cnn",
    "method=standard",
    "training.epochs=1",
    "training.batch_size=256",
    "evaluation.examples=6",
    "device.threads=1",
    "keep.figures=false",
]
# Whose images lie in no ball of pixels, or that are no adversaries.
BALLS_OF_THEIR_OWN = ("fast_lpa", "gaussian_noise", "lpa", "notebook_noise", "ppgd")
BALLS_OF_THEIR_OWN += ("salt_and_pepper", "stadv")
NORMS = ("linf", "l2", "l1")
# Fewer steps where an attack has them; AutoAttack's are part of its name.
FEWER = {
    "steps": 2,
    "queries": 3,
    "restarts": 1,
    "searches": 1,
    "rounds": 1,
    "targets": 1,
    "cg_steps": 1,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["robustrun"])
        assert run_command_line([*SHORT, "hydra.run.dir=run"]) == 0
    return folder / "run"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["robustrun"])
    return tmp_path


def fewer(attack: str) -> list[str]:
    block = composition.compose_config([f"attack={attack}"])["attack"]
    if attack.startswith("autoattack"):
        return []
    usable = {key: value for key, value in FEWER.items() if key in block}
    if block.get("targets") in (0, None):
        usable.pop("targets", None)
    return [f"attack.{key}={value}" for key, value in usable.items()]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", options_by_group()["attack"])
def test_each_attack_in_each_norm_measures_digits_or_says_why_not(
    finished: Path, here: Path, attack: str, norm: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [f"attack={attack}", f"attack.norm={norm}", *fewer(attack), "evaluation.radii=[]"]
    eyes = ["attack.lpips.network=self"] if "lpa" in attack or attack == "ppgd" else []
    code = run_command_line(["evaluate", str(finished), "evaluation=quick", *words, *eyes])
    said = capfd.readouterr().err
    assert "Traceback" not in said
    if code:
        assert code == 2
        named = {
            "attack.norm is" in said,
            "attack.attacks.screen.norm is" in said,
            "recolor needs colour" in said,
            "attack: lpips.network is 'self'" in said,
        }
        assert any(named), said
        return
    (folder,) = here.glob("outputs/*/*")
    results = json.loads((folder / "results.json").read_text())
    found = {entry["name"]: entry["norm"] for entry in results["evaluation"]["attacks"]}
    assert found[attack] == norm or attack in BALLS_OF_THEIR_OWN
    assert ("fgsm" in found) == (norm != "l1")
    assert ("evaluation.attacks.fgsm is left out" in said) == (norm == "l1")


def test_a_file_is_measured_in_l1_whatever_methods_train_in(
    finished: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(finished / "model.safetensors", "weights.safetensors")
    words = ["attack=apgd_ce", "attack.norm=l1", "attack.steps=2", "attack.restarts=1"]
    words += ["evaluation.examples=6", "evaluation.radii=[]", "device.threads=1"]
    more = ["model=simple_cnn", "method=pgd_at", "training.batch_size=100000"]
    assert run_command_line(["evaluate", "weights.safetensors", *words, *more]) == 0
    said = capfd.readouterr().err
    assert "evaluation.attacks.fgsm is left out: fgsm takes linf or l2" in said
    assert "training." not in said
    assert "method." not in said


@pytest.mark.parametrize("method", ["trades", "pgd_at", "fast_at", "mart", "fgsm_at"])
def test_a_method_that_cannot_follow_the_norm_is_the_one_conflict_named(
    here: Path, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    words = [f"method={method}", "attack=autoattack", "attack.norm=l1"]
    assert run_command_line(words) == 2
    said = capfd.readouterr().err
    assert said.startswith("robustrun: method.norm is 'l1', as attack.norm")
    assert "method.norm=linf" in said
    assert len(said.strip().splitlines()) == 1


def loaded(*words: str) -> RunConfig:
    return load_config(composition.compose_config(words))


def test_trained_in_one_ball_and_judged_in_another_nothing_else_is_asked() -> None:
    words = ["method=trades", "attack=autoattack", "attack.norm=l1"]
    found = loaded(*words, "method.norm=linf", "method.epsilon=0.1")
    assert found.training.validation_attack is None
    assert set(found.evaluation.attacks) == set()
    assert load_config(dump(found)) == found
    own = ["training.validation_attack.norm=l2", "training.validation_attack.epsilon=0.5"]
    given = loaded(*words, "method.norm=linf", "method.epsilon=0.1", *own)
    assert given.training.validation_attack is not None
    assert given.training.validation_attack.norm == "l2"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("training.select=best_robust", r"training\.select is 'best_robust', but must be best_c"),
        ("training.on_collapse=restore", r"training\.on_collapse is 'restore', but must be warn"),
    ],
)
def test_weights_are_not_chosen_by_an_accuracy_that_is_not_measured(
    word: str, message: str
) -> None:
    words = ["method=standard", "attack=apgd_ce", "attack.norm=l1"]
    assert loaded(*words).training.select == "best_clean"
    with pytest.raises(ConfigError, match=message):
        loaded(*words, word)


def test_a_training_in_l1_has_no_robust_accuracy_on_validation_and_ends(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["attack=apgd_ce", "attack.norm=l1", "attack.steps=2", "attack.restarts=1"]
    short = [word for word in SHORT if not word.startswith("training.epochs")]
    still = ["training.epochs=3", "optimizer.lr=1e-30"]  # accuracies tie, and the last counts
    assert run_command_line([*short, *still, *words, "evaluation=none"]) == 0
    assert "training.validation_attack is left out" in capfd.readouterr().err
    (folder,) = here.glob("outputs/*/*")
    results = json.loads((folder / "results.json").read_text())
    assert results["training"]["selected_epoch"] == 3
    assert results["training"]["last"]["validation_robust_accuracy"] is None
    assert results["training"]["last"]["validation_clean_accuracy"] is not None
    assert results["evaluation"]["attacks"][0]["norm"] == "l1"


RECOLOR_IN_THE_AUDIT = (
    "+evaluation.audit.targeted={name: recolor, norm: linf, epsilon: 0.1, bound: 0.06, steps: 2, "
    "lr: 0.001, smoothness: 0.06, lattice: [4,4,4]}"
)

# --- looked for before training ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["attack=recolor"], ["attack: ", "colour"]),
        (["+attack@evaluation.attacks.r=recolor"], ["evaluation.attacks.r: ", "colour"]),
        (
            ["+attack@evaluation.attacks.l=lpa", "evaluation.attacks.l.lpips.weights=no.pt"],
            ["evaluation.attacks.l: ", "'no.pt'"],
        ),
        (
            ["attack=ppgd", "attack.lpips.network=vgg16", "attack.lpips.weights=random"],
            ["attack: ", "enlarge_to"],
        ),
        (["method=pat", "method.lpips.network=alexnet", "method.lpips.weights=x"], ["method: "]),
        (
            ["evaluation=audit", "~evaluation.audit.targeted", RECOLOR_IN_THE_AUDIT],
            ["evaluation.audit: ", "colour"],
        ),
        (["evaluation=corruptions"], ["evaluation.corruptions"]),
        (["tracker=tensorboard", "tracker.folder=/proc/none"], ["tracker"]),
    ],
)
def test_what_the_evaluation_will_need_is_looked_for_before_the_training(
    here: Path, capfd: pytest.CaptureFixture[str], words: list[str], named: list[str]
) -> None:
    groups = {word.lstrip("+").partition("=")[0] for word in words}
    common = [word for word in SHORT if word.partition("=")[0] not in groups]
    common = [word for word in common if not word.startswith("training.epochs")]
    began = time.monotonic()
    code = run_command_line([*common, *words, "training.epochs=100000"])
    said = capfd.readouterr().err
    assert code == 2, said
    for word in named:
        assert word in said
    assert "epoch 1/" not in said
    assert time.monotonic() - began < 60  # seconds; 100,000 epochs take hours


# --- data that can only be measured -----------------------------------------------------------


def pictures(folder: Path, splits: tuple[str, ...]) -> None:
    """Two classes of 8 x 8, each told by its brightness."""
    for split in splits:
        for label, grey in (("dark", 40), ("light", 200)):
            (folder / split / label).mkdir(parents=True)
            for number in range(6):
                pixels = np.full((8, 8), grey + number, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / label / f"{number}.png")


class Threshold(nn.Module):
    """Light where the mean is above one half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], dim=1)


def program(file: Path) -> None:
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    made = torch.export.export(Threshold(), (torch.rand(2, 1, 8, 8),), dynamic_shapes=(batch,))
    torch.export.save(made, file)


def test_a_folder_with_its_test_images_alone_is_measured_and_not_trained_on(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures(here / "images", ("test",))
    program(here / "threshold.pt2")
    data = ["dataset=image_folder", "dataset.root=images", "dataset.workers=0"]
    assert run_command_line([*SHORT, *data, "evaluation=none"]) == 2
    assert "training images: there are none" in capfd.readouterr().err
    words: list[str] = [*data, "evaluation=none", "attack=fgsm", "attack.epsilon=0.1"]
    assert run_command_line(["evaluate", "threshold.pt2", *words, "device.threads=1"]) == 0
    found: list[dict[str, Any]] = [
        json.loads(file.read_text()) for file in sorted(here.glob("outputs/*/*/results.json"))
    ]
    results = found[-1]
    assert (results["dataset"]["train_size"], results["dataset"]["test_size"]) == (0, 12)
    # 40 to 45 and 200 to 205 of 255 are further than 0.1 from one half: none can fall.
    assert results["evaluation"]["clean"]["accuracy"] == 1.0
    assert results["evaluation"]["attacks"][0]["accuracy"] == 1.0
