"""Words that no command has: one paragraph that says what would be right, and nothing left."""

from pathlib import Path

import pytest

from robustrun.command_line import typos
from robustrun.command_line.main import run_command_line
from robustrun.configuration import words
from robustrun.configuration.catalogue import options_by_group
from robustrun.errors import RobustrunError

WRONG = [
    # sub-commands
    ("reprot", "Did you mean robustrun report?"),
    ("reprot outputs --by method", "Did you mean robustrun report?"),
    ("evalute RUN", "Did you mean robustrun evaluate?"),
    ("explian method=trades", "Did you mean robustrun explain?"),
    ("resum RUN", "Did you mean robustrun resume?"),
    ("lst", "Did you mean robustrun list?"),
    ("seed=1 help", "Write --help."),
    ("version", "Write --version."),
    ("train", "a run has none: robustrun method=trades."),
    ("seed=1 list", "robustrun list seed=1"),
    ("--help evaluate", "robustrun evaluate --help"),
    # overrides without `=`, or with a space
    ("method trades", "Write method=trades."),
    ("mehtod trades", "Write method=trades."),
    ("method trads", "Write method=trades."),
    ("trades", "Write method=trades."),
    ("seed=1 trades", "Write method=trades."),
    ("none", "Write evaluation=none or tracker=none."),
    ("dataset", "Write dataset=NAME (robustrun list dataset)."),
    ("seed 3", "Write seed=3."),
    ("attack.epsilon 8/255", "Write attack.epsilon=8/255."),
    ("seed = 3", "Write seed=3."),
    ("seed =3", "Write seed=3."),
    ("seed= 3", "Write seed=3."),
    ("-m method trades,pat", "Write method=trades,pat."),
    # overrides with dashes, and flags
    ("--method=trades", "write method=trades."),
    ("--attack.epsilon=8/255", "write attack.epsilon=8/255."),
    ("--method trades", "write method=trades."),
    ("--seed 3", "write seed=3."),
    ("--versoin", "Did you mean --version?"),
    ("--multi-run seed=1,2", "Did you mean --multirun?"),
    ("-M seed=1,2", "Did you mean -m?"),
    ("-x", "robustrun --hydra-help"),
    ("-m", "robustrun -m seed=0,1,2"),
    # several values where there is one
    ("method=trades,pat", "robustrun -m method=trades,pat"),
    ("attack.epsilon=0.1,0.2 seed=1", "robustrun -m attack.epsilon=0.1,0.2 seed=1"),
    # values, keys and options
    ("seed=x", "seed is 'x', but must be a whole number."),
    ("seed=1.5", "seed is 1.5, but must be a whole number."),
    ("seed=true", "seed is True, but must be a whole number."),
    ("epochs=3", "Did you mean 'training.epochs'?"),
    ("epsilon=0.1", "'attack.epsilon'"),
    ("method=trads", "Did you mean 'trades'"),
    ("-m method=trads seed=1,2", "Did you mean 'trades'"),
    ("resume=always", "never or auto"),
    # what sub-commands take
    ("explain trades", "robustrun explain method=trades"),
    ("explain method trades", "robustrun explain method=trades"),
    ("explain trads", "robustrun explain method=trades"),
    ("explain method", "robustrun explain method=NAME"),
    ("explain mehtod=trades", "Did you mean 'method'?"),
    ("explain method=trades attack=pgd", "robustrun explain method=trades"),
    ("list trades", "robustrun explain method=trades"),
    ("list method=trades", "robustrun explain method=trades"),
    ("list methods", "Did you mean 'method'?"),
    ("resume nosuch", "nosuch does not exist. robustrun resume takes the folder"),
    ("resume here.txt", "is a file. Write its folder: robustrun resume"),
    ("resume there seed=1", "robustrun --config-path there seed=1"),
    ("resume there here.txt", "one folder and no other word"),
    ("evaluate nosuch", "nosuch does not exist. robustrun evaluate takes a finished run"),
    ("evaluate there attack fgsm", "Write attack=fgsm."),
    ("evaluate there attack=fgsm,pgd", "attack=fgsm,pgd has several values."),
    ("evaluate there --cfg job", "--cfg is no flag of robustrun evaluate"),
    ("report nosuch", "nosuch does not exist."),
    ("there", "robustrun evaluate there"),
]


@pytest.mark.parametrize(("typed", "right"), WRONG, ids=[typed for typed, _ in WRONG])
def test_a_slip_is_answered_with_what_would_be_right_and_leaves_nothing(
    typed: str,
    right: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "here.txt").touch()
    assert run_command_line(typed.split()) == 2
    said = capfd.readouterr()
    assert said.err.startswith("robustrun: ")
    assert right in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["here.txt", "there"]


def test_nothing_is_left_of_a_refused_run_wherever_it_was_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    for folder in ("a/b/c", "kept/b", "kept"):
        assert run_command_line(["seed=x", f"hydra.run.dir={folder}"]) == 2
        assert [path.name for path in tmp_path.rglob("*")] == ["kept"]
    for folder in ("a/b", "kept/b"):
        assert run_command_line(["-m", "method=trads", f"hydra.sweep.dir={folder}"]) == 2
        assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_a_slip_in_an_evaluation_is_answered_as_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Path(__file__).parents[1] / "old_runs" / "completed"
    monkeypatch.chdir(tmp_path)
    for word, right in (("attack.epsilom=0.1", "'attack.epsilon'"), ("attack=pdg", "'pgd'")):
        assert run_command_line(["evaluate", str(run), word]) == 2
        said = capfd.readouterr().err.splitlines()
        assert "Did you mean " in said[-1]
        assert right in said[-1]
    assert [*tmp_path.iterdir()] == []


USUAL = [
    "method=trades attack.epsilon=8/255",
    "-m seed=1,2",
    "-m method=trades",
    "+experiment=notebook_pat ~evaluation.attacks.fgsm",
    "--cfg job --resolve -p attack",
    "-cd mine -cp=a -cn b seed=1",
    "--info searchpath",
    "-sc install=bash",
    "model.file='a b.pt'",
    "--hydra-help",
]


@pytest.mark.parametrize("typed", USUAL)
def test_usual_words_are_not_taken_for_slips(typed: str) -> None:
    """And a slip behind them is seen all the same, so that they were looked at."""
    usual = typed.split(" ") if "'" not in typed else [typed]
    typos.require_usual(usual)
    with pytest.raises(RobustrunError, match="'stray' is neither"):
        typos.require_usual([*usual, "stray"])


def test_words_that_hydra_alone_can_read_are_left_to_it() -> None:
    unreadable = "seed\uff1d3"
    typos.require_usual([unreadable])
    with pytest.raises(RobustrunError, match=unreadable):  # named by the parser of overrides
        words.parse(unreadable)


@pytest.mark.parametrize("word", ["attack.epsilon", "seed"])
def test_an_evaluation_knows_no_sub_commands(word: str) -> None:
    with pytest.raises(RobustrunError, match=rf"^'{word}' is no override .* Write {word}=2\."):
        typos.require_overrides(words.split([word, "2"]))


def test_what_is_meant_is_an_option_that_exists() -> None:
    groups = options_by_group()
    for group, options in groups.items():
        for option in options:
            assert f"{group}={option}" in typos.meant(option, "", groups).split(" or ")
            assert typos.meant(group, option, groups) == f"{group}={option}"
    assert typos.meant("xyz", "", groups) == ""
