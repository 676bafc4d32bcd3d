"""The learning rate over a run, step by step."""

import pytest

from robustrun.errors import ConfigError
from robustrun.schedules import Constant, Cosine, MultiStep, OneCycle


def trace(schedule, steps: int) -> list[float]:
    return [schedule.factor(step / steps) for step in range(steps)]


def test_multistep_drops_at_its_milestones_and_never_compounds() -> None:
    # 8 epochs of 5 steps, drops at 60/80 and 75/80 of the run as RoBal's are meant to be.
    rates = trace(MultiStep((60 / 80, 75 / 80), 0.1, 0.0), 80)
    assert rates[:60] == [1.0] * 60
    assert rates[60:75] == pytest.approx([0.1] * 15)
    assert rates[75:] == pytest.approx([0.01] * 5)


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 391])
def test_a_milestone_falls_on_the_first_step_of_its_epoch(steps_per_epoch: int) -> None:
    rates = trace(MultiStep((74 / 76,), 0.1, 0.0), 76 * steps_per_epoch)
    assert rates.index(0.1) == 74 * steps_per_epoch


def test_warm_up_grows_linearly_and_then_lets_go() -> None:
    rates = trace(MultiStep((0.5,), 0.1, 0.25), 8)
    assert rates == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1])
    assert trace(Constant(0.25), 8) == pytest.approx([0.0, 0.5, *[1.0] * 6])


def test_one_cycle_is_a_triangle() -> None:
    assert trace(OneCycle(0.5), 8) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    assert OneCycle(0.5).factor(1.0) == 0


def test_cosine_falls_from_one_to_zero_through_a_half() -> None:
    assert trace(Cosine(0.0), 4) == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466])
    assert Cosine(0.0).factor(1.0) == pytest.approx(0.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MultiStep((0.0,), 0.1, 0.0),
        lambda: MultiStep((1.1,), 0.1, 0.0),
        lambda: MultiStep((), 0.0, 0.0),
        lambda: Constant(1.0),
        lambda: OneCycle(0.0),
        lambda: Cosine(-0.1),
    ],
)
def test_what_is_no_share_of_a_run_is_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()
