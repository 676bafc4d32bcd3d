"""Clean predictions: in eval mode, batch by batch, and what has no answer."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evaluation.grey_images import CPU, grey, linear
from robustrun.compute import processes
from robustrun.compute.predictions import NO_ANSWER
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.clean import predict
from robustrun.evaluation.measure import evaluate

LEVELS = (0.1, 0.45, 0.6, 0.9, 0.2)
CLASSES = [0, 0, 1, 1, 0]  # the boundary is at 0.5


def images(*levels: float) -> TensorImages:
    return TensorImages(grey(*levels), torch.zeros(len(levels), dtype=torch.long))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_each_image_has_its_class_in_whatever_batches(
    batch_size: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = predict(linear(), images(*LEVELS), batch_size, CPU)
    assert (found.tolist(), found.dtype) == (CLASSES, "int64")
    assert predict(linear(), images(), batch_size, CPU).shape == (0,)
    assert caplog.text == ""


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_processes_that_take_turns_predict_what_one_does(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = 0

    def in_turn(work: Callable[[], Any]) -> list[Any]:
        nonlocal rank
        found = []
        for rank in (0, 1):  # noqa: B007
            found.append(work())
        return found

    monkeypatch.setattr(processes, "rank", lambda: rank)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "combined", in_turn)
    assert predict(linear(), images(*LEVELS), batch_size, CPU).tolist() == CLASSES


def test_the_network_predicts_in_eval_mode_and_is_as_it_was_afterwards() -> None:
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm2d(1), linear()).train()
    model[1].eval()
    before = model[1].running_mean.clone()
    assert predict(model, images(*LEVELS), 5, CPU).tolist() == CLASSES  # nothing is dropped
    assert [model.training, model[0].training, model[1].training] == [True, True, False]
    assert torch.equal(model[1].running_mean, before)


def test_predictions_need_no_graph_and_the_accuracy_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            logits: Tensor = linear()(x)
            return logits

    assert predict(Watched(), images(*LEVELS), 2, CPU).tolist() == CLASSES
    with caplog.at_level("INFO"):
        evaluate(linear(), (grey(*LEVELS), torch.tensor([0, 0, 1, 1, 1])), {})
    assert "clean accuracy 80.00%" in caplog.text


def test_images_without_an_answer_are_counted_in_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Breaks(nn.Module):
        """Logits that are NaN for dark images."""

        def forward(self, x: Tensor) -> Tensor:
            return linear()(x).where(x.flatten(1).mean(1, keepdim=True) > 0.3, math.nan)

    found = predict(Breaks(), images(*LEVELS), 2, CPU)
    assert found.tolist() == [NO_ANSWER, 0, 1, 1, NO_ANSWER]
    assert "no answer for 2 of 5 images" in caplog.text


class Answers(nn.Module):
    """Ten logits; the answer is what the pixel says, in tenths."""

    def forward(self, x: Tensor) -> Tensor:
        answer = (x[:, 0, 0, 0] * 10).round().long()
        return 5.0 * nn.functional.one_hot(answer, 10) + 0 * x.sum((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([1, 2, 3, 0] * 10, ["0 of 40 clean images are right", "renumbered, 40 of 40 would be"]),
        ([1, 2, 3, 0] * 6 + [1] * 16, ["4 of 40 clean images", "renumbered, 28 of 40 would be"]),
        ([1, 2, 3, 0, 4, 2, 3, 0] * 5, ["0 of 40 clean images are right"]),  # 1 and 4 are one class
        ([3] * 40, ["10 of 40 clean images are right, which is no better"]),
        ([3] * 39 + [0], ["9 of 40 clean images are right"]),
        ([0] * 5 + [3] * 35, []),  # 11 of 40: more than any class has
    ],
)
def test_a_network_that_does_no_better_than_guessing_is_told(
    answers: list[int], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    x = torch.tensor(answers)[:, None, None, None].expand(-1, 1, 2, 2) / 10
    evaluate(Answers(), (x, torch.arange(4).repeat(10)), {})
    assert [text in caplog.text for text in said] == [True] * len(said)
    assert caplog.text.count("WARNING") == len(said)


@pytest.mark.parametrize(("count", "told"), [(19, False), (20, True)])
def test_of_twenty_images_on_chance_does_not_decide(
    count: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    labels = torch.arange(count) % 2
    evaluate(Answers(), (torch.full((count, 1, 2, 2), 0.9), labels), {})
    assert ("clean images are right" in caplog.text) == told


@pytest.mark.parametrize("labels", [torch.arange(10), torch.zeros(40, dtype=torch.long)])
def test_a_few_images_or_those_of_one_class_say_nothing_of_guessing(
    labels: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(Answers(), (torch.full((len(labels), 1, 2, 2), 0.9), labels), {})
    assert caplog.text == ""


@pytest.mark.parametrize(("more", "told"), [(0, False), (1, True)])
def test_another_order_of_the_classes_is_guessed_where_it_explains_more_than_half(
    more: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the ten images of each of four classes, five get the answer of the next class."""
    labels = torch.arange(40) % 4
    away = [1, 1, 1, 1, 1, 2, 3, 0, 2, 3]
    answers = (labels + torch.tensor(away).repeat_interleave(4)) % 4
    answers[20 : 20 + more] = (labels[20 : 20 + more] + 1) % 4
    x = (answers / 10)[:, None, None, None].expand(-1, 1, 2, 2)
    evaluate(Answers(), (x, labels), {})
    assert "4 of 40 clean images are right" in caplog.text
    assert ("were its answers renumbered, 21 of 40" in caplog.text) == told
