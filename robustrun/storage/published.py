"""A number that others published, as it is stored beside ours; no torch is needed to read it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PublishedNumber:
    """A number from elsewhere, shown beside what a run measures."""

    attack: str  # clean, or the name of an attack that is measured
    measure: Literal["accuracy", "perturbed_accuracy"]  # the latter: clean mistakes not counted
    accuracy: float  # fraction
    source: str
