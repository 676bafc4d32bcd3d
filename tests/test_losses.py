"""Losses of logits, against the papers' formulas."""

import torch

from robustrun.losses import dlr, dlr_targeted


def test_dlr_is_the_papers_ratio_and_does_not_feel_scale_or_shift() -> None:
    logits, y = torch.tensor([[4.0, 1.0, 3.0, 0.0], [4.0, 1.0, 3.0, 0.0]]), torch.tensor([0, 2])
    assert torch.allclose(dlr(logits, y), torch.tensor([(3 - 4) / (4 - 1), (4 - 3) / (4 - 1)]))
    target = torch.tensor([1, 3])
    expected = torch.tensor([(1 - 4) / (4 - 0.5), (0 - 3) / (4 - 0.5)])
    assert torch.allclose(dlr_targeted(logits, y, target), expected)
    assert torch.allclose(dlr(5 * logits + 2, y), dlr(logits, y))
    assert torch.allclose(dlr_targeted(5 * logits + 2, y, target), expected)
