"""Batch norm over the whole batch, of which several processes have a part each."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.compute import batch_parts, processes
from robustrun.compute.modes import BatchNorm, updating_layers


@contextmanager
def synchronised(model: nn.Module, wanted: bool) -> Iterator[None]:
    """In this context, batch norm in train mode takes the statistics of the whole batch, if that is
    `wanted`. The layers stay the same modules with the same tensors."""
    apart = not wanted or processes.count() == 1
    layers = [] if apart else [m for m in model.modules() if isinstance(m, BatchNorm)]
    for layer in layers:
        vars(layer)["forward"] = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["forward"]


def average_statistics(model: nn.Module) -> None:
    """Where each process has statistics of its own rows, let all have their mean."""
    if processes.count() == 1:
        return
    layers = [layer for layer in updating_layers(model) if "forward" not in vars(layer)]
    running = [r for layer in layers for r in (layer.running_mean, layer.running_var)]
    tensors = [r for r in running if r is not None]
    for r in tensors:
        r.mul_(batch_parts.share())
    processes.sum_flat(tensors)


def _forward(layer: BatchNorm, x: Tensor) -> Tensor:
    if not layer.training and layer.running_mean is not None:
        return type(layer).forward(layer, x)
    if x.is_cuda:
        return _on_gpus(layer, x)
    output, mean, variance, total = _Normalised.apply(x, layer.weight, layer.bias, layer.eps)
    if layer.training and layer.track_running_stats and layer.running_mean is not None:
        _update(layer, mean, variance * (total / (total - 1)))
    return output  # type: ignore[no-any-return]


@torch.no_grad()
def _update(layer: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards a batch's mean and unbiased variance."""
    share = _share_of_this_pass(layer)
    for running, now in ((layer.running_mean, mean), (layer.running_var, variance)):
        assert running is not None
        running.mul_(1 - share).add_(now.to(running.dtype), alpha=share)


def _share_of_this_pass(layer: BatchNorm) -> float:
    """Count the pass; returns how much of the running statistics it makes up."""
    if layer.num_batches_tracked is None:
        return layer.momentum or 0.0
    layer.num_batches_tracked.add_(1)
    passes = float(layer.num_batches_tracked)
    return 1.0 / passes if layer.momentum is None else layer.momentum


def _on_gpus(layer: BatchNorm, x: Tensor) -> Tensor:
    """torch's own, which has kernels for it. To it, the row that a process without any works on
    is one more of the batch."""
    tracked = layer.training and layer.track_running_stats
    share = _share_of_this_pass(layer) if tracked else layer.momentum or 0.0
    kept = not layer.training or layer.track_running_stats
    weight = x.new_ones(x.shape[1]) if layer.weight is None else layer.weight
    return torch.nn.modules._functions.SyncBatchNorm.apply(  # type: ignore
        x.contiguous() if not x.is_contiguous(memory_format=torch.channels_last) else x,
        weight,
        layer.bias,
        layer.running_mean if kept else None,
        layer.running_var if kept else None,
        layer.eps,
        share,
        processes.tensor_group() or torch.distributed.group.WORLD,
        processes.count(),
    )


class _Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, with the mean and the biased variance of
    all processes' rows, and their number of values a channel.

    The variance is put together from each process's own squares about its own mean (Chan et al.
    1979), which loses nothing to cancellation.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        values = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        counts = x.numel() / x.shape[1] if batch_parts.share() > 0 else 0.0
        own_mean = values.mean(axes)
        squares = (values - own_mean.view(shape)).square().sum(axes)
        number = own_mean.new_full((1,), counts)
        everyone = torch.stack(processes.gathered(torch.cat([number, own_mean, squares])))
        numbers, means, sums = torch.split(everyone, [1, x.shape[1], x.shape[1]], dim=1)
        total = numbers.sum()
        mean = (numbers * means).sum(0) / total
        sums = sums * (numbers > 0) + numbers * (means - mean).square()
        variance = sums.sum(0) / total
        scale = (variance + eps).rsqrt()
        normalised = (values - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(normalised, weight, scale)
        ctx.axes, ctx.shape, ctx.total, ctx.counts = axes, shape, float(total), counts > 0
        ctx.biased = bias is not None
        ctx.mark_non_differentiable(mean, variance)
        output = normalised if weight is None else normalised * weight.view(shape)
        output = output if bias is None else output + bias.view(shape)
        return output.to(x.dtype), mean, variance, float(total)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        normalised, weight, scale = ctx.saved_tensors
        slope = slope.to(normalised.dtype)
        of_bias, of_weight = slope.sum(ctx.axes), (slope * normalised).sum(ctx.axes)
        counts = float(ctx.counts)  # 0: what this process has is no part of the batch
        sums = counts * torch.stack([of_bias, of_weight])
        first, second = (processes.summed(sums) / ctx.total).unbind()
        inner = slope - first.view(ctx.shape) - normalised * second.view(ctx.shape)
        factor = counts * (scale if weight is None else scale * weight)
        of_x = inner * factor.view(ctx.shape)
        of_weight = None if weight is None else of_weight
        return of_x, of_weight, of_bias if ctx.biased else None, None
