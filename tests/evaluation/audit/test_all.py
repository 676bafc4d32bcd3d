"""What all of an audit promises: on a handful of images, with the least effort."""

import dataclasses
import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from evaluation.audit.small_audits import CPU, QUICK
from evaluation.grey_images import grey, linear, pgd
from robustrun import console
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.audit.audit import ATTACK_CHECKS, audit
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.registry import import_modules

LEAST = dataclasses.replace(
    QUICK,
    examples=3,
    steps=1,
    surrogate_steps=1,
    differences=dataclasses.replace(QUICK.differences, examples=2, steps=1, samples=1),
    targeted=dataclasses.replace(QUICK.targeted, steps=1),  # type: ignore[type-var]
    black_box=dataclasses.replace(QUICK.black_box, queries=1),  # type: ignore[type-var]
)
IMAGES = TensorImages(grey(0.1, 0.2, 0.3, 0.8, 0.9), torch.tensor([0, 0, 0, 1, 1]))
SUBJECT = Subject(SearchNetworks(linear(), linear()), IMAGES, 2)


def test_what_is_audited_and_how_cannot_be_changed() -> None:
    classes = {
        its
        for name in import_modules("robustrun.evaluation.audit")
        for its in vars(importlib.import_module(name)).values()
        if dataclasses.is_dataclass(its) and its.__module__ == name
    }
    assert len(classes) >= 4
    assert all(its.__dataclass_params__.frozen for its in classes)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("examples", "count"), [(3, 3), (5, 5), (99, 5), (None, 5)])
def test_as_many_images_are_audited_as_asked_for_and_each_check_is_made_once(
    examples: int | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars: list[tuple[str, int | None]] = []
    moves: list[str] = []

    class Bar:
        def advance(self, count: int = 1, note: str = "") -> None:
            moves.extend([note] * count)

    @contextmanager
    def bar(title: str, total: int | None, **_: object) -> Iterator[Bar]:
        bars.append((title, total))
        yield Bar()

    monkeypatch.setattr(console, "bar", bar)
    plan = dataclasses.replace(LEAST, examples=examples)
    found = audit(SUBJECT, pgd(), plan, Setting(0, 2, CPU))
    assert next(check.measured for check in found if check.check == "enough_images") == count
    assert bars[-1] == ("audit", len(ATTACK_CHECKS))
    assert moves[-len(ATTACK_CHECKS) :] == [check.check for check in found][-len(ATTACK_CHECKS) :]
    assert len({check.check for check in found}) == len(found)


def test_only_what_stood_under_the_attack_before_is_tried() -> None:
    robust = torch.tensor([True, False, True, False, True])
    unanswered = torch.tensor([False, True, False, False, False])
    plan = dataclasses.replace(LEAST, examples=None)
    setting = Setting(0, 2, CPU)
    found = audit(SUBJECT, pgd(), plan, setting, robust=robust, unanswered=unanswered)
    checks = {check.check: check for check in found}
    assert "of the 3 images that the attack left standing" in checks["more_effort"].why
    assert checks["more_effort"].expected == 0.6
    assert checks["finite_logits"].measured == 0.2
    assert audit(dataclasses.replace(SUBJECT, images=IMAGES.subset(torch.arange(0))), pgd(), plan,
                 setting) == []  # fmt: skip


def test_numbers_are_drawn_by_the_setting_and_the_networks_mode_is_restored() -> None:
    network = torch.nn.Sequential(torch.nn.Dropout(0.5), linear()).train()
    subject = Subject(SearchNetworks(network, network), IMAGES, 2)
    plan = dataclasses.replace(LEAST, examples=None)
    drawn = torch.get_rng_state()
    first, again = (audit(subject, pgd(), plan, Setting(1, 2, CPU)) for _ in range(2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [module.training for module in network.modules()] == [True] * 5
    assert all(check.status == "pass" for check in first if check.check == "train_mode")
