"""What is audited, and how one check judges it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustrun.compute.predictions import predicted
from robustrun.evaluation.audit.settings import AuditSettings
from robustrun.evaluation.checks import check_images
from robustrun.evaluation.findings import Check
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.shards import findings
from robustrun.evaluation.statistics import exact_interval
from robustrun.storage.journal import Journal
from robustrun.types import Attack

Status = Literal["pass", "warn", "fail"]  # of a check
MakeAdversarial = Callable[[Tensor, Tensor, torch.Generator], Tensor]  # x, y -> x_adv


class FiniteGradients(nn.Module):
    """The network for any attack: where no finite gradient comes back to the image, zero does."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            logits: Tensor = self.model(x)
            return logits
        seen = x.clone()
        seen.register_hook(_finite)  # type: ignore[no-untyped-call]
        tether = 0.0 * seen.flatten(1).sum(dim=1, keepdim=True)
        tied: Tensor = self.model(seen) + tether
        return tied


def _finite(slope: Tensor) -> Tensor:
    return slope.where(slope.isfinite(), 0.0)


@dataclass(frozen=True)
class AuditTarget:
    """The network, images with a known verdict, and what the run's attack leaves right."""

    network: nn.Module
    model: nn.Module  # the same, for attacks: FiniteGradients
    classes: int
    attack: Attack
    settings: AuditSettings
    surrogate: nn.Module | None
    setting: Setting
    x: Tensor
    y: Tensor
    logits: Tensor  # of the clean images
    robust: Tensor  # bool of shape N: right on the clean image and under the attack
    no_answer: Tensor  # bool of shape N: logits not finite, on the clean image or under the attack

    @property
    def norm(self) -> Any:
        return self.attack.norm  # one of NORMS; FGSM and PGD take l1 too, one pixel a step

    @property
    def right(self) -> Tensor:
        right: Tensor = predicted(self.logits) == self.y
        return right

    @property
    def robust_accuracy(self) -> float:
        return float(self.robust.float().mean())

    def fooled(
        self, name: str, craft: MakeAdversarial, among: Tensor, shared: bool = True
    ) -> Tensor:
        """Which of the images `among` are wrong once crafted, bool of shape N."""
        return among & (self.answers(name, craft, among, shared) != self.y)

    def answers(
        self, name: str, craft: MakeAdversarial, among: Tensor, shared: bool = True
    ) -> Tensor:
        """What the images `among` are taken for once crafted, int64 of shape N; others as `y`.

        Each process crafts some of the batches; not `shared`: all of them, since `craft` draws
        from the global generator.
        """
        answers, places = self.y.clone(), among.nonzero()[:, 0]
        parts = torch.split(places, self.setting.batch_size) if len(places) else ()

        def work(numbers: list[int]) -> Iterator[tuple[int, list[int]]]:
            for number in numbers:
                yield number, self._answers(f"audit/{name}", number, parts[number], craft)

        keys = [f"audit/{name} batch {number}" for number in range(len(parts))]
        each = (
            findings(keys, work, Journal())
            if shared
            else [n for _, n in work([*range(len(parts))])]
        )
        for part, answer in zip(parts, each, strict=True):
            answers[part] = torch.tensor(answer, device=answers.device)
        return answers

    def _answers(self, label: str, number: int, part: Tensor, craft: MakeAdversarial) -> list[int]:
        x_adv = craft(self.x[part], self.y[part], self.setting.generator(label, number))
        check_images(self.attack, label, self.x[part], x_adv)
        with torch.no_grad():
            answers: list[int] = predicted(self.model(x_adv)).tolist()
        return answers


def craft_with(attack: Attack, model: nn.Module) -> MakeAdversarial:
    """The attack's images against `model`."""
    return lambda x, y, generator: attack(model, x, y, generator=generator)


def status_of(extra: int, total: int, tolerance: float) -> Status:
    """How bad it is that `extra` of `total` images were counted as robust and are not.

    Each of them is a fact about its image; what is uncertain is their share among all images, of
    which these are a sample. `fail`: the lower end of its exact 95% interval is above the
    tolerance, so the accuracy is too high by more than that, and not by bad luck in the draw.
    `warn`: it is above half the tolerance. With a tolerance of 2 points, 6 of 200 images warn and
    9 fail, of 1,000 images 18 and 30. Any two good attacks differ by an image or two, since
    both begin at random.
    """
    lowest, _ = exact_interval(extra, total)
    return "fail" if lowest > tolerance else "warn" if lowest > tolerance / 2 else "pass"


def share_of(extra: int, total: int) -> str:
    """A share with its interval, in words."""
    low, high = exact_interval(extra, total)
    return f"{low:.1%} to {high:.1%} of all {total} images, with 95% confidence"


def compare_attack(
    s: AuditTarget,
    name: str,
    craft: MakeAdversarial,
    meaning: str,
    remedy: str,
    tolerance: float | None = None,
    first: int | None = None,
    shared: bool = True,
) -> Check:
    """What another attack takes from the robust accuracy, on the `first` images if given."""
    total = min(first or len(s.y), len(s.y))
    among = s.robust.clone()
    among[total:] = False
    extra, stood = int(s.fooled(name, craft, among, shared).sum()), int(among.sum())
    status = status_of(extra, total, s.settings.tolerance if tolerance is None else tolerance)
    what = (
        f"{meaning} turns {extra} of the {stood} images that the attack left standing "
        f"({share_of(extra, total)})"
    )
    why = f"{what}." if status == "pass" else f"{what}: {remedy}"
    return Check(name, status, (stood - extra) / total, stood / total, why)
