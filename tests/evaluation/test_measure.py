"""Measuring: robust accuracy, on linear networks."""

import copy
import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from compute.digits_network import attack, digits, digits_network
from torch import nn

from evaluation.grey_images import CPU, grey, linear, measured, pgd
from robustrun.attacks.fgsm import FGSM
from robustrun.compute import threads
from robustrun.compute.cost import multiply_adds
from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.datasets.tensors import TensorImages
from robustrun.devices import local
from robustrun.evaluation import measure
from robustrun.evaluation.audit.audit import Audit
from robustrun.evaluation.clean import CleanAccuracy
from robustrun.evaluation.corruptions import CorruptionAccuracy, FlipRate
from robustrun.evaluation.curve import AccuracyCurve
from robustrun.evaluation.measure import choose_examples, evaluate
from robustrun.evaluation.measurement import Measurement
from robustrun.evaluation.robust_accuracy import RobustAccuracy
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import Corruptions, EvaluationPlan, Perturbations
from robustrun.evaluation.statistics import accuracy
from robustrun.types import Splits

FIVE = TensorImages(grey(0.1, 0.2, 0.3, 0.4, 0.5), torch.arange(5))


def plan(**changed: Any) -> EvaluationPlan:
    settings = {"examples": None, "choose": "random", "batch_size": 2, "radii": (), "attacks": {}}
    nothing = dict.fromkeys(("audit", "corruptions", "perturbations", "certificate"))
    return EvaluationPlan(**settings | changed, **nothing)


def test_robust_accuracy_of_a_linear_model_is_what_the_paper_and_pencil_say() -> None:
    # Distance to the boundary in linf is |level - 1/2|: 0.05 falls at radius 0.1, 0.2 stands.
    found = measured({"pgd": pgd(), "fgsm": FGSM("linf", 0.1)}, [0.45, 0.3, 0.7, 0.9], [0, 0, 1, 0])
    assert found.clean_right.tolist() == [True, True, True, False]
    assert found.attacks["pgd"].robust.tolist() == [False, True, True, False]
    assert found.attacks["fgsm"].robust.tolist() == [False, True, True, False]
    assert accuracy(found.worst_case) == 0.5  # clean errors count against it


def test_a_run_measures_what_its_plan_asks_for_in_this_order() -> None:
    audit = load_config(compose_config(["evaluation=audit"])).evaluation.audit
    corrupted = Corruptions("c", False, None, (1,))
    perturbed = Perturbations("p", False, None)
    splits = Splits(FIVE, FIVE, ("a", "b"))
    attacks: dict[str, Any] = {"pgd": pgd(), "fgsm": FGSM("linf", 0.1)}

    def entries(**asked: Any) -> list[Measurement]:
        asked = {"audit": None, "corruptions": None, "perturbations": None} | asked
        changed = dataclasses.replace(plan(examples=3, radii=(2.0,)), **asked)
        return measure.measurements(changed, attacks, "fgsm", splits)

    always = [
        CleanAccuracy(),
        *(RobustAccuracy(name, attack) for name, attack in attacks.items()),
        AccuracyCurve("fgsm", attacks["fgsm"], (2.0,)),
    ]
    assert entries() == always
    further = {
        "audit": (audit, Audit("fgsm", attacks["fgsm"], audit)),  # type: ignore[arg-type]
        "corruptions": (corrupted, CorruptionAccuracy(corrupted, 3, splits)),
        "perturbations": (perturbed, FlipRate(perturbed, 3, splits)),
    }
    for name, (asked, entry) in further.items():
        assert entries(**{name: asked}) == [*always, entry]
    everything = entries(**{name: asked for name, (asked, _) in further.items()})
    assert everything == [*always, *(entry for _, entry in further.values())]


def test_what_is_not_said_is_the_seed_0_in_batches_of_500(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Setting] = []

    def noted(model: nn.Module, images: Any, setting: Setting) -> SearchNetworks:
        seen.append(setting)
        return SearchNetworks(model, model)

    monkeypatch.setattr(measure, "search_networks", noted)
    evaluate(linear(), FIVE.subset(torch.arange(2)), {})
    evaluate(linear(), FIVE.subset(torch.arange(2)), {}, seed=3, batch_size=2)
    assert [(setting.seed, setting.batch_size) for setting in seen] == [(0, 500), (3, 2)]
    assert not any(setting.search_copy for setting in [*seen, Setting(0, 2, CPU)])


def test_the_seed_is_given_by_its_name() -> None:
    named = evaluate(model=linear(), images=(grey(0.2), torch.tensor([0])), attacks={}, seed=1)
    assert named.clean_right.tolist() == [True]
    with pytest.raises(TypeError, match="positional"):
        evaluate(linear(), FIVE, {}, 1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "images", "attacks", "said"),
    [
        (len, [], {}, "The model is a builtin_function_or_method, but must be a torch.nn.Module"),
        (linear(), [], [FGSM("linf", 0.1)], "The attacks are a list, but must be a mapping"),
        (linear(), [], {"a": 3}, "The attack 'a' is a int, but must be one of"),
        (linear(), [], {"a": pgd}, "The attack 'a' is a function"),
        (linear(), [], {"a": SimpleNamespace(adversarial=True)}, "'a' is a SimpleNamespace"),
        (linear(), [], {"a": lambda *given: 0}, r"lacks norm \(.*\), epsilon \(.*\), bounded \("),
        (linear(), [], {"a": len}, "The attack 'a' is a builtin_function_or_method"),
        (linear(), 3, {}, r"are a int, but must be tensors \(x, y\), a loader of"),
    ],
)
def test_what_is_no_model_no_attack_or_no_images_is_a_type_error(
    model: Any, images: Any, attacks: Any, said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        evaluate(model, images, attacks)


@pytest.mark.parametrize(
    ("examples", "choose", "places"),
    [
        (None, "first", [0, 1, 2, 3, 4]),
        (3, "first", [0, 1, 2]),
        (5, "random", [0, 1, 2, 3, 4]),
        (9, "first", [0, 1, 2, 3, 4]),
    ],
)
def test_so_many_test_images_are_measured_as_asked_for(
    examples: int | None, choose: str, places: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    chosen, found = choose_examples(FIVE, plan(examples=examples, choose=choose))
    assert found.tolist() == places
    assert chosen.labels.tolist() == places
    said = "evaluation.examples is 9, but the test set has 5 images"
    assert [record.message for record in caplog.records] == ([said] if examples == 9 else [])


def test_random_examples_are_the_same_at_every_call_and_in_order() -> None:
    (_, first), (_, again) = (choose_examples(FIVE, plan(examples=3)) for _ in range(2))
    assert first.tolist() == again.tolist() == sorted(set(first.tolist()))
    assert first.tolist() == sorted(np.random.default_rng(0).permutation(5)[:3])
    (_, more) = choose_examples(FIVE, plan(examples=4))
    assert set(first.tolist()) < set(more.tolist())


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return copy.deepcopy(digits_network())


@pytest.mark.parametrize("words", [["attack=pgd"], ["attack=fab_t", "attack.steps=5"]])
def test_verdicts_are_the_same_however_fast_they_are_found(
    words: list[str], network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "BFLOAT16_PAYS_FROM", 0)
    monkeypatch.setattr(local, "FOLDING_PAYS_FROM", 0)
    monkeypatch.setattr(local, "has_bfloat16_units", lambda kind: True)
    monkeypatch.setattr(local.os, "cpu_count", lambda: 2)
    images, attacks = digits().subset(torch.arange(60)), {"it": attack(*words)}
    plain = evaluate(network, images, attacks, precision="float32", threads=1)
    assert 0 < plain.worst_case.mean() < plain.clean_right.mean()
    ways = [{}, {"threads": 2}, {"precision": "float32", "threads": 2}]
    for how, units in [*((way, True) for way in ways), ({}, False)]:
        monkeypatch.setattr(local, "has_bfloat16_units", lambda kind, units=units: units)
        found = evaluate(network, images, attacks, **how)  # type: ignore[arg-type]
        assert found.attacks["it"].robust.tolist() == plain.attacks["it"].robust.tolist()
    assert torch.get_num_threads() == threads.set_parallelism(1) == 1


def test_a_network_is_searched_in_bfloat16_where_that_is_faster(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Setting] = []

    def noted(model: nn.Module, images: Any, setting: Setting) -> SearchNetworks:
        seen.append(setting)
        return SearchNetworks(model, model)

    monkeypatch.setattr(measure, "search_networks", noted)
    monkeypatch.setattr(local, "has_bfloat16_units", lambda kind: True)
    work = multiply_adds(network, (1, 8, 8))
    for images in (1, 4):
        monkeypatch.setattr(local, "BFLOAT16_PAYS_FROM", 2 * work)
        for batch_size in (1, 4):
            evaluate(network, digits().subset(torch.arange(images)), {}, batch_size=batch_size)
    evaluate(network, digits().subset(torch.arange(4)), {}, precision="float32")
    precisions = [setting.precision for setting in seen]
    assert precisions == ["float32", "float32", "float32", "bfloat16", "float32"]


class Uncounted(nn.Module):
    """Refuses to be passed through where its operations are counted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("not here")
        return 5 * x.flatten(1)[:, :10]


def test_a_network_whose_operations_cannot_be_counted_is_a_small_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"):
        found = evaluate(Uncounted(), digits().subset(torch.arange(4)), {"it": attack()})
    assert len(found.attacks["it"].robust) == 4
    assert "the operations of the network cannot be counted: not here" in caplog.text


def test_that_the_first_images_are_of_the_first_classes_alone_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pixels = torch.zeros(6, 1, 2, 2)
    mixed, in_order = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 0, 1, 1, 2, 2])
    choose_examples(TensorImages(pixels, mixed), plan(examples=2, choose="first"))
    choose_examples(TensorImages(pixels, in_order), plan(examples=2))
    choose_examples(TensorImages(pixels, in_order), plan(examples=5, choose="first"))
    choose_examples(TensorImages(pixels, in_order), plan(choose="first"))
    assert caplog.text == ""
    choose_examples(TensorImages(pixels, in_order), plan(examples=4, choose="first"))
    assert "the first 4 are of 2 of the 3 classes" in caplog.text
