"""What counts as a failure of the audit, and by how much."""

import re
from bisect import bisect_left

import pytest
from torch import nn

from evaluation.audit.small_audits import audited
from robustrun.evaluation.audit.target import status_of
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
