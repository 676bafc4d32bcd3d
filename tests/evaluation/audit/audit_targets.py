"""What one check of the audit looks at: a network, its images, and what an attack left right."""

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from evaluation.audit.small_audits import CPU, QUICK
from robustrun.attacks.fgsm import FGSM
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.evaluation.audit.target import AuditTarget, FiniteGradients
from robustrun.evaluation.setting import Setting


def target(network: nn.Module, x: Tensor, y: Tensor, **changed: Any) -> AuditTarget:
    """As if the attack had turned none of the images."""
    with torch.no_grad():
        logits = network(x)
    answers = predicted(logits)
    whole = AuditTarget(
        network=network,
        model=FiniteGradients(network),
        classes=logits.shape[1],
        attack=FGSM("linf", 0.1),
        settings=QUICK,
        surrogate=None,
        setting=Setting(0, 100, CPU),
        x=x,
        y=y,
        logits=logits,
        robust=answers == y,
        no_answer=answers == NO_ANSWER,
    )
    return dataclasses.replace(whole, **changed)
