"""A copy of a network to search adversarial images with: the same function, computed faster.

What a search finds is judged on the network itself in float32. So speed may cost it strength, never
honesty; and what it leaves close to a mistake is searched again with the network itself.
"""

import copy
import logging

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from robustrun.shares import in_shares

log = logging.getLogger(__name__)
SAME = 1e-3  # largest share of the largest logit by which a float32 copy may differ: rounding
KEEP_NO_OUTPUT = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)  # their backward passes need inputs only
RELUS = (F.relu, torch.relu, "relu")


class SearchCopy(nn.Module):
    """Logits in float32 of a network whose layers compute in bfloat16, if `low` says so."""

    def __init__(self, network: nn.Module, low: bool) -> None:
        super().__init__()
        self.network = network
        self.low = low

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.low):
            logits: Tensor = self.network(x)
        return logits.float()


def search_copy(model: nn.Module, sample: Tensor) -> SearchCopy | None:
    """A float32 copy of `model`, which is in eval mode, with each batch norm folded into the
    convolution before it; None where the copy answers otherwise on the images `sample` (a network
    that draws numbers, or whose Python torch.fx cannot follow and that cannot be copied)."""
    try:
        network = folded(model)
        network = copy.deepcopy(model) if network is model else network
        made = SearchCopy(network, low=False).eval().requires_grad_(False)
        with torch.no_grad():
            logits, expected = made(sample), model(sample)
    except Exception as error:
        log.info("the network cannot be copied for searching: %s", str(error).splitlines()[0])
        return None
    if (logits - expected).abs().max() > SAME * expected.abs().max():
        return None
    made.network = in_shares(network, sample)
    return made


def folded(model: nn.Module) -> nn.Module:
    """A copy of `model`, which is in eval mode, with each batch norm folded into the convolution
    before it; `model` itself where torch.fx cannot follow its Python."""
    try:
        folded = fuse(model)
        assert isinstance(folded, fx.GraphModule)
        return _in_place(folded)
    except Exception as error:  # torch.fx follows no Python that depends on values
        log.debug("batch norms are not folded: %s: %s", type(error).__name__, error)
        return model


def _in_place(network: fx.GraphModule) -> fx.GraphModule:
    """ReLUs write over what a layer has just put out, where nothing else reads it: a small network
    waits for memory more than for arithmetic (docs/performance.md). The bits stay."""
    layers = dict(network.named_modules())
    for node in list(network.graph.nodes):
        if _is_relu(node, layers) and _is_read_once(node.args[0], layers):
            with network.graph.inserting_before(node):
                relu = network.graph.call_function(F.relu, (node.args[0],), {"inplace": True})
            node.replace_all_uses_with(relu)
            network.graph.erase_node(node)
    network.recompile()
    return network


def _is_relu(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(layers[str(node.target)], nn.ReLU)
    return node.op in ("call_function", "call_method") and node.target in RELUS


def _is_read_once(source: object, layers: dict[str, nn.Module]) -> bool:
    return (
        isinstance(source, fx.Node)
        and source.op == "call_module"
        and isinstance(layers[str(source.target)], KEEP_NO_OUTPUT)
        and len(source.users) == 1
    )


def in_bfloat16(made: SearchCopy) -> SearchCopy:
    """The same copy, sharing its weights, with layers that compute in bfloat16."""
    return SearchCopy(made.network, low=True).eval()
