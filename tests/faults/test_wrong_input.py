"""Wrong words and wrong YAML: one paragraph, exit code 2, and nothing left behind."""

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robustrun.command_line.main import run_command_line

NOTHING = ["training.epochs=1", "method=standard", "evaluation=none", "evaluation.examples=10"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(sys, "argv", ["robustrun"])


def refused(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert run_command_line(list(words)) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert len(said.strip().split("\n\n")) == 1, "more than one paragraph"
    assert not list(Path().glob("outputs/*/*")), "a refused command left a folder"
    return said


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("attack.epsilon=-0.1", "attack.epsilon"),
        ("attack.epsilon=8", "8/255"),
        ("attack.epsilon=1/0", "denominator"),
        ("attack.epsilon=nan", "attack.epsilon"),
        ("attack.epsilon=abc", "attack.epsilon"),
        ("attack.steps=0", "attack.steps"),
        ("attack.restarts=0", "attack.restarts"),
        ("attack.step_size=-1", "attack.step_size"),
        ("attack.step_size=1", "attack.step_size"),
        ("attack.norm=l7", "l2"),
        ("optimizer.lr=inf", "optimizer.lr"),
        ("optimizer.lr=-1", "optimizer.lr"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay"),
        ("optimizer.momentum=2", "optimizer.momentum"),
        ("method.beta=-1", "method.beta"),
        ("training.epochs=0", "training.epochs"),
        ("training.batch_size=0", "training.batch_size"),
        ("training.validation_fraction=1.5", "training.validation_fraction"),
        ("training.on_collapse=panic", "restore"),
        ("training.on_nonfinite=pray", "skip"),
        ("training.checkpoint_minutes=0", "training.checkpoint_minutes"),
        ("training.ema_decay=1.5", "training.ema_decay"),
        ("evaluation.examples=0", "evaluation.examples"),
        ("evaluation.batch_size=-3", "evaluation.batch_size"),
        ("evaluation.choose=best", "first"),
        ("device.name=abacus", "cpu"),
        ("device.threads=0", "device.threads"),
        ("device.threads=100000", "cores"),
        ("dataset.imbalance_ratio=2", "dataset.imbalance_ratio"),
        ("seed=1.5", "whole number"),
        ("seed=-1", "seed"),
        ("attack.epsilom=0.1", "epsilon"),
        ("method=tradez", "trades"),
        ("dataset=cifar11", "cifar10"),
        ("model=resnet19", "resnet18"),
        ("attack=pdg", "pgd"),
        ("evaluation=quik", "quick"),
        ("method._target_=os.system", "_target_"),
        ("plugins=[os.path.nowhere]", "nowhere"),
        ("resume=perhaps", "auto"),
        ("tarin", "tarin"),
    ],
)
def test_a_wrong_word_is_named_with_what_would_be_right(
    capfd: pytest.CaptureFixture[str], word: str, says: str
) -> None:
    assert says in refused(capfd, word)


def test_a_radius_that_is_no_fraction_of_255_gets_a_hint_where_it_is_allowed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert "8/255" in refused(capfd, "attack.epsilon=8")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: !!python/object/apply:os.mkdir [canary]\n", "python"),
        ("name: [unclosed\n", ""),
        ("name:\tpgd\n  x: 1\n", ""),
        ("epsilon: 1\nepsilon: 2\n", "epsilon"),
        ("a: ${a}\n", ""),
        ("name: fgsm\nnorm: linf\nepsilon: ${nothing:1}\n", "nothing"),
        ("- a list\n", ""),
        ("\x00\x01", ""),
    ],
)
def test_a_yaml_file_that_is_wrong_is_refused_and_runs_nothing(
    capfd: pytest.CaptureFixture[str], content: str, says: str
) -> None:
    Path("mine/attack").mkdir(parents=True)
    Path("mine/attack/mine.yaml").write_text(content)
    said = refused(capfd, "--config-dir", "mine", "attack=mine")
    assert says in said
    assert not Path("canary").exists()


def test_yaml_with_a_byte_order_mark_or_windows_lines_is_read(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Path("mine/attack").mkdir(parents=True)
    text = "name: fgsm\r\nnorm: linf\r\nepsilon: 1/10\r\n"
    for number, start in enumerate(("", "\ufeff")):
        Path(f"mine/attack/mine{number}.yaml").write_bytes((start + text).encode())
        words = ["--config-dir", "mine", f"attack=mine{number}", *NOTHING]
        assert run_command_line(words) == 0


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(word=st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30))
def test_any_single_word_is_answered_without_a_traceback(
    capfd: pytest.CaptureFixture[str], word: str
) -> None:
    harmless = word in ("list", "--help", "--version", "--hydra-help", "--info", "-h")
    if word.startswith("-") or harmless or word.strip() == "":
        return  # flags are Hydra's; an empty word is no word
    code = run_command_line([word, "training.epochs=0"])  # so that nothing valid ever starts
    said = capfd.readouterr().err
    assert code == 2
    assert "Traceback" not in said


KEYS = ["attack.epsilon", "optimizer.lr", "training.batch_size", "method.beta", "seed", "plugins"]
VALUES = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["null", "[]", "{}", "''", "true", "${seed}", "${nope}", "${oc.env:NOPE}"]),
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=12),
)


@settings(
    max_examples=16, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_is_taken_or_refused_but_never_a_traceback(
    capfd: pytest.CaptureFixture[str], key: str, value: str
) -> None:
    code = run_command_line(["method=trades", f"{key}={value}", "training.epochs=0"])
    assert code == 2
    assert "Traceback" not in capfd.readouterr().err


def test_names_that_lead_elsewhere_stay_inside_the_outputs(
    capfd: pytest.CaptureFixture[str],
) -> None:
    for word in ("method=../../etc/passwd", "dataset=/etc/passwd", f"model={'x' * 300}"):
        refused(capfd, word)


def test_secrets_of_the_environment_are_not_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2-hunter2")
    words = [*NOTHING, "dataset.mean=[0.5]", "hydra.run.dir=run"]
    assert run_command_line(words) == 0
    for file in Path("run").rglob("*"):
        if file.is_file():
            assert b"hunter2-hunter2" not in file.read_bytes(), file
