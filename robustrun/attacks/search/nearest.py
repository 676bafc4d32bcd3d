"""The nearest image that fools the model, as attacks for the smallest perturbation keep it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import distance, project, where_rows
from robustrun.attacks.search.cascade import still_correct

# Factors, tried in turn, on the distance of an image that the last check finds classified right.
BEYOND = (1.001, 1.01, 1.1)


@dataclass
class Nearest:
    """For each clean image `x`, the nearest one seen so far that fools the model."""

    x: Tensor
    norm: str
    image: Tensor  # the clean one where none was seen
    distance: Tensor  # float64 of shape N; infinite where none was seen

    @classmethod
    def of(cls, x: Tensor, norm: str) -> "Nearest":
        infinite = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
        return cls(x, norm, x.clone(), infinite)

    def offer(self, rows: Tensor, point: Tensor, fooled: Tensor) -> None:
        """Take, for the images in `rows`, the points that fool the model and are nearer."""
        point = point.detach()
        away = distance(point, self.x[rows], self.norm)
        nearer = fooled & (away < self.distance[rows])
        self.image[rows] = where_rows(nearer, point, self.image[rows])
        self.distance[rows] = torch.where(nearer, away, self.distance[rows])

    def within(self, epsilon: float) -> Tensor:
        """The images; those that are further away than `epsilon`, projected to the ball."""
        inside = project(self.image, self.x, self.norm, epsilon)
        return where_rows(self.distance > epsilon, inside, self.image)

    def confirmed(self, model: nn.Module, y: Tensor) -> tuple[Tensor, Tensor]:
        """(images, their distances), judged once more: a verdict at the very boundary can depend
        on what else is in the batch. Where it does, the image moves a little further away."""
        image, away = self.image.clone(), self.distance.clone()
        for factor in BEYOND:
            lost = torch.isfinite(away) & still_correct(model, image, y)
            if not lost.any():
                return image, away
            clean = self.x[lost]
            image[lost] = (clean + factor * (self.image[lost] - clean)).clamp(0.0, 1.0)
            away[lost] = distance(image[lost], clean, self.norm)
        away[still_correct(model, image, y)] = torch.inf
        return image, away


Search = Callable[[nn.Module, Tensor, Tensor, float], Nearest]  # model, x, y, near enough


def nearest_of_all(search: Search, model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(images, distances) of a `search` that never stops early; 0 for what is wrong already."""
    image, away = x.clone(), torch.zeros(len(x), dtype=torch.float64, device=x.device)
    if len(x) > 0:
        left = still_correct(model, x, y).nonzero().squeeze(1)
        if len(left) > 0:
            nearest = search(model, x[left], y[left], -1.0)
            image[left], away[left] = nearest.confirmed(model, y[left])
    return image, away
