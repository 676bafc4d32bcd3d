"""The network that is measured, and faster forms of the same function to search images with."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from torch import nn

from robustrun.compute.few_sizes import few_sizes
from robustrun.compute.search_copy import FoldedCopy, as_bfloat16, search_copy
from robustrun.compute.tf32 import tf32_allowed
from robustrun.compute.threads import thread_parallel
from robustrun.evaluation.setting import Setting
from robustrun.types import Attack, Images, TakesCopy


@dataclass(frozen=True)
class SearchNetworks:
    """The network that images are judged on, and the same function to search them with."""

    model: nn.Module
    exact: nn.Module  # float32; each thread gets a part of the batch, a GPU batches of few sizes
    fast: FoldedCopy | None = None
    low: bool = False  # whether attacks that can search the copy in bfloat16, others in TF32

    def of(self, attack: Attack) -> nn.Module:
        """What `attack` searches with: a copy only if all it does with a network is to call it."""
        if not isinstance(attack, TakesCopy):
            return self.model
        if self.fast is None:
            return self.exact
        return as_bfloat16(self.fast) if self.low and attack.low_precision else self.fast

    @contextmanager
    def searching(self, network: nn.Module, kind: str) -> Iterator[None]:
        """In this context, which is for searching with this network on a device of this kind, what
        a copy computes in float32 may be rounded to TF32 if bfloat16 is allowed, too."""
        rounds = self.low and isinstance(network, FoldedCopy)
        with tf32_allowed(kind) if rounds else nullcontext():
            yield


def search_networks(model: nn.Module, images: Images, setting: Setting) -> SearchNetworks:
    """The networks for a measurement of this precision, tried on the first of `images`."""
    if len(images) == 0:
        return SearchNetworks(model, model)
    most = setting.batch_size
    sample, _ = next(images.batches(min(most, 64), device=setting.device))
    low = setting.precision == "bfloat16"
    fast = search_copy(model, sample) if low or setting.search_copy else None
    if fast is not None:
        fast.network = few_sizes(fast.network, sample, most)
    exact = few_sizes(thread_parallel(model, sample), sample, most)
    return SearchNetworks(model, exact, fast, low)
