"""StAdv and ReColorAdv: what their transformations do, their bounds, and who leaves the batch."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.colour import to_luv, to_srgb
from robustrun.attacks.recolor import ReColorAdv, recolour
from robustrun.attacks.search.adam import Adam
from robustrun.attacks.search.transformed import roughness, search
from robustrun.attacks.stadv import StAdv, displace
from robustrun.errors import ConfigError


def stadv(**changes: object) -> StAdv:
    settings = {"bound": 0.1, "steps": 30, "lr": 0.01, "smoothness": 0.0}
    return StAdv("linf", 0.1, **(settings | changes))  # type: ignore[arg-type]


def recolor(**changes: object) -> ReColorAdv:
    settings = {"bound": 0.06, "steps": 30, "lr": 0.01, "smoothness": 0.0, "lattice": (4, 5, 6)}
    return ReColorAdv("linf", 0.1, **(settings | changes))  # type: ignore[arg-type]


ATTACKS = pytest.mark.parametrize("attack", [stadv(), recolor()], ids=["stadv", "recolor"])


def network() -> tuple[nn.Module, Tensor, Tensor]:
    """A small network, images, and the labels it predicts for them."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Tanh(), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 3)
    ).eval()
    x = torch.rand(12, 3, 8, 8)
    with torch.no_grad():
        model[4].weight *= 2
        model[4].bias -= model(x).mean(dim=0)  # every class is predicted somewhere
    return model, x, model(x).argmax(dim=1)


def test_no_displacement_is_the_image_itself_and_two_of_them_are_a_shift() -> None:
    x = torch.rand(2, 3, 6, 8)
    still = torch.zeros(2, 6, 8, 2)
    # float32 coordinates, of order 1, times half the side.
    torch.testing.assert_close(displace(x, still), x, atol=1e-5, rtol=0)
    right, down = still.clone(), still.clone()
    right[..., 0], down[..., 1] = 2 / 8, 2 / 6  # one pixel
    torch.testing.assert_close(displace(x, right)[..., :-1], x[..., 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(displace(x, right)[..., -1], x[..., -1], atol=1e-5, rtol=0)
    torch.testing.assert_close(displace(x, down)[..., :-1, :], x[..., 1:, :], atol=1e-5, rtol=0)
    half = displace(x, right / 2)[..., :-1]
    torch.testing.assert_close(half, (x[..., :-1] + x[..., 1:]) / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("srgb", "luv"),
    [  # as tables of CIE 1976 L*u*v* for D65 have it
        ((1.0, 1.0, 1.0), (100.0, 0.0, 0.0)),
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (53.24, 175.01, 37.76)),
        ((0.0, 1.0, 0.0), (87.73, -83.07, 107.39)),
        ((0.0, 0.0, 1.0), (32.30, -9.40, -130.34)),
    ],
)
def test_known_colours_have_their_known_coordinates(
    srgb: tuple[float, ...], luv: tuple[float, ...]
) -> None:
    found = to_luv(torch.tensor(srgb).view(1, 3, 1, 1)).flatten()
    expected = torch.tensor([luv[0] / 100, luv[1] / 200 + 0.5, luv[2] / 200 + 0.5])
    # Tables differ in the white point's last digit; black counts as 0.01 lighter than it is.
    torch.testing.assert_close(found, expected, atol=6e-4, rtol=0)


def test_colours_come_back_as_they_were() -> None:
    x = torch.rand(4, 3, 16, 16)
    x[0] = 0.0
    x[1] *= 0.02  # nearly black
    x[2] = x[2].round()
    torch.testing.assert_close(to_srgb(to_luv(x)), x, atol=1e-4, rtol=0)  # powers in float32


def test_slopes_are_finite_where_an_image_is_black() -> None:
    x = torch.zeros(1, 3, 4, 4)
    changes = torch.zeros(1, 4, 5, 6, 3).uniform_(-0.06, 0.06).requires_grad_()
    (slope,) = torch.autograd.grad(recolour(x, changes).sum(), changes)
    assert torch.isfinite(slope).all()
    assert torch.isfinite(recolour(x, changes)).all()


def test_a_lattice_point_moves_the_colours_in_its_own_cells_only() -> None:
    grid = torch.tensor([[0.5, 0.5, 0.5], [0.9, 0.9, 0.9]])
    x = grid.T.reshape(1, 3, 1, 2)
    lightness = to_luv(x)[0, 0, 0]
    changes = torch.zeros(1, 11, 3, 3, 3)
    below = math.floor(lightness[0].item() * 10)
    changes[:, below, :, :, 0] = 0.05
    found = to_luv(recolour(x, changes))[0, :, 0]
    share = 1 - (lightness[0] * 10 - below)  # linear between the points
    assert found[0, 0].item() == pytest.approx((lightness[0] + 0.05 * share).item(), abs=1e-4)
    torch.testing.assert_close(found[:, 1], to_luv(x)[0, :, 0, 1], atol=1e-4, rtol=0)


def test_roughness_is_the_sum_over_all_points_and_their_neighbours() -> None:
    field = torch.rand(2, 3, 4, 2, dtype=torch.float64)
    expected = torch.zeros(2, dtype=torch.float64)
    for row in range(3):
        for column in range(4):
            for other in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if 0 <= other[0] < 3 and 0 <= other[1] < 4:
                    expected += (field[:, row, column] - field[:, other[0], other[1]]).norm(dim=1)
    torch.testing.assert_close(roughness(field), expected, rtol=1e-8, atol=0)  # 1e-10 in the roots
    lattice = torch.rand(1, 2, 2, 2, 3, dtype=torch.float64)
    edges = sum((lattice.select(d, 0) - lattice.select(d, 1)).norm(dim=-1).sum() for d in (1, 2, 3))
    assert roughness(lattice).item() == pytest.approx(2 * float(edges), rel=1e-8)


def test_the_search_is_torchs_adam_with_a_clamp() -> None:
    model, x, y = network()
    model, x = model.double(), x[:3].double()
    y = model(x).argmax(dim=1)
    flow = torch.zeros(3, 8, 8, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([flow], lr=1e-3)
    for _ in range(3):
        logits = model(displace(x, flow))
        assert (logits.argmax(dim=1) == y).all()  # nobody leaves
        others = logits.masked_fill(nn.functional.one_hot(y, 3).bool(), -torch.inf).amax(dim=1)
        gain = others - logits.gather(1, y[:, None]).squeeze(1)
        optimizer.zero_grad()
        (0.05 * roughness(flow) - gain).sum().backward()
        optimizer.step()
        with torch.no_grad():
            flow.clamp_(-0.002, 0.002)
    model.zero_grad()
    found = search(
        model,
        x,
        y,
        torch.zeros(3, 8, 8, 2, dtype=torch.float64),
        displace,
        bound=0.002,
        smoothness=0.05,
        lr=1e-3,
        steps=3,
    )
    # float64: the same operations in another order, and Adam divides small slopes by their size.
    torch.testing.assert_close(found, displace(x, flow).detach(), atol=1e-9, rtol=0)


def test_rows_leave_adam_without_a_trace() -> None:
    slopes = torch.rand(5, 4, 2)
    whole, part = Adam.of(slopes[0], 0.1), Adam.of(slopes[0], 0.1)
    those = torch.tensor([True, False, True, False])
    for number, slope in enumerate(slopes):
        expected = whole.step(slope)
        found = part.step(slope if number < 2 else slope[those])
        if number == 1:
            part.keep(those)
    torch.testing.assert_close(found, expected[those], atol=0, rtol=0)


@ATTACKS
def test_fools_the_model_within_its_bound_and_keeps_the_first_image_that_does(
    attack: StAdv | ReColorAdv,
) -> None:
    model, x, y = network()
    seen: list[int] = []
    hook = model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    found = attack(model, x, y)
    hook.remove()
    fooled = model(found).argmax(dim=1) != y
    assert fooled.any()
    assert min(seen) < len(x)
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(found, attack(model, x, y))  # no randomness
    tight = replace(attack, bound=attack.bound / 10, smoothness=10 * attack.smoothness)
    assert (model(tight(model, x, y)).argmax(dim=1) != y).sum() <= fooled.sum()


def test_the_flow_never_reaches_further_than_its_bound() -> None:
    model, x, y = network()
    found = stadv(bound=0.02, steps=40)(model, x, y)
    # A pixel mixes with its neighbours: by 0.02 * 4 pixels of the steepest rise between them.
    rises = torch.maximum(x.diff(dim=2).abs().amax(), x.diff(dim=3).abs().amax())
    assert (found - x).abs().max() <= 2 * 0.02 * 4 * rises + 1e-5  # across and down


def test_the_change_of_colour_never_reaches_further_than_its_bound() -> None:
    model, x, _ = network()
    x = 0.3 + 0.4 * x  # away from the edge of the gamut, where colours are clamped
    found = recolor(bound=0.01, steps=40)(model, x, model(x).argmax(dim=1))
    assert (to_luv(found) - to_luv(x)).abs().max() <= 0.01 + 1e-4  # powers in float32
    assert (found != x).any()


@ATTACKS
def test_what_is_wrong_already_is_left_alone_and_no_image_at_all_is_fine(
    attack: StAdv | ReColorAdv,
) -> None:
    model, x, y = network()
    wrong = y.clone()
    wrong[::2] = (wrong[::2] + 1) % 3
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = attack(model, x, wrong)
    assert torch.equal(found[::2], x[::2])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert attack(model, x[:0], y[:0]).shape == (0, 3, 8, 8)
    assert attack(model, x[:1], y[:1]).shape == (1, 3, 8, 8)


def test_results_name_the_bound() -> None:
    assert stadv().own_radius == ("flow", 0.1)
    assert recolor().own_radius == ("cieluv", 0.06)
    assert not stadv().bounded


@pytest.mark.parametrize(
    ("attack", "wrong"),
    [
        (stadv, {"bound": 0.0}),
        (stadv, {"steps": 0}),
        (stadv, {"lr": 0.0}),
        (recolor, {"smoothness": -1.0}),
        (recolor, {"lattice": (4, 4)}),
        (recolor, {"lattice": (4, 4, 1)}),
    ],
)
def test_settings_out_of_range_are_refused_by_name(
    attack: object, wrong: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        attack(**wrong)  # type: ignore[operator]


def test_grey_images_cannot_be_recoloured() -> None:
    with pytest.raises(ConfigError, match="colour images"):
        recolor()(nn.Flatten(), torch.rand(1, 1, 4, 4), torch.zeros(1, dtype=torch.long))
