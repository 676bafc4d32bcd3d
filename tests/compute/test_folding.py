"""Batch norms folded into convolutions: the same function, and it follows its source."""

import torch
from torch import Tensor, nn

from robustrun.compute.folding import folded
from robustrun.compute.search_copy import search_copy


def test_rectifying_in_place_changes_no_bit_and_no_gradient() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10)).eval()
    model.to(memory_format=torch.channels_last)  # as in the copy: another layout rounds otherwise
    copy = search_copy(model, torch.rand(4, 1, 8, 8))
    assert copy is not None
    code = getattr(copy.network, "code")  # noqa: B009
    assert code.count("inplace = True") == 2, "the third reads what a ReLU put out, not a layer"
    x, y = torch.rand(32, 1, 8, 8), torch.arange(32) % 10
    slopes = []
    for network in (model, copy):
        point = x.clone().requires_grad_()
        loss = nn.functional.cross_entropy(network(point), y)
        slopes.append(torch.autograd.grad(loss, point)[0])
    assert torch.equal(*slopes)


class Residual(nn.Module):
    """A block with group norm, whose last ReLU rectifies a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.GroupNorm(4, 8)
        self.layer, self.end = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(512, 10)
        self.rows = nn.LayerNorm(10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        y = torch.relu(self.layer(x) + x)
        logits: Tensor = torch.relu(self.rows(self.end(y.flatten(1))))
        return logits


def test_sums_and_norms_of_groups_and_rows_are_rectified_in_place() -> None:
    torch.manual_seed(0)
    model, x = Residual().eval(), torch.rand(8, 1, 8, 8)
    network = folded(model)
    code = getattr(network, "code")  # noqa: B009
    assert code.count("inplace = True") == 3
    slopes = []
    for each in (model, network):
        point = x.clone().requires_grad_()
        slopes.append(torch.autograd.grad(each(point).square().sum(), point)[0])
    assert torch.equal(*slopes)
    assert slopes[0].abs().max() > 0


def test_a_network_in_which_nothing_is_gained_is_not_traced() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, 10)).eval()
    assert folded(model) is model


def test_a_folded_network_follows_its_source() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)]
    model = nn.Sequential(*layers, nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(64, 10))
    x, optimizer = torch.rand(16, 1, 8, 8), torch.optim.SGD(model.parameters(), 0.1)
    first = folded(model.eval())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in first.modules())
    for _ in range(3):  # weights and statistics move
        torch.testing.assert_close(folded(model.eval())(x), model(x))
        before = model(x).detach()
        model.train()(x).square().mean().backward()
        optimizer.step()
        assert (model.eval()(x) - before).abs().max() > 0.01, "a stale copy would not show"
    assert folded(model) is first, "traced once"
    model[0].weight = nn.Parameter(torch.rand(4, 1, 3, 3))
    torch.testing.assert_close(folded(model)(x), model(x))
    model.double()
    torch.testing.assert_close(folded(model)(x.double()), model(x.double()))


def test_what_is_read_twice_is_not_written_over() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.end = nn.Conv2d(1, 4, 3), nn.Linear(144, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            logits: Tensor = self.end((torch.relu(y) - y).flatten(1))
            return logits

    model, x = Twice().eval().to(memory_format=torch.channels_last), torch.rand(8, 1, 8, 8)
    copy = search_copy(model, x)
    assert copy is not None
    assert torch.equal(copy(x), model(x))
