"""Whether a training is long enough for `torch.compile` to pay: what `device.compile=auto` asks."""

import copy
import logging
import math
import time

import torch
from torch import Tensor, nn

from robustrun.attacks.search.ascent import gradient
from robustrun.compute.modes import attack_mode

log = logging.getLogger(__name__)
SHORTEST = 60.0  # seconds of passes below which it is not even tried: compiling takes as long
GRAPHS = 3  # an attack's pass, a training step's, and one without gradients are compiled apart
TIMED = 5  # passes, of which the fastest counts


def pays(model: nn.Module, images: Tensor, passes: int, low: bool) -> bool:
    """Whether so many forward and backward passes of batches like `images` end sooner compiled.

    It is found by measuring: a copy is compiled for an attack's pass. What was found, and after how
    many passes compiling breaks even, goes to the log. `low`: layers compute in bfloat16.
    """
    plain = _seconds(model, images, low)
    about = f"compile=auto: {passes:,} passes of {1000 * plain:.3g} ms"
    if passes * plain < SHORTEST:
        log.info("%s are too few to try compiling", about)
        return False
    try:
        with torch.random.fork_rng():
            compiled = copy.deepcopy(model)
            compiled.compile()
            began = time.perf_counter()
            _pass(compiled, images, low)
            first = time.perf_counter() - began
            fast = _seconds(compiled, images, low)
    except Exception as error:  # no compiler, or Python that cannot be followed
        log.warning("%s: compiling failed: %s", about, str(error).partition("\n")[0])
        return False
    needed = break_even(plain, fast, first - fast)
    worth = passes > needed
    log.info(
        "%s; compiled %.3g ms, and %.0f s to compile, which breaks even after %s passes: %s",
        about,
        1000 * fast,
        GRAPHS * (first - fast),
        f"{needed:,.0f}",
        "compiled" if worth else "not compiled",
    )
    return worth


def break_even(plain: float, fast: float, compiling: float) -> float:
    """After how many passes `GRAPHS` compilations of so many seconds each have paid."""
    saved = plain - fast
    return GRAPHS * compiling / saved if saved > 0 else math.inf


def _seconds(model: nn.Module, images: Tensor, low: bool) -> float:
    _pass(model, images, low)
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        _pass(model, images, low)
        times.append(time.perf_counter() - began)
    return min(times)


def _pass(model: nn.Module, images: Tensor, low: bool) -> None:
    with attack_mode(model), torch.autocast(images.device.type, torch.bfloat16, enabled=low):
        gradient(lambda x: model(x).float().logsumexp(dim=1).sum(), images)
    if images.device.type == "cuda":
        torch.cuda.synchronize()
