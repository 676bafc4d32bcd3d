"""A finished run made again, with other words: what follows a change follows it."""

import copy
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.errors import HydraException

from robustrun.command_line.main import run_command_line
from robustrun.configuration import composition, words
from robustrun.configuration.composition import compose_config
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import load_config
from robustrun.errors import ConfigError
from robustrun.run_folder import provenance, repetition
from tests.faults.process import printed

SHORT = [
    "model=simple_cnn",
    "training.epochs=1",
    "training.batch_size=256",
    "training.validation_attack.steps=1",
    "method.inner.steps=1",
    "attack.steps=2",
    "evaluation.examples=20",
    "device.threads=1",
    "keep.figures=false",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run at a radius of its own."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["robustrun"])
        more = ["attack.epsilon=0.15", "+attack@evaluation.attacks.mine=fgsm"]
        assert run_command_line([*SHORT, *more, "hydra.run.dir=run"]) == 0
    return folder / "run"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["robustrun"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.fixture(autouse=True, scope="module")
def _composed_once() -> Iterator[None]:
    """Looking for the words of an older run composes the same configurations in each test."""
    composed, compose = {}, composition.compose_config

    def compose_once(given: Iterable[str], folders: Iterable[Path] = ()) -> dict[str, Any]:
        key = tuple(given), tuple(folders)
        if key not in composed:
            composed[key] = compose(*key)
        return copy.deepcopy(composed[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repetition.composition, "compose_config", compose_once)
        yield


def shown(capfd: pytest.CaptureFixture[str], *given: str) -> tuple[dict[str, Any], str]:
    """The configuration that a command line makes, and what is said of it."""
    capfd.readouterr()
    assert run_command_line([*given, "--cfg", "job", "--resolve"]) == 0, capfd.readouterr().err
    said = capfd.readouterr()
    return yaml.safe_load(said.out), said.err


def as_older_versions_left_it(run: Path, folder: Path) -> Path:
    """A copy without the words that it was made from and the names of its options."""
    shutil.copytree(run, folder)
    file = folder / "checkpoint" / "origin.json"
    about = json.loads(file.read_text())
    for name in ("overrides", "folders", "plugins", "configuration"):
        del about[name]
    file.write_text(json.dumps(about))
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    del raw["options"]
    (folder / "config.yaml").write_text(yaml.safe_dump(raw))
    return folder


@pytest.mark.parametrize("older", [False, True])
def test_a_radius_that_is_changed_reaches_whatever_follows_it(
    finished: Path, here: Path, capfd: pytest.CaptureFixture[str], older: bool
) -> None:
    run = as_older_versions_left_it(finished, here / "older") if older else finished
    found, said = shown(capfd, "--config-path", str(run), "attack.epsilon=0.2")
    assert found["attack"]["epsilon"] == 0.2
    assert found["attack"]["step_size"] == pytest.approx(0.05)
    assert found["attack"]["steps"] == 2
    assert found["method"]["epsilon"] == 0.2
    assert found["method"]["inner"]["step_size"] == pytest.approx(0.2 * 7 / 31)
    assert found["training"]["validation_attack"]["epsilon"] == 0.2
    assert found["training"]["epochs"] == 1
    assert found["evaluation"]["attacks"]["fgsm"]["epsilon"] == 0.2
    assert ("does not keep the words" in said) == older


@pytest.mark.parametrize("older", [False, True])
def test_without_other_words_it_is_the_same_configuration(
    finished: Path, here: Path, older: bool
) -> None:
    run = as_older_versions_left_it(finished, here / "older") if older else finished
    assert run_command_line(["--config-path", str(run), "hydra.run.dir=again"]) == 0
    before = yaml.safe_load((finished / "config.yaml").read_text())
    after = yaml.safe_load((here / "again" / "config.yaml").read_text())
    before.pop("options"), after.pop("options")
    assert after == before
    weights = [(f / "model.safetensors").read_bytes() for f in (finished, here / "again")]
    assert weights[0] == weights[1]


def test_a_relative_path_begins_where_the_user_stands(
    finished: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, here / "run=1")
    for given in (["--config-path", "run=1"], ["-cp=run=1"], ["-cp", "./run=1"]):
        assert shown(capfd, *given)[0]["attack"]["epsilon"] == 0.15


@pytest.mark.parametrize(
    ("word", "dropped"),
    [
        ("evaluation=none", "attack@evaluation.attacks.mine"),
        ("method=standard", "method.inner.steps=1"),
        ("attack=pgd_l2", "attack.epsilon=0.15"),
        ("attack.norm=l2", "attack.epsilon=0.15"),
        ("attack=fgsm", "attack.steps=2"),
    ],
)
def test_old_words_that_no_longer_apply_are_left_out_and_named(
    finished: Path, capfd: pytest.CaptureFixture[str], word: str, dropped: str
) -> None:
    found, said = shown(capfd, "--config-path", str(finished), word)
    assert "no longer apply" in said
    assert dropped in said
    assert found["training"]["epochs"] == 1
    radius = found["dataset"]["epsilon"]["l2"] if "l2" in word else 0.15
    assert found["attack"]["epsilon"] == radius


def test_options_that_the_run_has_already_change_nothing(
    finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found, said = shown(capfd, "--config-path", str(finished), "attack=pgd", "method=trades")
    assert (found["attack"]["steps"], found["method"]["inner"]["steps"]) == (2, 1)
    assert "no longer" not in said


def test_an_experiment_is_replaced_by_another(here: Path) -> None:
    run = here / "run"
    about = provenance.new(overrides=["+experiment=notebook_trades", "seed=3"], configuration={})
    provenance.claim(run, about)
    before = dump(load_config(compose_config(["+experiment=notebook_trades"])))
    found = repetition.Repetition(run, before, list(about.overrides or []), [])
    made = repetition.with_others(found, ["experiment=notebook_standard"])
    assert made == ["seed=3", "+experiment=notebook_standard"]


def test_a_run_of_a_sweep_keeps_its_own_words(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = ["-m", *SHORT, "attack.epsilon=0.1,0.3", "hydra.sweep.dir=sweep", "evaluation=none"]
    assert run_command_line(given) == 0
    for number, radius in enumerate((0.1, 0.3)):
        found = shown(capfd, "--config-path", f"sweep/{number}", "seed=5")[0]
        assert (found["attack"]["epsilon"], found["method"]["epsilon"]) == (radius, radius)
        assert (found["seed"], found["attack"]["steps"]) == (5, 2)


def test_a_repeated_run_can_be_swept(finished: Path, here: Path) -> None:
    given = ["-m", "--config-path", str(finished), "attack.epsilon=0.1,0.2"]
    assert run_command_line([*given, "evaluation=none", "hydra.sweep.dir=sweep"]) == 0
    radii = [
        yaml.safe_load((here / f"sweep/{number}/config.yaml").read_text())["method"]["epsilon"]
        for number in range(2)
    ]
    assert radii == [0.1, 0.2]


MINE = "# Mine\nname: pgd\nnorm: linf\nepsilon: ${dataset.epsilon.${.norm}}\nsteps: 3\n"
MINE += "step_size: 0.01\nrestarts: 1\nrandom_start: true\nloss: ce\n"


def test_a_catalogue_that_has_changed_is_told_and_the_runs_values_stay(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "mine" / "attack").mkdir(parents=True)
    (here / "mine" / "attack" / "mine.yaml").write_text(MINE)
    given = [word for word in SHORT if not word.startswith("attack.")]
    assert run_command_line(["-cd", "mine", "attack=mine", *given, "hydra.run.dir=run"]) == 0
    (here / "mine" / "attack" / "mine.yaml").write_text(MINE.replace("steps: 3", "steps: 9"))
    found, said = shown(capfd, "--config-path", "run", "seed=1")
    assert "the catalogue is no longer the one" in said
    assert "attack.steps" in said
    assert found["attack"]["steps"] == 3


def test_an_evaluation_is_not_repeated_as_a_training(
    finished: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["evaluate", str(finished), "evaluation=none"]) == 0
    (folder,) = here.glob("outputs/*/*")
    assert run_command_line(["--config-path", str(folder)]) == 2
    assert "robustrun evaluate" in capfd.readouterr().err


# --- evaluate ---------------------------------------------------------------------------------


def measured(run: Path, *given: str) -> dict[str, Any]:
    return repetition.measured_again(run, words.split(given))[0]


@pytest.mark.parametrize("key", ["mean", "std"])
def test_another_normalisation_than_the_networks_own_is_refused(
    finished: Path, here: Path, key: str
) -> None:
    own = load_config(provenance.configuration(finished)).model
    line = words.split([f"dataset.{key}=[{getattr(own, key)[0]}]"])
    raw, _ = repetition.measured_again(finished, line)
    assert raw["dataset"][key] == [getattr(own, key)[0]]
    with pytest.raises(ConfigError, match=rf"^dataset\.{key} is \[0\.25\], but the network of"):
        repetition.measured_again(finished, words.split([f"dataset.{key}=[1/4]"]))


@pytest.mark.parametrize(
    ("given", "read", "told"),
    [
        ("dataset=emnist", False, [": so it is read here."]),
        (
            "dataset=emnist dataset.transpose=true",
            True,
            [". As it is read now, the network does not know the images."],
        ),
        ("dataset=mnist", False, []),
    ],
)
def test_letters_lie_as_the_network_of_an_older_run_learnt_them(
    here: Path, given: str, read: bool, told: list[str]
) -> None:
    made_from = ["dataset=torchvision", "dataset.source=EMNIST", "model=simple_cnn"]
    raw = dump(load_config(compose_config(made_from)))
    del raw["dataset"]["transpose"]  # as in the folder of a run from before that key
    (here / "config.yaml").write_text(yaml.safe_dump(raw))
    found, remarks = repetition.measured_again(here, words.split(given.split()))
    assert found["dataset"]["transpose"] is read
    learnt = f"the network of {here} learnt EMNIST with dataset.transpose=false"
    assert [remark for remark in remarks if "transpose=" in remark] == [learnt + it for it in told]


@pytest.mark.parametrize("older", [False, True])
def test_evaluate_keeps_the_threat_model_and_what_the_training_was(
    finished: Path, here: Path, older: bool
) -> None:
    run = as_older_versions_left_it(finished, here / "older") if older else finished
    found = measured(run, "attack.epsilon=0.02")
    assert (found["attack"]["epsilon"], found["attack"]["steps"]) == (0.02, 2)
    assert found["evaluation"]["attacks"]["fgsm"]["epsilon"] == 0.02
    assert found["evaluation"]["examples"] == 20
    assert found["method"]["epsilon"] == 0.15
    assert found["training"]["validation_attack"]["epsilon"] == 0.15
    other = measured(run, "attack=apgd_ce")
    assert (other["attack"]["name"], other["attack"]["epsilon"]) == ("apgd", 0.15)
    assert other["options"]["attack"] == "apgd_ce"


@pytest.mark.parametrize("word", ["attack.stepps=3", "attack=pgdd", "+attack=pgd"])
def test_a_typo_is_named_before_the_words_of_an_older_run_are_searched_for(
    finished: Path, here: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    run = as_older_versions_left_it(finished, here / "older")
    monkeypatch.setattr(repetition, "_setting", lambda *given: pytest.fail("it is searched for"))
    with pytest.raises(HydraException):
        measured(run, word)


def test_an_attack_that_is_added_leaves_the_runs_own_as_it_was(finished: Path) -> None:
    found = measured(finished, "+attack@evaluation.attacks.other=pgd", "~evaluation.attacks.fgsm")
    assert found["attack"]["steps"] == 2
    assert found["evaluation"]["attacks"]["other"]["steps"] == 20
    assert "fgsm" not in found["evaluation"]["attacks"]


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("dataset.crop_padding=1", "crop_padding", 1),
        ("dataset.flip=true", "flip", True),
        ("dataset.mean=[0.305]", "mean", [0.305]),
        ("dataset.imbalance_ratio=null", "imbalance_ratio", None),
        ("dataset.imbalance_ratio=1/2", "imbalance_ratio", "1/2"),
    ],
)
def test_values_of_the_data_set_are_read_as_hydra_reads_them(
    finished: Path, word: str, key: str, value: Any
) -> None:
    found = measured(finished, word)["dataset"]
    assert found[key] == value
    assert type(found[key]) is type(value)


# --- plugins ----------------------------------------------------------------------------------

METHOD = """
from dataclasses import dataclass

import torch.nn.functional as F

from robustrun.types import METHODS


@METHODS.register("{name}")
@dataclass(frozen=True)
class Mine:
    strength: float

    def step(self, learner, x, y):
        loss = self.strength * F.cross_entropy(learner.model(x), y)
        learner.update(loss)
        return loss
"""


def with_plugin(folder: Path, name: str) -> list[str]:
    """A module and its option in one folder; the words that choose it."""
    (folder / "method").mkdir(parents=True)
    (folder / "method" / f"{name}.yaml").write_text(f"# Mine\nname: {name}\nstrength: 1/2\n")
    (folder / f"{name}_module.py").write_text(METHOD.format(name=name))
    given = [word for word in SHORT if not word.startswith("method.")]
    return ["-cd", str(folder), f"plugins=[{name}_module]", f"method={name}", *given]


def test_a_run_is_measured_with_an_attack_of_the_readers_own(finished: Path, here: Path) -> None:
    folder = here / "mine"
    (folder / "attack").mkdir(parents=True)
    (folder / "attack" / "nothing.yaml").write_text(
        "# Changes nothing\nname: nothing\nnorm: linf\nepsilon: 1/9\n"
    )
    (folder / "nothing_module.py").write_text(
        "from dataclasses import dataclass\n"
        "from robustrun.types import ATTACKS\n"
        "@ATTACKS.register('nothing')\n"
        "@dataclass(frozen=True)\n"
        "class Nothing:\n"
        "    norm: str\n"
        "    epsilon: float\n"
        "    adversarial = True\n"
        "    bounded, needs_gradient = True, False\n"
        "    def __call__(self, model, x, y, *, generator=None):\n"
        "        return x\n"
    )
    words = ["-cd", "mine", "plugins=nothing_module", "attack=nothing", "evaluation=none"]
    assert run_command_line(["evaluate", str(finished), *words]) == 0
    (file,) = here.glob("outputs/*/*/results.json")
    results = json.loads(file.read_text())
    (entry,) = results["evaluation"]["attacks"]
    assert (entry["name"], entry["epsilon"]) == ("nothing", 0.15)  # the radius of the run
    assert entry["correct"] == results["evaluation"]["clean"]["correct"]
    assert results["config"]["plugins"] == ["nothing_module"]


def test_a_run_with_a_plugin_is_measured_repeated_and_resumed_from_any_folder(
    tmp_path: Path,
) -> None:
    def said(folder: str, *given: str, code: int = 0) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        return printed(tmp_path / folder, *given, code=code)

    given = with_plugin(tmp_path / "home" / "mine", "measured_anywhere")
    said("home", *given[2:], "-cd", "mine", "hydra.run.dir=run")  # the folder of -cd is looked in
    run = str(tmp_path / "home" / "run")
    assert "20" in said("elsewhere", "evaluate", run, "attack.epsilon=0.05")
    given = ["--config-path", run, "method.strength=0.25", "--cfg", "job"]
    assert "strength: 0.25" in said("elsewhere", *given)
    (tmp_path / "home" / "run" / "results.json").unlink()
    said("elsewhere", "resume", run)
    (tmp_path / "home" / "mine").rename(tmp_path / "moved")
    missing = said("elsewhere", "evaluate", run, code=2)
    assert "measured_anywhere_module" in missing
    assert str(tmp_path / "home" / "mine") in missing
    assert "-cd" in missing
    moved = ("-cd", str(tmp_path / "moved"))
    said("elsewhere", "evaluate", run, *moved, "attack.epsilon=0.05")
    (tmp_path / "home" / "run" / "results.json").unlink()
    said("elsewhere", "resume", run, *moved)
