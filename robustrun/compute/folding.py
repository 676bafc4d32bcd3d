"""A network with its batch norms folded into the convolutions before them, for its eval mode: the
same function in fewer passes over memory.
"""

import copy
import logging
import operator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

log = logging.getLogger(__name__)
# Their backward passes need inputs only.
KEEP_NO_OUTPUT = (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.Linear)
SUMS = (operator.add, torch.add)
RELUS = (F.relu, torch.relu, "relu")


@dataclass(frozen=True)
class Folding:
    """A network without batch norms, and the layers that each of its convolutions comes from."""

    network: fx.GraphModule
    pairs: list[tuple[nn.Conv2d, nn.Conv2d, nn.BatchNorm2d]]  # folded, and its two sources
    state: list[Any]  # of the source when it was traced, as `_state` tells it

    @torch.no_grad()
    def refresh(self) -> nn.Module:
        """The network as its source is now; all other layers are the source's own."""
        for into, convolution, norm in self.pairs:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            weight, bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            into.weight.copy_(weight)
            into.bias.copy_(bias)  # type: ignore[union-attr]
        return self.network


_foldings: WeakKeyDictionary[nn.Module, Folding | None] = WeakKeyDictionary()


def folded(model: nn.Module) -> nn.Module:
    """`model`, which is in eval mode, with each batch norm folded into the convolution before it;
    `model` itself where torch.fx cannot follow its Python, or nothing is gained. All other layers
    are those of `model`, and the next call for the same model changes what this one has returned.
    """
    folding = _foldings.get(model)
    state = _state(model)
    if model not in _foldings or (folding is not None and folding.state != state):
        folding = _foldings[model] = _fold(model, state)
    return model if folding is None else folding.refresh()


def _state(model: nn.Module) -> list[Any]:
    """Which tensors the model has, and where: what a trace keeps, except their values."""
    tensors = [*model.parameters(), *model.buffers()]
    return [(id(tensor), tensor.device, tensor.dtype) for tensor in tensors]


def _fold(model: nn.Module, state: list[Any]) -> Folding | None:
    try:
        network = fx.symbolic_trace(model)
    except Exception as error:  # torch.fx follows no Python that depends on values
        log.debug("batch norms are not folded: %s: %s", type(error).__name__, error)
        return None
    layers, pairs = dict(network.named_modules()), []
    for node in list(network.graph.nodes):
        source = _foldable(node, layers)
        if source is None:
            continue
        convolution, norm = layers[str(source.target)], layers[str(node.target)]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        into = _like(convolution)
        network.add_submodule(str(source.target), into)
        node.replace_all_uses_with(source)
        network.graph.erase_node(node)
        pairs.append((into, convolution, norm))
    network.delete_all_unused_submodules()
    rectified = _rectify_in_place(network)
    return Folding(network, pairs, state) if pairs or rectified else None


def _foldable(node: fx.Node, layers: dict[str, nn.Module]) -> fx.Node | None:
    """The convolution before the batch norm `node`, if nothing else reads or repeats it."""
    if node.op != "call_module" or type(layers[str(node.target)]) is not nn.BatchNorm2d:
        return None
    source, norm = node.args[0], layers[str(node.target)]
    calls = [n.target for n in node.graph.nodes if n.op == "call_module"]
    fits = (
        isinstance(source, fx.Node)
        and source.op == "call_module"
        and type(layers[str(source.target)]) is nn.Conv2d
        and len(source.users) == 1
        and calls.count(source.target) == calls.count(node.target) == 1
        and norm.running_mean is not None
    )
    return source if fits and isinstance(source, fx.Node) else None


def _like(convolution: nn.Conv2d) -> nn.Conv2d:
    """A convolution of the same shape and layout, with a bias, that nothing trains."""
    into = copy.deepcopy(convolution).requires_grad_(False).eval()
    into.bias = nn.Parameter(convolution.weight.new_zeros(len(convolution.weight)), False)
    return into


def _rectify_in_place(network: fx.GraphModule) -> int:
    """ReLUs write over what has just been put out, where nothing else reads it: a small network
    waits for memory more than for arithmetic (docs/performance-details.md). The bits stay. Returns
    how many do."""
    layers, count = dict(network.named_modules()), 0
    for node in list(network.graph.nodes):
        if _is_relu(node, layers) and _is_read_once(node.args[0], layers):
            with network.graph.inserting_before(node):
                relu = network.graph.call_function(F.relu, (node.args[0],), {"inplace": True})
            node.replace_all_uses_with(relu)
            network.graph.erase_node(node)
            count += 1
    network.recompile()
    return count


def _is_relu(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(layers[str(node.target)], nn.ReLU)
    return node.op in ("call_function", "call_method") and node.target in RELUS


def _is_read_once(source: object, layers: dict[str, nn.Module]) -> bool:
    if not isinstance(source, fx.Node) or len(source.users) != 1:
        return False
    if source.op == "call_module":
        return isinstance(layers[str(source.target)], KEEP_NO_OUTPUT)
    return source.op == "call_function" and source.target in SUMS
