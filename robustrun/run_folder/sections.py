"""The sections of results.json, made from a run's data, network, training and evaluation."""

import hashlib
import platform
import re
import socket
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from robustrun.compute import processes
from robustrun.compute.predictions import NO_ANSWER
from robustrun.configuration.run_config import RunConfig
from robustrun.datasets.run_data import Data
from robustrun.evaluation.outcome import AttackResult, Evaluation
from robustrun.evaluation.settings import EvaluationPlan
from robustrun.evaluation.statistics import accuracy, per_class, wilson
from robustrun.models.initial_weights import taken_by
from robustrun.run_folder import code
from robustrun.run_folder.schema import (
    AttackScore,
    CertificateSection,
    CleanScore,
    CurvePoint,
    DatasetSection,
    EnvironmentSection,
    EvaluationSection,
    InitialWeightsSection,
    ModelSection,
    Score,
    Subset,
    TrainingSection,
)
from robustrun.training.settings import TrainingPlan
from robustrun.training.state import TrainingResult
from robustrun.types import HasPublished, Images, Runtime, Splits


def dataset_section(cfg: RunConfig, data: Data) -> DatasetSection:
    splits, validation = data.splits, data.validation
    prints = "".join(value for value in data.fingerprints.values() if value is not None)
    return DatasetSection(
        name=cfg.name_of("dataset"),
        classes=splits.classes,
        class_names=tuple(splits.class_names),
        train_size=len(data.train),
        validation_size=0 if validation is None else len(validation),
        test_size=len(splits.test),
        input_shape=data.train.shape,
        class_counts=tuple(data.class_counts.tolist()),
        test_class_counts=_class_counts(splits.test, splits.classes),
        fingerprint=hashlib.sha256(prints.encode()).hexdigest(),
        fingerprints=data.fingerprints,
        test_from=splits.test_from,
    )


def _class_counts(images: Images, classes: int) -> tuple[int, ...]:
    """Images of each class."""
    return tuple(torch.bincount(images.labels.cpu(), minlength=classes).tolist())


def model_section(cfg: RunConfig, model: nn.Module, folder: Path) -> ModelSection:
    """`folder`: of the run, with the code that it keeps."""
    sizes, begun = [(p.numel(), p.requires_grad) for p in model.parameters()], taken_by(model)
    return ModelSection(
        name=cfg.name_of("model"),
        parameters=sum(size for size, _ in sizes),
        trainable_parameters=sum(size for size, trained in sizes if trained),
        weights=None if begun is None else InitialWeightsSection(**vars(begun)),
        published=cfg.model.published() if isinstance(cfg.model, HasPublished) else (),
        code=code.digests(folder),
    )


def training_section(
    cfg: RunConfig, plan: TrainingPlan, result: TrainingResult, pruned: str | None
) -> TrainingSection:
    """`plan`: what the training followed; of a time limit, the epochs that fit."""
    limited = cfg.training.seconds is not None
    by_epoch = {row.epoch: row for row in result.history}
    return TrainingSection(
        method=cfg.name_of("method"),
        epochs=len(result.history),
        fitted_epochs=plan.training.epochs if limited else None,
        steps=result.steps,
        seconds=result.seconds,
        images_per_second=result.images / result.seconds if result.seconds else None,
        peak_memory_bytes=_peak_memory(plan.runtime.device),
        selected_by=cfg.training.select,
        selected_epoch=result.selected_epoch,
        best=by_epoch.get(result.selected_epoch),
        last=result.history[-1],
        skipped_steps=result.skipped,
        collapses=tuple(result.overfitting),
        pruned=pruned,
    )


def subset_section(images: Images, plan: EvaluationPlan, splits: Splits) -> Subset:
    """Which test images were measured, and the classes of which there was none."""
    available, names = len(splits.test), list(splits.class_names)
    whole = len(images) == available
    counts = _class_counts(images, splits.classes)
    return Subset(
        size=len(images),
        of=available,
        chosen="all" if whole else plan.choose,
        fingerprint=images.fingerprint(),
        classes_without_images=tuple(
            name for name, count in zip(names, counts, strict=True) if count == 0
        ),
    )


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def environment_section(runtime: Runtime) -> EnvironmentSection:
    return EnvironmentSection(
        robustrun=version("robustrun"),
        python=platform.python_version(),
        torch=torch.__version__,
        torchvision=_torchvision_version(),
        device=str(runtime.device),
        device_name=runtime.device_name,
        threads=runtime.threads,
        shares=runtime.shares,
        precision=runtime.precision,
        compile=bool(runtime.compile),
        processes=processes.count(),
        git_commit=_git_commit(),
        host=socket.gethostname(),
    )


def _torchvision_version() -> str:
    """torchvision's version with what it was built for (+cu132), which its metadata lacks; read
    from its file, since torchvision takes seconds to import."""
    package = find_spec("torchvision")
    folders = (package and package.submodule_search_locations) or []
    texts = [Path(folder, "version.py").read_text(encoding="utf-8") for folder in folders]
    found = re.search(r"__version__ = '([^']+)'", "".join(texts))
    return found[1] if found else version("torchvision")


def _git_commit() -> str | None:
    """The commit of the source tree this package runs from; None for an installed wheel."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        said = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
        return said.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def evaluation_section(evaluation: Evaluation, subset: Subset) -> EvaluationSection:
    clean = evaluation.clean_right
    return EvaluationSection(
        subset=subset,
        clean=CleanScore(
            **_score(clean),
            **_by_class(clean, evaluation),
            non_finite=int(evaluation.no_answer.sum()),
            seconds=evaluation.seconds,
        ),
        attacks=tuple(_attack(result, evaluation) for result in evaluation.attacks.values()),
        worst_case=Score(**_score(evaluation.worst_case)),
        curve=tuple(
            CurvePoint(epsilon=radius, **_score(right)) for radius, right in evaluation.curve
        ),
        audit=evaluation.checks,
        corruptions=evaluation.corruptions,
        perturbations=evaluation.perturbations,
        certificate=_certificate(evaluation),
    )


def _certificate(evaluation: Evaluation) -> CertificateSection | None:
    found = evaluation.certificates
    if found is None:
        return None
    plan, right = found.plan, found.right(evaluation.labels)
    return CertificateSection(
        sigma=plan.sigma,
        samples=plan.samples,
        selection_samples=plan.selection_samples,
        alpha=plan.alpha,
        curve=tuple(
            CurvePoint(epsilon=radius, **_score(right & (found.radii >= radius)))
            for radius in sorted({0.0, *plan.radii})
        ),
        average_radius=float((found.radii * right).mean()),
        abstained=int((found.answers == NO_ANSWER).sum()),
        seconds=found.seconds,
    )


def _score(right: np.ndarray) -> dict[str, Any]:
    """The fields of a Score."""
    correct, total = int(right.sum()), len(right)
    interval = wilson(correct, total)
    return {"accuracy": accuracy(right), "correct": correct, "total": total, "ci95": interval}


def _by_class(right: np.ndarray, evaluation: Evaluation) -> dict[str, Any]:
    """Each class's accuracy, and their mean."""
    classes = per_class(right, evaluation.labels, evaluation.classes)
    known = [share for share in classes if share is not None]
    balanced = sum(known) / len(known) if known else 0.0
    return {"per_class": tuple(classes), "balanced_accuracy": balanced}


def _attack(result: AttackResult, evaluation: Evaluation) -> AttackScore:
    alone = result.perturbed_right
    return AttackScore(
        name=result.name,
        attack=result.kind,
        norm=result.norm,
        epsilon=result.epsilon,
        **_score(result.robust),
        **_by_class(result.robust, evaluation),
        non_finite=int(result.no_answer.sum()),
        seconds=result.seconds,
        settings=result.settings,
        stages=result.stages,
        # Noise can turn a wrong answer right; this is the share that is right under it.
        perturbed_accuracy=None if alone is None else accuracy(alone),
    )
