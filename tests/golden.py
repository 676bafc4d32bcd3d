"""Golden tests: a method's step against its authors' formula, written out once more in float64.

Both sides run in float64 on copies of one small network with batch normalisation, see the same
batches and draw the same random numbers; so a sign gradient cannot fall differently by rounding.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun.training.fit import train_batch
from tests.learners import COUNTS, RecordingLearner, gradients, sgd, sgd_learner

CLASSES = 4
TOLERANCE = 1e-9  # float64 and the same operations, but for their order


class TinyNetwork(nn.Module):
    """Convolution, batch norm, two linear layers; shows the features between."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.hidden = nn.Linear(3 * 5 * 5, 6)
        self.norm1d = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, CLASSES)

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = F.softplus(self.norm(self.convolution(4 * x - 2)))
        hidden = torch.tanh(self.norm1d(self.hidden(features.flatten(1))))
        return self.head(hidden), [features]

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]


Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor], Tensor]


def plain_step(loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Step:
    """A reference that is a loss: its gradient, one optimizer step."""

    def step(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor) -> Tensor:
        loss = loss_of(model, x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def climb(
    loss_of: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, *, epsilon: float, size: float,
    steps: int,
) -> Tensor:  # fmt: skip
    """Projected sign ascent in the linf ball, for references."""
    z = start.clone()
    for _ in range(steps):
        z = z.detach().requires_grad_()
        slope = torch.autograd.grad(loss_of(z), z)[0]
        z = x + (z.detach() + size * slope.sign() - x).clamp(-epsilon, epsilon)
        z = z.clamp(0, 1)
    return z.detach()


@pytest.fixture
def network(device: torch.device) -> nn.Module:
    torch.manual_seed(1)
    return TinyNetwork().double().train().to(device)


@pytest.fixture
def batches(device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Three batches, the last one shorter, with pixels at 0, at 1 and between."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for size in (8, 8, 5):
        x = torch.randn(size, 1, 5, 5, generator=generator, dtype=torch.float64)
        y = torch.randint(0, CLASSES, (size,), generator=generator)
        made.append(((0.5 + 0.4 * x).clamp(0, 1).to(device), y.to(device)))
    return made


@pytest.fixture
def learner(network: nn.Module) -> RecordingLearner:
    return sgd_learner(network)


@pytest.fixture
def assert_golden(
    network: nn.Module, batches: list[tuple[Tensor, Tensor]]
) -> Callable[..., RecordingLearner]:
    """Assert that a method and its reference agree in three steps: loss, gradients, weights,
    running statistics, modes, and in the random numbers drawn. `options` are the learner's."""

    def check(
        method: Any,
        reference: Step,
        *,
        model: nn.Module = network,
        counts: Tensor = COUNTS,
        tolerance: float = TOLERANCE,
        same_gradients: bool = True,
        **options: Any,
    ) -> RecordingLearner:
        theirs = copy.deepcopy(model)
        optimizer = sgd(theirs)
        learner = sgd_learner(model, counts, **options)
        modes = [m.training for m in model.modules()]
        for number, (x, y) in enumerate(batches):
            untouched = x.clone()
            torch.manual_seed(number)
            mine = train_batch(learner, method, x, y)
            drawn = torch.rand(3, device=x.device)
            torch.manual_seed(number)
            expected = reference(theirs, optimizer, x, y)
            close(mine.detach(), expected.detach(), tolerance)
            assert torch.equal(drawn, torch.rand(3, device=x.device)), "the random streams differ"
            assert torch.equal(x, untouched), "the batch was written to"
            if same_gradients:
                for a, b in zip(learner.gradients[-1], gradients(theirs), strict=True):
                    close(a, b, tolerance)
        for name, value in theirs.state_dict().items():
            close(model.state_dict()[name], value, tolerance, name)
        assert [m.training for m in model.modules()] == modes
        assert all(p.requires_grad for p in model.parameters())
        return learner

    return check


def close(mine: Tensor, theirs: Tensor, tolerance: float, name: str = "") -> None:
    torch.testing.assert_close(
        mine, theirs, rtol=tolerance, atol=tolerance, msg=lambda m: f"{name}: {m}"
    )


@pytest.fixture
def golden_step() -> Callable[..., Step]:
    return plain_step


@pytest.fixture
def reference_climb() -> Callable[..., Tensor]:
    return climb
