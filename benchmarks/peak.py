"""What the machine can do at best: the largest matrix products and convolutions, timed."""

import time
from collections.abc import Callable

import torch
from torch import Tensor


def peaks(device: torch.device) -> dict[str, float]:
    """Operations a second of a product of matrices and of a 3 x 3 convolution, by precision."""
    size = 8192 if device.type == "cuda" else 1536
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        found[f"GEMM {name}"] = _best(_product(a, b), 2.0 * size**3, device)
        batch = 1024 if device.type == "cuda" else 32
        x = torch.randn(batch, 128, 16, 16, device=device, dtype=dtype)
        w = torch.randn(128, 128, 3, 3, device=device, dtype=dtype)
        x, w = (t.to(memory_format=torch.channels_last) for t in (x, w))
        found[f"conv {name}"] = _best(_convolution(x, w), 2.0 * x.numel() * 128 * 9, device)
    return found


def _product(a: Tensor, b: Tensor) -> Callable[[], Tensor]:
    return lambda: a @ b


def _convolution(x: Tensor, w: Tensor) -> Callable[[], Tensor]:
    return lambda: torch.nn.functional.conv2d(x, w, padding=1)


def _best(work: Callable[[], Tensor], flops: float, device: torch.device) -> float:
    seconds = []
    with torch.inference_mode():
        work()
        for _ in range(5):
            began = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
    return flops / min(seconds)
