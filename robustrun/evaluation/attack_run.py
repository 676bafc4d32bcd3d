"""One attack over all batches, judged in float32."""

import logging
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustrun import console
from robustrun.attacks.search.ascent import input_gradient
from robustrun.attacks.search.cascade import call_attack, judged, verdict
from robustrun.compute.modes import attack_mode
from robustrun.compute.predictions import NO_ANSWER
from robustrun.compute.threads import single_threaded_between_passes
from robustrun.errors import DataError
from robustrun.evaluation.checks import check_images, check_untouched, model_state
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.shards import batches_of, findings
from robustrun.storage.journal import Journal
from robustrun.types import Attack

log = logging.getLogger(__name__)


def run_attack(
    attack: Attack, name: str, subject: Subject, tried: np.ndarray, setting: Setting
) -> tuple[np.ndarray, np.ndarray]:
    """(whether each image of `tried` (indices) is classified right under the attack, whether its
    logits are not finite then), bool of shape N. Batches that the journal has are not repeated."""
    right = np.zeros(len(subject.images), dtype=bool)
    no_answer, before = np.zeros_like(right), model_state(subject.network)
    places = np.split(tried, range(setting.batch_size, len(tried), setting.batch_size))
    keys = [_key(name, number) for number, place in enumerate(places) if len(place)]
    work = partial(_attacked_batches, attack, name, subject, tried, setting)
    for place, note in zip(places, findings(keys, work, setting.journal), strict=False):
        right[place] = np.array(note["right"], dtype=bool)
        no_answer[place[note.get("no_answer", [])]] = True
    check_untouched(subject.network, before, name)
    return right, no_answer


def _attacked_batches(
    attack: Attack,
    name: str,
    subject: Subject,
    tried: np.ndarray,
    setting: Setting,
    numbers: list[int],
) -> Iterator[tuple[int, dict[str, Any]]]:
    """What the journal is to know of each of these batches."""
    size, order, total = setting.batch_size, torch.from_numpy(tried), len(tried)
    to_do = sum(min(size, total - number * size) for number in numbers)
    standing = seen = 0
    with console.bar(f"attack {name}", total, total - to_do, images=1) as bar:
        stream = batches_of(subject.images, order, numbers, size, setting.device)
        for number, (x, y) in zip(numbers, stream, strict=True):
            began = time.monotonic()
            generator = setting.generator(name, number)
            answers = _answers(attack, name, subject.networks, x, y, generator, size)
            correct, none = (answers == y).cpu().numpy(), (answers == NO_ANSWER).cpu().numpy()
            note = {"right": correct.astype(int).tolist(), "seconds": time.monotonic() - began}
            yield number, note | {"no_answer": none.nonzero()[0].tolist()}
            standing, seen = standing + int(correct.sum()), seen + len(x)
            bar.advance(len(x), f"{standing / seen:.1%} stand")


def _key(name: str, number: int) -> str:
    """What the journal knows a batch by."""
    return f"{name} batch {number}"


def seconds_before(journal: Journal, name: str) -> float:
    """Seconds of the batches that are not repeated."""
    head = _key(name, 0).removesuffix("0")
    notes = [note for key, note in journal.findings.items() if key.startswith(head)]
    return float(sum(note["seconds"] for note in notes))


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
        with networks.searching(search, x.device.type):
            x_adv = _attacked(attack, name, search, x, y, generator, batch_size)
        answers, height = judged(model, x_adv, y)
        if search is not model:
            with networks.searching(search, x.device.type):
                searched = verdict(search, x_adv, y)[1]
            doubtful = _doubtful(height, searched)
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
