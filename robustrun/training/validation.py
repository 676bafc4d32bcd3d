"""Accuracies at the end of an epoch."""

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Validation:
    """Accuracies at the end of an epoch, as fractions; None: not measured."""

    train: float | None = None
    clean: float | None = None
    robust: float | None = None
    verdicts: Tensor | None = None  # which validation images are robust, as `packed` has them


def validated(
    state: TrainingState,
    train: Images,
    validation: Images | None,
    how: TrainingPlan,
    checkpointer: Checkpointer,
) -> Validation:
    """`_validate`; a signal in it costs nothing that was trained."""
    try:
        return _validate(state.learner, train, validation, how, state.epoch)
    except interrupts.STOPPED:
        checkpointer.save(state.state_dict())
        raise


def _validate(
    learner: Learner, train: Images, validation: Images | None, how: TrainingPlan, epoch: int
) -> Validation:
    """At the end of an epoch, in eval mode on images without augmentation."""
    training, runtime, seed = how.training, how.runtime, how.seed
    if epoch % training.validation_every and epoch != training.epochs:
        return Validation()
    _recompute(learner, train, how, epoch)
    with average_weights_loaded(learner):
        drawn = torch.Generator().manual_seed(seed)  # a folder's first images are of one class
        sample = train.plain().subset(torch.randperm(len(train), generator=drawn)[:TRAIN_SAMPLE])
        on_train = _clean_accuracy(learner.model, sample, runtime)
        if validation is None:
            return Validation(on_train)
        tried = np.flatnonzero(_correct(learner.model, validation, runtime))
        clean = len(tried) / len(validation)
        if training.validation_attack is None:
            return Validation(on_train, clean)
        setting = Setting(seed, EVALUATION_BATCH, runtime.device)
        networks = search_networks(learner.model, validation, setting)
        subject = Subject(networks, validation, len(learner.class_counts))
        attack = training.validation_attack
        robust, _ = run_attack(attack, "validation", subject, tried, setting)
        return Validation(on_train, clean, accuracy(robust), packed(robust))


def _recompute(learner: Learner, train: Images, how: TrainingPlan, epoch: int) -> None:
    """Find the running statistics of the averaged weights, if that is how they are to be had."""
    average, device = learner.average, how.runtime.device
    if average is None or average.buffers != "recompute":
        return
    generators = [device] if device.type == "cuda" else []
    with (
        average_weights_loaded(learner),
        torch.random.fork_rng(generators),
    ):  # training draws on as without
        batches = shuffled(train, learner.batching, how.seed, epoch, device)
        average.recompute(learner.model, batches)


def _correct(model: nn.Module, images: Images, runtime: Runtime) -> np.ndarray:
    predictions = predict(model, images, EVALUATION_BATCH, runtime.device)
    right: np.ndarray = predictions == images.labels.numpy()
    return right


def _clean_accuracy(model: nn.Module, images: Images, runtime: Runtime) -> float:
    return accuracy(_correct(model, images, runtime))
