"""Attacks that break a promise are caught."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from evaluation.grey_images import grey, linear
from robustrun.evaluation.measure import evaluate


@dataclass(frozen=True)
class Cheat:
    """An attack that breaks one promise."""

    kind: str
    norm: ClassVar[str] = "linf"
    epsilon: ClassVar[float] = 0.1
    bounded: ClassVar[bool] = True
    adversarial: ClassVar[bool] = True

    def __call__(self, model, x, y, *, generator=None):
        if self.kind == "mode":
            model.train()
        if self.kind == "buffer":
            model.buffer += 1
        if self.kind == "gradient":
            model(x).sum().backward()
        return {"ball": x + 0.2, "box": x - 0.09, "nan": x * torch.nan}.get(self.kind, x)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("ball", "left its ball"),
        ("box", "left the image box"),
        ("nan", "not finite"),
        ("mode", "changed the mode"),
        ("buffer", "changed buffers"),
        ("gradient", "left gradients"),
    ],
)
def test_a_broken_promise_of_an_attack_stops_the_evaluation(kind: str, message: str) -> None:
    model = linear()
    model.register_buffer("buffer", torch.zeros(1))
    with pytest.raises(RuntimeError, match=message), torch.enable_grad():
        evaluate(model, [(grey(0.05, 0.06), torch.tensor([0, 0]))], {"cheat": Cheat(kind)})
