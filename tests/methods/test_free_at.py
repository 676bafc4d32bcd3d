"""Free-AT against the loop of Shafahi et al. in Wong et al.'s code."""

import pytest
import torch
import torch.nn.functional as F

from robustrun.methods.free_at import FreeAT

pytestmark = pytest.mark.device


def free(replays, epsilon, carried):
    """The authors' loop; `carried` is the perturbation of a whole batch, changed in place."""

    def step(model, optimizer, x, y):
        rows = slice(0, len(x))
        for _ in range(replays):
            delta = carried.clone().requires_grad_()
            loss = F.cross_entropy(model(x + delta[rows]), y)
            optimizer.zero_grad()
            loss.backward()
            carried.copy_((carried + epsilon * delta.grad.sign()).clamp(-epsilon, epsilon))
            carried[rows] = torch.max(torch.min(carried[rows], 1 - x), -x)
            optimizer.step()
        return loss

    return step


def test_the_perturbation_goes_on_from_batch_to_batch_and_a_short_batch_moves_its_rows_only(
    assert_golden, device
):
    carried = torch.zeros(8, 1, 5, 5, dtype=torch.float64, device=device)
    learner = assert_golden(
        FreeAT("linf", 0.05, 0.05, 3, True), free(3, 0.05, carried), same_gradients=False
    )
    torch.testing.assert_close(learner.memory["delta"], carried)
    assert len(learner.gradients) == 9, "each replay moves the weights"


def test_without_keep_each_batch_starts_at_the_clean_images(assert_golden):
    def fresh(model, optimizer, x, y):
        return free(3, 0.05, torch.zeros_like(x))(model, optimizer, x, y)

    learner = assert_golden(FreeAT("linf", 0.05, 0.05, 3, False), fresh, same_gradients=False)
    assert learner.memory == {}


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_kept_lies_in_the_ball(learner, batches, norm):
    method = FreeAT(norm, 0.05, 0.05, 4, True)
    for x, y in batches:
        method.step(learner, x, y)
    delta = learner.memory["delta"].flatten(1)
    size = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    assert size.max() <= 0.05 + 1e-9
    assert size.max() > 0.02, "the perturbation moved"


def test_a_longer_batch_than_the_first_has_room(learner, batches):
    method = FreeAT("linf", 0.05, 0.05, 2, True)
    for x, y in reversed(batches):
        method.step(learner, x, y)
    assert len(learner.memory["delta"]) == 8
