"""Attacks one after another, each on the images that the model still gets right."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import where_rows
from robustrun.compute.predictions import predicted
from robustrun.losses import margin
from robustrun.types import Attack, fills_batches

Run = Callable[[Tensor], Tensor]  # indices of images -> these images attacked, or as they were
Rows = Callable[[Tensor, Tensor], Tensor]  # the same, with the number of the run of each


def call_attack(
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator | None,
    batch_size: int | None,
) -> Tensor:
    """What `attack` returns for these images; `batch_size` goes to attacks that take it."""
    if fills_batches(attack):
        return attack(model, x, y, generator=generator, batch_size=batch_size)
    return attack(model, x, y, generator=generator)


def still_correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The verdict on exactly these images, bool of shape N."""
    with torch.no_grad():
        right: Tensor = predicted(model(x)) == y
    return right


def run_until_fooled(model: nn.Module, x: Tensor, y: Tensor, runs: Iterable[Run]) -> Tensor:
    """Images after all `runs`; what is wrong from the start, or once fooled, is left alone.

    Where no run fools the model, the image of the largest margin is returned: nearest to a mistake.
    """
    worst = _WorstCase(model, x, y)
    for run in runs if len(worst.left) else ():
        worst.take(run(worst.left))
        if len(worst.left) == 0:
            break
    return worst.x_adv


def run_batched_until_fooled(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    plan: Callable[[], tuple[int, Rows]],
    batch_size: int | None = None,
) -> Tensor:
    """The same for many runs of one attack: `plan` gives their number and the function that does
    them.

    The fewer images are left, the more of the runs are done together, so that a batch stays as full
    as it was, or as `batch_size` allows if that is more.
    """
    most = max(batch_size or 0, len(x))
    worst = _WorstCase(model, x, y)
    done, (runs, work) = 0, plan() if len(worst.left) else (0, None)
    while work is not None and done < runs and len(worst.left):
        abreast = min(max(most // len(worst.left), 1), runs - done)
        numbers = torch.arange(done, done + abreast, device=x.device)
        rows = worst.left.repeat(abreast)
        worst.take(work(rows, numbers.repeat_interleave(len(worst.left))))
        done += abreast
    return worst.x_adv


class _WorstCase:
    """The worst images so far: `x_adv`; and which of them, `left`, do not fool the model."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        self.model, self.y, self.x_adv = model, y, x.clone()
        self.left = torch.zeros(0, dtype=torch.long, device=x.device)
        if len(x):
            right, self.highest = verdict(model, x, y)
            self.left = right.nonzero()[:, 0]

    def take(self, tried: Tensor) -> None:
        """`tried`: new images for all that are left, once or several times over."""
        several = tried.view(-1, len(self.left), *tried.shape[1:])
        right, height = verdict(self.model, tried, self.y[self.left].repeat(len(several)))
        right, height = right.view(several.shape[:2]), height.view(several.shape[:2])
        fooled = ~right
        worst = torch.where(fooled, torch.inf, height).argmax(dim=0)
        which = worst, torch.arange(len(self.left), device=tried.device)
        better = fooled[which] | (height[which] > self.highest[self.left])
        before = self.x_adv[self.left]
        self.x_adv[self.left] = where_rows(better, several[which], before)
        self.highest[self.left] = torch.maximum(height[which], self.highest[self.left])
        self.left = self.left[right.all(dim=0)]


def verdict(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(whether each image is classified right, its margin: largest wrong minus right logit)."""
    answers, height = judged(model, x, y)
    return answers == y, height


def judged(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(what each image is taken for, NO_ANSWER where logits are not finite; its margin)."""
    with torch.no_grad():
        logits = model(x)
    return predicted(logits), margin(logits, y)
