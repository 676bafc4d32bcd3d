"""Registries say what they hold, what an object lacks, and warn of what they do not use."""

from dataclasses import dataclass, make_dataclass
from typing import Any

import pytest

from robustrun import types
from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS, LPIPSNetwork
from robustrun.configuration.decoding import REGISTRIES, decode
from robustrun.errors import ConfigError
from robustrun.registry import Registry
from robustrun.types import ATTACKS, METHODS

ONE_FORM = [
    (types.ATTACKS, types.Attack),
    (types.DATASETS, types.Dataset),
    (types.DEVICES, types.Device),
    (types.MODELS, types.Model),
    (types.OPTIMIZERS, types.Optimizer),
    (types.SCHEDULES, types.Schedule),
    (types.TRACKERS, types.Tracker),
    (LPIPS_NETWORKS, LPIPSNetwork),
]
FORMS = [
    *((registry, registry.forms[0], protocol) for registry, protocol in ONE_FORM),
    (METHODS, METHODS.forms[0], types.Method),
    (METHODS, METHODS.forms[1], types.OwnStep),
]
MEMBERS = [
    pytest.param(registry, form, member, id=f"{registry.group}-{member}")
    for registry, form, _ in FORMS
    for member in form
]


def part(members: Any) -> Any:
    """An object that has these members, each a function that must not be called."""

    def fails(*arguments: object) -> None:
        raise AssertionError("a check computes nothing")

    attributes = {member: property(fails) for member in members if member != "__call__"}
    attributes |= {member: fails for member in members if member == "__call__"}
    return make_dataclass("Own", [], namespace=attributes, frozen=True)()


def test_every_group_knows_the_members_of_its_protocol() -> None:
    assert {registry.group for registry, _, _ in FORMS} == {
        *(registry.group for registry in REGISTRIES.values()),
        "lpips.network",
    }
    for registry, form, protocol in FORMS:
        public = {name for name in vars(protocol) if not name.startswith("_")}
        called = {"__call__"} & set(vars(protocol)) if registry is ATTACKS else set()
        assert set(form) == public | called


@pytest.mark.parametrize(("registry", "form", "member"), MEMBERS)
def test_a_member_that_is_missing_is_named_with_its_class_and_meaning(
    registry: Registry[Any], form: dict[str, str], member: str
) -> None:
    registry.require_complete(part(form), "key")
    with pytest.raises(ConfigError) as raised:
        registry.require_complete(part(set(form) - {member}), "key")
    said = str(raised.value)
    assert said.startswith("key: the class Own lacks ")
    assert f"{member} ({form[member]})" in said
    others = set(form) - {member}
    assert not any(f"{other} (" in said for other in others)


def test_a_method_with_neither_form_is_told_both() -> None:
    said = METHODS.missing(part(["train"]))
    assert said.index("perturb (") < said.index("loss (") < said.index("; or step (")


def test_what_an_object_gets_when_it_is_made_counts() -> None:
    class Made:
        def __init__(self) -> None:
            self.norm, self.epsilon, self.bounded, self.adversarial = "linf", 0.1, True, True

        def __call__(self) -> None: ...

    assert ATTACKS.missing(Made()) == ""
    assert ATTACKS.missing(object()).startswith("norm (")


@pytest.mark.parametrize("kind", REGISTRIES, ids=lambda kind: getattr(kind, "__name__", "method"))
def test_a_part_that_lacks_a_member_is_refused_when_the_configuration_is_read(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = REGISTRIES[kind]
    own = make_dataclass("Own", [], frozen=True)
    monkeypatch.setitem(registry._classes, "own", own)
    with pytest.raises(ConfigError, match=r"^some\.key: the class Own lacks \w+ \("):
        decode(kind, {"name": "own"}, "some.key")


@pytest.mark.parametrize("old", ["at", "describe", "reach"])
def test_a_part_with_the_old_name_of_a_method_is_warned_of(
    old: str, caplog: pytest.LogCaptureFixture
) -> None:
    new = ATTACKS.renamed[old]
    registry: Registry[object] = Registry("attack", renamed=ATTACKS.renamed)
    registry.register("old")(dataclass(frozen=True)(type("Old", (), {old: lambda self: None})))
    assert f"attack Old: {old} is called {new} now" in caplog.text
    caplog.clear()
    both = {old: lambda self: None, new: lambda self: None}
    registry.register("both")(dataclass(frozen=True)(type("Both", (), both)))
    registry.register("none")(dataclass(frozen=True)(type("None_", (), {})))
    assert not caplog.text
