"""What another pass leaves in batch norms: against another pass."""

import copy

import pytest
import torch
from torch import nn

from robustrun.methods.batch_norm import passage


def network() -> nn.Sequential:
    """Two layers that update statistics, each at its own pace, and two that do not."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm1d(3, momentum=0.1),
        nn.Linear(3, 4),
        nn.BatchNorm1d(4, momentum=0.4),
        nn.BatchNorm1d(4).eval(),
        nn.BatchNorm1d(4, track_running_stats=False),
    ).double()


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_pass_again_leaves_what_passing_again_leaves(times: int) -> None:
    x = torch.rand(6, 3, dtype=torch.float64) + 1
    model, expected = network(), network()
    for each in (model, expected):
        each(torch.rand(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    before = copy.deepcopy(model.state_dict())
    with passage(model) as seen:
        loss = model(x).square().sum()
    for _ in range(times):
        seen.again()
    for _ in range(1 + times):
        expected(x)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, msg=name)
    assert int(model[0].num_batches_tracked) == 2 + times
    for name in ("3.running_mean", "3.running_var"):
        assert torch.equal(model.state_dict()[name], before[name])
    loss.backward()  # of the pass before, whose graph was kept
    assert model[1].weight.grad is not None


def test_statistics_of_all_batches_alike_have_no_share_of_a_pass() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=None))
    with pytest.raises(ValueError, match="without momentum"), passage(model):
        model(torch.rand(4, 3))
