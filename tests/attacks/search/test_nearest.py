"""The nearest image that fools the model, and its confirmation."""

from attacks.linear_networks import linear, solved
from attacks.small_attacks import fmn
from robustrun.attacks.geometry.ball import distance
from robustrun.attacks.search.nearest import Nearest


def test_a_verdict_that_the_last_look_takes_back_moves_the_image_a_little_further() -> None:
    model, x, y = linear()
    nearest = Nearest.of(x, "l2")
    images, away = fmn(norm="l2").minimal_distances(model, x, y)
    at_boundary = x + (images - x) * (solved(model, x, y, "l2") * 0.9995 / away)[
        :, None, None, None
    ].to(x.dtype)
    nearest.image, nearest.distance = at_boundary, distance(at_boundary, x, "l2")
    assert (model(at_boundary).argmax(dim=1) == y).all()
    images, further = nearest.confirmed(model, y)
    assert (model(images).argmax(dim=1) != y).all()
    assert (further <= nearest.distance * 1.0101).all()
    assert (further > nearest.distance).all()
