"""What an evaluation found, example by example."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robustrun.compute.predictions import NO_ANSWER
from robustrun.evaluation.findings import Check, CorruptionResult, FlipResult, StageResult
from robustrun.evaluation.settings import Certificate
from robustrun.evaluation.table import as_table, as_text
from robustrun.types import Images


@dataclass(frozen=True)
class AttackResult:
    """What one attack left right: bool arrays over all examples measured."""

    name: str  # of the option or entry that the user chose
    kind: str  # the attack's registered name
    norm: str
    epsilon: float
    settings: dict[str, Any]
    robust: np.ndarray  # right on the clean image and under the attack
    perturbed_right: np.ndarray | None  # under the perturbation alone; None for adversaries
    stages: tuple[StageResult, ...]  # of an attack made of attacks
    seconds: float
    no_answer: np.ndarray  # whose logits are not finite, on the clean image or under the attack


@dataclass(frozen=True)
class Certificates:
    """What randomised smoothing certifies, image by image."""

    plan: Certificate
    places: np.ndarray  # of the images among those measured
    answers: np.ndarray  # of the smoothed classifier, int64; NO_ANSWER where it abstains
    radii: np.ndarray  # l2, pixel units, within which it gives no other answer; 0 where it abstains
    seconds: float

    def right(self, labels: np.ndarray) -> np.ndarray:
        """Where the smoothed classifier is right, of the labels of all measured images."""
        right: np.ndarray = self.answers == labels[self.places]
        return right


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The outcome of an evaluation, per example; shown as a table. A value: each measurement
    returns one with what it found added."""

    labels: np.ndarray  # int64 of shape N
    predictions: np.ndarray  # clean predictions, int64 of shape N; NO_ANSWER: logits not finite
    classes: int
    seconds: float  # for the clean predictions
    attacks: dict[str, AttackResult] = field(default_factory=dict)
    curve: tuple[tuple[float, np.ndarray], ...] = ()  # radius, still robust
    checks: tuple[Check, ...] = ()  # of the audit
    corruptions: CorruptionResult | None = None
    perturbations: FlipResult | None = None
    certificates: Certificates | None = None

    @property
    def clean_right(self) -> np.ndarray:
        right: np.ndarray = self.predictions == self.labels
        return right

    @property
    def no_answer(self) -> np.ndarray:
        """Where the logits of the clean image are not finite: these count as wrong."""
        none: np.ndarray = self.predictions == NO_ANSWER
        return none

    @property
    def worst_case(self) -> np.ndarray:
        """Right on the clean image and under every attack: each example counts once."""
        robust = self.clean_right.copy()
        for attack in self.attacks.values():
            robust &= attack.robust
        return robust

    def __repr__(self) -> str:
        rows = [("clean", "", self.clean_right)]
        for name, attack in self.attacks.items():
            rows.append((name, f"{attack.norm} {as_text(attack.epsilon)}", attack.robust))
        if self.attacks:
            rows.append(("worst case", "", self.worst_case))
        return as_table(rows)


def nothing_measured(images: Images, classes: int) -> Evaluation:
    """What the first measurement begins with: no image has an answer yet."""
    labels = images.labels.numpy()
    return Evaluation(labels, np.full_like(labels, NO_ANSWER), classes, seconds=0.0)
