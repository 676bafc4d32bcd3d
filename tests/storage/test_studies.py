"""A study is kept where it is said to be, and its journal can be written on after a kill."""

from pathlib import Path

import pytest

from robustrun.errors import ConfigError
from robustrun.storage import studies


def test_without_optuna_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'robustrun\[search\]'"):
        studies.require_optuna()


@pytest.mark.parametrize(
    ("content", "whole"), [("a\nb\n", "a\nb\n"), ("a\nb", "a\n"), ("a", ""), ("", "")]
)
def test_a_line_that_was_cut_short_is_removed(tmp_path: Path, content: str, whole: str) -> None:
    journal = tmp_path / "study.journal"
    journal.write_text(content)
    studies.mend(journal)
    assert journal.read_text() == whole
    studies.mend(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("place", ["a.journal", "sqlite:///a.db"])
def test_what_is_stored_is_there_when_it_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    optuna = pytest.importorskip("optuna", reason="robustrun[search] is not installed")
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(study_name="one", storage=studies.open_storage(place))
    study.tell(study.ask(), 0.5)
    again = optuna.load_study(study_name="one", storage=studies.open_storage(place))
    assert [trial.value for trial in again.trials] == [0.5]
