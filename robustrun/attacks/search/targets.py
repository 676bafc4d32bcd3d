"""Wrong classes to aim at, and what is left of a targeted attack where there are few classes."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn


class Targeted(Protocol):
    """A frozen dataclass that aims at this number of wrong classes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def targets(self) -> int: ...


def settings_for(
    attack: Targeted, classes: int, substitutes: Mapping[str, tuple[Any, str]] | None = None
) -> dict[str, Any]:
    """The settings as they apply to this number of classes; `instead` says what changed.

    `substitutes`: for further settings that do not apply, the value that does, and its description.
    """
    values, changes = {"targets": min(attack.targets, classes - 1)}, []
    if values["targets"] < attack.targets:
        changes.append(f"{classes - 1} target classes instead of {attack.targets}")
    for key, (value, change) in (substitutes or {}).items():
        values[key] = value
        changes.append(change)
    instead = {"instead": f"{classes} classes: " + ", ".join(changes)} if changes else {}
    return asdict(attack) | values | instead


def top_wrong_classes(model: nn.Module, x: Tensor, y: Tensor, count: int) -> Tensor:
    """Up to `count` wrong classes of each image, likeliest first, N x min(count, K - 1)."""
    with torch.no_grad():
        logits = model(x)
    wrong = logits.scatter(1, y[:, None], -torch.inf)
    targets: Tensor = wrong.topk(min(count, logits.shape[1] - 1), dim=1).indices
    return targets
