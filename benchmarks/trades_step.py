"""TRADES: training steps with 10 inner steps, from the same weights on the same batch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.networks import Data, plain_config, runtime_for, untrained
from benchmarks.peers import without_cuda
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare
from robustrun.datasets.tensors import as_floats
from robustrun.dispatch import place
from robustrun.train import Trainer

STEPS, STEP_SIZE, BETA = 10, 7 / 31, 6.0  # the step as a share of the radius
LR, MOMENTUM, DECAY = 0.1, 0.9, 2e-4


def rows(data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    names = ["BN CNN", *(["PreAct ResNet-18"] if settings.deep else [])]
    return [row for name in names for row in _of(name, data, settings, found)]


def _of(name: str, data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    sizes = settings.sizes
    count = sizes.step_batch
    x = as_floats(data.train.pixels[:count]).to(settings.device)
    y = data.train.labels[:count].to(settings.device)
    contestants = [
        Contestant(
            peer, _steps(make(_fresh(name, data, settings), data.epsilon, x, y), sizes.steps)
        )
        for peer, make in (("TRADES", _authors), ("MAIR", _mair))
        if peer in found
    ]
    for precision in ("float32", "bfloat16"):
        step = _ours(name, data, settings, precision, x, y)
        contestants.append(Contestant(f"robustrun {precision}", _steps(step, sizes.steps), True))
    with without_cuda(settings.device):
        return compare(
            "TRADES training step",
            name,
            contestants,
            rounds=sizes.rounds,
            items=count * sizes.steps,
            meaning="loss of the first step",
            device=settings.device,
            goal="8x the authors' code" if settings.device.type == "cpu" else "10x",
        )


def _steps(step: Callable[[], Tensor], count: int) -> Callable[[], float]:
    def run() -> float:
        losses = [step() for _ in range(count)]
        return float(losses[0])

    return run


def _fresh(name: str, data: Data, settings: Settings) -> nn.Module:
    return untrained(name, data, settings.seed).to(settings.device).train()


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)


def _authors(model: nn.Module, epsilon: float, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    from trades import trades_loss

    optimizer = _sgd(model)
    how: dict[str, Any] = {"epsilon": epsilon, "perturb_steps": STEPS, "beta": BETA}
    how["step_size"] = STEP_SIZE * epsilon

    def step() -> Tensor:
        model.train()
        optimizer.zero_grad()
        loss: Tensor = trades_loss(model, x, y, optimizer, **how)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def _mair(model: nn.Module, epsilon: float, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    import mair
    from mair.defenses import TRADES

    trainer = TRADES(mair.RobModel(model, 10), epsilon, STEP_SIZE * epsilon, STEPS, BETA)
    optimizer = _sgd(model)

    def step() -> Tensor:
        trainer.rmodel.train()
        optimizer.zero_grad()
        loss: Tensor = trainer.calculate_cost((x, y))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return step


def _ours(
    name: str, data: Data, settings: Settings, precision: str, x: Tensor, y: Tensor
) -> Callable[[], Tensor]:
    runtime = runtime_for(settings, precision, work=1e12)
    model = _fresh(name, data, settings)
    place(model, runtime)
    words = [f"attack.epsilon={data.epsilon}", f"method.beta={BETA}"]
    words += [f"optimizer.lr={LR}", f"optimizer.weight_decay={DECAY}"]
    cfg = plain_config(["method=trades", *words])
    counts = torch.ones(data.classes, device=settings.device)
    trainer = Trainer(model, cfg.optimizer.build(list(model.parameters())), counts, 1, None, None)

    def step() -> Tensor:
        low = precision == "bfloat16"
        with torch.autocast(settings.device.type, torch.bfloat16, enabled=low):
            return cfg.method.step(trainer, x, y).detach()

    return step
