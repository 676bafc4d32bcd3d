"""What a network costs: its arithmetic, counted in one forward pass.

torch's `FlopCounterMode` finds the same number, but imports torch.compile and Triton for it, which
takes nearly as long as torch itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from robustrun.compute.modes import eval_mode

aten = torch.ops.aten


def multiply_adds(
    model: nn.Module, shape: tuple[int, ...], device: torch.device | None = None
) -> float:
    """Multiply-adds of one image's forward pass through convolutions and matrix products; the
    image is made on `device`, where the model is."""
    counter = _Counter()
    with eval_mode(model), torch.no_grad(), counter:
        model(torch.zeros(1, *shape, device=device))
    return float(counter.found)


def _of_product(result: Tensor, *operands: Any) -> int:
    """Of mm, bmm (a, b), addmm, baddbmm (c, a, b): what the columns of `a` are for each number."""
    return result.numel() * int(operands[-2].shape[-1])


def _of_convolution(result: Tensor, x: Tensor, weight: Tensor, *how: Any) -> int:
    transposed = how[4]  # after bias, stride, padding, dilation
    return (x if transposed else result).numel() * weight[0].numel()


def _of_attention(result: Any, q: Tensor, k: Tensor, v: Tensor, *how: Any) -> int:
    """The products of queries and keys, and of what follows from them and the values."""
    return q.shape[:-1].numel() * int(k.shape[-2]) * int(q.shape[-1] + v.shape[-1])


PRODUCTS = (aten.mm, aten.bmm, aten.addmm, aten.baddbmm)
ATTENTIONS = (
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
)
FORMULAS: dict[Any, Callable[..., int]] = {
    **dict.fromkeys(PRODUCTS, _of_product),
    **dict.fromkeys((aten.convolution, aten._convolution), _of_convolution),
    **dict.fromkeys(ATTENTIONS, _of_attention),
}


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch computes in its context."""

    supports_higher_order_operators = True  # those of exported programs; they have no formula

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, torch would import it

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        kind = getattr(function, "_overloadpacket", function)
        if kind not in FORMULAS and kind is not function:
            with self:  # what it is made of may have a formula
                parts = function.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = function(*args, **kwargs)
        if kind in FORMULAS:
            self.found += FORMULAS[kind](result, *args)
        return result
