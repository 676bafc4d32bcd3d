"""Accuracies at the end of an epoch."""

import numpy as np
import torch
from torch import Tensor, nn

from robustrun.compute import interrupts
from robustrun.evaluation.attack_run import run_attack
from robustrun.evaluation.clean import predict
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import search_networks
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.statistics import accuracy
from robustrun.training.batching import shuffled
from robustrun.training.learner import Learner, average_weights_loaded
from robustrun.training.overfitting import packed
from robustrun.training.settings import TrainingPlan
from robustrun.training.state import Checkpointer, TrainingState
from robustrun.types import Images, Runtime

TRAIN_SAMPLE = 1000  # training images that the training accuracy is measured on
EVALUATION_BATCH = 500
Validated = tuple[dict[str, float | None], Tensor | None]  # accuracies, and verdicts on validation


def validated(
    fitting: TrainingState,
    train: Images,
    validation: Images | None,
    how: TrainingPlan,
    saves: Checkpointer,
) -> Validated:
    """`_validate`; a signal in it costs nothing that was trained."""
    try:
        return _validate(fitting.trainer, train, validation, how, fitting.epoch)
    except (KeyboardInterrupt, interrupts.Terminated):
        saves.save(fitting.state())
        raise


def _validate(
    trainer: Learner, train: Images, validation: Images | None, how: TrainingPlan, epoch: int
) -> Validated:
    """At the end of an epoch, in eval mode on images without augmentation."""
    names = ("train_accuracy", "validation_clean_accuracy", "validation_robust_accuracy")
    training, runtime, seed = how.training, how.runtime, how.seed
    if epoch % training.validation_every and epoch != training.epochs:
        return dict.fromkeys(names), None
    _recompute(trainer, train, how, epoch)
    with average_weights_loaded(trainer):
        drawn = torch.Generator().manual_seed(seed)  # a folder's first images are of one class
        sample = train.plain().subset(torch.randperm(len(train), generator=drawn)[:TRAIN_SAMPLE])
        found: dict[str, float | None] = {
            "train_accuracy": _clean_accuracy(trainer.model, sample, runtime)
        }
        if validation is None:
            return dict.fromkeys(names) | found, None
        tried = np.flatnonzero(_correct(trainer.model, validation, runtime))
        found["validation_clean_accuracy"] = len(tried) / len(validation)
        if training.validation_attack is None:
            return dict.fromkeys(names) | found, None
        setting = Setting(seed, EVALUATION_BATCH, runtime.device)
        networks = search_networks(trainer.model, validation, setting)
        subject = Subject(networks, validation, len(trainer.class_counts))
        attack = training.validation_attack
        robust, _ = run_attack(attack, "validation", subject, tried, setting)
        found["validation_robust_accuracy"] = accuracy(robust)
        return found, packed(robust)


def _recompute(trainer: Learner, train: Images, how: TrainingPlan, epoch: int) -> None:
    """Find the running statistics of the averaged weights, if that is how they are to be had."""
    average, device = trainer.average, how.runtime.device
    if average is None or average.buffers != "recompute":
        return
    generators = [device] if device.type == "cuda" else []
    with (
        average_weights_loaded(trainer),
        torch.random.fork_rng(generators),
    ):  # training draws on as without
        batches = shuffled(train, trainer.batching, how.seed, epoch, device)
        average.recompute(trainer.model, batches)


def _correct(model: nn.Module, images: Images, runtime: Runtime) -> np.ndarray:
    predictions = predict(model, images, EVALUATION_BATCH, runtime.device)
    right: np.ndarray = predictions == images.labels.numpy()
    return right


def _clean_accuracy(model: nn.Module, images: Images, runtime: Runtime) -> float:
    return accuracy(_correct(model, images, runtime))
