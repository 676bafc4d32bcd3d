"""Adam as torch has it, and on rows that leave."""

import torch

from robustrun.attacks.search.adam import Adam


def test_rows_leave_adam_without_a_trace() -> None:
    slopes = torch.rand(5, 4, 2)
    whole, part = Adam.of(slopes[0], 0.1), Adam.of(slopes[0], 0.1)
    those = torch.tensor([True, False, True, False])
    for number, slope in enumerate(slopes):
        expected = whole.step(slope)
        found = part.step(slope if number < 2 else slope[those])
        if number == 1:
            part.keep(those)
    torch.testing.assert_close(found, expected[those], atol=0, rtol=0)


def test_steps_are_torchs() -> None:
    slopes = torch.rand(4, 3, 2) - 0.5
    expected = torch.zeros(3, 2, requires_grad=True)
    optimizer = torch.optim.Adam([expected], lr=0.1)
    ours, found = Adam.of(expected.detach(), 0.1), torch.zeros(3, 2)
    for slope in slopes:
        expected.grad = slope.clone()
        optimizer.step()
        found = found + ours.step(slope)
    torch.testing.assert_close(found, expected.detach())
