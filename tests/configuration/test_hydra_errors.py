"""What Hydra says of wrong words is said in plain ones, with what is near."""

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

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


@pytest.mark.parametrize(
    ("option", "text", "right"),
    [
        ("attack=own", "tries: 3", "must have the key norm (linf, l2 or l1) in its YAML file"),
        ("attack=own", "norm: linf", "must have the key epsilon (the radius in pixel units) in"),
        ("dataset=own", "mean: [0.5]\nstd: [1]", "the key epsilon (for each norm a radius in"),
        ("dataset=own", "epsilon: {linf: 0.1}\nstd: [1]", "must have the key mean (a list of"),
    ],
)
def test_a_part_of_ones_own_that_lacks_what_others_follow_is_named_with_the_key(
    option: str, text: str, right: str, tmp_path: Path
) -> None:
    file = tmp_path / f"{option.replace('=', '/')}.yaml"
    file.parent.mkdir()
    file.write_text(f"# Own\nname: own\n{text}\n")
    with pytest.raises(OmegaConfBaseException) as raised:
        compose_config([option, "method=pgd_at"], [tmp_path])
    message = in_plain_words(raised.value, [option], [tmp_path])
    assert f"The option {option} " in message
    assert right in message


def test_a_norm_that_no_data_set_has_a_radius_for_is_the_users_slip() -> None:
    with pytest.raises(OmegaConfBaseException) as raised:
        compose_config(["attack.norm=l7"])
    right = "attack.norm is 'l7', but must be one of linf, l2, l1."
    assert in_plain_words(raised.value, ["attack.norm=l7"]) == right


def test_a_key_that_only_another_option_has_is_not_its_own_suggestion() -> None:
    message = in_plain_words(HydraException("Could not override 'attack.random_start'"), ["seed=1"])
    assert "Did you mean 'attack.random_start'" not in message


def test_options_of_a_folder_are_among_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "peculiar.yaml").write_text("name: trades\nstrangeness: 3\n")
    assert "Did you mean 'peculiar'?" in said("method=peculiarr", folders=(tmp_path,))
    words = ("method=peculiar", "method.strangenes=1")
    assert "Did you mean 'method.strangeness'" in said(*words, folders=(tmp_path,))


def test_an_interval_in_a_sweep_is_answered_with_the_search() -> None:
    raised = HydraException("BasicSweeper does not support sweep type : INTERVAL_SWEEP")
    message = in_plain_words(raised, ["seed=1", "method.beta=interval(1,10)"])
    assert message.startswith("method.beta=interval(1,10) ")
    assert "hydra/sweeper=optuna" in message


def test_options_of_hydras_own_groups_are_known_too() -> None:
    error = Exception("Could not find 'hydra/launcher/slrum'")
    told = in_plain_words(error, ["hydra/launcher=slrum"])
    assert told.startswith("hydra/launcher=slrum: there is no such hydra/launcher.")
    assert "slurm" in told


@pytest.mark.parametrize("place", ["outputs/RUN", "../my_net.py", "weights.pth"])
def test_a_place_where_a_model_is_chosen_is_told_where_it_belongs(place: str) -> None:
    told = in_plain_words(Exception(f"Could not find 'model/{place}'"), [f"model={place}"])
    assert told.startswith(f"model={place}: a model is one of robustrun list model.")
    assert "model.weights=PLACE" in told
