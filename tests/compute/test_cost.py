"""The multiply-adds of a network, against sums by hand."""

import pytest
import torch
from torch import nn

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
