"""Accuracy, intervals and the checks on what attacks return."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.fmn import FMN
from robustrun.attacks.noise import GaussianNoise, NotebookNoise
from robustrun.attacks.pgd import PGD
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import evaluate, measure
from robustrun.evaluation.statistics import accuracy, per_class, wilson

CPU = torch.device("cpu")


def linear(boundary: float = 0.5) -> nn.Module:
    """Two classes; class 1 where the mean of the 4 pixels is above `boundary`."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-1.0] * 4, [1.0] * 4]))
        model[1].bias.copy_(4 * boundary * torch.tensor([1.0, -1.0]))
    return model


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def pgd(**changes: object) -> PGD:
    settings = {
        "norm": "linf",
        "epsilon": 0.1,
        "steps": 5,
        "step_size": 0.05,
        "restarts": 2,
        "random_start": True,
        "loss": "ce",
    }
    return PGD(**settings | changes)  # type: ignore[arg-type]


def measured(attacks: dict[str, object], levels: list[float], labels: list[int]):
    images = TensorImages(grey(*levels), torch.tensor(labels))
    return measure(
        linear(), images, 2, attacks, seed=0, batch_size=2, device=CPU, radii=[2.0], judge="pgd"
    )


def test_robust_accuracy_of_a_linear_model_is_what_the_paper_and_pencil_say() -> None:
    # Distance to the boundary in linf is |level - 1/2|: 0.05 falls at radius 0.1, 0.2 stands.
    found = measured({"pgd": pgd(), "fgsm": FGSM("linf", 0.1)}, [0.45, 0.3, 0.7, 0.9], [0, 0, 1, 0])
    assert found.clean_right.tolist() == [True, True, True, False]
    assert found.attacks["pgd"].robust.tolist() == [False, True, True, False]
    assert found.attacks["fgsm"].robust.tolist() == [False, True, True, False]
    assert accuracy(found.worst_case) == 0.5  # clean errors count against it


def test_the_curve_falls_and_a_success_at_a_smaller_radius_counts() -> None:
    found = measured({"pgd": pgd()}, [0.45, 0.35, 0.75, 0.9], [0, 0, 1, 1])
    assert [radius for radius, _ in found.curve] == [0.0, 0.1, 0.2]
    assert [int(right.sum()) for _, right in found.curve] == [4, 3, 2]


def test_the_worst_case_counts_each_example_once() -> None:
    found = measured({"pgd": pgd()}, [0.45, 0.3], [0, 0])
    found.attacks["other"] = found.attacks["pgd"].__class__(
        "other",
        "pgd",
        "linf",
        0.1,
        {},
        np.array([True, False]),
        None,
        [],
        0.0,
        np.zeros(2, dtype=bool),
    )
    assert found.worst_case.tolist() == [False, False]


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998 (doi 10.1002/(SICI)1097-0258(19980430)17:8<857), table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_accuracy_per_class_leaves_out_classes_without_examples() -> None:
    right, labels = np.array([True, False, True]), np.array([0, 0, 2])
    assert per_class(right, labels, 3) == [0.5, None, 1.0]


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
    found = measure(linear(), images, 2, {"two": Two()}, seed=0, batch_size=2, device=CPU)
    two = found.attacks["two"]
    assert [(stage["name"], stage["standing"]) for stage in two.stages] == [
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


@dataclass(frozen=True)
class Cheat:
    """An attack that breaks one promise."""

    kind: str
    norm: ClassVar[str] = "linf"
    epsilon: ClassVar[float] = 0.1
    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __call__(self, model, x, y, *, generator=None):
        if self.kind == "mode":
            model.train()
        if self.kind == "buffer":
            model.buffer += 1
        if self.kind == "gradient":
            model(x).sum().backward()
        return {"ball": x + 0.2, "box": x - 0.09, "nan": x * torch.nan}.get(self.kind, x)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ball", "left its ball"),
        ("box", "left the image box"),
        ("nan", "not finite"),
        ("mode", "changed the mode"),
        ("buffer", "changed buffers"),
        ("gradient", "left gradients"),
    ],
)
def test_a_broken_promise_of_an_attack_stops_the_evaluation(kind: str, message: str) -> None:
    model = linear()
    model.register_buffer("buffer", torch.zeros(1))
    with pytest.raises(RuntimeError, match=message), torch.enable_grad():
        evaluate(model, [(grey(0.05, 0.06), torch.tensor([0, 0]))], {"cheat": Cheat(kind)})


def test_the_same_seed_gives_the_same_verdicts_whatever_ran_before() -> None:
    batch = [(torch.rand(64, 1, 2, 2), torch.randint(0, 2, (64,)))]
    noise = GaussianNoise("linf", 0.3)
    alone = evaluate(linear(), batch, {"noise": noise}, seed=1)
    after = evaluate(linear(), batch, {"pgd": pgd(), "noise": noise}, seed=1)
    other = evaluate(linear(), batch, {"noise": noise}, seed=2)
    first = alone.attacks["noise"].perturbed_right
    assert (first == after.attacks["noise"].perturbed_right).all()
    assert (first != other.attacks["noise"].perturbed_right).any()


def test_an_attack_for_the_smallest_perturbation_gives_the_curve_in_one_run() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.seen = linear(), 0

        def forward(self, x: Tensor) -> Tensor:
            self.seen += len(x)
            return self.model(x)

    def curve(*radii: float) -> tuple[list[tuple[float, int]], int]:
        model, fmn = Counting(), FMN("linf", 0.1, 40, 0.2, 0.01, 0.05, 0.001)
        images = TensorImages(grey(0.45, 0.3, 0.72, 0.9), torch.tensor([0, 0, 1, 0]))
        how = {"seed": 0, "batch_size": 2, "device": CPU, "radii": radii, "judge": "fmn"}
        found = measure(model, images, 2, {"fmn": fmn}, **how)  # type: ignore[arg-type]
        return [(radius, int(right.sum())) for radius, right in found.curve], model.seen

    # Distances to the boundary: 0.05, 0.2 and 0.22; the last image is wrong from the start.
    points, few = curve(0.1, 2.1, 3.0, 100.0)
    assert points == [
        (0, 3),
        (pytest.approx(0.01), 3),
        (0.1, 2),
        (pytest.approx(0.21), 1),
        (pytest.approx(0.3), 0),
    ]
    many = curve(*np.linspace(0.1, 2, 30))[1]
    assert many == few, "further radii cost no further pass"


def test_a_curve_ends_where_the_ball_holds_every_image() -> None:
    stubborn = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        stubborn[1].weight.zero_()
        stubborn[1].bias.copy_(torch.tensor([1.0, 0.0]))
    images = TensorImages(grey(0.5), torch.tensor([0]))
    how = {"seed": 0, "batch_size": 2, "device": CPU, "radii": [10.0, 11.0], "judge": "pgd"}
    found = measure(stubborn, images, 2, {"pgd": pgd()}, **how)  # type: ignore[arg-type]
    assert [(radius, int(right.sum())) for radius, right in found.curve] == [
        (0, 1),
        (0.1, 1),
        (1, 1),
    ]


def test_a_batch_that_does_not_fit_into_memory_is_attacked_in_halves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @dataclass(frozen=True)
    class Large:
        norm: ClassVar[str] = "linf"
        epsilon: ClassVar[float] = 0.1
        bounded: ClassVar[bool] = True
        adversarial: ClassVar[bool] = True
        fits: int

        def __call__(self, model, x, y, *, generator=None):
            if len(x) > self.fits:
                raise torch.OutOfMemoryError("no room")
            return FGSM("linf", 0.1)(model, x, y)

    images = TensorImages(grey(0.45, 0.3, 0.7, 0.8), torch.tensor([0, 0, 1, 1]))
    how = {"seed": 0, "batch_size": 4, "device": CPU}
    found = measure(linear(), images, 2, {"large": Large(1)}, **how)  # type: ignore[arg-type]
    assert found.attacks["large"].robust.tolist() == [False, True, True, True]
    assert "in halves" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        measure(linear(), images, 2, {"large": Large(0)}, **how)  # type: ignore[arg-type]
