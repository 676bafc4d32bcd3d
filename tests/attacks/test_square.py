"""Square: its schedule, its proposals, and that it needs no gradient."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from attacks.small_attacks import attack, part
from attacks.small_networks import NORMS, SHAPE, Counting, batch, generator, network, right
from robustrun.attacks.geometry.ball import length, project
from robustrun.attacks.square import _hump, _humps, _Patterns, _Stripes, _window
from robustrun.losses import margin
from robustrun.models.trial import follows_gradient


def proposed(search: _Stripes | _Patterns, query: int, x: Tensor, best: Tensor) -> Tensor:
    """The images that are tried next, when `best` are the best so far."""
    window, values = search.propose(query, torch.arange(len(x)), x, best)
    point = best.clone()
    point[window] = values
    return point


def test_the_squares_shrink_as_the_authors_have_it() -> None:
    its = attack("square", "linf")
    shares = {0: 1, 10: 1, 11: 2, 50: 2, 51: 4, 200: 4, 201: 8, 500: 8, 501: 16, 1000: 16}
    shares |= {1001: 32, 2000: 32, 2001: 64, 4000: 64, 4001: 128, 4999: 128}
    late = {6000: 128, 6001: 256, 8000: 256, 8001: 512, 9999: 512}
    for query, divisor in late.items():
        assert its.side(query, 224, 224) == round(math.sqrt(0.8 / divisor) * 224), query
    for query, divisor in shares.items():
        assert its.side(query, 32, 32) == round(math.sqrt(0.8 / divisor * 32 * 32)), query
    rescaled = attack("square", "linf", rescale_schedule=True)
    assert rescaled.side(6, 32, 32) == its.side(12, 32, 32)


def test_linf_proposals_change_one_square_to_one_colour_per_channel() -> None:
    x = torch.full((3, *SHAPE), 0.5)
    its = attack("square", "linf", 0.1, queries=30)
    search = _Stripes(its, x, generator())
    start = search.start()
    assert torch.allclose((start - x).abs(), torch.tensor(0.1))
    assert torch.equal(start, start[:, :, :1].expand_as(start)), "vertical stripes"
    sides = []
    for query in range(30):
        changed = proposed(search, query, x, x) - x  # from x, all changes show
        rows, columns = changed[0, 0].nonzero().unbind(dim=1)
        sides.append(int(rows.max() - rows.min()) + 1)
        assert sides[-1] == int(columns.max() - columns.min()) + 1
        assert len(rows) == sides[-1] ** 2
        assert torch.allclose(changed[changed != 0].abs(), torch.tensor(0.1))
        assert torch.equal(changed[0], changed[1])
        assert len(changed[0, 0][rows, columns].unique()) == 1
    assert sides[0] == round(math.sqrt(0.8 * 36))
    assert sides[-1] == round(math.sqrt(0.4 * 36))


def test_each_query_tries_the_best_images_so_far_with_one_square_changed() -> None:
    torch.manual_seed(0)
    x, seen = torch.full((4, 3, 16, 16), 0.5), []
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)).eval()
    y = model(x).argmax(dim=1)

    def note(_: nn.Module, given: tuple[Tensor], logits: Tensor) -> None:
        seen.append((given[0].clone(), margin(logits, y)))

    its = attack("square", "linf", 1e-4, queries=60)  # so small a radius fools for none of them
    with model.register_forward_hook(note):
        its(model, x, y, generator=generator())
    best, highest = seen[1]  # the start, after the clean images
    for query, (point, height) in enumerate(seen[2:62]):
        rows, columns = (point != best).any(dim=1).any(dim=0).nonzero().unbind(dim=1)
        for places in (rows, columns):
            assert int(places.max() - places.min()) < its.side(query, 16, 16)
        better = height > highest
        best = torch.where(better[:, None, None, None], point, best)
        highest = torch.maximum(height, highest)


@pytest.mark.parametrize(("norm", "epsilon"), [("l2", 0.5), ("l1", 1.5)])
def test_l2_and_l1_proposals_use_the_whole_ball(norm: str, epsilon: float) -> None:
    x = torch.full((3, *SHAPE), 0.5)
    its = attack("square", norm, epsilon, queries=30)
    search = _Patterns(its, x, generator())
    point = search.start()
    for query in range(30):
        # float32: sums of 72 pixels; for l1 the projection aims at 1 - 1e-6 of the radius
        assert torch.allclose(length(point - x, norm), torch.tensor(epsilon), rtol=1e-4)
        fresh = proposed(search, query, x, point)
        assert not torch.equal(fresh, point)
        point = fresh


def test_an_l2_proposal_leaves_what_is_in_neither_of_its_windows() -> None:
    """They get what they had and what the ball has left, so that nothing is scaled."""
    x = torch.full((3, 2, 24, 24), 0.5)
    its = attack("square", "l2", 0.5, queries=30, rescale_schedule=True)
    search = _Patterns(its, x, generator())
    point = search.start()
    for query in range(10, 30):
        fresh = proposed(search, query, x, point)
        moved = ((fresh - point).abs() > 1e-6).any(dim=1).flatten(1).sum(dim=1)
        windows = 2 * search._side(query, 24, 24) ** 2
        assert 0 < moved.min() <= moved.max() <= windows < 24 * 24 / 4


@pytest.mark.parametrize(("norm", "power"), [("l2", 2), ("l1", 1)])
def test_the_start_is_a_grid_of_five_by_five_patterns_in_the_middle(norm: str, power: int) -> None:
    x = torch.full((3, 2, 24, 24), 0.5)
    delta = _Patterns(attack("square", norm, 0.3), x, generator()).start() - x
    inside = torch.zeros(24, 24, dtype=torch.bool)
    inside[2:22, 2:22] = True  # five squares of 4 pixels leave 4 of 24
    assert (delta[:, :, ~inside] == 0).all()
    if norm == "l1":
        return  # the projection on the ball takes the smallest ones away
    assert (delta[:, :, inside] != 0).all()
    tiles = delta[:, :, 2:22, 2:22].unfold(2, 4, 4).unfold(3, 4, 4)
    sizes = tiles.abs().pow(power).sum(dim=(-2, -1))
    torch.testing.assert_close(sizes, sizes[:, :1, :1, :1].expand_as(sizes))
    upper, left = tiles[..., :2, :].flatten(4), tiles[..., :2].flatten(4)
    above = (upper > 0).all(dim=-1) | (upper < 0).all(dim=-1)
    beside = (left > 0).all(dim=-1) | (left < 0).all(dim=-1)
    assert (above ^ beside).all(), "one hump above or beside one of the opposite sign"
    assert above.any()
    assert beside.any()


def test_an_l2_proposal_is_the_papers() -> None:
    """Algorithm 3: the first window gets its own direction plus a hump of random sign, with what
    both windows had and what was unused; the second one becomes empty."""
    x = torch.full((2, 3, 12, 12), 0.5)
    its = attack("square", "l2", 0.4, queries=40)
    search = _Patterns(its, x, generator())
    best = x + 0.5 * (search.start() - x)  # half of the ball is unused
    for query in (0, 20, 39):
        side = search._side(query, 12, 12)
        first, second = (
            _window(search.places[query][part], side, 12, 12) for part in (slice(2), slice(2, 4))
        )
        old, new = best - x, proposed(search, query, x, best) - x
        both = torch.zeros(12, 12, dtype=torch.bool)
        both[first[2:]] = both[second[2:]] = True
        unused = 0.4**2 - old.square().sum(dim=(1, 2, 3))
        had = (old.square() * both).sum(dim=(2, 3)) + unused[:, None] / 3
        hump = search._pattern(side, search.turns[query])
        windows = old[first] / old[first].square().sum(dim=(2, 3), keepdim=True).sqrt()
        signed = []
        for sign in (1, -1):
            fresh = torch.nan_to_num(windows) + sign * hump
            fresh = fresh / fresh.square().sum(dim=(2, 3), keepdim=True).sqrt()
            signed.append((fresh * had.sqrt()[..., None, None] - new[first]).abs().amax(dim=(2, 3)))
        assert torch.minimum(*signed).max() < 1e-5  # of one sign or the other; float32
        only_second = torch.zeros(12, 12, dtype=torch.bool)
        only_second[second[2:]] = True
        only_second[first[2:]] = False
        assert (new[:, :, only_second] == 0).all()
        torch.testing.assert_close(new[:, :, ~both], old[:, :, ~both])


def test_an_l1_proposal_is_the_authors() -> None:
    """The same in l1, but that each channel gets three times what it has: more than the ball holds,
    which the projection takes back."""
    x = torch.full((1, 3, 12, 12), 0.5)
    its = attack("square", "l1", 2.0, queries=40)
    search = _Patterns(its, x, generator())
    best = x + 0.5 * (search.start() - x)
    for query in (0, 39):
        side = search._side(query, 12, 12)
        first, second = (
            _window(search.places[query][part], side, 12, 12) for part in (slice(2), slice(2, 4))
        )
        old, new = best - x, proposed(search, query, x, best) - x
        rest = old.clone()
        rest[first] = rest[second] = 0.0
        had = (old - rest).abs().sum(dim=(2, 3)) + (2.0 - old.abs().sum()) / 3
        mine = torch.nan_to_num(old[first] / old[first].abs().sum(dim=(2, 3), keepdim=True))
        away = []
        for signs in itertools.product((1.0, -1.0), repeat=3):
            hump = search._pattern(side, search.turns[query])
            fresh = mine + torch.tensor(signs).view(1, 3, 1, 1) * hump
            fresh = fresh / fresh.abs().sum(dim=(2, 3), keepdim=True)
            there = rest.clone()
            there[first] = fresh * 3 * had[..., None, None]
            away.append(float((project(x + there, x, "l1", 2.0) - x - new).abs().max()))
        assert min(away) < 1e-5  # of one sign for each channel; float32, and 1e-6 of the radius


def test_windows_lie_in_the_image_and_the_last_place_is_never_drawn() -> None:
    """As with the authors: their `randint` has no upper end."""
    tops = [_window([share, 0.0], 2, 6, 4)[2].start for share in (0.0, 0.24, 0.26, 0.99)]
    lefts = [_window([0.0, share], 2, 6, 4)[3] for share in (0.0, 0.49, 0.51, 0.99)]
    assert tops == [0, 0, 1, 3]
    assert lefts == [slice(0, 2), slice(0, 2), slice(1, 3), slice(1, 3)]


def test_a_window_of_l2_or_l1_has_an_odd_side_of_three_pixels_at_least() -> None:
    search = _Patterns(attack("square", "l2", queries=3), torch.rand(1, 1, 8, 8), generator())
    for side, odd in ((0, 3), (2, 3), (3, 3), (4, 5), (5, 5), (6, 7), (9, 8)):
        search.attack = SimpleNamespace(side=lambda *_, side=side: side)  # type: ignore[assignment]
        assert search._side(0, 8, 8) == odd


def test_a_hump_falls_off_in_rings() -> None:
    hump = _hump(3, 5, 2)
    rings = [1 + 1 / 4 + 1 / 9, 1 / 4 + 1 / 9, 1 / 9]
    middle = torch.tensor([rings[2], rings[1], rings[0], rings[1], rings[2]])
    assert torch.allclose(hump[1] / hump[1, 2], middle / rings[0])
    assert torch.allclose(hump[0] / hump[1, 2], middle.clamp_max(rings[1]) / rings[0])
    steeper = _hump(3, 3, 1)[1]  # for l1: the sums of 1 / j^4
    assert torch.allclose(steeper[0] / steeper[1], torch.tensor((1 / 16) / (1 + 1 / 16)))
    for power in (1, 2):
        both = _humps(5, power)
        assert torch.linalg.vector_norm(both, power) == pytest.approx(1, rel=1e-5)
        assert (both[:2] > 0).all()
        assert (both[2:] < 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_takes_images_of_any_size(norm: str) -> None:
    for height, width in ((1, 1), (3, 4), (4, 9), (14, 14)):
        model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
        x = torch.rand(4, 3, height, width)
        y = model(x).argmax(dim=1)
        x_adv = attack("square", norm, queries=15)(model, x, y, generator=generator())
        assert x_adv.shape == x.shape
        assert torch.isfinite(x_adv).all()


def test_never_asks_for_a_gradient() -> None:
    assert not follows_gradient(attack("square", "linf"))

    class NoGraph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.model(x)
            assert not logits.requires_grad
            return logits

    model = NoGraph()
    x, y = batch(model.model, 4)
    attack("square", "linf", queries=5)(model, x, y, generator=generator())


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_fooled_leaves_the_batch(norm: str) -> None:
    model = Counting(network())
    x, y = batch(model.model, 16)
    epsilon = {"linf": 0.1, "l2": 0.7, "l1": 0.6}[norm]
    x_adv = attack("square", norm, epsilon, queries=80)(model, x, y, generator=generator())
    stood = int(right(model.model, x_adv, y).sum())
    assert 0 < stood < 16
    assert 81 * stood <= model.seen - 2 * 16 < 81 * 16  # all, but for the two verdicts


@pytest.mark.parametrize("norm", NORMS)
def test_what_stands_is_searched_as_often_as_there_are_restarts(norm: str) -> None:
    model = Counting(network())
    x, y = batch(model.model, 4)
    tiny = attack("square", norm, 1e-5, queries=7, restarts=3)
    assert right(model.model, tiny(model, x, y, generator=generator()), y).all()
    # The verdict, then for each restart the start, its queries and another verdict.
    assert model.seen == 4 * (1 + 3 * (1 + 7 + 1))


def test_more_queries_find_more() -> None:
    model = network()
    x, y = batch(model, 32)
    fallen = []
    for queries in (1, 20, 150):
        its = attack("square", "linf", 0.08, queries=queries)
        fallen.append(int((~right(model, its(model, x, y, generator=generator()), y)).sum()))
    assert fallen[0] < fallen[1] < fallen[2]


@pytest.mark.parametrize("norm", NORMS)
def test_the_result_can_be_trained_on(norm: str) -> None:
    model = network()
    x, y = batch(model, 4)
    x_adv = part("square", norm)(model, x, y, generator=generator())
    torch.nn.functional.cross_entropy(model(x_adv), y).backward()  # no inference tensor
    assert model[0].weight.grad is not None
