"""results.json as types: what each of its parts holds, and in which unit.

Accuracies are fractions in [0, 1], times are seconds, radii are in pixel units. What an older
version did not write has the default that says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from robustrun.errors import DataError
from robustrun.evaluation.findings import Check, CorruptionResult, FlipResult, StageResult
from robustrun.run_folder.folder import RESULTS
from robustrun.storage.header import RUN, header
from robustrun.storage.published import PublishedNumber
from robustrun.training.metrics import EpochMetrics, Overfitting

SCHEMA_VERSION = 1

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """How many of the images are right."""

    accuracy: Fraction
    correct: int = 0
    total: int = 0
    ci95: tuple[Fraction, Fraction]  # Wilson's interval


@dataclass(frozen=True, kw_only=True)
class CleanScore(Score):
    """The images as they are."""

    per_class: tuple[Fraction | None, ...] | None = None  # None: no image of the class
    balanced_accuracy: Fraction | None = None  # mean over the classes with images
    non_finite: int = 0  # images whose logits are NaN or infinite; they count as wrong
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class AttackScore(CleanScore):
    """The images that are right as they are and under an attack."""

    name: str  # of the option or entry that the user chose
    attack: str = ""  # the attack's registered name; empty: the run did not note it
    norm: str  # of the ball, or the attack's own unit (std, lpips)
    epsilon: float
    settings: dict[str, Any] = field(default_factory=dict)
    stages: tuple[StageResult, ...] = ()  # of an attack made of attacks
    perturbed_accuracy: Fraction | None = None  # under noise alone, clean mistakes not counted

    @property
    def kind(self) -> str:
        """The attack's registered name; the entry's own where a run did not note it."""
        return self.attack or self.name


@dataclass(frozen=True, kw_only=True)
class CurvePoint(Score):
    """The images that are right at a radius."""

    epsilon: float


@dataclass(frozen=True, kw_only=True)
class CertificateSection:
    """What randomised smoothing certified, in l2."""

    sigma: float  # of the noise
    samples: int  # noisy copies of an image that bound the share of its class
    selection_samples: int  # others, that chose the class
    alpha: float  # the probability that a certificate is wrong, at most
    curve: tuple[CurvePoint, ...]  # right, and certified at this radius or a larger one; from 0
    average_radius: float  # 0 where the smoothed classifier is wrong or abstains
    abstained: int = 0  # images; they count as wrong
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Which test images were measured."""

    size: int = 0
    of: int = 0  # images of the test set
    chosen: str = "all"  # all, first or random
    fingerprint: str = ""  # SHA-256 of the images
    classes_without_images: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EvaluationSection:
    """What was measured."""

    subset: Subset | None = None
    clean: CleanScore
    attacks: tuple[AttackScore, ...]  # the run's own first
    worst_case: Score  # right as they are and under every attack
    curve: tuple[CurvePoint, ...] = ()  # of the run's own attack, upwards
    audit: tuple[Check, ...] = ()  # empty: none was made
    corruptions: CorruptionResult | None = None
    perturbations: FlipResult | None = None
    certificate: CertificateSection | None = None

    @property
    def verdict(self) -> str:
        """The worst status of the audit's checks; empty if none were made."""
        return worst_status(check.status for check in self.audit)

    @property
    def scores(self) -> dict[str, Score]:
        """Every accuracy by name, in reading order: clean, each attack, worst_case."""
        attacks = {score.name: score for score in self.attacks}
        return {"clean": self.clean, **attacks, "worst_case": self.worst_case}

    @property
    def unanswered(self) -> dict[str, int]:
        """How many images have logits that are not finite, by name, where any have."""
        scores = {"clean": self.clean} | {score.name: score for score in self.attacks}
        return {name: score.non_finite for name, score in scores.items() if score.non_finite}

    @property
    def images(self) -> str:
        """Which test images were measured, in words."""
        subset = self.subset
        if subset is None or subset.size == subset.of:
            return f"all {self.clean.total} test images"
        return f"{subset.size} of {subset.of} test images ({subset.chosen})"


@dataclass(frozen=True, kw_only=True)
class DatasetSection:
    """The images that the run had."""

    name: str = ""
    classes: int = 0
    class_names: tuple[str, ...] = ()
    train_size: int = 0
    validation_size: int = 0
    test_size: int | None = None
    input_shape: tuple[int, int, int] = (0, 0, 0)  # channels, height, width
    class_counts: tuple[int, ...] = ()  # of the training images
    test_class_counts: tuple[int, ...] = ()
    fingerprint: str | None = None  # SHA-256 of all splits
    fingerprints: dict[str, str | None] = field(default_factory=dict)  # of each
    test_from: str | None = None  # how the test images came to be, where no part is so named


@dataclass(frozen=True, kw_only=True)
class InitialWeightsSection:
    """The weights that a training began with, from elsewhere."""

    source: str  # a file, a run, or what a library calls them
    sha256: str | None = None  # of the file; None: a library had it
    taken: int = 0  # tensors
    new: tuple[str, ...] = ()  # names of the tensors that began at random


@dataclass(frozen=True, kw_only=True)
class ModelSection:
    """The network."""

    name: str
    parameters: int = 0
    trainable_parameters: int = 0
    weights: InitialWeightsSection | None = None  # None: all of them were random
    published: tuple[PublishedNumber, ...] = ()  # of the checkpoint itself
    code: dict[str, str] = field(default_factory=dict)  # SHA-256 of the user's files it is made of


@dataclass(frozen=True, kw_only=True)
class TrainingSection:
    """How the training went."""

    method: str = ""
    epochs: int | None = None  # fewer than asked for if overfitting or a search ended it
    fitted_epochs: int | None = None  # as many as fit into the time limit; None: it had none
    steps: int | None = None
    seconds: float | None = None  # of training alone, without validation
    images_per_second: float | None = None
    peak_memory_bytes: int | None = None
    selected_by: str = ""  # best_robust, best_clean or last
    selected_epoch: int | None = None
    best: EpochMetrics | None = None  # the selected epoch
    last: EpochMetrics | None = None
    skipped_steps: int = 0  # whose loss was not finite
    collapses: tuple[Overfitting, ...] = ()
    pruned: str | None = None  # where, and by what of a search, the training was ended early


@dataclass(frozen=True, kw_only=True)
class EnvironmentSection:
    """Where the numbers were measured."""

    robustrun: str = ""  # versions
    python: str = ""
    torch: str = ""
    torchvision: str = ""
    device: str = ""
    device_name: str = ""
    threads: int | None = None  # that compute one layer together
    shares: int | None = None  # that a batch is cut into for attacks at most
    precision: str = ""
    compile: bool | None = None
    processes: int = 1  # that computed the run together
    git_commit: str | None = None
    host: str = ""


@dataclass(frozen=True, kw_only=True)
class EvaluatedSection:
    """The network that was measured again, of a run that trained none."""

    source: str
    kind: str = ""  # run, program, weights, or model (as configured); empty: the run noted none
    weights_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class RunSection:
    """The run itself."""

    id: str = ""  # the folder's name
    status: str  # completed, failed or interrupted
    command: str = ""
    overrides: tuple[str, ...] | None = None  # the words that made the configuration
    started_at: str | None = None  # ISO 8601
    resumed_at: tuple[str, ...] = ()
    finished_at: str | None = None
    seconds: float | None = None
    error: str | None = None
    lost: dict[str, str] = field(default_factory=dict)  # what was to be made, and why it is not


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run left: its folder, and what its results.json says. A section that the run did not
    come to is None."""

    schema_version: int = SCHEMA_VERSION
    run: RunSection
    config: dict[str, Any] = field(default_factory=dict)
    dataset: DatasetSection | None = None
    model: ModelSection | None = None
    training: TrainingSection | None = None
    evaluation: EvaluationSection | None = None
    environment: EnvironmentSection | None = None
    evaluated: EvaluatedSection | None = None
    folder: Path = Path()  # where it lies; not in results.json

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are written."""
        sections = {name: value for name, value in vars(self).items() if name in _SECTIONS}
        plain: dict[str, Any] = msgspec.to_builtins(sections, enc_hook=_plain)
        return plain

    @classmethod
    def from_json(cls, text: bytes, folder: Path) -> "RunRecord":
        """What results.json of `folder` says; DataError if it is none, or a newer version's."""
        try:
            version = msgspec.json.decode(text, type=_Version).schema_version
            if version > SCHEMA_VERSION:
                newer = f"schema_version {version} is newer than this robustrun"
                raise msgspec.ValidationError(newer)
            return replace(msgspec.json.decode(text, type=cls), folder=folder)
        except msgspec.ValidationError as error:
            raise DataError(f"{RESULTS} is not a run's result ({error})") from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise DataError(f"{RESULTS} cannot be read: {error}") from None

    @cached_property
    def results(self) -> dict[str, Any]:
        """The content of results.json."""
        return self.to_json()

    def option(self, group: str) -> str:
        """What the user chose of a group; of runs that did not note it, the registered name."""
        if group == "model" and self.model is not None:
            return self.model.name  # an architecture of a library
        chosen = (self.config.get("options") or {}).get(group) or self.config[group]["name"]
        if group == "dataset" and self.dataset and chosen == self.config[group]["name"]:
            return self.dataset.name or str(chosen)  # a library's name for it
        return str(chosen)


_SECTIONS = [section.name for section in fields(RunRecord) if section.name != "folder"]


def _plain(value: Any) -> Any:
    """Values of other types in an attack's settings: numbers of NumPy, kinds of text."""
    return value.item() if hasattr(value, "item") else str(value)


@dataclass(frozen=True)
class _Version:
    schema_version: int


@dataclass(frozen=True)
class _RunAlone:
    run: RunSection


def read_run(folder: Path) -> RunSection | None:
    """What the run in `folder` says of itself, without the rest; None if that cannot be read."""
    try:
        return msgspec.json.decode(_results(folder), type=_RunAlone).run
    except (OSError, msgspec.MsgspecError, RecursionError):
        return None


def read_record(folder: Path) -> RunRecord:
    """What the run in `folder`, or in a file that was exported from one, left; DataError or OSError
    if that cannot be read."""
    return RunRecord.from_json(_results(folder), folder)


def _results(place: Path) -> bytes:
    """The content of results.json."""
    if place.is_file():
        return msgspec.json.encode(header(place).get(RUN))
    return (place / RESULTS).read_bytes()


def worst_status(statuses: Iterable[str]) -> str:
    """The worst of audits' statuses; empty if there is none."""
    present = set(statuses)
    return next((status for status in ("fail", "warn", "pass") if status in present), "")
