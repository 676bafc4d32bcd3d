"""Whether tensors are computed behind the program's back, so that reading a value waits for them.

A GPU works through a queue. Whatever depends on a value (`if mask.any()`, `x[mask]`, `.item()`)
empties that queue, and the GPU idles until it is filled again.
"""

from torch import Tensor


def works_ahead(x: Tensor) -> bool:
    """Whether reading a value of `x` waits for a device with a queue of its own."""
    return x.device.type != "cpu"
