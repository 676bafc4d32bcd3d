"""Attacks one after another: what is kept of each image, and how many images go together."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from toys import batch, network

from robustrun.attacks.ensemble import Ensemble
from robustrun.attacks.search.cascade import call_attack, run_batched_until_fooled
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import measure


def test_of_several_runs_at_once_the_worst_counts() -> None:
    margins = torch.tensor([[-3.0, -1.0, -2.0], [-1.0, 0.5, -3.0]])  # by run and image

    class Shows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([torch.zeros(len(x)), x.flatten(1)[:, 0]], dim=1)

    def work(left: Tensor, run: Tensor) -> Tensor:
        assert left.tolist() == [0, 1, 2, 0, 1, 2]
        assert run.tolist() == [0, 0, 0, 1, 1, 1]
        return margins[run, left].view(-1, 1, 1, 1)

    x, y = torch.full((3, 1, 1, 1), -2.5), torch.zeros(3, dtype=torch.long)
    found = run_batched_until_fooled(Shows(), x, y, lambda: (2, work), batch_size=6)
    assert found.flatten().tolist() == [-1.0, 0.5, -2.0]


@dataclass(frozen=True)
class Plain:
    """The signature that attacks had before `batch_size`, as a plugin may have it."""

    norm: str = "linf"
    epsilon: float = 0.1
    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        return (x + self.epsilon).clamp(0, 1)


class Filling(Plain):
    """Takes `batch_size`, and remembers what it was given."""

    given: ClassVar[list[int | None]] = []

    def __call__(  # type: ignore[override]
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        self.given.append(batch_size)
        return x


@pytest.mark.parametrize("size", [3, 7, None])
def test_only_an_attack_that_has_the_keyword_is_told_the_batch_size(size: int | None) -> None:
    x, y = torch.rand(2, 1, 2, 2), torch.zeros(2, dtype=torch.long)
    Filling.given.clear()
    call_attack(Filling(), nn.Identity(), x, y, None, size)
    assert Filling.given == [size]
    moved = call_attack(Plain(), nn.Identity(), x, y, None, size)
    assert torch.equal(moved, (x + 0.1).clamp(0, 1))


@pytest.mark.parametrize("size", [3, 5])
def test_an_evaluation_tells_every_part_of_an_ensemble_its_batch_size(size: int) -> None:
    model = network().eval()
    x, y = batch(model, 8)
    attacks: dict[str, Any] = {"plain": Plain(), "filling": Filling()}
    for attack in (Filling(), Ensemble("linf", 0.1, attacks)):
        Filling.given.clear()
        device = torch.device("cpu")
        images = TensorImages((x * 255).round().byte(), y)
        measure(model, images, 5, {"a": attack}, seed=0, batch_size=size, device=device)
        assert set(Filling.given) == {size}
    Filling.given.clear()
    Ensemble("linf", 0.1, {"filling": Filling()})(model, x, y, batch_size=size)
    assert Filling.given == [size]
