"""What Hydra says of wrong words is said in plain ones, with what is near."""

from pathlib import Path

import pytest
from hydra.errors import HydraException

from robustrun.configuration.composition import compose_config
from robustrun.configuration.hydra_errors import in_plain_words


def said(*words: str, folders: tuple[Path, ...] = ()) -> str:
    """The message for words that cannot be composed."""
    with pytest.raises(HydraException) as raised:
        compose_config(words, folders)
    return in_plain_words(raised.value, words, folders)


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("epochs=3", "Did you mean 'training.epochs'?"),
        ("lr=0.1", "Did you mean 'optimizer.lr'?"),
        ("examples=10", "Did you mean 'evaluation.examples'?"),
        ("attack.epsilom=0.1", "Did you mean 'attack.epsilon'"),
        ("methods=trades", "'method'"),
        ("evaluation.attacks.mine=fgsm", "+attack@evaluation.attacks.mine=OPTION"),
        ("attack@evaluation.attacks.mine=fgsm", "+attack@evaluation.attacks.mine=OPTION"),
        ("evaluation.audit.passes=3", "evaluation.audit is null"),
        ("method=trads", "Did you mean 'trades'"),
    ],
)
def test_a_wrong_key_or_option_is_answered_with_the_nearest(word: str, right: str) -> None:
    message = said(word)
    assert right in message
    assert "\n" not in message


def test_a_key_that_only_another_option_has_is_not_its_own_suggestion() -> None:
    message = in_plain_words(HydraException("Could not override 'attack.random_start'"), ["seed=1"])
    assert "Did you mean 'attack.random_start'" not in message


def test_options_of_a_folder_are_among_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "peculiar.yaml").write_text("name: trades\nstrangeness: 3\n")
    assert "Did you mean 'peculiar'?" in said("method=peculiarr", folders=(tmp_path,))
    words = ("method=peculiar", "method.strangenes=1")
    assert "Did you mean 'method.strangeness'" in said(*words, folders=(tmp_path,))
