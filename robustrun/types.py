"""The Protocols that the parts agree on, and one registry per configuration group.

Everywhere outside a model an image batch `x` is a float32 tensor N x C x H x W with values in
[0, 1], labels `y` are int64 of shape N, and a radius `epsilon` is in the same pixel units.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

from robustrun.registry import Registry
from robustrun.storage.published import PublishedNumber

Shape = tuple[int, int, int]  # channels, height, width


class Attack(Protocol):
    """An adversary: a frozen dataclass whose fields are its settings.

    `norm` and `epsilon` are the threat model. `bounded` says whether every returned image lies in
    that ball (noise does not; what such an attack may offer is `HasOwnUnit`); `adversarial` says
    whether the attack looks for mistakes, so that images wrong already need not be tried.
    """

    @property
    def norm(self) -> str: ...  # linf, l2 or l1

    @property
    def epsilon(self) -> float: ...  # radius in pixel units

    @property
    def bounded(self) -> bool: ...

    @property
    def adversarial(self) -> bool: ...

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images of the same shape, dtype and device as `x`, in [0, 1].

        The model's mode, buffers and gradients are as they were afterwards. All randomness comes
        from `generator` (on x's device), or from torch's global one.
        """
        ...


class FillsBatches(Attack, Protocol):
    """An attack that does several runs on few images at once; its signature says so, by a keyword
    `batch_size`: how many images it may pass through the network together, if it is given fewer.
    None: as many as it is given. An attack without this keyword is never given it.
    """

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        generator: torch.Generator | None = None,
        batch_size: int | None = None,
    ) -> Tensor: ...


def fills_batches(attack: Attack) -> TypeGuard[FillsBatches]:
    """Whether `attack` has the keyword `batch_size`."""
    return "batch_size" in signature(attack).parameters


@runtime_checkable
class HasOwnUnit(Protocol):
    """An attack in no ball of pixels: what its images are within, as results name it."""

    @property
    def own_radius(self) -> tuple[str, float]: ...  # unit (std, lpips) and size


@runtime_checkable
class Rescalable(Protocol):
    """An attack that can be had at another radius, for curves."""

    def with_radius(self, epsilon: float) -> Attack: ...


@runtime_checkable
class FindsDistances(Protocol):
    """An attack for the smallest perturbation: one run gives the accuracy at every radius."""

    def minimal_distances(
        self, model: nn.Module, x: Tensor, y: Tensor, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """(images, their distances, float64 of shape N): 0 for what is wrong already, infinite
        where nothing was found."""
        ...


@runtime_checkable
class TakesCopy(Protocol):
    """An attack that does nothing with a network but call it, so that a faster copy serves.

    `low_precision`: whether bfloat16 serves, too. The direction of a gradient survives it; what
    compares values near the boundary (FAB, Square) loses strength.
    """

    low_precision: ClassVar[bool]


@runtime_checkable
class DeclaresGradient(Protocol):
    """An attack that says whether it follows gradients; adversaries that do not say so do."""

    needs_gradient: ClassVar[bool]


@runtime_checkable
class Staged(Protocol):
    """An attack made of attacks, each run on what is right after the ones before (AutoAttack)."""

    def stages(self) -> list[tuple[str, Attack]]: ...


@runtime_checkable
class HasEffectiveSettings(Protocol):
    """An attack whose settings depend on the number of classes; `instead` says what changed."""

    def effective_settings(self, classes: int) -> dict[str, Any]: ...


class Learner(Protocol):
    """What a method may do to the model while it trains."""

    model: nn.Module
    memory: dict[str, Any]  # a method's state between batches, saved in checkpoints
    class_counts: Tensor  # training examples per class, int64 of shape K, on the model's device

    @property
    def progress(self) -> float: ...  # share of the training that is done, 0 to 1

    @property
    def lr(self) -> float: ...

    def cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        """The mean cross-entropy at the labels, smoothed as `training.label_smoothing` says."""
        ...

    # For methods that make their own step:

    def update(self, loss: Tensor) -> None: ...  # backward, then apply

    def backward(self, loss: Tensor) -> None: ...

    def apply(self) -> None: ...  # one optimizer step with the gradients there are, then clear them


class Method(Protocol):
    """A training strategy: what is climbed, and what is minimised. The training loop makes the
    step, and what `training` asks for (weight perturbation, clipping …) comes with it."""

    def perturb(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        """Images x' to train on, N x C x H x W; `x` itself for a method without adversary."""
        ...

    def loss(self, learner: Learner, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The mean loss of a batch, a scalar. It may be asked for twice a step (AWP)."""
        ...


@runtime_checkable
class OwnStep(Protocol):
    """A training strategy that is no `perturb` and `loss`, as Free-AT with its several updates a
    batch."""

    def step(self, learner: Learner, x: Tensor, y: Tensor) -> Tensor:
        """Train on one batch; returns the loss (a scalar, may be attached), for the log."""
        ...


AnyMethod = Method | OwnStep


@runtime_checkable
class AfterUpdate(Protocol):
    """A method that still does something once its batch is learned."""

    def after_update(self, learner: Learner, x: Tensor) -> None: ...


@runtime_checkable
class Adapts(Protocol):
    """A method that needs its own head on the network (RoBal's cosine classifier)."""

    def adapt(self, model: nn.Module, class_counts: Tensor) -> nn.Module: ...


@runtime_checkable
class LearnsNoise(Protocol):
    """A method that trains on images with Gaussian noise, as certificates by smoothing want it."""

    @property
    def gaussian_noise(self) -> float: ...  # standard deviation, pixel units


@runtime_checkable
class HasFeatures(Protocol):
    """A network that shows the activations between its stages, for perceptual distances."""

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits N x K, and the chosen activations, each N x C x H x W, from one forward pass."""
        ...


class Model(Protocol):
    """Builds a network from [0, 1] images to logits; normalisation is inside it."""

    def build(self, shape: Shape, classes: int) -> nn.Module: ...


@runtime_checkable
class BuildsAsBegun(Protocol):
    """A model that refuses, in a new run, settings that earlier versions took."""

    def build_as_begun(self, shape: Shape, classes: int) -> nn.Module:
        """The network all the same, for a run that began with these; that is warned of."""
        ...


@runtime_checkable
class Foresees(Protocol):
    """A part of an attack or a method that needs more than a network and images of any kind."""

    def require_usable(self, model: nn.Module, x: Tensor) -> None:
        """ConfigError or DataError unless it can work with `model` and images like `x`."""
        ...


@runtime_checkable
class HasArchitecture(Protocol):
    """A model that is one of many, by a library's name (timm's, torchvision's): so it is called."""

    @property
    def architecture(self) -> str: ...


@runtime_checkable
class HasPublished(Protocol):
    """A model whose numbers were published."""

    def published(self) -> tuple[PublishedNumber, ...]: ...


@runtime_checkable
class HasCode(Protocol):
    """A model that is made of the user's own Python files."""

    def code(self) -> dict[str, Path]:
        """These files, by their names below `source_folder`."""
        ...

    def source_folder(self) -> Path: ...

    def from_folder(self, folder: Path) -> Model:
        """The same model made of copies of these files, where that is possible."""
        ...


@runtime_checkable
class HasSourceName(Protocol):
    """A data set that is one of many (torchvision's by class): what it is called where the option
    stands for all of them."""

    @property
    def source_name(self) -> str: ...


class Images(Protocol):
    """A labelled set of images that can be read in batches any number of times."""

    @property
    def labels(self) -> Tensor: ...  # int64 of shape N, on the CPU

    @property
    def shape(self) -> Shape: ...

    def __len__(self) -> int: ...

    def subset(self, indices: Tensor) -> "Images": ...

    def plain(self) -> "Images":
        """The same images without augmentation."""
        ...

    def to(self, device: torch.device) -> "Images":
        """The same images, kept on `device` if they are kept in memory at all."""
        ...

    def batches(
        self,
        batch_size: int,
        order: Tensor | None = None,
        device: torch.device | None = None,
        skip: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (x in [0, 1], y) on `device`, in `order` (indices; None: as stored), but for the
        first `skip`. What is drawn for an image before it is yielded depends on `order` alone, so
        that a training that continues in the middle of an epoch sees what it would have seen."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 over shape, labels and pixels; for files on disk over their content, their names
        below the data set's folder and how they are read. Augmentation is configuration, and does
        not count."""
        ...


@dataclass(frozen=True)
class Splits:
    """A data set ready for use. Training images come augmented, the others as they are."""

    train: Images
    test: Images
    class_names: tuple[str, ...]
    validation_from: str = "random"  # how a validation split is cut from train: random or tail
    chosen: Tensor | None = None  # which of the official training images are here; None: all
    class_table: Tensor | None = None  # the place here of each class that the files count
    left_out: tuple[str, ...] = ()  # classes of the files that are not used
    test_from: str | None = None  # how the test part came to be, where none is so named
    class_folders: Mapping[str, str] | None = None  # of classes whose folders are called otherwise

    @property
    def classes(self) -> int:
        return len(self.class_names)


class Dataset(Protocol):
    """Finds (or fetches) the images of one data set."""

    def load(self) -> Splits: ...


class Device(Protocol):
    """Where and how a run computes."""

    def prepare(self, work: float) -> "Runtime":
        """Set up this process for networks that cost `work` operations a batch."""
        ...


@runtime_checkable
class HasProcesses(Protocol):
    """A device that starts several processes for a run."""

    @property
    def processes(self) -> int: ...


@dataclass(frozen=True)
class Runtime:
    """What a device decided, as it goes into the results."""

    device: torch.device
    device_name: str  # the processor's own name
    threads: int  # that compute one layer together
    shares: int  # that a batch is cut into for attacks at most, a thread each
    precision: str  # float32 or bfloat16: of training and of searching; verdicts are float32
    compile: Literal[True, False, "auto"]  # auto: not yet decided
    memory_format: torch.memory_format  # of the network's convolutions
    sync_batchnorm: bool = True  # several processes: batch norm has the whole batch's statistics
    search_copy: bool = False  # attacks search with a folded copy, also where that is float32


class Optimizer(Protocol):
    """Makes the optimizer of a run; the schedule scales the `lr` of each of its parameter groups.
    Parameters that ask for no gradient are left out."""

    def build(self, model: nn.Module) -> torch.optim.Optimizer: ...


class Schedule(Protocol):
    """The learning rate over the run."""

    def factor(self, progress: float) -> float:
        """What each rate is multiplied by when this share of the steps is done, 0 to 1."""
        ...


@runtime_checkable
class CyclesMomentum(Protocol):
    """A schedule that moves the optimizer's momentum, too."""

    def momentum_at(self, progress: float) -> float | None: ...  # None: the optimizer's own


class Tracker(Protocol):
    """Where a run's configuration, epochs and results are sent besides its own folder."""

    def start(self, folder: Path, config: dict[str, Any]) -> "RunTracker":
        """Send the configuration of the run in `folder`. If the run was started before, it is
        resumed, and what is sent now belongs to the same run there. Whatever is raised here stops
        the run before its training."""
        ...


@runtime_checkable
class RunTracker(Protocol):
    """A tracker's connection to one run, from its start to its end. Whatever is raised here is
    told once; the run continues without its tracker."""

    def epoch(self, row: dict[str, Any]) -> None: ...  # one row of metrics.csv

    def finish(self, results: dict[str, Any]) -> None: ...  # results.json, of a failed run too


# --- the registries: the members of each group's Protocol, with what they are ---------------------

METHODS: Registry[AnyMethod] = Registry(
    "method",
    {
        "perturb": "a method (learner, x, y) that returns the images to train on",
        "loss": "a method (learner, x, x_adv, y) that returns the mean loss of a batch",
    },
    {"step": "a method (learner, x, y) that trains on one batch and returns the loss"},
)
MODELS: Registry[Model] = Registry(
    "model", {"build": "a method (shape, classes) that returns the network"}
)
DATASETS: Registry[Dataset] = Registry("dataset", {"load": "a method () that returns Splits"})
ATTACKS: Registry[Attack] = Registry(
    "attack",
    {
        "norm": "the norm of its ball: linf, l2 or l1",
        "epsilon": "the radius of its ball, in pixel units",
        "bounded": "True or False: whether every image that it returns lies in its ball",
        "adversarial": "True or False: whether it looks for mistakes",
        "__call__": "a method (model, x, y, *, generator=None) that returns the images",
    },
    renamed={"at": "with_radius", "describe": "effective_settings", "reach": "own_radius"},
)
DEVICES: Registry[Device] = Registry(
    "device", {"prepare": "a method (work) that returns a Runtime"}
)
OPTIMIZERS: Registry[Optimizer] = Registry(
    "optimizer", {"build": "a method (model) that returns a torch.optim.Optimizer"}
)
SCHEDULES: Registry[Schedule] = Registry(
    "schedule", {"factor": "a method (progress) that returns what the rate is multiplied by"}
)
TRACKERS: Registry[Tracker] = Registry(
    "tracker", {"start": "a method (folder, config) that returns a RunTracker"}
)
