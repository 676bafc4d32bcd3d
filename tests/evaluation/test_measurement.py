"""The list of measurements: each is an entry, one of one's own among them."""

from dataclasses import dataclass, replace

import torch

from evaluation.grey_images import CPU, grey, linear
from robustrun.attacks.fgsm import FGSM
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.findings import Check
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting


@dataclass(frozen=True)
class Distances:
    """How many images are as far from the boundary as the attack reaches, by hand."""

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        x, _ = next(subject.images.batches(setting.batch_size, device=setting.device))
        count = int(((x.flatten(1).mean(1) - 0.5).abs() > 0.1).sum())
        robust = int(before.attacks["fgsm"].robust.sum())
        check = Check("distances", "pass" if count == robust else "fail", robust, count, "By hand.")
        return replace(before, checks=(*before.checks, check))


def test_a_measurement_of_ones_own_sees_what_the_ones_before_it_found() -> None:
    images = TensorImages(grey(0.2, 0.45, 0.7), torch.tensor([0, 0, 1]))
    entries = [*accuracies({"fgsm": FGSM("linf", 0.1)}), Distances()]
    found = measure(linear(), images, 2, entries, Setting(0, 8, CPU))
    assert [(check.status, check.measured, check.expected) for check in found.checks] == [
        ("pass", 2, 2)
    ]


def test_before_the_first_measurement_no_image_has_an_answer() -> None:
    images = TensorImages(grey(0.2, 0.7), torch.tensor([0, 1]))
    found = measure(linear(), images, 2, [], Setting(0, 8, CPU))
    assert (found.clean_right.tolist(), found.no_answer.tolist()) == ([False] * 2, [True] * 2)
