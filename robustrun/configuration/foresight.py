"""Whether all that a run will do can be done: looked for before the training begins."""

import torch
from torch import Tensor, nn

from robustrun.compute.modes import attack_mode
from robustrun.configuration.plugins import parts
from robustrun.configuration.run_config import RunConfig
from robustrun.errors import ConfigError, DataError
from robustrun.types import Foresees


def require_usable(cfg: RunConfig, model: nn.Module, x: Tensor, training: bool) -> None:
    """ConfigError or DataError, which begins with the key, unless every attack of the evaluation
    and its audit, and if there is a `training` those of the method, can be run on `model` and
    images like `x`: weights are there, sizes and colours fit."""
    owners: dict[str, object] = {"attack": cfg.attack, "evaluation.audit": cfg.evaluation.audit}
    owners |= {f"evaluation.attacks.{name}": one for name, one in cfg.evaluation.attacks.items()}
    if training:
        owners |= {"method": cfg.method}
        owners |= {"training.validation_attack": cfg.training.validation_attack}
    with attack_mode(model), torch.no_grad():
        for owner, value in owners.items():
            for part in parts(value):
                if isinstance(part, Foresees):
                    _ask(part, owner, model, x)


def _ask(part: Foresees, owner: str, model: nn.Module, x: Tensor) -> None:
    try:
        part.require_usable(model, x)
    except (ConfigError, DataError) as error:
        raise type(error)(f"{owner}: {error}") from None
