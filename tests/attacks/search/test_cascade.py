"""Attacks one after another: what is kept of each image, and how many images go together."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from attacks.small_attacks import attack
from attacks.small_networks import (
    EPSILON,
    batch,
    network,
    right,
)
from robustrun.attacks import apgd, fab
from robustrun.attacks.ensemble import Ensemble
from robustrun.attacks.search.cascade import (
    call_attack,
    run_batched_until_fooled,
    run_until_fooled,
)
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting


@pytest.mark.parametrize(("name", "norm"), [("apgd_t", "linf"), ("fab_t", "l2"), ("fab", "l1")])
def test_runs_that_are_done_at_once_find_what_they_find_in_turn(
    name: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same start for each image, whatever is drawn with it.
    for module in (apgd, fab):
        monkeypatch.setattr(
            module, "sphere_start", lambda x, *_: (x + 0.01 * (x - 0.5)).clamp(0, 1)
        )
    model = network()
    x, y = batch(model, 12)
    more = {"restarts": 3} if name == "fab" else {"restarts": 1, "targets": 2}
    its = attack(name, norm, EPSILON[norm] / 2, steps=12, **more)
    found, passes = [], []
    for room in (1, 12, 1000):
        sizes: list[int] = []
        handle = model.register_forward_hook(lambda _, i, __: sizes.append(len(i[0])))  # noqa: B023
        found.append(its(model, x, y, batch_size=room))
        handle.remove()
        passes.append(len(sizes))
        assert max(sizes) <= max(room, 12)
    assert passes[0] > passes[2], "what was done at once needed no pass of its own"
    stands = [right(model, images, y) for images in found]
    assert 0 < int(stands[0].sum()) < 12
    assert all(torch.equal(stands[0], those) for those in stands[1:])
    # Sums over other batches round differently, and steps carry that on; an image that several
    # runs turn is returned as the first of them left it.
    left = stands[0]
    assert all((found[0] - images)[left].abs().max() < 1e-4 for images in found[1:])


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


@pytest.mark.parametrize("batched", [False, True])
def test_a_run_is_asked_for_what_is_left_and_none_once_nothing_is(batched: bool) -> None:
    class Shows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([torch.zeros(len(x), 1), x.flatten(1)], dim=1)

    asked: list[list[int]] = []

    def run(left: Tensor, number: Tensor | None = None) -> Tensor:
        """Turns the first that is left, and leaves the others nearer than they were."""
        asked.append(left.tolist())
        return torch.tensor([1.0] + [-0.5] * (len(left) - 1)).view(-1, 1, 1, 1)

    x, y = torch.tensor([-2.0, 3.0, -1.0]).view(3, 1, 1, 1), torch.zeros(3, dtype=torch.long)
    if batched:
        found = run_batched_until_fooled(Shows(), x, y, lambda: (4, run), batch_size=1)
    else:
        found = run_until_fooled(Shows(), x, y, [run] * 4)
    # A batch of three images, which stays as full where a run may be done several times at once.
    assert asked == [[0, 2], [2] * (3 if batched else 1)]
    assert found.flatten().tolist() == [1.0, 3.0, 1.0]
    asked.clear()
    one = run_until_fooled(Shows(), x, y, [run])
    assert one.flatten().tolist() == [1.0, 3.0, -0.5]
    wrong = run_until_fooled(Shows(), x, y + 1, [run]).flatten().tolist()
    assert wrong == [-2.0, 1.0, -1.0], "what is wrong already is left alone"


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
    for its in (Filling(), Ensemble("linf", 0.1, attacks)):
        Filling.given.clear()
        device = torch.device("cpu")
        images = TensorImages((x * 255).round().byte(), y)
        measure(model, images, 5, accuracies({"a": its}), Setting(0, size, device))
        assert set(Filling.given) == {size}
    Filling.given.clear()
    Ensemble("linf", 0.1, {"filling": Filling()})(model, x, y, batch_size=size)
    assert Filling.given == [size]
