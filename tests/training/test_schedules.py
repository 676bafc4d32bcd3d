"""The learning rate and the momentum over a run, step by step."""

import pytest
import torch

from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.errors import ConfigError
from robustrun.training.optimizers import set_momentum
from robustrun.training.schedules import Constant, Cosine, MultiStep, OneCycle, warm_up


def trace(schedule, steps: int) -> list[float]:
    return [schedule.factor(step / steps) for step in range(steps)]


def test_multistep_drops_at_its_milestones_and_never_compounds() -> None:
    # 8 epochs of 5 steps, drops at 60/80 and 75/80 of the run as RoBal's are meant to be.
    rates = trace(MultiStep((60 / 80, 75 / 80), 0.1), 80)
    assert rates[:60] == [1.0] * 60
    assert rates[60:75] == pytest.approx([0.1] * 15)
    assert rates[75:] == pytest.approx([0.01] * 5)


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 391])
def test_a_milestone_falls_on_the_first_step_of_its_epoch(steps_per_epoch: int) -> None:
    rates = trace(MultiStep((74 / 76,), 0.1), 76 * steps_per_epoch)
    assert rates.index(0.1) == 74 * steps_per_epoch


def test_a_constant_rate_is_one_throughout() -> None:
    assert trace(Constant(), 3) == [1.0, 1.0, 1.0]


def test_warm_up_grows_linearly_and_then_lets_go() -> None:
    factors = [warm_up(step / 8, 0.25) for step in range(8)]
    assert factors == pytest.approx([0.0, 0.5, *[1.0] * 6])
    assert warm_up(0.0, 0.0) == 1.0


def triangle(peak: float) -> OneCycle:
    return OneCycle(peak, "line", 0.0, 0.0, None, None, 1.0)


def as_torch(
    peak: float, moves: int | None, length: float = 1.0, shape: str = "cosine"
) -> OneCycle:
    """One cycle with the defaults of PyTorch's OneCycleLR."""
    return OneCycle(peak, shape, 1 / 25, 1 / 250_000, (0.95, 0.85), moves, length)


def torch_trace(total: int, moves: int, peak: float, shape: str) -> list[tuple[float, float]]:
    """Rate and momentum of PyTorch's own scheduler before each of `moves` steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=total, pct_start=peak, anneal_strategy=shape
    )
    values = []
    for _ in range(moves):
        (group,) = optimizer.param_groups
        values.append((group["lr"], group["momentum"]))
        optimizer.step()
        if len(values) < total:
            cycle.step()
    return values


def test_one_cycle_is_a_triangle() -> None:
    assert trace(triangle(0.5), 8) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    assert triangle(0.5).factor(1.0) == 0
    assert triangle(0.5).momentum_at(0.3) is None


def test_a_triangle_has_the_bits_it_always_had() -> None:
    for step in range(391):
        share = step / 391
        old = share / 0.3 if share < 0.3 else (1 - share) / (1 - 0.3)
        assert triangle(0.3).factor(share) == old


@pytest.mark.parametrize("shape", ["cosine", "line"])
@pytest.mark.parametrize(
    ("moves", "length", "peak"),
    [(100, 1, 0.3), (50, 4, 0.3), (30, 1, 0.25), (400, 1, 0.025), (7, 1, 0.9), (3, 1, 0.5)],
)
def test_one_cycle_is_pytorchs_trace_of_rate_and_momentum(
    moves: int, length: int, peak: float, shape: str
) -> None:
    mine = as_torch(peak, moves, length, shape)
    theirs = torch_trace(moves * length, moves, peak, {"line": "linear"}.get(shape, "cos"))
    for per_move in (1, 3, 391):  # one step a move, or many: within a move nothing changes
        for move, (rate, momentum) in enumerate(theirs):
            for step in {0, per_move // 2, per_move - 1}:
                share = (move * per_move + step) / (moves * per_move)
                assert mine.factor(share) == pytest.approx(rate, rel=1e-9, abs=1e-12)
                assert mine.momentum_at(share) == pytest.approx(momentum, rel=1e-12)


def test_one_cycle_that_moves_with_every_step_is_what_pytorch_tends_to() -> None:
    steps = 20_000
    mine, theirs = as_torch(0.3, None), torch_trace(steps, steps, 0.3, "cos")
    for step in range(0, steps, 97):
        rate, momentum = theirs[step]
        # PyTorch counts one interval less on either side of the peak: two steps of a slope that is
        # at most pi / 2 / 0.3 a run.
        assert mine.factor(step / steps) == pytest.approx(rate, abs=6e-4)
        assert mine.momentum_at(step / steps) == pytest.approx(momentum, abs=6e-5)


def test_the_benchmarks_rates_and_momenta_are_those_of_its_epochs() -> None:
    published = {  # epoch: rate, momentum, computed with the benchmark's own scheduler
        0: (0.004, 0.95),
        15: (0.0546, 0.8973),
        29: (0.1, 0.85),
        50: (0.0794, 0.8706),
        70: (0.0367, 0.9133),
        90: (0.0040, 0.946),
    }
    for name in ("fast_at", "n_fgsm", "pgd_at"):
        made = load_config(compose_config([f"+experiment=fastat_{name}_resnet18"]))
        for epoch, (rate, momentum) in published.items():
            share = (epoch + 0.99) / 100
            assert made.optimizer.lr * made.schedule.factor(share) == pytest.approx(rate, abs=5e-5)
            assert made.schedule.momentum_at(share) == pytest.approx(momentum, abs=5e-5)
    free = load_config(compose_config(["+experiment=fastat_free_at_resnet18"]))
    assert free.training.epochs == 50
    ends = [(free.optimizer.lr * free.schedule.factor(s), free.schedule.momentum_at(s))
            for s in (0, 49 / 50)]  # fmt: skip
    assert ends[0] == pytest.approx((0.004, 0.95))
    assert ends[1] == pytest.approx((0.0934, 0.857), abs=5e-4)


def test_momentum_is_set_where_an_optimizer_has_it() -> None:
    sgd, adam = {"momentum": 0.9}, {"betas": (0.9, 0.999)}
    set_momentum(sgd, 0.85)
    set_momentum(adam, 0.85)
    assert (sgd["momentum"], adam["betas"]) == (0.85, (0.85, 0.999))
    with pytest.raises(ConfigError, match=r"schedule\.momentum"):
        set_momentum({"lr": 0.1}, 0.85)


def test_cosine_falls_from_one_to_zero_through_a_half() -> None:
    assert trace(Cosine(), 4) == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466])
    assert Cosine().factor(1.0) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MultiStep((0.0,), 0.1),
        lambda: MultiStep((1.1,), 0.1),
        lambda: MultiStep((), 0.0),
        lambda: triangle(0.0),
        lambda: OneCycle(0.5, "line", 1.1, 0.0, None, None, 1.0),
        lambda: OneCycle(0.5, "line", 0.0, -0.1, None, None, 1.0),
        lambda: OneCycle(0.5, "line", 0.0, 0.0, (0.95, 1.0), None, 1.0),
        lambda: OneCycle(0.5, "line", 0.0, 0.0, None, 0, 1.0),
        lambda: OneCycle(0.5, "line", 0.0, 0.0, None, None, 0.5),
    ],
)
def test_what_is_no_share_of_a_run_is_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()
