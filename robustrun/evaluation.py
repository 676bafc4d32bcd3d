"""Clean and robust accuracy, example by example, with every returned image checked."""

import dataclasses
import hashlib
import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun import console
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.search.ascent import input_gradient
from robustrun.attacks.search.cascade import call_attack, judged, verdict
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.compute.search_copy import FoldedCopy, as_bfloat16, search_copy
from robustrun.compute.threads import single_threaded_between_passes, thread_parallel
from robustrun.datasets.border import checked, collected, require_labels
from robustrun.errors import DataError
from robustrun.journal import Journal
from robustrun.models import trial
from robustrun.models.trial import same_values
from robustrun.types import (
    ATTACKS,
    Attack,
    FindsDistances,
    HasEffectiveSettings,
    HasOwnUnit,
    Images,
    Rescalable,
    Staged,
    TakesCopy,
)

log = logging.getLogger(__name__)
NOT_FINITE = (
    "the network has no answer for %d of %d images: their logits are NaN or infinite. Each counts "
    "as wrong, of its own kind (non_finite). Look for a division by zero, the logarithm of 0 or an "
    "overflow of half precision before any of its numbers is believed."
)
PLACE = "images given to evaluate"
Z95 = 1.959963984540054  # the 97.5% point of the normal distribution


@dataclass(frozen=True)
class AttackResult:
    """What one attack left standing: bool arrays over all examples measured."""

    name: str  # of the option or entry that the user chose
    kind: str  # the attack's registered name
    norm: str
    epsilon: float
    settings: dict[str, Any]
    robust: np.ndarray  # right on the clean image and under the attack
    perturbed_right: np.ndarray | None  # under the perturbation alone; None for adversaries
    stages: list[dict[str, Any]]  # of an attack made of attacks: name, standing after it, seconds
    seconds: float
    no_answer: np.ndarray  # whose logits are not finite, on the clean image or under the attack


@dataclass(frozen=True)
class Measured:
    """The outcome of an evaluation, per example."""

    labels: np.ndarray  # int64 of shape N
    predictions: np.ndarray  # clean predictions, int64 of shape N; NO_ANSWER: logits not finite
    classes: int
    seconds: float  # for the clean predictions
    attacks: dict[str, AttackResult] = field(default_factory=dict)
    curve: list[tuple[float, np.ndarray]] = field(default_factory=list)  # radius, still robust

    @property
    def clean_right(self) -> np.ndarray:
        right: np.ndarray = self.predictions == self.labels
        return right

    @property
    def no_answer(self) -> np.ndarray:
        """Where the logits of the clean image are not finite: these count as wrong."""
        none: np.ndarray = self.predictions == NO_ANSWER
        return none

    @property
    def worst_case(self) -> np.ndarray:
        """Right on the clean image and under every attack: each example counts once."""
        standing = self.clean_right.copy()
        for attack in self.attacks.values():
            standing &= attack.robust
        return standing


def accuracy(right: np.ndarray) -> float:
    return float(right.mean()) if len(right) else 0.0


def wilson(correct: float, total: float) -> tuple[float, float]:
    """The Wilson score interval at 95% for `correct` of `total` (Wilson 1927, equation 7)."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = correct / total, Z95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, centre - half), min(1.0, centre + half)


def per_class(right: np.ndarray, labels: np.ndarray, classes: int) -> list[float | None]:
    """Accuracy of each class; None where no example of it was measured."""
    shares = (right[labels == label] for label in range(classes))
    return [accuracy(share) if len(share) else None for share in shares]


def batch_generator(seed: int, name: str, batch: int, device: torch.device) -> torch.Generator:
    """The randomness of one batch of one attack: the same whatever ran before it."""
    digest = hashlib.sha256(f"{seed}/{name}/{batch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class SearchNetworks:
    """The network that images are judged on, and the same function to search them with."""

    model: nn.Module
    exact: nn.Module  # float32, in shares
    fast: FoldedCopy | None = None  # for bfloat16

    def of(self, attack: Attack) -> nn.Module:
        """What `attack` searches with: a copy only if all it does with a network is to call it."""
        if not isinstance(attack, TakesCopy):
            return self.model
        if self.fast is None:
            return self.exact
        return as_bfloat16(self.fast) if attack.low_precision else self.fast


def search_networks(
    model: nn.Module, images: Images, precision: str, batch_size: int, device: torch.device
) -> SearchNetworks:
    """The networks for a run of this precision, tried on the first of `images`."""
    if len(images) == 0:
        return SearchNetworks(model, model)
    sample, _ = next(images.batches(min(batch_size, 64), device=device))
    fast = search_copy(model, sample) if precision == "bfloat16" else None
    return SearchNetworks(model, thread_parallel(model, sample), fast)


@torch.no_grad()
def predict(model: nn.Module, images: Images, batch_size: int, device: torch.device) -> np.ndarray:
    """Predicted classes in eval mode, int64 of shape N; the model's mode is restored.

    Images whose logits are not finite are predicted as NO_ANSWER, and warned of.
    """
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    found = [predicted(model(x)) for x, _ in images.batches(batch_size, device=device)]
    for module, training in modes:
        module.training = training
    predictions = torch.cat(found).cpu().numpy() if found else np.zeros(0, dtype=np.int64)
    if count := int((predictions == NO_ANSWER).sum()):
        log.warning(NOT_FINITE, count, len(predictions))
    return predictions


def run_attack(
    attack: Attack,
    name: str,
    networks: SearchNetworks,
    images: Images,
    tried: np.ndarray,
    *,
    seed: int,
    batch_size: int,
    device: torch.device,
    journal: Journal | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(whether each image of `tried` (indices) is classified right under the attack, whether its
    logits are not finite then), bool of shape N. Batches that `journal` has are not repeated."""
    right, journal = np.zeros(len(images), dtype=bool), journal or Journal()
    no_answer, before = np.zeros_like(right), _state(networks.model)
    done = _recall(journal, name, tried, batch_size, right, no_answer)
    with console.bar(f"attack {name}", len(tried), min(done * batch_size, len(tried))) as bar:
        stream = images.batches(batch_size, torch.from_numpy(tried), device, skip=done)
        for number, (x, y) in enumerate(stream, start=done):
            began = time.monotonic()
            generator = batch_generator(seed, name, number, device)
            answers = _answers(attack, name, networks, x, y, generator, batch_size)
            first = number * batch_size
            places = tried[first : first + len(x)]
            right[places] = stands = (answers == y).cpu().numpy()
            no_answer[places] = none = (answers == NO_ANSWER).cpu().numpy()
            note = {"right": stands.astype(int).tolist(), "seconds": time.monotonic() - began}
            journal.note(f"{name} batch {number}", note | {"no_answer": none.nonzero()[0].tolist()})
            bar.advance(len(x), f"{right[tried].sum() / (first + len(x)):.1%} stand")
    _check_untouched(networks.model, before, name)
    return right, no_answer


def _recall(
    journal: Journal,
    name: str,
    tried: np.ndarray,
    batch_size: int,
    right: np.ndarray,
    no_answer: np.ndarray,
) -> int:
    """Put what the journal knows into `right` and `no_answer`; returns how many batches."""
    done = 0
    while (note := journal.recall(f"{name} batch {done}")) is not None:
        places = tried[done * batch_size : (done + 1) * batch_size]
        right[places] = np.array(note["right"], dtype=bool)
        no_answer[places[note.get("no_answer", [])]] = True
        done += 1
    return done


def _spent_before(journal: Journal, name: str) -> float:
    """Seconds of the batches that are not repeated."""
    total, done = 0.0, 0
    while (note := journal.recall(f"{name} batch {done}")) is not None:
        total, done = total + note["seconds"], done + 1
    return total


def _answers(
    attack: Attack,
    name: str,
    networks: SearchNetworks,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
    batch_size: int,
) -> Tensor:
    """What the network takes the attacked images of one batch for, int64: a float32 forward pass
    of exactly what the attack returned. In halves where they do not fit into memory together.

    A search with another network may have stopped short of a mistake. So images that are right,
    and less than twice as far from a mistake as the two networks' margins are apart on any image of
    the batch, are attacked again in float32.
    """
    model, search = networks.model, networks.of(attack)
    try:
        x_adv = _attacked(attack, name, search, x, y, generator, batch_size)
        answers, height = judged(model, x_adv, y)
        if search is not model:
            doubtful = _doubtful(height, verdict(search, x_adv, y)[1])
            close = ((answers == y) & doubtful).nonzero()[:, 0]
            if len(close):
                left = (x[close], y[close])
                again = _attacked(attack, name, networks.exact, *left, generator, batch_size)
                answers[close] = judged(model, again, y[close])[0]
        return answers
    except torch.OutOfMemoryError:
        if len(x) == 1:
            raise
    log.warning("%s: out of memory with %d images at once; in halves now", name, len(x))
    middle = len(x) // 2
    halves = [(x[:middle], y[:middle]), (x[middle:], y[middle:])]
    parts = [_answers(attack, name, networks, *half, generator, middle) for half in halves]
    return torch.cat(parts)


def _doubtful(height: Tensor, searched: Tensor) -> Tensor:
    """Where margins of the network are less than twice as far from a mistake as the largest
    difference from those of the network that was searched, or that one has no answer."""
    apart = (height - searched).abs()
    known = apart.isfinite()
    doubt = 2 * apart[known].max() if bool(known.any()) else apart.new_zeros(())
    return (height > -doubt) | ~known


def _attacked(
    attack: Attack,
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
    batch_size: int,
) -> Tensor:
    with single_threaded_between_passes(model):
        x_adv = call_attack(attack, model, x, y, generator, batch_size)
    if x_adv.shape == x.shape and not torch.isfinite(x_adv).all():
        _require_finite_gradient(model, name, x, y)
    check_images(attack, name, x, x_adv)
    return x_adv


def _require_finite_gradient(model: nn.Module, name: str, x: Tensor, y: Tensor) -> None:
    """DataError if it is the network that gives the attack nothing finite to follow."""
    with attack_mode(model):
        x = x.detach().clone().requires_grad_()
        slope = input_gradient(F.cross_entropy(model(x), y, reduction="sum"), x)
    lost = int((~slope.flatten(1).isfinite().all(dim=1)).sum())
    if lost:
        raise DataError(
            f"The network's gradient with respect to the image is NaN or infinite for {lost} of "
            f"{len(x)} images, so {name} cannot follow it (a square root or a norm at 0?). Mend "
            f"the network, or measure with attack=square, which needs no gradient."
        )


def check_images(attack: Attack, name: str, x: Tensor, x_adv: Tensor) -> None:
    """Raise RuntimeError unless `x_adv` is finite, in the image box and, if promised, the ball."""
    if x_adv.shape != x.shape or not torch.isfinite(x_adv).all():
        raise RuntimeError(f"attack {name} returned images that are not finite or of wrong shape")
    if len(x) and (x_adv.min() < 0 or x_adv.max() > 1):
        raise RuntimeError(f"attack {name} left the image box [0, 1]")
    if attack.bounded and len(x):
        furthest = float(distance(x_adv, x, attack.norm).max())
        # float32 images: each pixel is rounded by up to 6e-8, and an l1 norm sums such errors.
        rounding = 6e-8 * (x[0].numel() if attack.norm == "l1" else 1)
        if furthest > attack.epsilon * (1 + 1e-5) + max(rounding, 1e-6):
            raise RuntimeError(
                f"attack {name} left its ball: {attack.norm} distance {furthest:.6g}, "
                f"allowed {attack.epsilon:.6g}"
            )


def _state(model: nn.Module) -> tuple[list[Tensor], list[bool], list[Tensor | None]]:
    buffers = [b.detach().clone() for b in model.buffers()]
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return buffers, [m.training for m in model.modules()], gradients


def _check_untouched(model: nn.Module, before: Any, name: str) -> None:
    buffers, modes, gradients = _state(model)
    if modes != before[1]:
        raise RuntimeError(f"attack {name} changed the mode of the model")
    if not all(map(same_values, buffers, before[0])):
        raise RuntimeError(f"attack {name} changed buffers of the model (batch statistics?)")
    for now, then in zip(gradients, before[2], strict=True):
        changed = (now is None) != (then is None)
        if changed or (now is not None and then is not None and not same_values(now, then)):
            raise RuntimeError(f"attack {name} left gradients in the model's parameters")


def measure(
    model: nn.Module,
    images: Images,
    classes: int,
    attacks: Mapping[str, Attack],
    *,
    seed: int,
    batch_size: int,
    device: torch.device,
    precision: str = "float32",
    radii: Iterable[float] = (),
    judge: str | None = None,
    journal: Journal | None = None,
) -> Measured:
    """Clean predictions, then every attack, then the attack named `judge` at further `radii`.
    What `journal` has from before is not measured again.

    With `precision` bfloat16, adversarial images are searched with a faster copy of the network;
    what is found is judged on the network itself all the same.
    """
    model.eval()
    began = time.monotonic()
    predictions = predict(model, images, batch_size, device)
    measured = Measured(images.labels.numpy(), predictions, classes, time.monotonic() - began)
    log.info("clean accuracy %.2f%%", 100 * accuracy(measured.clean_right))
    how: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "device": device}
    how["journal"] = journal or Journal()
    networks = search_networks(model, images, precision, batch_size, device)
    for name, attack in attacks.items():
        measured.attacks[name] = result = _one(attack, name, networks, images, measured, how)
        log.info("%s accuracy %.2f%%", name, 100 * accuracy(result.robust))
        if count := int((result.no_answer & ~measured.no_answer).sum()):
            log.warning("%s: %d images have logits that are NaN or infinite under it", name, count)
    if judge is not None:
        measured.curve.extend(_curve(judge, attacks[judge], networks, images, measured, radii, how))
    return measured


def _one(
    attack: Attack,
    name: str,
    networks: SearchNetworks,
    images: Images,
    measured: Measured,
    how: dict[str, Any],
) -> AttackResult:
    began, spent = time.monotonic(), 0.0  # the latter before an interruption
    # An adversary need not try what is wrong already; noise is measured on every image.
    standing = measured.clean_right if attack.adversarial else np.ones(len(images), dtype=bool)
    stages, no_answer = [], measured.no_answer
    for stage, part in attack.stages() if isinstance(attack, Staged) else [("", attack)]:
        start = time.monotonic()
        label = f"{name}/{stage}" if stage else name
        before = _spent_before(how["journal"], label)
        tried = np.flatnonzero(standing)
        standing, none = run_attack(part, label, networks, images, tried, **how)
        no_answer = no_answer | none
        spent += before
        seconds = time.monotonic() - start + before
        stages.append({"name": stage, "standing": int(standing.sum()), "seconds": seconds})
    unit, size = (
        attack.own_radius if isinstance(attack, HasOwnUnit) else (attack.norm, attack.epsilon)
    )
    return AttackResult(
        name,
        ATTACKS.name_of(attack),
        unit,
        size,
        _settings(attack, measured.classes),
        standing & measured.clean_right,
        None if attack.adversarial else standing,
        stages if isinstance(attack, Staged) else [],
        time.monotonic() - began + spent,
        no_answer,
    )


def _settings(attack: Attack, classes: int) -> dict[str, Any]:
    """Every parameter of an attack, as it applies to a network with so many classes."""
    if isinstance(attack, HasEffectiveSettings):
        return attack.effective_settings(classes)
    return dataclasses.asdict(attack)  # type: ignore[call-overload,no-any-return]


def _curve(
    name: str,
    attack: Attack,
    networks: SearchNetworks,
    images: Images,
    measured: Measured,
    radii: Iterable[float],
    how: dict[str, Any],
) -> Iterator[tuple[float, np.ndarray]]:
    """(radius, still robust) upwards; what falls at a small radius stays fallen at a larger one."""
    if not isinstance(attack, Rescalable) or not attack.bounded:
        log.info("no accuracy against radius: %s has no radius to change", name)
        return
    standing = measured.clean_right.copy()
    yield 0.0, standing.copy()
    if attack.epsilon == 0:
        log.info("no accuracy against radius: every multiple of the radius 0 is 0")
        return
    away = _distances(name, attack, networks.model, images, how)
    for multiple in sorted({1.0, *radii}):
        radius = attack.epsilon * multiple
        if attack.norm == "linf" and radius > 1:
            log.info("radii above 1 are not measured: such a ball holds every image")
            return
        if multiple == 1.0:
            standing &= measured.attacks[name].robust
        if away is not None:
            standing &= away > radius
        elif multiple != 1.0:
            # What has fallen counts as wrong already, and is not tried again.
            left = replace(measured, predictions=np.where(standing, measured.labels, -1))
            label = f"{name} at {_exactly(multiple)} x radius"
            other = _one(attack.with_radius(radius), label, networks, images, left, how)
            standing &= other.robust
        yield radius, standing.copy()
        if not standing.any():
            return


def _exactly(number: float) -> str:
    """Short where that is exact: two radii never share a name, which the journal knows them by."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _distances(
    name: str, attack: Attack, model: nn.Module, images: Images, how: dict[str, Any]
) -> np.ndarray | None:
    """How far each image is from a mistake, of an attack that finds that in one run; else None."""
    if not isinstance(attack, FindsDistances):
        return None
    parts = []
    for number, (x, y) in enumerate(images.batches(how["batch_size"], device=how["device"])):
        label = f"{name} distances batch {number}"
        known = how["journal"].recall(label)
        if known is None:
            generator = batch_generator(how["seed"], f"{name} distances", number, how["device"])
            known = attack.minimal_distances(model, x, y, generator=generator)[1].tolist()
            how["journal"].note(label, known)
        parts.append(np.array(known))
    return np.concatenate(parts) if parts else np.zeros(0)


def evaluate(
    model: nn.Module,
    images: tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]] | Images,
    attacks: Mapping[str, Attack],
    *,
    seed: int = 0,
    batch_size: int = 500,
) -> Measured:
    """Measure any classifier of [0, 1] images: the Python side of the command line.

    `images` are tensors (x, y), a loader of batches (x, y), which is read once, or an Images of
    ours. The model is tried first (`robustrun.models.trial`); it stays on its device, and in eval
    mode. Returns per-example results; `accuracy(measured.worst_case)` is the number to quote.
    TypeError or ValueError for what cannot be measured.
    """
    _require_types(model, attacks)
    checked_images = _images(images)
    tensors = [*model.parameters(), *model.buffers()]
    device = next((t.device for t in tensors), torch.device("cpu"))
    x, _ = next(checked_images.batches(trial.IMAGES, device=device))
    x = x[torch.arange(trial.IMAGES, device=device) % len(x)]
    model = trial.tried(model, x, None, type(model).__name__).eval()
    with torch.no_grad():
        classes = model(x).shape[1]
    require_labels(checked_images.labels, classes, PLACE, "logits of the network")
    trial.require_gradient(model, x, attacks)
    how: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "device": device}
    return measure(model, checked_images, classes, attacks, **how)


def _images(images: Any) -> Images:
    """Whatever `evaluate` takes as images, checked at the border."""
    if isinstance(images, tuple) and len(images) == 2 and isinstance(images[0], Tensor):
        return collected([images], PLACE)
    if hasattr(images, "batches"):
        return checked(images, PLACE)
    if not isinstance(images, Iterable):
        raise TypeError(
            f"{PLACE} are a {type(images).__name__}, but must be tensors (x, y), a loader of "
            f"batches (x, y), or an Images."
        )
    return collected(images, PLACE)


def _require_types(model: Any, attacks: Any) -> None:
    """TypeError unless there is a module, and attacks by name."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"The model is a {type(model).__name__}, but must be a torch.nn.Module, from images in "
            f"[0, 1] to logits."
        )
    if not isinstance(attacks, Mapping):
        raise TypeError(
            f'The attacks are a {type(attacks).__name__}, but must be a mapping: {{"pgd": attack}}.'
        )
    for name, attack in attacks.items():
        if not callable(attack) or not hasattr(attack, "adversarial"):
            raise TypeError(
                f"The attack {name!r} is a {type(attack).__name__}, but must be one of "
                f"robustrun.attacks, or alike (robustrun.types.Attack)."
            )
