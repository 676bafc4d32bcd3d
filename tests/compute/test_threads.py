"""Networks that are passed through in shares: the same function, and nobody notices."""

import os

import pytest
import torch
from torch import Tensor, nn

from robustrun.compute import processes, threads
from robustrun.compute.threads import (
    GIVEN,
    ROWS_PAY_FROM,
    ThreadParallel,
    free_cores,
    map_rows,
    set_parallelism,
    thread_parallel,
)


@pytest.fixture(autouse=True)
def _no_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """This container's own quota does not count."""
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)


@pytest.fixture
def shares(request: pytest.FixtureRequest) -> int:
    """As many as the test asks for, by default two."""
    count: int = getattr(request, "param", 2)
    set_parallelism(count)
    return count


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    first = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    second = [nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(128, 10)).eval()


def gradient(network: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    logits = network(x)
    loss = nn.functional.cross_entropy(logits, torch.arange(len(x)) % 10, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


@pytest.mark.parametrize("shares", [2, 3], indirect=True)
@pytest.mark.parametrize("images", [2, 7, 64])
def test_logits_and_input_gradients_stay(network: nn.Module, shares: int, images: int) -> None:
    x = torch.rand(images, 3, 16, 16)
    made = ThreadParallel(network, shares)
    with torch.no_grad():
        torch.testing.assert_close(made(x), network(x))
    with torch.inference_mode():
        torch.testing.assert_close(made(x), network(x))
    torch.testing.assert_close(gradient(made, x), gradient(network, x))


def test_a_graph_that_is_kept_gives_gradients_again(network: nn.Module) -> None:
    x = torch.rand(8, 3, 16, 16).requires_grad_()
    slopes = []
    for model in (network, ThreadParallel(network, 2)):
        logits = model(x)
        slopes.append(
            [torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0] for k in range(3)]
        )
    torch.testing.assert_close(*slopes)


def test_the_precision_around_it_holds_in_every_share(network: nn.Module) -> None:
    x = torch.rand(8, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, expected = ThreadParallel(network, 2)(x), network(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)


def test_weights_are_shared_and_the_mode_reaches_every_share(network: nn.Module) -> None:
    made = ThreadParallel(network, 3)
    assert len(list(made.parameters())) == len(list(network.parameters()))
    made.train()
    assert all(module.training for part in made.networks for module in part.modules())
    made.eval()


def test_work_on_rows_is_shared_out_where_it_is_enough(shares: int) -> None:
    seen: list[int] = []

    def work(x: Tensor, y: Tensor) -> Tensor:
        seen.append(len(x))
        return x * y[:, None]

    large, small = torch.rand(9, ROWS_PAY_FROM), torch.rand(9, 4)
    for x in (large, small):
        assert torch.equal(map_rows(work, x, torch.arange(9)), x * torch.arange(9)[:, None])
    assert sorted(seen) == [4, 5, 9]


def test_an_error_in_one_share_is_raised_once_all_are_done(shares: int) -> None:
    class Refuses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if float(x.min()) > 0.5:
                raise ValueError("too bright")
            return x.flatten(1)

    made, dark = ThreadParallel(Refuses(), shares), torch.zeros(2, 3, 4, 4)
    bright = torch.cat([torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)])
    with pytest.raises(ValueError, match="too bright"):
        made(bright)
    assert made(dark).shape == (2, 48)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x + torch.rand_like(x)).flatten(1)


class AcrossTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean()).flatten(1)


class NotToBeCopied(nn.Module):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class CopiesAll(nn.Module):
    """As TorchScript does: a copy has weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(48))

    def __deepcopy__(self, memo: object) -> nn.Module:
        return CopiesAll()

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) + self.bias


@pytest.mark.parametrize("kind", [Noisy, AcrossTheBatch, NotToBeCopied, CopiesAll])
def test_a_network_that_is_another_in_shares_stays_whole(
    shares: int, kind: type[nn.Module]
) -> None:
    model = kind()
    assert thread_parallel(model, torch.rand(8, 3, 4, 4)) is model


def test_nothing_is_shared_out_unless_asked_for(network: nn.Module) -> None:
    assert thread_parallel(network, torch.rand(8, 3, 16, 16)) is network


def test_what_a_forward_pass_leaves_in_a_network_stays_in_its_share(shares: int) -> None:
    class Remembers(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            pause = torch.rand(300, 300)
            (pause @ pause @ pause).sum()  # time for another share to come between
            return self.seen.flatten(1)

    made, x = thread_parallel(Remembers(), torch.rand(64, 3, 4, 4)), torch.rand(64, 3, 4, 4)
    assert isinstance(made, ThreadParallel)
    for _ in range(20):
        assert torch.equal(made(x), x.flatten(1))


class Deaf(nn.Module):
    """No gradient comes back from dark images; `trains`: the weight has one all the same."""

    def __init__(self, trains: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 2.0), requires_grad=trains)

    def forward(self, x: Tensor) -> Tensor:
        return (x if float(x.detach().max()) > 0.5 else x.detach()).flatten(1) * self.weight


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_share_without_a_gradient_gives_zero(level: float, trains: bool) -> None:
    x = torch.cat([torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), level)]).requires_grad_()
    slope = torch.autograd.grad(ThreadParallel(Deaf(trains), 2)(x).sum(), x)[0]
    assert torch.equal(slope, 2 * x.detach())


def test_few_images_are_computed_by_all_threads_together() -> None:
    seen: list[tuple[int, int]] = []

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append((len(x), torch.get_num_threads()))
            return x.flatten(1)

    shared, x = ThreadParallel(Looks(), 4), torch.rand(2, 1, 2, 2)
    before = torch.get_num_threads()
    assert torch.equal(shared(x), x.flatten(1))
    assert sorted(seen) == [(1, 2), (1, 2)]
    seen.clear()
    shared(x[:1])
    assert seen == [(1, 4)]
    assert torch.get_num_threads() == before
    at_least_two = ThreadParallel(Looks(), 4, smallest=2)
    seen.clear()
    at_least_two(torch.rand(5, 1, 2, 2))
    assert sorted(seen) == [(2, 1), (3, 1)]


def test_where_the_system_does_not_say_which_cores_all_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    assert free_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert free_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert free_cores() == 1


@pytest.mark.parametrize(
    ("given", "cores"),
    [
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"SLURM_CPUS_PER_TASK": "3"}, 3),
        ({"OMP_NUM_THREADS": "4", "SLURM_CPUS_PER_TASK": "1"}, 1),
        ({"OMP_NUM_THREADS": "64"}, 8),  # more than there are
        ({"OMP_NUM_THREADS": "4,2"}, 8),  # of nested levels: not read
        ({"OMP_NUM_THREADS": "0"}, 8),
    ],
)
def test_a_run_takes_no_more_cores_than_it_was_given(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert free_cores() == cores


def test_processes_of_a_run_divide_the_cores_whatever_torchrun_gives_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(processes, "on_these_cores", lambda: 4)
    assert free_cores() == 2


@pytest.mark.parametrize(("quota", "cores"), [(1.5, 2), (2.0, 2), (0.2, 1), (64.0, 8)])
def test_a_containers_quota_rounded_up_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch, quota: float, cores: int
) -> None:
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert free_cores() == cores
