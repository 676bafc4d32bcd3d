"""One attack: its stages, and what it is measured on."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from evaluation.grey_images import CPU, grey, linear
from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.noise import NotebookNoise
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, evaluate, measure
from robustrun.evaluation.setting import Setting


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
