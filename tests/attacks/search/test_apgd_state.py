"""When APGD changes a step size, and what it goes back to."""

import math

import pytest
import torch

from attacks.small_attacks import attack
from attacks.small_networks import SHAPE
from robustrun.attacks.search.apgd_state import (
    evaluate_point,
    halve_step_size,
    initial_state,
    step_sparsely,
    step_with_momentum,
    update_sparsity,
)


def test_before_the_first_pass_there_is_no_best_and_no_step_was_ever_longer() -> None:
    x, labels = torch.rand(2, *SHAPE), torch.tensor([0, 1])
    s = initial_state(x, labels, labels + 1, x + 0.1, 0.3)
    assert s.step_size.tolist() == pytest.approx([0.3, 0.3])
    assert s.best_loss.tolist() == s.checked_loss.tolist() == [-math.inf] * 2
    assert s.halved.tolist() == [True, True], "the first check halves for too few rises alone"
    assert s.rises.tolist() == [0.0, 0.0]
    for points in (s.point, s.former, s.best):
        assert torch.equal(points, x + 0.1)
    assert s.aim.tolist() == [1, 2]


def test_a_step_carries_on_a_quarter_of_the_one_before_and_ends_in_the_ball() -> None:
    x = torch.full((1, 1, 1, 3), 0.5)
    none = torch.zeros(1, dtype=torch.long)
    s = initial_state(x, none, none, x + torch.tensor([0.04, 0.0, 0.09]), 0.1)
    s.former = x + torch.tensor([0.0, 0.02, 0.05])
    s.slope = torch.tensor([2.0, -3.0, 0.5]).view(1, 1, 1, 3)
    step_with_momentum(s, "linf", 0.1, 0.75)
    # Aims: 0.1 (cut from 0.14), -0.1, 0.1 (cut from 0.19).
    # 0.04 + 0.75 * 0.06 + 0.25 * 0.04; 0.75 * -0.1 - 0.25 * 0.02; 0.09 + 0.75 * 0.01 + 0.25 * 0.04
    moved = torch.tensor([0.095, -0.08, 0.1]).view(1, 1, 1, 3)  # the last one cut from 0.1075
    torch.testing.assert_close(s.point - x, moved)
    torch.testing.assert_close(s.former - x, torch.tensor([0.04, 0.0, 0.09]).view(1, 1, 1, 3))
    step_with_momentum(s, "l2", 10.0, 1.0)  # all of it uphill: 0.1 along the slope of length 1
    uphill = 0.1 * s.slope / s.slope.norm()
    torch.testing.assert_close(s.point - x, moved + uphill)


def test_an_l1_step_moves_the_steepest_pixels_and_ends_in_the_ball() -> None:
    x = torch.full((1, 1, 2, 2), 0.5)
    none = torch.zeros(1, dtype=torch.long)
    s = initial_state(x, none, none, x, 0.4)
    s.slope = torch.tensor([4.0, -3.0, 2.0, 1.0]).view(1, 1, 2, 2)
    s.share = torch.tensor([0.5])
    step_sparsely(s, 1.0)
    torch.testing.assert_close((s.point - x).flatten(), torch.tensor([0.2, -0.2, 0.0, 0.0]))
    step_sparsely(s, 0.6)  # (0.4, -0.4) is 0.2 too far
    torch.testing.assert_close((s.point - x).flatten(), torch.tensor([0.3, -0.3, 0.0, 0.0]))
    torch.testing.assert_close((s.former - x).flatten(), torch.tensor([0.2, -0.2, 0.0, 0.0]))


def test_rows_are_kept_with_all_that_is_remembered_of_them() -> None:
    x, labels = torch.rand(3, *SHAPE), torch.arange(3)
    s = initial_state(x, labels, labels, x, 0.3)
    s.step_size, s.rises, s.share = torch.arange(3.0), torch.arange(3.0), torch.arange(3.0)
    kept = s.keep(torch.tensor([2, 0]))
    assert torch.equal(kept.x, x[[2, 0]])
    assert [kept.y.tolist(), kept.aim.tolist()] == [[2, 0]] * 2
    for values in (kept.step_size, kept.rises, kept.share):
        assert values.tolist() == [2.0, 0.0]


def test_the_step_is_halved_where_it_stalls_and_only_there() -> None:
    x = torch.rand(4, *SHAPE)
    none = torch.zeros(4, dtype=torch.long)
    s = initial_state(x, none, none, x, 1.0)
    s.best = x + 1
    s.best_loss, s.checked_loss = torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.zeros(4)
    s.checked_loss[2:] = 1.0  # no better than at the last check,
    s.halved = torch.tensor([False, False, False, True])  # at which the last one was halved
    s.rises = torch.tensor([6.0, 7.0, 8.0, 8.0])  # 75% of 8 is 6
    halve_step_size(s, 8, 0.75)
    assert s.step_size.tolist() == [0.5, 1.0, 0.5, 1.0]
    returned = (s.point == s.best).flatten(1).all(dim=1)
    assert returned.tolist() == [True, False, True, False]
    assert s.rises.tolist() == [0, 0, 0, 0]


def test_l1_steps_shrink_until_the_best_point_has_grown_sparser() -> None:
    x = torch.full((2, *SHAPE), 0.5)
    labels = torch.zeros(2, dtype=torch.long)
    s = initial_state(x, labels, labels, x, 3.0)
    s.best = x.clone()
    s.best.view(2, -1)[0, :36] += 0.1  # of 72 pixels before, half are left,
    s.best.view(2, -1)[1, :70] += 0.1  # or nearly all
    s.pixels = torch.full((2,), 72.0)
    sparsity = attack("apgd_ce", "l1").sparsity
    update_sparsity(s, sparsity, largest_step=6.0)
    assert s.step_size.tolist() == [6.0, 2.0]
    assert torch.equal(s.point[0], s.best[0])
    assert torch.equal(s.point[1], x[1])
    assert torch.allclose(s.share, torch.tensor([36 / 72 / 1.5, 70 / 72 / 1.5]))
    for _ in range(9):
        update_sparsity(s, sparsity, largest_step=6.0)
    assert s.step_size.tolist() == pytest.approx([0.6, 0.6]), "never below a tenth of the first"


@pytest.mark.parametrize("passes", [1, 3])
def test_a_point_is_looked_at_as_often_as_asked_and_the_best_is_kept(passes: int) -> None:
    x, y = torch.full((3, *SHAPE), 0.5), torch.tensor([0, 0, 1])
    weight, looks = torch.rand(SHAPE) + 0.1, []

    def model(x: torch.Tensor) -> torch.Tensor:
        looks.append(len(x))
        rise = (weight * (x - 0.5)).flatten(1).sum(dim=1)
        return torch.stack([torch.zeros_like(rise), rise], dim=1)

    s = initial_state(x, y, y, x, 1.0)
    s.best, s.best_loss = x - 0.1, torch.tensor([-1.0, 5.0, -1.0])
    s.point = torch.stack([x[0] + 0.1, x[1] + 0.1, x[2] + 0.1])
    fooled = evaluate_point(s, model, lambda logits, y, aim: logits[:, 1], passes)
    assert looks == [3] * passes
    rise = float(0.1 * weight.sum())
    assert s.loss.tolist() == pytest.approx([rise] * 3, rel=1e-5)
    assert s.best_loss.tolist() == pytest.approx([rise, 5.0, rise], rel=1e-5)
    torch.testing.assert_close(s.slope, weight.expand(3, *SHAPE))  # the mean, not the sum
    kept = [torch.equal(best, point) for best, point in zip(s.best, s.point, strict=True)]
    assert kept == [True, False, True]
    assert fooled.tolist() == [True, True, False]
