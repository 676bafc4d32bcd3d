"""Can a robust accuracy be believed? Checks for false robustness (Athalye et al. 2018,
https://arxiv.org/abs/1802.00420; Carlini et al. 2019, https://arxiv.org/abs/1902.06705, section 5).
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

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
from robustrun.evaluation.audit.target import AuditTarget, FiniteGradients, craft_with
from robustrun.evaluation.audit.transfer import transfer
from robustrun.evaluation.findings import Check
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting
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


@dataclass(frozen=True)
class Audit:
    """The measurement: whether the accuracy under the attack `name`, which was measured before, can
    be believed."""

    name: str
    attack: Attack
    plan: AuditSettings

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        result = before.attacks[self.name]
        robust, unanswered = map(torch.from_numpy, (result.robust, result.no_answer))
        checks = audit(
            subject, self.attack, self.plan, setting, robust=robust, unanswered=unanswered
        )
        return replace(before, checks=tuple(checks))


def audit(
    subject: Subject,
    attack: Attack,
    plan: AuditSettings,
    setting: Setting,
    *,
    robust: Tensor | None = None,
    unanswered: Tensor | None = None,
    surrogate: nn.Module | None = None,
) -> list[Check]:
    """Every check that applies to the accuracy of a network under `attack`.

    Other attacks are run on the images that are `robust` under `attack` (bool, one per image;
    without it, the attack is run first): an image that one of those turns was counted as robust and
    is not. `unanswered` (bool, one per image) are those whose logits `attack` made NaN or infinite.
    `surrogate` is a network of the same classes whose adversarial images are tried; without one,
    it is trained. The network is left as it was. A check that the journal has is not made again.
    """
    count = min(plan.examples or len(subject.images), len(subject.images))
    if count == 0:
        return []
    with _contained(subject.network, setting):
        drawn = torch.randperm(len(subject.images))[:count].sort().values
        target = _target(subject, drawn, attack, plan, setting, surrogate)
        if robust is not None:
            target = replace(target, robust=target.robust & robust[drawn].to(target.x.device))
        if unanswered is not None:
            lost = unanswered[drawn].to(target.x.device)
            target = replace(target, no_answer=target.no_answer | lost)
        return _checked(target, attacked=robust is not None)


def _target(
    subject: Subject,
    drawn: Tensor,
    attack: Attack,
    plan: AuditSettings,
    setting: Setting,
    surrogate: nn.Module | None,
) -> AuditTarget:
    """The images `drawn` (indices), before any attack."""
    network = subject.network
    x, y = _whole(subject.images.subset(drawn), setting)
    logits = _logits(network, x, setting.batch_size)
    answers = predicted(logits)
    return AuditTarget(
        network=network,
        model=FiniteGradients(network),
        classes=subject.classes,
        attack=attack,
        settings=plan,
        surrogate=surrogate,
        setting=setting,
        x=x,
        y=y,
        logits=logits,
        robust=answers == y,
        no_answer=answers == NO_ANSWER,
    )


@contextmanager
def _contained(model: nn.Module, setting: Setting) -> Iterator[None]:
    """In this context random numbers follow the setting's seed and the model is in eval mode; both
    are restored."""
    cuda = [setting.device] if setting.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), modes_and_buffers_restored(model):
        torch.manual_seed(setting.seed)
        model.eval()
        yield


def _whole(images: Images, setting: Setting) -> tuple[Tensor, Tensor]:
    """All images as one batch."""
    parts = images.batches(setting.batch_size, device=setting.device)
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return x, y


@torch.no_grad()
def _logits(model: nn.Module, x: Tensor, batch_size: int) -> Tensor:
    return torch.cat([model(part).float() for part in torch.split(x, batch_size)])


def _once(s: AuditTarget, check: Callable[[AuditTarget], Check]) -> Check:
    """The check as it was made before, or made now, whatever was drawn in the others."""
    name, journal = f"audit {check.__name__}", s.setting.journal
    if (known := journal.recall(name)) is not None:
        return Check(**known)
    torch.manual_seed(s.setting.seed)
    answer = check(s)
    journal.note(name, asdict(answer))
    return answer


def _checked(s: AuditTarget, attacked: bool) -> list[Check]:
    attack = s.attack
    searches = attack.bounded and attack.adversarial and attack.norm in NORMS and attack.epsilon > 0
    if searches and not attacked:
        answers = s.answers("attack", craft_with(attack, s.model), s.robust)
        no_answer = s.no_answer | (answers == NO_ANSWER)
        s = replace(s, robust=s.robust & (answers == s.y), no_answer=no_answer)
    with console.step("audit of the network"):
        checks = [_once(s, question) for question in MODEL_CHECKS]
    if not searches:
        return [*checks, no_adversary(s)]
    with console.bar("audit", len(ATTACK_CHECKS)) as bar:
        for question in ATTACK_CHECKS:
            checks.append(_once(s, question))
            bar.advance(1, checks[-1].check)
    for check in checks:
        _log_doubt(check)
    return checks


def _log_doubt(check: Check) -> None:
    if check.status != "pass":
        log.warning("audit: %s %ss: %s", check.check, check.status, check.why)
