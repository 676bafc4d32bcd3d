"""The training loop: order, selection, averaging, clipping and what stops it."""

import copy
import math
import random
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustrun.attacks.fgsm import FGSM
from robustrun.compute import random_state
from robustrun.configuration import run_config
from robustrun.configuration.decoding import decode, dump
from robustrun.datasets.augmentation import Augment
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import ConfigError, RunFailure
from robustrun.methods.standard import Standard
from robustrun.training.batching import Batching, shuffled
from robustrun.training.fit import fit, progress_line, train_batch
from robustrun.training.metrics import EpochMetrics
from robustrun.training.optimizers import SGD, AdamW
from robustrun.training.overfitting import packed
from robustrun.training.schedules import Constant, MultiStep, OneCycle
from robustrun.training.settings import Training, TrainingPlan
from robustrun.training.state import TrainingResult
from robustrun.training.validation import Validation
from robustrun.training.weight_average import WeightAverage
from robustrun.types import Runtime
from tests.learners import sgd_learner

CPU = torch.device("cpu")
RUNTIME = Runtime(CPU, "test", 1, 1, "float32", False, torch.contiguous_format)


@dataclass
class Recorder:
    """A method that trains by cross-entropy and notes what it was given."""

    seen: list[list[int]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    loss_after: int | None = None

    def step(self, learner: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.seen.append((x[:, 0, 0, 0] * 100).round().int().tolist())
        self.rates.append(learner.lr)
        self.progress.append(learner.progress)
        loss = F.cross_entropy(learner.model(x), y)
        learner.update(loss)
        broken = self.loss_after is not None and len(self.seen) > self.loss_after
        return loss * float("nan") if broken else loss


def images(count: int = 10) -> TensorImages:
    pixels = (torch.arange(count) / 100).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return TensorImages(pixels, torch.arange(count) % 2)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def plan(**changes: Any) -> Training:
    settings: dict[str, Any] = {
        "epochs": 2,
        "seconds": None,
        "batch_size": 4,
        "freeze": (),
        "validation_fraction": 0.2,
        "validation_every": 1,
        "select": "last",
        "warmup": 0.0,
        "gradient_clip": None,
        "label_smoothing": 0.0,
        "weight_perturbation": 0.0,
        "weight_perturbation_warmup": 0.0,
        "ema_decay": None,
        "ema_buffers": "average",
        "ema_warmup": True,
        "ema_start": 0.0,
        "on_nonfinite": "stop",
        "on_collapse": "warn",
        "checkpoint_minutes": 10.0,
        "checkpoint_steps": None,
        "validation_attack": FGSM("linf", 0.0),
    }
    return Training(**settings | changes)


def train(method: Recorder, validation: TensorImages | None = None, **changes: Any):
    rows: list[EpochMetrics] = []
    model = network()
    fitted = fit(
        model,
        method,
        images(),
        validation,
        torch.tensor([5, 5]),
        TrainingPlan(
            plan(**changes), SGD(0.5, 0.9, False, 0.0), MultiStep((0.5,), 0.1), RUNTIME, 3
        ),
        lambda history: rows.append(history[-1]),
    )
    return fitted, rows, model


def test_every_image_comes_once_an_epoch_in_an_order_of_seed_and_epoch() -> None:
    method = Recorder()
    train(method)
    first, second = list(chain(*method.seen[:3])), list(chain(*method.seen[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    again = [y for _, y in shuffled(images(), Batching(4), 3, 1, CPU)]
    assert torch.cat(again).tolist() == [value % 2 for value in first]


def test_the_rate_follows_the_schedule_and_progress_the_batches() -> None:
    method = Recorder()
    train(method)
    assert method.rates == pytest.approx([0.5, 0.5, 0.5, 0.05, 0.05, 0.05])
    assert method.progress == pytest.approx([step / 6 for step in range(6)])


def test_the_rate_warms_up_under_any_schedule() -> None:
    method = Recorder()
    train(method, warmup=0.5)  # three of six steps; then the milestone
    assert method.rates == pytest.approx([0.0, 0.5 / 3, 1.0 / 3, 0.05, 0.05, 0.05])


def test_each_parameter_group_keeps_its_own_rate() -> None:
    class SlowHead:
        """The head's bias at a tenth of the rate."""

        def build(self, model: nn.Module) -> torch.optim.Optimizer:
            weight, bias = model.parameters()
            return torch.optim.SGD([{"params": weight}, {"params": bias, "lr": 0.05}], lr=0.5)

    class Rates(Recorder):
        def step(self, learner: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.groups.append([group["lr"] for group in learner.optimizer.param_groups])
            return super().step(learner, x, y)

    method = Rates()
    method.groups = []
    how = TrainingPlan(plan(), SlowHead(), MultiStep((0.5,), 0.1), RUNTIME, 3)
    fit(network(), method, images(), None, torch.tensor([5, 5]), how, lambda history: None)
    assert method.groups[0] == pytest.approx([0.5, 0.05])
    assert method.groups[-1] == pytest.approx([0.05, 0.005])


def test_labels_are_smoothed_for_any_method_whose_loss_says_how() -> None:
    smoothed = {}
    for smoothing in (0.0, 0.3):
        learner = sgd_learner(network(), torch.tensor([5, 5]), label_smoothing=smoothing)
        x, y = next(images().batches(8))
        loss = train_batch(learner, Standard(), x, y)
        smoothed[smoothing] = F.cross_entropy(network()(x), y, label_smoothing=smoothing)
        torch.testing.assert_close(loss.detach(), smoothed[smoothing].detach())
    assert smoothed[0.3] != smoothed[0.0]


def test_smoothing_labels_that_no_loss_would_see_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"label_smoothing is 0\.1, but Recorder has no cross"):
        train(Recorder(), label_smoothing=0.1)


@pytest.mark.parametrize("optimizer", [SGD(0.5, 0.9, False, 0.0), AdamW(0.5, (0.9, 0.99), 0.0)])
def test_the_momentum_follows_a_schedule_that_cycles_it(optimizer: Any) -> None:
    class Momenta(Recorder):
        def step(self, learner: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            (group,) = learner.optimizer.param_groups
            self.momenta.append(group.get("momentum", group.get("betas", [None])[0]))
            return super().step(learner, x, y)

    method = Momenta()
    method.momenta = []
    cycle = OneCycle(0.5, "line", 0.5, 0.0, (0.95, 0.85), 4, 1.0)  # peak at the second of 4 moves
    how = TrainingPlan(plan(epochs=4), optimizer, cycle, RUNTIME, 3)
    fit(network(), method, images(), None, torch.tensor([5, 5]), how, lambda history: None)
    assert method.momenta == pytest.approx([0.95] * 3 + [0.85] * 3 + [0.9] * 3 + [0.95] * 3)
    assert method.rates == pytest.approx([0.25] * 3 + [0.5] * 3 + [0.25] * 3 + [0.0] * 3)


def test_training_is_repeatable_to_the_bit() -> None:
    one, _, _ = train(Recorder())
    two, _, _ = train(Recorder())
    assert all(torch.equal(one.last[name], two.last[name]) for name in one.last)


def test_the_best_epoch_on_validation_is_kept_and_a_tie_goes_to_the_later() -> None:
    validation = images(4)
    fitted, rows, _ = train(Recorder(), validation, epochs=6, select="best_clean")
    scores = [row.validation_clean_accuracy for row in rows]
    latest_best = max(range(6), key=lambda epoch: (scores[epoch], epoch)) + 1
    assert fitted.selected_epoch == latest_best
    model = network()
    model.load_state_dict(fitted.best)
    found = (model(validation.pixels).argmax(1) == validation.labels).float().mean()
    assert float(found) == max(scores)


def test_without_validation_the_last_weights_are_kept() -> None:
    fitted, rows, model = train(Recorder())
    assert fitted.selected_epoch == 2
    assert rows[0].validation_clean_accuracy is None
    assert all(torch.equal(fitted.best[k], v) for k, v in model.state_dict().items())


def with_batch_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


def moved(model: nn.Module, step: int) -> None:
    """Change every weight, and batch norm's statistics with one more batch."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += step * torch.randn_like(parameter)
    model.train()(torch.rand(4, 1, 2, 2))


STATISTICS = ("2.running_mean", "2.running_var")


@pytest.mark.parametrize("warmup", [True, False])
@pytest.mark.parametrize("start", [0.0, 0.25])
@pytest.mark.parametrize("buffers", ["average", "copy", "recompute"])
def test_the_average_is_the_formula(buffers: Any, start: float, warmup: bool) -> None:
    model = with_batch_norm()
    average = WeightAverage(model, 0.6, buffers, warmup, start)
    expected = {k: v.double() for k, v in model.state_dict().items()}
    updates, steps = 0, 12
    for step in range(steps):
        moved(model, step + 1)
        average.update(model, step / steps)
        updates += step >= start * steps
        decay = min(0.6, updates / (updates + 9)) if warmup else 0.6
        for name, value in model.state_dict().items():
            follows = updates == 0 or name.endswith("tracked")
            if follows or (buffers != "average" and name in STATISTICS):
                expected[name] = value.double()
            else:
                expected[name] = decay * expected[name] + (1 - decay) * value.double()
    assert updates == (12 if start == 0 else 9)
    for name, value in expected.items():
        # float32 arithmetic of a dozen updates on values below 100: some units in the last place
        torch.testing.assert_close(
            average.state[name].double(), value.double(), rtol=1e-5, atol=1e-4, msg=name
        )
    assert int(average.state["2.num_batches_tracked"]) == steps


def test_an_average_that_chooses_nothing_has_the_bits_it_always_had() -> None:
    model = with_batch_norm()
    average = WeightAverage(model, 0.9, "average", True, 0.0)
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    for updates in range(1, 20):
        moved(model, updates)
        average.update(model, updates / 20)
        decay = min(0.9, updates / (updates + 9))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                state[name].lerp_(value.detach(), 1 - decay)
            else:
                state[name].copy_(value)
    assert all(torch.equal(average.state[name], value) for name, value in state.items())
    unchosen = {k: v for k, v in dump(plan()).items() if k not in Training.ADDED_LATER}
    run_config.plugins.load()
    assert decode(Training, unchosen, "training") == plan()


def test_the_average_is_what_is_kept_and_validated() -> None:
    validation = images(4)
    fitted, rows, trained = train(Recorder(), validation, ema_decay=0.5)
    assert not torch.equal(fitted.last["1.weight"], trained[1].weight)
    model = network()
    model.load_state_dict(fitted.last)
    found = (model(validation.pixels).argmax(1) == validation.labels).float().mean()
    assert float(found) == rows[-1].validation_clean_accuracy


def test_recomputed_statistics_are_those_of_the_averaged_weights_on_the_training_images() -> None:
    data = TensorImages(torch.rand(10, 1, 2, 2), torch.arange(10) % 2)

    def fitted(buffers: str) -> tuple[TrainingResult, nn.Module]:
        model = with_batch_norm()
        settings = plan(epochs=3, ema_decay=0.8, ema_buffers=buffers, batch_size=5)
        how = TrainingPlan(settings, SGD(0.5, 0.9, False, 0.0), Constant(), RUNTIME, 3)
        counts = torch.tensor([5, 5])
        return fit(model, Recorder(), data, None, counts, how, lambda history: None), model

    recomputed, trained = fitted("recompute")
    weight, bias = recomputed.last["1.weight"].double(), recomputed.last["1.bias"].double()
    means, variances = [], []
    for x, _ in shuffled(data, Batching(5), 3, 3, CPU):  # the last epoch's batches
        hidden = x.flatten(1).double() @ weight.T + bias
        means.append(hidden.mean(0))
        variances.append(hidden.var(0, unbiased=True))
    for name, values in zip(STATISTICS, (means, variances), strict=True):
        expected = torch.stack(values).mean(0)
        torch.testing.assert_close(recomputed.last[name].double(), expected, rtol=1e-5, atol=1e-6)
    copied, same = fitted("copy")
    for name in STATISTICS:
        assert torch.equal(copied.last[name], same.state_dict()[name])
        assert not torch.allclose(copied.last[name], recomputed.last[name], atol=1e-3)
    averaged, again = fitted("average")
    for name, value in trained.state_dict().items():  # the training itself is the same
        assert torch.equal(value, same.state_dict()[name])
        assert torch.equal(value, again.state_dict()[name])
    assert torch.equal(averaged.last["1.weight"], recomputed.last["1.weight"])
    assert not torch.allclose(averaged.last[STATISTICS[0]], copied.last[STATISTICS[0]], atol=1e-3)


def test_gradients_are_clipped_by_value() -> None:
    fitted, _, _ = train(Recorder(), gradient_clip=1e-9)
    # 6 steps of at most 0.5 * 1e-9 / (1 - 0.9): the weights cannot have moved by more
    assert torch.allclose(fitted.last["1.weight"], network()[1].weight, atol=6 * 5e-9)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where() -> None:
    with pytest.raises(RunFailure, match=r"epoch 2, step 5, learning rate 0\.05"):
        train(Recorder(loss_after=4))


def test_bfloat16_trains_and_leaves_float32_weights() -> None:
    model = network()
    low = Runtime(CPU, "test", 1, 1, "bfloat16", False, torch.channels_last)
    kinds = []

    class Method:
        def step(self, learner, x, y):
            kinds.append(learner.model(x).dtype)
            loss = F.cross_entropy(learner.model(x), y)
            learner.update(loss)
            return loss

    fit(
        model,
        Method(),
        images(),
        None,
        torch.tensor([5, 5]),
        TrainingPlan(plan(), AdamW(1e-3, (0.9, 0.999), 0.0), Constant(), low, 0),
        lambda history: None,
    )
    assert set(kinds) == {torch.bfloat16}
    assert model[1].weight.dtype == torch.float32


def test_validation_images_are_not_augmented() -> None:
    shifted = TensorImages(torch.rand(50, 1, 4, 4), torch.zeros(50).long(), Augment(1, True))
    plain = torch.cat([x for x, _ in shifted.plain().batches(10)])
    assert torch.equal(plain, shifted.pixels)
    assert not torch.equal(torch.cat([x for x, _ in shifted.batches(10)]), shifted.pixels)


class Kept:
    """Keeps a training's state after every step, as a checkpoint would hold it."""

    def __init__(self) -> None:
        self.states: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def due(self, steps: int, epoch_ended: bool) -> bool:
        return True

    def save(self, state: dict[str, Any]) -> None:
        self.states.append((copy.deepcopy(state), random_state.rng_state()))


class Noisy:
    """Draws from every generator, and remembers."""

    def step(self, learner: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        drawn = random.random() + np.random.rand() + np.random.randn()
        memory = learner.memory.setdefault("sum", torch.zeros(()))
        memory += drawn
        noise = 0.1 * torch.randn_like(x) * (1 + memory)
        loss = F.cross_entropy(learner.model(x + noise), y)
        learner.update(loss)
        return loss


@pytest.mark.parametrize("count", [10, 9])  # of 9, the last joins the second batch
@pytest.mark.parametrize(
    ("decay", "buffers"), [(None, "average"), (0.9, "average"), (0.9, "copy"), (0.9, "recompute")]
)
def test_training_goes_on_from_any_step_to_the_same_bits(
    decay: float | None, buffers: str, count: int
) -> None:
    pixels = torch.rand(count, 1, 4, 4)
    data = TensorImages(pixels, torch.arange(count) % 2, Augment(1, True))

    def trained(**more: Any) -> tuple[TrainingResult, list[EpochMetrics]]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))
        settings = plan(epochs=3, ema_decay=decay, ema_buffers=buffers, select="best_clean")
        sgd, rate = SGD(0.5, 0.9, False, 0.0), MultiStep((0.5,), 0.1)
        how = TrainingPlan(settings, sgd, rate, RUNTIME, 3)
        if "start" in more:
            more["start"], rng = more["start"]
            random_state.restore_rng(rng)
        rows: list[list[EpochMetrics]] = []
        counts = torch.tensor([5, 5])
        fitted = fit(model, Noisy(), data, data.plain(), counts, how, rows.append, **more)
        return fitted, rows[-1] if rows else []

    random.seed(1)
    np.random.seed(1)
    kept = Kept()
    whole, history = trained(checkpointer=kept)
    steps = 3 if count == 10 else 2
    assert len(kept.states) == 3 * (steps + 1), "its steps and an end in each of three epochs"
    for state in kept.states:
        again, _ = trained(start=copy.deepcopy(state))
        for name, value in whole.last.items():
            assert torch.equal(again.last[name], value)
            assert torch.equal(again.best[name], whole.best[name])
        timeless = [replace(row, seconds=0.0) for row in again.history]
        assert timeless == [replace(row, seconds=0.0) for row in history]


def test_a_step_whose_loss_is_not_finite_is_left_out_if_so_asked() -> None:
    class Breaks(Recorder):
        def step(self, learner: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.seen.append([])
            loss = F.cross_entropy(learner.model(x), y)
            loss = loss * float("nan") if len(self.seen) == 2 else loss
            learner.update(loss)
            return loss

    fitted, rows, _ = train(Breaks(), on_nonfinite="skip")
    assert (fitted.skipped, fitted.steps) == (1, 5)
    assert all(math.isfinite(row.train_loss) for row in rows)
    assert all(value.isfinite().all() for value in fitted.last.values())
    with pytest.raises(RunFailure, match="steps were left out"):
        train(AlwaysNan(), on_nonfinite="skip", epochs=5)


class AlwaysNan:
    def step(self, learner: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = learner.model(x).sum() * float("nan")
        learner.update(loss)
        return loss


@pytest.mark.parametrize(("action", "epochs"), [("warn", 6), ("stop", 3), ("restore", 3)])
def test_a_collapse_ends_training_and_brings_back_the_robust_weights_if_so_asked(
    action: str, epochs: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shares = iter([0.3, 0.6, 0.1, 0.1, 0.1, 0.1])

    def validate(*_: Any) -> Validation:
        share = next(shares)
        return Validation(0.9, 0.9, share, packed(np.arange(100) < 100 * share))

    monkeypatch.setattr("robustrun.training.validation._validate", validate)
    fitted, rows, _ = train(Recorder(), images(4), epochs=6, on_collapse=action)
    assert len(rows) == epochs
    assert "catastrophic overfitting at epoch 3" in caplog.text
    assert fitted.overfitting[0].epoch == 3
    assert fitted.selected_epoch == (2 if action == "restore" else epochs)


def test_what_a_resumed_training_finds_includes_the_epochs_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checkpoint from before verdicts were kept is gone on from as well: its epochs count no
    more."""
    share = {1: 0.3, 2: 0.6, 3: 0.5, 4: 0.1, 5: 0.1}

    def validate(*of: Any) -> Validation:
        robust = share[of[-1]]
        return Validation(0.9, 0.9, robust, packed(np.arange(100) < 100 * robust))

    monkeypatch.setattr("robustrun.training.validation._validate", validate)
    kept = Kept()
    data, how = (
        images(),
        TrainingPlan(plan(epochs=5), SGD(0.5, 0.9, False, 0.0), Constant(), RUNTIME, 3),
    )
    counts = torch.tensor([5, 5])

    def trained(**more: Any) -> TrainingResult:
        return fit(network(), Recorder(), data, data, counts, how, lambda _: None, **more)

    whole = trained(checkpointer=kept)
    assert [(c.kind, c.best_epoch) for c in whole.overfitting] == [("catastrophic_overfitting", 2)]
    third = next(state for state, _ in kept.states if len(state["history"]) == 3)
    assert trained(start=copy.deepcopy(third)).overfitting == whole.overfitting
    del third["verdicts"]
    assert trained(start=third).overfitting == []


def test_a_training_is_told_with_the_accuracies_of_its_last_epoch() -> None:
    last = EpochMetrics(1, 20, 0.1, 2.3, None, 0.912, 0.5, 1.0)
    said = progress_line(2, 30, 40, None, last)
    assert said == "epoch 2/30  step 40  clean 91.2%  robust 50.0%"
    assert progress_line(1, 30, 4, 2.3, None) == "epoch 1/30  step 4  loss 2.3000"
    unmeasured = replace(last, validation_clean_accuracy=None, validation_robust_accuracy=None)
    assert progress_line(2, 30, 40, 2.3, unmeasured) == "epoch 2/30  step 40  loss 2.3000"
