"""The words of a command line: read by one parser, and quoted so that they mean what was meant."""

import re

import pytest
from hypothesis import example, given, settings
from omegaconf import OmegaConf

from configuration.nasty_text import NASTY
from robustrun.configuration import composition, words
from robustrun.errors import ConfigError


@settings(max_examples=500, deadline=None)
@given(text=NASTY)
@example(text="it's")
@example(text="a\\")
@example(text="\\'")
@example(text="\\${seed}")
@example(text="\n'")
def test_a_quoted_text_means_itself(text: str) -> None:
    if text == "???":
        return  # OmegaConf's word for a missing value, quoted or not
    override = words.parse(f"model.file={words.quoted(text)}")
    config = OmegaConf.create({"model": {"file": override.value()}})
    resolved = OmegaConf.to_container(config, resolve=True)
    assert resolved == {"model": {"file": text}}


def test_flags_and_overrides_stand_in_any_order() -> None:
    line = words.split(["seed=1", "--cfg", "job", "method=pat", "-cd=a=b", "-m", "-i", "--resolve"])
    assert line.words == ("seed=1", "method=pat")
    assert line.value("--cfg") == "job"
    assert line.value("--config-dir") == "a=b"
    assert line.value("--info") == "all"
    assert line.sweeps
    assert words.split(line.arguments()) == line


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["seed=0", "seed=1"], "seed=0 and seed=1"),
        (["+attack@evaluation.attacks.a=pgd", "+attack@evaluation.attacks.a=fgsm"], "=fgsm"),
        (["seed=0,1", "++seed=2"], r"seed=0,1 and \+\+seed=2"),
    ],
)
def test_a_key_that_is_given_twice_is_refused_with_both_values(
    given: list[str], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"is given twice: .*{named}"):
        words.parse_all(given)
    with pytest.raises(ConfigError, match="is given twice"):
        composition.compose_config(given)


def test_what_is_deleted_may_be_added_again_and_packages_are_keys_of_their_own() -> None:
    given = ["~evaluation.attacks.fgsm", "+attack@evaluation.attacks.fgsm=fgsm", "attack=pgd"]
    assert len(words.parse_all(given)) == 3


def test_keys_groups_and_values_are_read_as_hydra_reads_them() -> None:
    added = words.parse("+attack@evaluation.attacks.mine=pgd")
    assert words.key(added) == "attack@evaluation.attacks.mine"
    assert words.group(added) == "evaluation"
    assert words.group(words.parse("attack.steps=3")) == "attack"
    typed = ["root='my data'", "root=null", "root=[0.5]", "root=true", "~root"]
    values = [words.value_text(words.parse(word)) for word in typed]
    assert values == ["my data", "null", "[0.5]", "true", ""]


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("x=interval(2/255,8/255)", "write x=interval(0.00784313725490196,0.03137254901960784)"),
        ("x=tag(log, interval(1/4,1))", "write x=tag(log, interval(0.25,1))"),
        ("x=range(0,1,1/2)", "write x=range(0,1,0.5)"),
        ("x=interval(0.5/255,1)", "write x=interval(0.00196078431372549,1)"),
        ("x=interval(1)", "is no override"),
        ("x=interval(1/0,2)", "is no override"),
    ],
)
def test_fractions_in_an_interval_are_answered_with_decimals(word: str, right: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(right)) as raised:
        words.parse(word)
    if " write " in str(raised.value):
        words.parse(str(raised.value).partition(" write ")[2].removesuffix("."))
