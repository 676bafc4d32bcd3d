"""Steps of TRADES and PGD-AT, 10 inner steps each, from the same weights on the same batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import (
    Data,
    names,
    plain_config,
    runtime_for,
    training_precisions,
    untrained,
)
from benchmarks.peers import without_cuda
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.datasets.augmentation import as_floats
from robustrun.experiment import place
from robustrun.training.batching import Batching
from robustrun.training.fit import train_batch
from robustrun.training.learner import Learner

STEPS, BETA = 10, 6.0
LR, MOMENTUM, DECAY = 0.1, 0.9, 2e-4


@dataclass(frozen=True)
class Batch:
    """What each step trains on, and the adversary's reach."""

    x: Tensor
    y: Tensor
    epsilon: float
    step_size: float


Loss = Callable[[Tensor, Tensor], Tensor]  # images and labels -> the loss that a peer descends
Make = Callable[[nn.Module, torch.optim.Optimizer, Batch], Loss]


def rows(data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    methods = (_trades, _pgd_at)
    return [
        row for name in names(settings) for of in methods for row in of(name, data, settings, found)
    ]


def _trades(name: str, data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    peers: dict[str, Make] = {"TRADES": authors_trades, "MAIR": mair_trades}
    share, words = 7 / 31, ["method=trades", f"method.beta={BETA}", "method.inner.step_size"]
    return _of("TRADES", words, share, peers, name, data, settings, found)


def _pgd_at(name: str, data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    peers: dict[str, Make] = {"robust_overfitting": authors_pgd_at, "MAIR": mair_pgd_at}
    # Without their pass for the statistics, which none of the contestants does
    words = ["method=pgd_at", "method.clean_pass=false", "method.inner.step_size"]
    return _of("PGD-AT", words, 1 / 4, peers, name, data, settings, found)


def _of(
    method: str,
    words: list[str],
    share: float,
    peers: dict[str, Make],
    name: str,
    data: Data,
    settings: Settings,
    found: dict[str, str],
) -> list[Row]:
    sizes = settings.sizes
    count = sizes.step_batch
    x = as_floats(data.train.pixels[:count]).to(settings.device)
    y = data.train.labels[:count].to(settings.device)
    batch = Batch(x, y, data.epsilon, share * data.epsilon)
    with without_cuda(settings.device):
        contestants = [
            Contestant(
                f"{peer}{how}",
                several(theirs(name, data, settings, make, batch, layout), sizes.steps),
            )
            for peer, make in peers.items()
            for how, layout in _layouts(settings).items()
            if peer in found
        ]
        for precision in training_precisions(settings):
            step = ours(words, name, data, settings, precision, batch)
            contestants.append(
                Contestant(f"robustrun {precision}", several(step, sizes.steps), ours=True)
            )
        return compare(
            f"{method} training step",
            name,
            contestants,
            rounds=sizes.rounds,
            items=count * sizes.steps,
            meaning="loss of the first step",
            device=settings.device,
            goal="8x the authors' code" if settings.device.type == "cpu" else "10x",
        )


def _layouts(settings: Settings) -> dict[str, torch.memory_format]:
    """How the networks of peers lie in memory, by what is added to the peer's name."""
    untuned = {"": torch.contiguous_format} if not settings.quick else {}
    return untuned | {" tuned": torch.channels_last}


def several(step: Callable[[], Tensor], count: int) -> Callable[[], float]:
    def run() -> float:
        losses = [step() for _ in range(count)]
        return float(losses[0])

    return run


def _fresh(name: str, data: Data, settings: Settings) -> nn.Module:
    return untrained(name, data, settings.seed).to(settings.device).train()


def theirs(
    name: str,
    data: Data,
    settings: Settings,
    make: Make,
    batch: Batch,
    layout: torch.memory_format,
) -> Callable[[], Tensor]:
    """A peer's step, around the loss that `make` gives."""
    model = _fresh(name, data, settings).to(memory_format=layout)
    sgd = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    loss_of = make(model, sgd, batch)

    def step() -> Tensor:
        model.train()
        loss = loss_of(batch.x, batch.y)
        sgd.zero_grad()  # of what an attack by `backward` has left, too
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        return loss.detach()

    return step


def authors_trades(model: nn.Module, sgd: torch.optim.Optimizer, batch: Batch) -> Loss:
    from trades import trades_loss

    how: dict[str, Any] = {"epsilon": batch.epsilon, "perturb_steps": STEPS, "beta": BETA}
    how["step_size"] = batch.step_size
    return lambda x, y: trades_loss(model, x, y, sgd, **how)


def authors_pgd_at(
    model: nn.Module, sgd: torch.optim.Optimizer, batch: Batch, steps: int = STEPS
) -> Loss:
    """Rice et al.'s; their normalisation divides by one here, as the network has its own."""
    import train_cifar  # type: ignore[import-not-found]

    train_cifar.mu, train_cifar.std = 0.0, 1.0
    how = (batch.epsilon, batch.step_size, steps, 1, "l_inf")

    def loss(x: Tensor, y: Tensor) -> Tensor:
        delta = train_cifar.attack_pgd(model, x, y, *how)
        return F.cross_entropy(model(train_cifar.normalize((x + delta).clamp(0, 1))), y)

    return loss


def mair_trades(model: nn.Module, sgd: torch.optim.Optimizer, batch: Batch) -> Loss:
    import mair
    from mair.defenses import TRADES

    reach = (batch.epsilon, batch.step_size, STEPS)
    trainer = TRADES(mair.RobModel(model, 10), *reach, BETA)
    return lambda x, y: trainer.calculate_cost((x, y))


def mair_pgd_at(model: nn.Module, sgd: torch.optim.Optimizer, batch: Batch) -> Loss:
    import mair
    from mair.defenses import AT

    trainer = AT(mair.RobModel(model, 10), batch.epsilon, batch.step_size, STEPS)
    return lambda x, y: trainer.calculate_cost((x, y))


def ours(
    words: list[str],
    name: str,
    data: Data,
    settings: Settings,
    precision: str,
    batch: Batch,
    compiled: bool = False,
) -> Callable[[], Tensor]:
    """A step of ours; the last of the `words` is the key of the inner attack's step size."""
    runtime = runtime_for(settings, precision, work=1e12)
    model = _fresh(name, data, settings)
    place(model, runtime)
    if compiled:
        model.compile()
    words = [*words[:-1], f"{words[-1]}={batch.step_size}", f"attack.epsilon={batch.epsilon}"]
    words += [f"optimizer.lr={LR}", f"optimizer.weight_decay={DECAY}"]
    cfg = plain_config(words)
    counts = torch.ones(data.classes, device=settings.device)
    optimizer = cfg.optimizer.build(model)
    trainer = Learner(model, optimizer, counts, Batching(len(batch.x)), 1, None, None)

    def step() -> Tensor:
        low = precision == "bfloat16"
        with torch.autocast(settings.device.type, torch.bfloat16, enabled=low):
            return train_batch(trainer, cfg.method, batch.x, batch.y).detach()

    return step
