"""Batches of a few sizes, whatever is left of a batch: cuDNN times its kernels for each size that
it meets, and torch.compile may compile for it.
"""

import math

import torch
from torch import Tensor, nn

from robustrun.compute import accelerators

SHARES = (1, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 1 / 8, 1 / 16)  # of the largest batch
SAME = 1e-3  # largest share of the largest logit by which other rows may change one: rounding


class FewSizes(nn.Module):
    """A network in eval mode, whose batches are filled with copies of the last image up to the next
    of a few sizes; a batch larger than `largest` stays as it is."""

    def __init__(self, network: nn.Module, largest: int) -> None:
        super().__init__()
        self.network = network
        self.sizes = sorted({math.ceil(share * largest) for share in SHARES})

    def forward(self, x: Tensor) -> Tensor:
        size = next((size for size in self.sizes if size >= len(x)), len(x))
        logits: Tensor = self.network(filled(x, size) if len(x) else x)
        return logits[: len(x)]


def filled(x: Tensor, size: int) -> Tensor:
    """`x`, and its last image as often as is missing to `size` of them."""
    if len(x) == size:
        return x
    return torch.cat([x, x[-1:].detach().expand(size - len(x), *x.shape[1:])])


def few_sizes(network: nn.Module, sample: Tensor, largest: int) -> nn.Module:
    """On an accelerator, `network` for batches of a few sizes; itself on a CPU, and where the
    images `sample` get other logits in a batch that is filled."""
    if not accelerators.works_ahead(sample):
        return network
    with torch.no_grad():
        logits, expected = network(filled(sample, 2 * len(sample)))[: len(sample)], network(sample)
    same = (logits - expected).abs().max() <= SAME * expected.abs().max()
    return FewSizes(network, largest).eval() if bool(same) else network
