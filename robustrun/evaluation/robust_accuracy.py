"""Robust accuracy: what stays right under one attack, stage by stage."""

import dataclasses
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robustrun.evaluation.attack_run import run_attack, seconds_before
from robustrun.evaluation.findings import StageResult
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import AttackResult, Evaluation
from robustrun.evaluation.setting import Setting
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
        return replace(before, attacks={**before.attacks, self.name: result})


def attack_result(
    attack: Attack, name: str, subject: Subject, before: Evaluation, setting: Setting
) -> AttackResult:
    """The attack on what is right in `before`, or for noise, on every image."""
    began, spent = time.monotonic(), 0.0  # the latter before an interruption
    count = len(before.labels)
    # An adversary need not try what is wrong already; noise is measured on every image.
    robust = before.clean_right if attack.adversarial else np.ones(count, dtype=bool)
    stages, no_answer = [], before.no_answer
    for stage, part in attack.stages() if isinstance(attack, Staged) else [("", attack)]:
        start = time.monotonic()
        label = f"{name}/{stage}" if stage else name
        earlier = seconds_before(setting.journal, label)
        robust, none = run_attack(part, label, subject, np.flatnonzero(robust), setting)
        no_answer = no_answer | none
        spent += earlier
        seconds = time.monotonic() - start + earlier
        stages.append(StageResult(stage, int(robust.sum()), seconds))
    unit, size = (
        attack.own_radius if isinstance(attack, HasOwnUnit) else (attack.norm, attack.epsilon)
    )
    return AttackResult(
        name,
        ATTACKS.name_of(attack),
        unit,
        size,
        _settings(attack, before.classes),
        robust & before.clean_right,
        None if attack.adversarial else robust,
        tuple(stages) if isinstance(attack, Staged) else (),
        time.monotonic() - began + spent,
        no_answer,
    )


def _settings(attack: Attack, classes: int) -> dict[str, Any]:
    """Every parameter of an attack, as it applies to a network with so many classes."""
    if isinstance(attack, HasEffectiveSettings):
        return attack.effective_settings(classes)
    return dataclasses.asdict(attack)  # type: ignore[call-overload,no-any-return]
