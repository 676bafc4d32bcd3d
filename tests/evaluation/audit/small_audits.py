"""Audits of a few images with little effort, and networks trained for a moment."""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustrun.configuration import composition
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.evaluation.audit.audit import audit
from robustrun.evaluation.findings import Check
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.experiment import run
from robustrun.run_folder.load import load_run
from robustrun.types import Images

CPU = torch.device("cpu")
SHORT = ["training.epochs=8", "evaluation=none", "device.threads=1", "keep.figures=false"]
SHORT += ["evaluation.examples=20"]  # of the run itself


def configuration(*words: str) -> RunConfig:
    return load_config(composition.compose_config(list(words)))


SETTINGS = configuration("evaluation=audit").evaluation.audit
assert SETTINGS is not None
# Fewer images and steps than users get, so that the suite stays quick.
QUICK = dataclasses.replace(
    SETTINGS,
    examples=100,
    steps=20,
    restarts=1,
    surrogate_steps=60,
    differences=dataclasses.replace(SETTINGS.differences, examples=60, steps=8, samples=16),
    targeted=dataclasses.replace(SETTINGS.targeted, steps=12),  # type: ignore[type-var]
    black_box=dataclasses.replace(SETTINGS.black_box, queries=250),  # type: ignore[type-var]
)
JUDGE = configuration().attack


def trained(folder: Path, *words: str) -> nn.Module:
    run(configuration(*SHORT, *words), folder)
    return load_run(folder)[1]


def audited(
    model: nn.Module, images: Images, attack: Any = JUDGE, settings: Any = QUICK
) -> dict[str, Check]:
    subject = Subject(SearchNetworks(model, model), images, 10)
    found = audit(subject, attack, settings, Setting(0, 100, CPU))
    assert len({check.check for check in found}) == len(found)
    return {check.check: check for check in found}


def failed(found: dict[str, Check]) -> set[str]:
    return {name for name, check in found.items() if check.status == "fail"}
