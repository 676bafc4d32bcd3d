"""Robust accuracy: what stays right under one attack, stage by stage."""

import dataclasses
import logging
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from robustrun.evaluation.attack_run import run_attack, seconds_before
from robustrun.evaluation.findings import StageResult
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import AttackResult, Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.slopes import warn_of_lost
from robustrun.evaluation.statistics import accuracy
from robustrun.types import ATTACKS, Attack, HasEffectiveSettings, HasOwnUnit, Staged

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RobustAccuracy:
    """One attack, under the name that its result gets."""

    name: str
    attack: Attack

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        result = attack_result(self.attack, self.name, subject, before, setting)
        log.info("%s accuracy %.2f%%", self.name, 100 * accuracy(result.robust))
        if count := int((result.no_answer & ~before.no_answer).sum()):
            log.warning(
                "%s: %d images have logits that are NaN or infinite under it", self.name, count
            )
        warn_of_lost(self.attack, self.name, result.robust, subject, setting)
        return replace(before, attacks={**before.attacks, self.name: result})


def attack_result(
    attack: Attack, name: str, subject: Subject, before: Evaluation, setting: Setting
) -> AttackResult:
    """The attack on what is right in `before`, or for noise, on every image."""
    # An adversary need not try what is wrong already; noise is measured on every image.
    tried = before.clean_right if attack.adversarial else np.ones_like(before.clean_right)
    run = _run_stages(attack, name, subject, tried, setting)
    unit, size = (
        attack.own_radius if isinstance(attack, HasOwnUnit) else (attack.norm, attack.epsilon)
    )
    return AttackResult(
        name,
        ATTACKS.name_of(attack),
        unit,
        size,
        _settings(attack, before.classes),
        run.right & before.clean_right,
        None if attack.adversarial else run.right,
        tuple(run.stages) if isinstance(attack, Staged) else (),
        sum(stage.seconds for stage in run.stages),
        run.no_answer | before.no_answer,
    )


@dataclass
class _Run:
    """What the stages of an attack have left so far."""

    right: np.ndarray  # bool, one per image
    no_answer: np.ndarray
    stages: list[StageResult] = field(default_factory=list)


def _run_stages(
    attack: Attack, name: str, subject: Subject, tried: np.ndarray, setting: Setting
) -> _Run:
    """Each stage on what the ones before it left right; an attack of no stages is one."""
    run = _Run(tried, np.zeros_like(tried))
    for stage, part in attack.stages() if isinstance(attack, Staged) else [("", attack)]:
        began = time.monotonic()
        label = f"{name}/{stage}" if stage else name
        earlier = seconds_before(setting.journal, label)  # of an evaluation that was interrupted
        run.right, lost = run_attack(part, label, subject, np.flatnonzero(run.right), setting)
        run.no_answer = run.no_answer | lost
        seconds = time.monotonic() - began + earlier
        run.stages.append(StageResult(stage, int(run.right.sum()), seconds))
    return run


def _settings(attack: Attack, classes: int) -> dict[str, Any]:
    """Every parameter of an attack, as it applies to a network with so many classes."""
    if isinstance(attack, HasEffectiveSettings):
        return attack.effective_settings(classes)
    return dataclasses.asdict(attack)  # type: ignore[call-overload,no-any-return]
