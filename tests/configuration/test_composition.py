"""Composition: options from folders of any name, and of the user's own search path."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings

from configuration.nasty_text import NASTY
from robustrun.configuration import composition, words
from robustrun.errors import ConfigError
from tests.engines.installed import require_launcher

FOLDERS = NASTY.map(lambda name: name.replace("/", "")).filter(lambda n: n not in ("", ".", ".."))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=FOLDERS)
@example(name="it's")
@example(name="epoch=1-step=2")
@example(name="a,b [c] $d")
@example(name="a ${d}")
def test_options_are_found_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    (folder / "attack").mkdir(parents=True, exist_ok=True)
    text = "name: fgsm\nnorm: linf\nepsilon: 1/10\n"
    (folder / "attack" / "mine.yaml").write_text(text)
    if "${" in name:
        with pytest.raises(ConfigError, match=r"without '\$\{' in its path"):
            composition.compose_config(["attack=mine"], [folder])
        return
    found = composition.compose_config(
        ["attack=mine", f"model.name={words.quoted(name)}"], [folder]
    )
    assert found["attack"]["epsilon"] == "1/10"
    if name != "???":
        assert found["model"]["name"] == name


def test_a_users_own_search_path_stays_beside_the_plugins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "attack").mkdir(parents=True)
        text = "name: fgsm\nnorm: linf\nepsilon: 1/10\n"
        (tmp_path / name / "attack" / f"{name}.yaml").write_text(text)
    given = [f"hydra.searchpath=[file://{tmp_path}/one]", "attack=one"]
    more = "+attack@evaluation.attacks.x=two"
    found = composition.compose_config([*given, more], [tmp_path / "two"])
    assert found["evaluation"]["attacks"]["x"]["epsilon"] == "1/10"


def test_a_launcher_whose_engine_is_not_installed_is_refused_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(composition, "find_spec", lambda module: None)
    for name, extra in (("joblib", "parallel"), ("slurm_local", "slurm"), ("ray", "ray")):
        line = words.split(["-m", f"hydra/launcher={name}", "seed=0,1"])
        with pytest.raises(ConfigError, match=rf"pip install 'robustrun\[{extra}\]'"):
            composition.for_hydra(line)


def test_a_word_of_the_user_wins_over_our_setting_of_a_launcher() -> None:
    require_launcher("joblib")
    line = words.split(["-m", "hydra/launcher=joblib", "hydra.launcher.pre_dispatch=all"])
    given = list(composition.for_hydra(line).words)
    ours, theirs = "hydra.launcher.pre_dispatch=n_jobs", "hydra.launcher.pre_dispatch=all"
    assert given.index(ours) < given.index(theirs)


def test_the_modules_of_plugins_are_a_list_or_one_name() -> None:
    given = ["plugins=[one,two.three]", "plugins=four", "plugins=null", "seed=1"]
    named = [composition.named_modules([words.parse(word)]) for word in given]
    assert named == [["one", "two.three"], ["four"], [], []]
