"""Training steps of PGD-AT, TRADES and FGSM-RS on a GPU, beside the authors' code as it runs there:
in float32 with TF32 for convolutions, which is what torch does unless it is told otherwise."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.arithmetic import AS_TORCH_COMES, FLOAT32, TF32, Arithmetic, computed
from benchmarks.networks import Data
from benchmarks.peers import without_cuda
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from benchmarks.training_step import (
    BETA,
    STEPS,
    Batch,
    Make,
    authors_pgd_at,
    authors_trades,
    ours,
    several,
    theirs,
)
from robustrun.datasets.augmentation import as_floats


@dataclass(frozen=True)
class Training:
    """A method's step, and whose code it is compared with."""

    words: tuple[str, ...]  # of ours
    step: float  # of the inner attack, in radii
    peer: str
    make: Make

    def batch(self, data: Data, settings: Settings) -> Batch:
        count, device = settings.sizes.step_batch, settings.device
        x = as_floats(data.train.pixels[:count]).to(device)
        y = data.train.labels[:count].to(device)
        return Batch(x, y, data.epsilon, self.step * data.epsilon)


METHODS = {
    "PGD-AT": Training(
        ("method=pgd_at", "method.clean_pass=false", "method.inner.step_size"),
        1 / 4,
        "robust_overfitting",
        partial(authors_pgd_at, steps=STEPS),
    ),
    "TRADES": Training(
        ("method=trades", f"method.beta={BETA}", "method.inner.step_size"),
        7 / 31,
        "TRADES",
        authors_trades,
    ),
    # Rice et al.'s code has Wong et al.'s method as its --attack fgsm.
    "FGSM-RS": Training(
        ("method=fast_at", "method.step_size"),
        5 / 4,
        "robust_overfitting",
        partial(authors_pgd_at, steps=1),
    ),
}


def works(
    data: Data, settings: Settings, found: dict[str, str]
) -> Mapping[str, Callable[[], list[Row]]]:
    """Each method and network on its own: compiling, which takes long, comes last."""
    networks = ("ResNet-18", "WRN-28-10") if settings.deep else ("BN CNN",)
    of = [(method, name) for name in networks for method in METHODS]
    given = (data, settings)
    plain = {f"{m}, {name}": partial(_plain, m, name, *given, found) for m, name in of}
    compiled = {f"{m}, {name}, compiled": partial(_compiled, m, name, *given) for m, name in of}
    return plain | compiled


def _plain(
    method: str, name: str, data: Data, settings: Settings, found: dict[str, str]
) -> list[Row]:
    how = METHODS[method]
    batch = how.batch(data, settings)
    contestants = []
    layouts = {
        how.peer: (torch.contiguous_format, AS_TORCH_COMES),
        f"{how.peer} tuned": (torch.channels_last, TF32),
    }
    for peer, (layout, arithmetic) in layouts.items() if how.peer in found else ():
        step = theirs(name, data, settings, how.make, batch, layout)
        contestants.append(_contestant(peer, step, arithmetic, settings, is_ours=False))
    for precision, arithmetic in (("float32", FLOAT32), ("TF32", TF32), ("bfloat16", FLOAT32)):
        low = "bfloat16" if precision == "bfloat16" else "float32"
        step = ours(list(how.words), name, data, settings, low, batch)
        contestants.append(_contestant(f"robustrun {precision}", step, arithmetic, settings))
    return _compared(method, name, contestants, settings)


def _compiled(method: str, name: str, data: Data, settings: Settings) -> list[Row]:
    how = METHODS[method]
    batch = how.batch(data, settings)
    step = ours(list(how.words), name, data, settings, "bfloat16", batch, compiled=settings.deep)
    contestant = _contestant("robustrun compiled bfloat16", step, FLOAT32, settings)
    return _compared(method, name, [contestant], settings, count=False)


def _contestant(
    name: str,
    step: Callable[[], torch.Tensor],
    arithmetic: Arithmetic,
    settings: Settings,
    is_ours: bool = True,
) -> Contestant:
    return Contestant(name, computed(several(step, settings.sizes.steps), arithmetic), is_ours)


def _compared(
    method: str,
    name: str,
    contestants: list[Contestant],
    settings: Settings,
    count: bool = True,
) -> list[Row]:
    with without_cuda(settings.device):
        return compare(
            f"{method} training step",
            name,
            contestants,
            rounds=settings.sizes.rounds,
            items=settings.sizes.step_batch * settings.sizes.steps,
            meaning="loss of the first step",
            device=settings.device,
            count=count,
        )
