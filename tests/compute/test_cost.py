"""The multiply-adds of a network, against sums by hand."""

import pytest
import torch
from models.networks import COLOUR, OURS
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as theirs

from robustrun.compute.cost import multiply_adds


@pytest.mark.parametrize(
    ("layers", "shape", "expected"),
    [
        ([nn.Flatten(), nn.Linear(12, 5)], (3, 2, 2), 12 * 5),
        ([nn.Conv2d(3, 4, 3, padding=1)], (3, 6, 5), 4 * 3 * 9 * 30),
        ([nn.Conv2d(4, 6, 3, stride=2, groups=2)], (4, 7, 7), 6 * 2 * 9 * 9),
        ([nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)], (1, 2, 2), 8 + 24),
        ([nn.ReLU(), nn.BatchNorm2d(1), nn.MaxPool2d(2)], (1, 4, 4), 0),
    ],
)
def test_products_are_counted_for_one_image_and_nothing_else(
    layers: list[nn.Module], shape: tuple[int, ...], expected: int
) -> None:
    assert multiply_adds(nn.Sequential(*layers), shape) == expected


def test_counting_leaves_the_network_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).train()
    model[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    multiply_adds(model, (1, 4, 4))
    assert [module.training for module in model.modules()] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def by_torch(network: nn.Module, shape: tuple[int, ...]) -> float:
    """What torch's own counter finds, which imports torch.compile."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() / 2


class Attention(nn.Module):
    """Every way to multiply: a fused attention, products of matrices with and without a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.layer = nn.Conv2d(3, 8, 8, 8), nn.TransformerEncoderLayer(8, 2, 16)
        self.bilinear, self.table = nn.Bilinear(8, 8, 8), nn.Parameter(torch.rand(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.layer(self.embed(x).flatten(2).transpose(1, 2))
        tokens = torch.einsum("bnd,de->bne", tokens, self.table) @ self.table
        pairs = torch.baddbmm(tokens @ tokens.mT, tokens, tokens.mT)
        return self.bilinear(tokens, pairs @ tokens).sum(1)


def test_attention_costs_what_torch_counts() -> None:
    network = Attention()
    assert multiply_adds(network, COLOUR) == by_torch(network, COLOUR) > 0


@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_a_traced_network_costs_what_torch_counts() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.Flatten()]
    network = nn.Sequential(*layers, nn.LazyLinear(5))
    network(torch.zeros(1, *COLOUR))
    traced = torch.jit.trace(network, torch.zeros(1, *COLOUR))
    for each in (network, traced):
        assert multiply_adds(each, COLOUR) == by_torch(each, COLOUR) > 0


@pytest.mark.parametrize("name", [*OURS, "vit_b_16", "swin_t", "efficientnet_b0", "squeezenet1_0"])
def test_a_network_costs_what_torch_counts(name: str) -> None:
    shape = COLOUR if name in OURS else (3, 224, 224)
    with torch.device("meta"):  # shapes alone are computed
        network = OURS[name].build(shape, 10) if name in OURS else theirs.get_model(name)
        assert multiply_adds(network, shape) == by_torch(network, shape) > 1e5
