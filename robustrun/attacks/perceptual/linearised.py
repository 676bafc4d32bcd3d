"""The features of a network, linear around an image, and systems of equations with them
(Laidlaw et al. 2021, https://arxiv.org/abs/2006.12655, section 4 and algorithm 1).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustrun.attacks.geometry.ball import TINY, l2_norm, per_example
from robustrun.attacks.perceptual.lpips import PerceptualModel


@dataclass(frozen=True)
class Linearised:
    """The Jacobian J of the features at `point`, as products with vectors."""

    perception: PerceptualModel
    point: Tensor
    features: Tensor  # of `point`, with their graph
    probe: float

    @torch.no_grad()
    def push(self, v: Tensor) -> Tensor:
        """J v, N x D, by a finite difference of the same length whatever the length of v."""
        length = l2_norm(v)
        ahead = self.perception.features(self.point + self.probe * v / length.clamp_min(TINY))
        return (ahead - self.features) * (length.flatten(1) / self.probe)

    def gram(self, v: Tensor) -> Tensor:
        """J^T J v, shaped like v."""
        return torch.autograd.grad(self.features, self.point, self.push(v), retain_graph=True)[0]


def conjugate_gradients(multiply: Callable[[Tensor], Tensor], b: Tensor, steps: int) -> Tensor:
    """`steps` iterations on A v = b from v = 0, each example on its own; A is `multiply`."""
    v, residual, p = torch.zeros_like(b), b, b
    square = l2_norm(residual).square()
    for _ in range(steps):
        a_p = multiply(p)
        curvature = (p * a_p).flatten(1).sum(dim=1)
        # Where nothing is left to solve, or the finite difference has lost the sign: stay.
        moves = per_example(curvature, b) > TINY * square
        alpha = torch.where(moves, square / per_example(curvature, b), 0.0)
        v = v + alpha * p
        residual = residual - alpha * a_p
        last, square = square, l2_norm(residual).square()
        p = residual + (square / last.clamp_min(TINY)) * p
    return v
