"""Can a robust accuracy be believed? Checks for false robustness (Athalye et al. 2018,
https://arxiv.org/abs/1802.00420; Carlini et al. 2019, https://arxiv.org/abs/1902.06705, section 5).
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from robustrun import console
from robustrun.attacks.geometry.ball import NORMS
from robustrun.compute.modes import modes_and_buffers_restored
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.evaluation.audit.attack_checks import (
    black_box,
    enough_images,
    gradients,
    large_radius,
    logit_scale,
    more_effort,
    one_step,
    random_noise,
    targeted,
)
from robustrun.evaluation.audit.finite_differences import finite_differences
from robustrun.evaluation.audit.model_checks import MODEL_CHECKS, no_adversary
from robustrun.evaluation.audit.settings import AuditSettings
from robustrun.evaluation.audit.target import AuditTarget, Check, FiniteGradients, craft_with
from robustrun.evaluation.audit.transfer import transfer
from robustrun.storage.journal import Journal
from robustrun.types import Attack, Images

log = logging.getLogger(__name__)

ATTACK_CHECKS = (
    enough_images,
    gradients,
    random_noise,
    one_step,
    large_radius,
    more_effort,
    logit_scale,
    targeted,
    black_box,
    finite_differences,
    transfer,
)


def audit(
    model: nn.Module,
    images: Images,
    classes: int,
    attack: Attack,
    *,
    seed: int,
    device: torch.device,
    batch_size: int,
    settings: AuditSettings,
    standing: Tensor | None = None,
    unanswered: Tensor | None = None,
    surrogate: nn.Module | None = None,
    journal: Journal | None = None,
) -> list[Check]:
    """Every check that applies to the accuracy of `model` under `attack`.

    Other attacks are run on what `attack` left `standing` (bool, one per image; without it, the
    attack is run first): an image that one of those turns was counted as robust and is not.
    `unanswered` (bool, one per image) are those whose logits `attack` made NaN or infinite.
    `surrogate` is a network of the same classes whose adversarial images are tried; without one,
    it is trained. The model is left as it was. A check that `journal` has is not made again.
    """
    count = min(settings.examples or len(images), len(images))
    if count == 0:
        return []
    with _contained(model, seed, device):
        drawn = torch.randperm(len(images))[:count].sort().values
        x, y = _whole(images.subset(drawn), batch_size, device)
        logits = _logits(model, x, batch_size)
        answers = predicted(logits)
        right, no_answer = answers == y, answers == NO_ANSWER
        target = AuditTarget(
            bare=model,
            model=FiniteGradients(model),
            classes=classes,
            attack=attack,
            settings=settings,
            surrogate=surrogate,
            seed=seed,
            batch_size=batch_size,
            x=x,
            y=y,
            logits=logits,
            standing=right if standing is None else right & standing[drawn].to(device),
            no_answer=no_answer if unanswered is None else no_answer | unanswered[drawn].to(device),
        )
        return _checked(target, journal or Journal(), attacked=standing is not None)


@contextmanager
def _contained(model: nn.Module, seed: int, device: torch.device) -> Iterator[None]:
    """While open, random numbers follow `seed` and the model is in eval mode; both are restored."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), modes_and_buffers_restored(model):
        torch.manual_seed(seed)
        model.eval()
        yield


def _whole(images: Images, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """All images as one batch."""
    parts = images.batches(batch_size, device=device)
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return x, y


@torch.no_grad()
def _logits(model: nn.Module, x: Tensor, batch_size: int) -> Tensor:
    return torch.cat([model(part).float() for part in torch.split(x, batch_size)])


def _once(s: AuditTarget, check: Callable[[AuditTarget], Check], journal: Journal) -> Check:
    """The check as it was made before, or made now, whatever was drawn in the others."""
    name = f"audit {check.__name__}"
    if (known := journal.recall(name)) is not None:
        return Check(**known)
    torch.manual_seed(s.seed)
    made = check(s)
    journal.note(name, asdict(made))
    return made


def _checked(s: AuditTarget, journal: Journal, attacked: bool) -> list[Check]:
    attack = s.attack
    searches = attack.bounded and attack.adversarial and attack.norm in NORMS and attack.epsilon > 0
    if searches and not attacked:
        answers = s.answers("attack", craft_with(attack, s.model), s.standing)
        no_answer = s.no_answer | (answers == NO_ANSWER)
        s = replace(s, standing=s.standing & (answers == s.y), no_answer=no_answer)
    found = [_once(s, check, journal) for check in MODEL_CHECKS]
    if not searches:
        return [*found, no_adversary(s)]
    with console.bar("audit", len(ATTACK_CHECKS)) as bar:
        for check in ATTACK_CHECKS:
            found += [_once(s, check, journal)]
            bar.advance(1, found[-1].check)
    for made in found:
        if made.status != "pass":
            log.warning("audit: %s %ss: %s", made.check, made.status, made.why)
    return found
