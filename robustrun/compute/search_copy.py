"""A copy of a network to search adversarial images with: the same function, computed faster.

What a search finds is judged on the network itself in float32. So speed may cost it strength, never
honesty; and what it leaves close to a mistake is searched again with the network itself.
"""

import copy
import logging

import torch
from torch import Tensor, nn

from robustrun.compute import accelerators
from robustrun.compute.folding import folded
from robustrun.compute.threads import thread_parallel

log = logging.getLogger(__name__)
SAME = 1e-3  # largest share of the largest logit by which a float32 copy may differ: rounding


class FoldedCopy(nn.Module):
    """Logits in float32 of a network whose layers compute in bfloat16, if `low` says so."""

    def __init__(self, network: nn.Module, low: bool) -> None:
        super().__init__()
        self.network = network
        self.low = low

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.low):
            logits: Tensor = self.network(x)
        return logits.float()


def search_copy(model: nn.Module, sample: Tensor) -> FoldedCopy | None:
    """A float32 copy of `model`, which is in eval mode, with each batch norm folded into the
    convolution before it; None where its logits differ on the images `sample` (a network
    that draws numbers, or whose Python torch.fx cannot follow and that cannot be copied)."""
    try:
        network = _copied(model, sample)
        folded_copy = FoldedCopy(network, low=False).eval().requires_grad_(False)
        with torch.no_grad():
            logits, expected = folded_copy(sample), model(sample)
    except Exception as error:
        log.info("the network cannot be copied for searching: %s", str(error).partition("\n")[0])
        return None
    # Not `>`: where a logit is not finite, nothing shows that the copy is the same.
    if not (logits - expected).abs().max() <= SAME * expected.abs().max():
        log.info("the network's copy answers otherwise: attacks search in float32")
        return None
    folded_copy.network = thread_parallel(network, sample)
    if model._compiled_call_impl is not None and accelerators.works_ahead(sample):
        network.compile()  # as the network is; on a CPU, threads have parts of a batch instead
    return folded_copy


def _copied(model: nn.Module, sample: Tensor) -> nn.Module:
    """The folded copy; on a CPU with channels last, if its Python allows that (a `view` of them as
    rows does not)."""
    network = copy.deepcopy(folded(model))
    if sample.device.type != "cpu":
        return network
    try:
        network.to(memory_format=torch.channels_last)
        with torch.no_grad():
            network(sample)
    except RuntimeError:
        network.to(memory_format=torch.contiguous_format)
    return network


def as_bfloat16(folded_copy: FoldedCopy) -> FoldedCopy:
    """The same copy, with the same weights, whose layers compute in bfloat16."""
    return FoldedCopy(folded_copy.network, low=True).eval()
