"""One attack over all batches, judged in float32."""

import dataclasses
import hashlib
import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun import console
from robustrun.attacks.search.ascent import input_gradient
from robustrun.attacks.search.cascade import call_attack, judged, verdict
from robustrun.compute.modes import attack_mode, eval_mode
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.compute.search_copy import FoldedCopy, as_bfloat16, search_copy
from robustrun.compute.threads import single_threaded_between_passes, thread_parallel
from robustrun.errors import DataError
from robustrun.evaluation.checks import check_images, check_untouched, model_state
from robustrun.evaluation.outcome import AttackResult, Evaluation
from robustrun.storage.journal import Journal
from robustrun.types import (
    ATTACKS,
    Attack,
    HasEffectiveSettings,
    HasOwnUnit,
    Images,
    Staged,
    TakesCopy,
)

log = logging.getLogger(__name__)


NOT_FINITE = (
    "the network has no answer for %d of %d images: their logits are NaN or infinite. Each counts "
    "as wrong, of its own kind (non_finite). Look for a division by zero, the logarithm of 0 or an "
    "overflow of half precision before any of its numbers is believed."
)


def batch_generator(seed: int, name: str, batch: int, device: torch.device) -> torch.Generator:
    """The randomness of one batch of one attack: the same whatever ran before it."""
    digest = hashlib.sha256(f"{seed}/{name}/{batch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class SearchNetworks:
    """The network that images are judged on, and the same function to search them with."""

    model: nn.Module
    exact: nn.Module  # float32, each thread a part of the batch
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
    with eval_mode(model):
        found = [predicted(model(x)) for x, _ in images.batches(batch_size, device=device)]
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
    no_answer, before = np.zeros_like(right), model_state(networks.model)
    done = _recall(journal, name, tried, batch_size, right, no_answer)
    place = f"attack {name}", len(tried), min(done * batch_size, len(tried))
    with console.bar(*place, images=1) as bar:
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
    check_untouched(networks.model, before, name)
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


def attack_result(
    attack: Attack,
    name: str,
    networks: SearchNetworks,
    images: Images,
    measured: Evaluation,
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
