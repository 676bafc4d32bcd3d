"""What counts as a failure of the audit, and by how much."""

import re
from bisect import bisect_left
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluation.audit.audit_targets import target
from evaluation.audit.small_audits import CPU, audited
from evaluation.grey_images import grey, linear
from robustrun.evaluation.audit import target as module
from robustrun.evaluation.audit.target import (
    FiniteGradients,
    compare_attack,
    share_of,
    status_of,
)
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.shards import findings
from robustrun.evaluation.statistics import at_least, exact_interval
from robustrun.types import Images


@pytest.mark.parametrize(
    ("extra", "total", "status"),
    [
        (0, 200, "pass"),
        (5, 200, "pass"),
        (6, 200, "warn"),
        (8, 200, "warn"),
        (9, 200, "fail"),
        (17, 1000, "pass"),
        (18, 1000, "warn"),
        (29, 1000, "warn"),
        (30, 1000, "fail"),
        (0, 0, "pass"),
    ],
)
def test_a_fail_is_beyond_the_luck_of_the_draw(extra: int, total: int, status: str) -> None:
    assert status_of(extra, total, 0.02) == status


@pytest.mark.parametrize("total", [20, 100, 200, 1000, 10_000])
@pytest.mark.parametrize(("share", "status"), [(0.02, "fail"), (0.01, "warn")])
def test_luck_alone_seldom_gives_a_verdict(total: int, share: float, status: str) -> None:
    """Where the accuracy is too high by just what is tolerated (or half of it), a sample of any
    size fails (or warns) in at most 2.5% of the draws: P(so many or more | share)."""
    verdicts = {status, "fail"}
    worst = bisect_left(range(total), True, key=lambda n: status_of(n, total, 0.02) in verdicts)
    assert status_of(worst - 1, total, 0.02) not in verdicts
    assert at_least(worst, total, share) <= 0.025 < at_least(worst - 1, total, share)


def test_what_was_counted_stands_with_its_interval(
    standard: nn.Module, test_images: Images
) -> None:
    why = audited(standard, test_images)["more_effort"].why
    found = re.search(r"turns (\d+) of the .* \(([\d.]+)% to ([\d.]+)% of all 100 images", why)
    assert found
    low, high = exact_interval(int(found[1]), 100)
    assert (float(found[2]), float(found[3])) == pytest.approx((100 * low, 100 * high), abs=0.05)


def test_a_share_is_told_with_its_interval() -> None:
    # Clopper and Pearson, as for the exact interval: 5 of 10 is 18.71% to 81.29%.
    assert share_of(5, 10) == "18.7% to 81.3% of all 10 images, with 95% confidence"


HUNDRED = grey(*[0.45] * 100)
LABELS = torch.zeros(100, dtype=torch.long)


def turning(count: int, seen: list[int] | None = None):
    """Turns the first `count` of each batch, just beyond the boundary."""

    def craft(x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        (seen if seen is not None else []).append(len(x))
        moved = x.clone()
        moved[:count] = 0.52
        return moved

    return craft


@pytest.mark.parametrize(
    ("count", "first", "tolerance", "status", "measured", "stood"),
    [
        (0, None, None, "pass", 0.8, 0.8),
        (3, None, None, "pass", 0.77, 0.8),
        (30, None, None, "fail", 0.5, 0.8),
        (30, None, 0.5, "pass", 0.5, 0.8),
        (30, 50, None, "fail", 0.0, 0.6),  # of the first 50, 30 stood
        (3, 500, None, "pass", 0.77, 0.8),
    ],
)
def test_what_another_attack_takes_is_counted_on_what_stood(
    count: int,
    first: int | None,
    tolerance: float | None,
    status: str,
    measured: float,
    stood: float,
) -> None:
    audit = target(linear(), HUNDRED, LABELS, robust=torch.arange(100) >= 20)
    craft = turning(count)
    check = compare_attack(audit, "other", craft, "It", "mend it.", tolerance, first)
    assert (check.check, check.status) == ("other", status)
    assert (check.measured, check.expected) == (pytest.approx(measured), pytest.approx(stood))
    of = min(first or 100, 100)
    assert f"It turns {count} of the {of - 20} images that the attack left" in check.why
    assert check.why.endswith(": mend it." if status != "pass" else ").")


def test_images_are_crafted_in_batches_and_the_others_keep_their_label() -> None:
    seen: list[int] = []
    audit = target(linear(), HUNDRED, LABELS, setting=Setting(0, 30, CPU))
    among = torch.arange(100) < 70
    for shared in (True, False):
        seen.clear()
        answers = audit.answers("other", turning(10, seen), among, shared)
        assert seen == [30, 30, 10]
        assert answers.nonzero()[:, 0].tolist() == [*range(10), *range(30, 40), *range(60, 70)]
    assert audit.fooled("other", turning(10), among).sum() == 30
    assert not audit.fooled("other", turning(10), among & False).any()


def test_work_is_shared_among_processes_unless_it_draws_from_the_global_generator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared: list[list[str]] = []

    def noted(keys: list[str], work: Any, journal: Any) -> list[Any]:
        shared.append(keys)
        return findings(keys, work, journal)

    monkeypatch.setattr(module, "findings", noted)
    audit = target(linear(), HUNDRED, LABELS, setting=Setting(0, 60, CPU))
    compare_attack(audit, "a", turning(1), "It", "mend it.")
    audit.fooled("b", turning(1), audit.robust)
    audit.answers("c", turning(1), audit.robust)
    assert shared == [[f"audit/{name} batch {number}" for number in (0, 1)] for name in "abc"]
    compare_attack(audit, "a", turning(1), "It", "mend it.", shared=False)
    assert len(shared) == 3


def test_an_attack_follows_zero_where_no_finite_gradient_comes_back() -> None:
    class Breaks(nn.Module):
        """The square root of nothing has no slope that is finite."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, 0, 0, 0].sqrt(), x[:, 0, 0, 1]], dim=1)

    x = torch.tensor([[0.0, 0.5], [0.25, 0.5]]).view(2, 1, 1, 2).requires_grad_()
    network = FiniteGradients(Breaks())
    logits = network(x)
    assert torch.equal(logits, Breaks()(x))
    (slope,) = torch.autograd.grad(logits.sum(), x)
    assert slope.flatten().tolist() == [0.0, 1.0, 1.0, 1.0]
    cut = FiniteGradients(nn.Sequential(Cut(), Breaks()))
    assert torch.autograd.grad(cut(x).sum(), x)[0].abs().max() == 0
    with torch.no_grad():
        assert not network(x).requires_grad
    assert not network(x.detach()).requires_grad


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach()
