"""What a measurement is: one entry of the list that makes up an evaluation."""

from dataclasses import dataclass
from typing import Protocol

from torch import nn

from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.types import Images


@dataclass(frozen=True)
class Subject:
    """A network in eval mode, and the labelled images that it is measured on."""

    networks: SearchNetworks
    images: Images
    classes: int

    @property
    def network(self) -> nn.Module:
        return self.networks.model


class Measurement(Protocol):
    """Clean accuracy, an attack, an audit …: what can be asked of a network and its images."""

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        """`before`, with what this measurement finds. What the ones before it in the list found
        may be used; what the setting's journal has is not measured again."""
        ...
