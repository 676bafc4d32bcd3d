"""The images of a batch that are still attacked: on a CPU and on what works ahead of it, the same
images, and how often the program waits."""

from typing import Any

import pytest
import torch
from host_reads import host_reads
from torch import Tensor, nn

from attacks.small_attacks import attack, stadv
from attacks.small_networks import EPSILON
from robustrun.attacks.search.active import ALL, ActiveImages, OpenRows
from robustrun.compute import accelerators
from robustrun.types import fills_batches

CPU = torch.device("cpu")
STEPPED = [
    ("pgd", "linf"),
    ("pgd", "l2"),
    ("mi_fgsm", "linf"),
    ("multi_targeted", "linf"),
    ("apgd_ce", "linf"),
    ("apgd_ce", "l2"),
    ("apgd_ce", "l1"),
    ("apgd_t", "linf"),
    ("fab_t", "linf"),
    ("fab_t", "l2"),
    ("fab_t", "l1"),
    ("fab", "linf"),
    ("square", "linf"),
    ("square", "l2"),
    ("square", "l1"),
    ("cw_l2", "l2"),
    ("fmn", "linf"),
    ("fmn", "l2"),
]


class RowByRow(nn.Module):
    """Sums over each image by itself: its logits are the same bits in a batch of any size."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(classes, 2, 6, 6, generator=random))
        self.shift = nn.Parameter(torch.rand(classes, 1, 1, 1, generator=random))

    def forward(self, x: Tensor) -> Tensor:
        pairs = zip(self.weight, self.shift, strict=True)
        return torch.stack([(w * (x - s).tanh()).flatten(1).sum(1) for w, s in pairs], dim=1)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says whether tensors count as computed on an accelerator."""
    return lambda is_so: monkeypatch.setattr(accelerators, "works_ahead", lambda x: is_so)


def batch(model: nn.Module, count: int, device: torch.device = CPU) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, 2, 6, 6, generator=torch.Generator().manual_seed(count)).to(device)
    return x, model(x).argmax(dim=1)


def steps(name: str, norm: str, number: int) -> Any:
    """The attack with so many steps, all its targets at once."""
    few = {"queries": number} if name == "square" else {"steps": number}
    few |= {"targets": 2} if name in ("apgd_t", "fab_t", "multi_targeted") else {}
    few |= {"searches": 1, "constant": 100.0, "lr": 0.1} if name == "cw_l2" else {}
    few |= {} if name in ("mi_fgsm", "cw_l2", "fmn") else {"restarts": 1}
    return attack(name, norm, EPSILON[norm], **few)


def room(its: Any) -> dict[str, int]:
    return {"batch_size": 10_000} if fills_batches(its) else {}


def test_images_are_stored_in_the_rows_that_are_left() -> None:
    x = torch.arange(4.0).view(4, 1, 1, 1)
    active = ActiveImages(x, 8)
    kept = active.leave(torch.tensor([False, True, False, False]), 10 * x)
    assert x[kept].flatten().tolist() == [0.0, 2.0, 3.0]
    assert active.leave(torch.tensor([False, False, False]), x[kept]) is ALL
    active.store(-x[[0, 2, 3]], torch.tensor([True, False, True]))
    assert active.images.flatten().tolist() == [0.0, 10.0, 2.0, -3.0]
    active.leave(torch.tensor([True, False, True]), 5 * x[kept])
    assert active.rows.tolist() == [2]
    active.store(x[[3]] + 5)
    assert active.images.flatten().tolist() == [0.0, 10.0, 8.0, 15.0]
    assert active.fooled.tolist() == [True, True, False, True]
    assert not active.empty
    active.leave(torch.tensor([True]), x[[2]])
    assert active.empty
    assert x.flatten().tolist() == [0.0, 1.0, 2.0, 3.0], "the batch itself stays"


def test_what_waits_is_counted() -> None:
    x = torch.arange(4.0)
    mask, rows = x > 1, torch.tensor([0, 2])
    waiting = [lambda: bool(mask.any()), lambda: x[mask], lambda: x.sum().item(), mask.nonzero]
    waiting += [lambda: x.clone().__setitem__(mask, x[:2]), lambda: torch.equal(x, x)]
    free = [lambda: x[rows], lambda: torch.where(mask, x, 0.0), lambda: x.argsort(stable=True)]
    for mode in (False, True):
        with torch.inference_mode(mode):
            assert [host_reads(work, CPU) for work in waiting] == [1] * len(waiting)
            assert [host_reads(work, CPU) for work in free] == [0] * len(free)


@pytest.mark.parametrize("waits", [False, True])
def test_all_rows_of_an_image_are_done_at_once_and_only_what_fools_is_stored(
    waits: bool, ahead: Any
) -> None:
    ahead(waits)
    x, image = torch.zeros(5, 1, 1, 1), torch.tensor([3, 7, 3, 7, 9])
    active = ActiveImages(x, 8, image)
    kept = active.leave(torch.tensor([False, False, True, False, False]), x + 1)  # first look
    assert torch.arange(5)[kept].tolist() == [1, 3, 4]
    assert active.images.flatten().tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert active.fooled.tolist() == [False, False, True, False, False]


def test_what_is_done_is_changed_no_more_until_the_next_look(ahead: Any) -> None:
    ahead(True)
    x = torch.zeros(3, 1, 1, 1)
    active = ActiveImages(x, 5)
    none, first = torch.tensor([False] * 3), torch.tensor([True, False, False])
    looks = []
    for step in range(1, 14):
        fooled = first if step == 3 else none
        kept = active.leave(first | none if step == 4 else fooled, x + step)
        looks.append(kept is not ALL)
        if step == 4:  # done since step 3: stays as it was then, and leaves at this look
            assert torch.arange(3)[kept].tolist() == [1, 2]
            x, none = x[1:], none[1:]
    assert looks == [step == 4 for step in range(1, 14)]
    assert active.images.flatten().tolist() == [3.0, 0.0, 0.0]


@pytest.mark.parametrize(("name", "norm"), STEPPED)
def test_the_images_are_the_same_whenever_rows_leave(name: str, norm: str, ahead: Any) -> None:
    model = RowByRow()
    x, y = batch(model, 24)
    found = []
    for waits in (False, True):
        ahead(waits)
        random = torch.Generator().manual_seed(3)
        its = steps(name, norm, 13)
        found.append(its(model, x, y, generator=random, **room(its)))
    stands = model(found[0]).argmax(dim=1) == y
    assert 0 < int(stands.sum()) < len(x), "an attack that decides nothing would show nothing"
    assert torch.equal(*found)


def test_what_moves_displacements_finds_the_same_whenever_rows_leave(ahead: Any) -> None:
    model = RowByRow()
    x, y = batch(model, 24)
    found = []
    for waits in (False, True):
        ahead(waits)
        found.append(stadv(steps=13)(model, x, y))
    assert torch.equal(*found)


@pytest.mark.device
@pytest.mark.parametrize(("name", "norm"), STEPPED)
def test_where_the_device_works_ahead_it_is_waited_for_at_looks_only(
    name: str, norm: str, device: torch.device, ahead: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead(True)
    looks = 0
    compacted = OpenRows._compacted

    def counted(rows: OpenRows) -> Any:
        nonlocal looks
        looks += 1
        return compacted(rows)

    monkeypatch.setattr(OpenRows, "_compacted", counted)
    model = RowByRow().to(device)
    x, y = batch(model, 24, device)
    waits, looked = [], []
    for number in (17, 41):
        looks, its = 0, steps(name, norm, number)
        work = lambda: its(model, x, y, **room(its))  # noqa: B023, E731
        waits.append(host_reads(work, device))
        looked.append(looks)
    assert waits[1] - waits[0] == looked[1] - looked[0], "more steps, more waits, but for looks"
    assert looked[1] <= 9, "after 1, 2, 4, 8, 16, 24, 32 and 40 steps; 1, 2, 4 ... 32 queries"
