"""One attack: its stages, and what it is measured on."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from evaluation.grey_images import CPU, grey, linear
from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.noise import NotebookNoise
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, evaluate, measure
from robustrun.evaluation.setting import Setting
from robustrun.storage.journal import Journal


@dataclass(frozen=True)
class Two:
    """An attack made of two, on what is left."""

    norm: str = "linf"
    epsilon: float = 0.3
    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def stages(self):
        return [("weak", FGSM("linf", 0.1)), ("strong", FGSM("linf", 0.3))]

    def effective_settings(self, classes):
        return {"classes": classes}

    def __call__(self, model, x, y, *, generator=None):
        raise AssertionError("its stages are run one by one")


def test_the_stages_of_an_attack_are_run_on_what_is_left_and_counted() -> None:
    images = TensorImages(grey(0.45, 0.3, 0.1, 0.9), torch.tensor([0, 0, 0, 0]))
    found = measure(linear(), images, 2, accuracies({"two": Two()}), Setting(0, 2, CPU))
    two = found.attacks["two"]
    assert [(stage.name, stage.standing) for stage in two.stages] == [
        ("weak", 2),
        ("strong", 1),
    ]
    assert two.robust.tolist() == [False, False, True, False]
    assert two.settings == {"classes": 2}


def test_noise_is_measured_on_wrong_images_too() -> None:
    images, labels = grey(0.2, 0.3, 0.9), torch.tensor([0, 1, 1])
    attacks = {"noise": NotebookNoise("linf", 0.05)}
    found = evaluate(linear(0.4), [(images, labels)], attacks)
    # The notebook's clamp lifts dark images to mid-grey or above: all become class 1.
    assert found.attacks["noise"].perturbed_right.tolist() == [False, True, True]
    assert found.attacks["noise"].robust.tolist() == [False, False, True]


def test_a_result_says_what_it_is_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    images = TensorImages(grey(0.45, 0.3), torch.tensor([0, 0]))
    attacks: dict[str, Any] = {"step": FGSM("linf", 0.1), "noise": NotebookNoise("l2", 0.05)}
    found = measure(linear(), images, 2, accuracies(attacks), Setting(0, 2, CPU)).attacks
    step, noise = found["step"], found["noise"]
    assert (step.name, step.kind, step.norm, step.epsilon) == ("step", "fgsm", "linf", 0.1)
    assert (noise.kind, noise.norm, noise.epsilon) == ("notebook_noise", "std", 0.05)
    assert step.settings == {"norm": "linf", "epsilon": 0.1}
    assert (step.stages, step.perturbed_right) == ((), None)
    assert not step.no_answer.any()
    assert "step accuracy 50.00%" in caplog.text


def test_the_seconds_of_an_interrupted_evaluation_count_and_those_of_all_stages() -> None:
    images = TensorImages(grey(0.45, 0.3, 0.1, 0.9), torch.tensor([0, 0, 0, 0]))
    journal = Journal()
    journal.findings["two/weak batch 0"] = {"right": [1, 1], "no_answer": [], "seconds": 50.0}
    journal.findings["two/strong batch 0"] = {"right": [0, 1], "no_answer": [], "seconds": 30.0}
    setting = Setting(0, 2, CPU, journal=journal)
    two = measure(linear(), images, 2, accuracies({"two": Two()}), setting).attacks["two"]
    assert [stage.seconds for stage in two.stages] == [
        pytest.approx(50, abs=5),
        pytest.approx(30, abs=5),
    ]
    assert two.seconds == sum(stage.seconds for stage in two.stages)


def test_images_that_have_no_answer_under_an_attack_alone_are_told_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Breaks(nn.Module):
        """No answer for dark images; and none for bright ones."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            level = x.flatten(1).mean(1, keepdim=True)
            return linear()(x).where((level > 0.2) & (level < 0.7), math.nan)

    images = TensorImages(grey(0.1, 0.25, 0.4, 0.65), torch.tensor([0, 0, 0, 1]))

    @dataclass(frozen=True)
    class Darker(FGSM):
        def __call__(self, model: Any, x: Any, y: Any, *, generator: Any = None) -> Any:
            return x - 0.1

    found = measure(Breaks(), images, 2, accuracies({"a": Darker("linf", 0.1)}), Setting(0, 4, CPU))
    assert found.no_answer.tolist() == [True, False, False, False]
    assert found.attacks["a"].no_answer.tolist() == [True, True, False, False]
    assert found.attacks["a"].robust.tolist() == [False, False, True, True]
    assert "a: 1 images have logits that are NaN or infinite under it" in caplog.text
    assert np.array_equal(found.worst_case, found.attacks["a"].robust)
