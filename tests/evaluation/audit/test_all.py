"""What all of an audit promises: on a handful of images, with the least effort."""

import dataclasses
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from evaluation.audit.small_audits import CPU, QUICK
from evaluation.grey_images import grey, linear, pgd
from robustrun import console
from robustrun.attacks.fgsm import FGSM
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.audit.audit import ATTACK_CHECKS, audit
from robustrun.evaluation.audit.model_checks import MODEL_CHECKS
from robustrun.evaluation.findings import Check
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.storage.journal import Journal
from tests.frozen import changeable

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
    assert changeable("robustrun.evaluation.audit", least=4) == []


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


@pytest.mark.parametrize(
    "changed", [{"bounded": False}, {"adversarial": False}, {"norm": "l7"}, {"epsilon": 0.0}]
)
def test_what_searches_no_ball_is_compared_with_nothing(changed: dict[str, Any]) -> None:
    traits = {"norm": "linf", "epsilon": 0.1, "bounded": True, "adversarial": True}
    attack = SimpleNamespace(**traits | changed)
    found = audit(SUBJECT, attack, LEAST, Setting(0, 2, CPU))  # type: ignore[arg-type]
    names = [check.__name__ for check in MODEL_CHECKS]
    assert [check.check for check in found] == [*names, "adversary"]


def test_without_verdicts_the_attack_is_run_first_and_its_answers_count() -> None:
    class Breaks(torch.nn.Module):
        """No answer above 0.95."""

        def forward(self, x: Tensor) -> Tensor:
            dark = x.flatten(1).mean(1, keepdim=True) < 0.95
            return linear()(x).where(dark, math.nan)

    subject = Subject(SearchNetworks(Breaks(), Breaks()), IMAGES, 2)
    images = TensorImages(grey(0.1, 0.45, 0.3, 0.8, 0.9), IMAGES.labels)
    subject = dataclasses.replace(subject, images=images)

    @dataclasses.dataclass(frozen=True)
    class Brighter(FGSM):
        def __call__(self, model: Any, x: Tensor, y: Tensor, *, generator: Any = None) -> Tensor:
            return x + 0.1

    plan = dataclasses.replace(LEAST, examples=None)
    checks = {c.check: c for c in audit(subject, Brighter("linf", 0.1), plan, Setting(0, 2, CPU))}
    assert checks["more_effort"].expected == 0.6  # 0.45 falls, and 0.9 has no answer then
    assert checks["finite_logits"].measured == 0.2


def test_a_check_that_the_journal_has_is_not_made_again(tmp_path: Path) -> None:
    journal, setting = Journal(tmp_path / "journal", "this"), Setting(0, 2, CPU)
    known = Check("one_step", "warn", 0.25, 0.5, "As it was found.")
    journal.note("audit one_step", dataclasses.asdict(known))
    found = audit(SUBJECT, pgd(), LEAST, dataclasses.replace(setting, journal=journal))
    assert next(check for check in found if check.check == "one_step") == known
    again = Journal(tmp_path / "journal", "this")
    noted = [Check(**again.recall(f"audit {check.check}")) for check in found]  # type: ignore[arg-type]
    assert noted == found


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


def test_verdicts_and_a_surrogate_are_given_by_their_names() -> None:
    taken = inspect.signature(audit).parameters.values()
    named = [its.name for its in taken if its.kind is its.KEYWORD_ONLY]
    assert named == ["robust", "unanswered", "surrogate"]
    assert not any(its.kind is its.POSITIONAL_ONLY for its in taken)
