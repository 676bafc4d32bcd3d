"""LPIPS, its networks and the attacks inside its ball, against formulas written out in float64."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from robustrun.attacks.fast_lpa import FastLPA
from robustrun.attacks.lpa import LPA
from robustrun.attacks.perceptual.lagrangian import LagrangianSearch
from robustrun.attacks.perceptual.linearised import Linearised, conjugate_gradients
from robustrun.attacks.perceptual.lpips import LPIPS, PerceptualModel, normalised_features
from robustrun.attacks.perceptual.lpips_ball import check_inside, project_lpips
from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS, FeatureNetwork
from robustrun.attacks.ppgd import PPGD
from robustrun.errors import ConfigError, DataError
from robustrun.losses import margin

SELF = LPIPS("self", None, None)
RANDOM_ALEXNET = LPIPS("alexnet_cifar", "random", None)
BOUND = 0.3


class TwoStages(nn.Module):
    """Two activations, the first with and the second without a ReLU, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 4)

    def with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        one = self.norm(self.first(x - 0.5)).relu()
        two = self.second(one)
        return self.head(two.mean(dim=(2, 3))), [one, two]

    def forward(self, x: Tensor) -> Tensor:
        return self.with_features(x)[0]


def network(dtype: torch.dtype = torch.float64) -> TwoStages:
    torch.manual_seed(0)
    model, images = TwoStages(), torch.rand(64, 3, 8, 8)
    model(images)  # running statistics that are not the identity
    with torch.no_grad():
        model.head.weight *= 10
        model.head.bias -= model.eval()(images).mean(dim=0)  # every class is predicted somewhere
    return model.train().to(dtype)


def batch(model: nn.Module, count: int = 6) -> tuple[Tensor, Tensor]:
    """Images, and the labels that the model in eval mode predicts for them."""
    torch.manual_seed(1)
    x = torch.rand(count, 3, 8, 8, dtype=next(model.parameters()).dtype)
    training = model.training
    y = model.eval()(x).argmax(dim=1)
    model.train(training)
    return x, y


def written_out_features(model: TwoStages, x: Tensor) -> Tensor:
    vectors = []
    for phi in model.with_features(x)[1]:
        norm = (phi**2).sum(1, keepdim=True).sqrt() + 1e-10
        vectors.append((phi / norm / math.sqrt(phi.shape[2] * phi.shape[3])).flatten(1))
    return torch.cat(vectors, 1)


def written_out_distance(model: TwoStages, a: Tensor, b: Tensor) -> Tensor:
    return ((written_out_features(model, a) - written_out_features(model, b)) ** 2).sum(1).sqrt()


def written_out_fast_lpa(
    model: TwoStages, x: Tensor, y: Tensor, noise: Tensor, bound: float, steps: int, of: int
) -> Tensor:
    """`steps` of a Fast-LPA of `of` steps, as descent on -margin + lambda max(0, d - bound)."""
    delta = 0.01 * noise
    rows = torch.arange(len(x))
    for t in range(steps):
        eta, weight = bound * 0.1 ** (t / of), 10 * 0.1 ** (1 - t / of)
        delta = delta.detach().requires_grad_()
        logits = model(x + delta)
        others = logits.clone()
        others[rows, y] = -math.inf
        gap = others.max(1).values - logits[rows, y]
        d = written_out_distance(model, x + delta, x)
        loss = (-gap + weight * torch.relu(d - bound)).sum()
        g = torch.autograd.grad(loss, delta)[0]
        g = g / (g.flatten(1).norm(dim=1)[:, None, None, None] + 1e-8)
        m = written_out_distance(model, x + delta, x + delta - 0.1 * g) / 0.1
        delta = (x + delta - (eta / (m + 1e-4))[:, None, None, None] * g).clamp(0, 1) - x
    return (x + delta).detach()


def lpa(lpips: LPIPS = SELF, **changes: float) -> LPA:
    settings = {"steps": 10, "rounds": 3, "penalty": 0.01, "confidence": 1.0, "probe": 0.1}
    return LPA(
        norm="linf", epsilon=0.1, bound=BOUND, start_std=0.01, lpips=lpips, **(settings | changes)
    )


def ppgd(lpips: LPIPS = SELF, **changes: float) -> PPGD:
    settings = {"steps": 10, "step_size": BOUND / 5, "cg_steps": 5, "confidence": 1.0}
    return PPGD("linf", 0.1, BOUND, probe=1e-3, start_std=0.01, lpips=lpips, **(settings | changes))


def fast_lpa(lpips: LPIPS = SELF) -> FastLPA:
    return FastLPA("linf", 0.1, BOUND, 10, 10.0, 0.1, 0.01, lpips)


ATTACKS = pytest.mark.parametrize(
    "attack", [lpa(), ppgd(), fast_lpa()], ids=lambda a: type(a).__name__
)


def test_the_distance_is_the_written_out_one():
    model = network().eval()
    x, _ = batch(model)
    other = torch.rand_like(x)
    expected = written_out_distance(model, other, x)
    measured = PerceptualModel(model, None).distance(other, x)
    torch.testing.assert_close(measured, expected, rtol=1e-12, atol=0.0)  # float64 rounding
    assert expected.min() > 0.1


def test_each_layer_has_the_length_one_whatever_its_size():
    phi = torch.rand(5, 7, 4, 3, dtype=torch.float64) + 0.1
    lengths = normalised_features([phi]).norm(dim=1)
    # 12 places of unit vectors / sqrt(12); the offset 1e-10 takes its share of each
    torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=1e-9, atol=0.0)


def test_a_place_without_any_activation_has_a_finite_gradient():
    phi = torch.zeros(1, 3, 2, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(normalised_features([phi]).sum(), phi)
    assert torch.isfinite(slope).all()


def test_half_precision_activations_are_measured_in_float32():
    assert normalised_features([torch.rand(2, 3, 4, 4).bfloat16()]).dtype == torch.float32


def test_self_bounded_attacks_run_the_network_once_for_logits_and_features():
    model = network().eval()
    x, _ = batch(model)
    logits, features = PerceptualModel(model, None).logits_and_features(x)
    torch.testing.assert_close(logits, model(x), rtol=0.0, atol=0.0)
    torch.testing.assert_close(features, written_out_features(model, x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("steps", "of"), [(1, 1), (10, 10)])
def test_fast_lpa_is_the_written_out_algorithm(steps: int, of: int):
    model = network().eval()
    x, y = batch(model)
    noise = torch.empty_like(x).normal_(generator=torch.Generator().manual_seed(3))
    expected = written_out_fast_lpa(model, x, y, noise, BOUND, steps, of)
    search = LagrangianSearch(steps=of, penalty=10.0, probe=0.1, start_std=0.01)
    generator = torch.Generator().manual_seed(3)
    found = search(PerceptualModel(model, None), x, y, BOUND, generator)
    # Ten steps in float64 amplify rounding, but stay far from what one wrong constant changes.
    torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-9)
    assert (found - x).abs().max() > 0.01


def test_fast_lpa_raises_the_margin_and_ends_near_the_bound():
    model = network().eval()
    x, y = batch(model)
    perception = PerceptualModel(model, None)
    found = LagrangianSearch(10, 10.0, 0.1, 0.01)(perception, x, y, BOUND)
    distance = perception.distance(found, x)
    # Not projected: the last step is 0.13 of the bound, and curvature adds to it.
    assert distance.max() < 1.5 * BOUND
    assert distance.mean() > 0.5 * BOUND
    assert (margin(model(found), y) > margin(model(x), y)).all()


@ATTACKS
def test_every_image_lies_in_the_lpips_ball_and_in_the_image_box(attack):
    model = network(torch.float32).eval()
    x, y = batch(model, 12)
    x_adv = attack(model, x, y)
    # written out in float64 on what was returned: only the network's float32 rounding is left
    distance = written_out_distance(model.double(), x_adv.double(), x.double())
    assert distance.max() <= BOUND + 1e-4
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    assert x_adv.dtype == x.dtype


def with_bound(attack, bound: float):
    """The attack in another ball; PPGD's step keeps its share of it."""
    if not isinstance(attack, PPGD):
        return replace(attack, bound=bound)
    return replace(attack, bound=bound, step_size=attack.step_size / attack.bound * bound)


@ATTACKS
def test_the_attack_finds_mistakes_and_more_of_them_in_a_larger_ball(attack):
    model = network(torch.float32).eval()
    x, y = batch(model, 32)
    left = []
    for epsilon in (0.02, 0.2, 1.0):
        x_adv = with_bound(attack, epsilon)(model, x, y, generator=torch.Generator().manual_seed(0))
        left.append((model(x_adv).argmax(dim=1) == y).float().mean().item())
    assert left[0] > left[1] >= left[2]
    assert left[2] < 0.1


@ATTACKS
def test_the_model_is_as_it_was_afterwards(attack):
    model = network(torch.float32).train()
    model.norm.eval()
    x, y = batch(model.eval())
    model.train()
    model.norm.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    attack(model, x, y)
    assert [m.training for m in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not x.requires_grad


@ATTACKS
def test_the_generator_decides_everything(attack):
    model = network(torch.float32).eval()
    x, y = batch(model)
    runs = [attack(model, x, y, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@ATTACKS
def test_a_bound_of_zero_leaves_the_features_as_they_are(attack):
    model = network(torch.float32).eval()
    x, y = batch(model)
    x_adv = with_bound(attack, 0.0)(model, x, y)
    assert PerceptualModel(model, None).distance(x_adv, x).max() < 1e-4  # float32 rounding
    assert torch.equal(model(x_adv).argmax(dim=1), y)


@ATTACKS
def test_an_empty_batch_stays_empty(attack):
    model = network(torch.float32).eval()
    x, y = batch(model)
    assert attack(model, x[:0], y[:0]).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("confidence", [0.0, math.inf])
def test_a_step_of_lpa_is_the_written_out_one(confidence: float):
    model = network().eval()
    x, predicted = batch(model)
    y = (predicted + 1) % 4  # wrong already: beyond a confidence of 0 only the distance counts
    x_adv = torch.rand_like(x)
    clean = written_out_features(model, x).detach()
    point = x_adv.clone().requires_grad_()
    d = written_out_distance(model, point, x)
    assert d.min() > BOUND
    objective = margin(model(point), y).clamp(max=confidence) - 2.0 * torch.relu(d - BOUND)
    g = torch.autograd.grad(objective.sum(), point)[0]
    g = g / (g.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + 1e-8)
    m = written_out_distance(model, x_adv + 0.1 * g, x_adv) / 0.1
    expected = (x_adv + (0.05 / (m + 1e-8)).view(-1, 1, 1, 1) * g).clamp(0, 1)
    moved, distance, fooled = lpa(confidence=confidence)._step(
        PerceptualModel(model, None), x_adv, y, clean, torch.full((6,), 2.0), 0.05
    )
    torch.testing.assert_close(moved, expected, rtol=0.0, atol=1e-10)
    torch.testing.assert_close(distance, d.detach(), rtol=1e-12, atol=0.0)
    assert not fooled.any()


def test_further_rounds_of_lpa_lose_nothing_that_was_found():
    model = network(torch.float32).eval()
    x, y = batch(model, 32)
    left = []
    for rounds in (1, 2, 3, 5):
        generator = torch.Generator().manual_seed(0)
        x_adv = with_bound(lpa(rounds=rounds), 0.1)(model, x, y, generator=generator)
        left.append(model(x_adv).argmax(dim=1) == y)
    for fewer, more in itertools.pairwise(left):
        assert not (more & ~fewer).any()
    assert left[-1].sum() < left[0].sum()


@pytest.mark.parametrize("attack", [lpa(), ppgd()], ids=["LPA", "PPGD"])
def test_an_image_that_is_wrong_already_is_done_at_once(attack):
    model = network(torch.float32).eval()
    x, y = batch(model)
    x_adv = attack(model, x, (y + 1) % 4)
    assert (x_adv - x).abs().max() < 0.1  # nothing but the starting noise, 0.01 per pixel


def test_an_attack_bounded_by_an_lpips_network_stays_in_the_networks_ball():
    model = network(torch.float32).eval()
    x, y = batch(model)
    for attack in (lpa(RANDOM_ALEXNET, steps=3), ppgd(RANDOM_ALEXNET, steps=3)):
        x_adv = attack(model, x, y)
        distance = RANDOM_ALEXNET.of(model, x).distance(x_adv, x)
        assert 0 < distance.max() <= BOUND * (1 + 1e-4)


def test_the_projection_leaves_what_is_inside_and_brings_back_what_is_not():
    model = network(torch.float32).eval()
    x, _ = batch(model)
    perception = PerceptualModel(model, None)
    clean = perception.features(x).detach()
    x_adv = x.clone()
    x_adv[:3] = (x[:3] + 0.001).clamp(0, 1)
    x_adv[3:] = torch.rand_like(x[3:])
    projected = project_lpips(perception, x_adv, x, clean, BOUND)
    assert torch.equal(projected[:3], x_adv[:3])
    distance = perception.distance(projected, x)
    assert distance.max() <= BOUND
    assert distance[3:].min() > 0


def test_the_projection_takes_the_authors_newton_step():
    model = network().eval()
    x, _ = batch(model, 1)
    point = torch.rand_like(x).requires_grad_()
    d = written_out_distance(model, point, x)
    (slope,) = torch.autograd.grad(d.sum(), point)
    bound = d.item() - 0.01
    expected = (point - (0.01 + 0.1) * 1.1 * slope / (slope**2).sum()).clamp(0, 1)
    clean = written_out_features(model, x).detach()
    projected = project_lpips(PerceptualModel(model, None), point.detach(), x, clean, bound)
    torch.testing.assert_close(projected, expected.detach(), rtol=0.0, atol=1e-10)


def test_an_image_outside_the_ball_is_reported():
    model = network(torch.float32).eval()
    x, _ = batch(model)
    perception = PerceptualModel(model, None)
    clean = perception.features(x).detach()
    with pytest.raises(RuntimeError, match="left the LPIPS ball"):
        check_inside(perception, torch.rand_like(x), x, clean, 0.01)
    with pytest.raises(RuntimeError, match="image box"):
        check_inside(perception, x + 1.0, x, clean, 100.0)


def test_conjugate_gradients_solve_the_linear_system():
    torch.manual_seed(0)
    root = torch.rand(2, 4, 4, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(4, dtype=torch.float64)
    b = torch.rand(2, 1, 2, 2, dtype=torch.float64)

    def multiply(v: Tensor) -> Tensor:
        return (matrix @ v.view(2, 4, 1)).view_as(b)

    solved = torch.linalg.solve(matrix, b.view(2, 4, 1)).view_as(b)
    # Four unknowns are solved after four iterations; two more must do no harm.
    for steps in (4, 6):
        torch.testing.assert_close(conjugate_gradients(multiply, b, steps), solved)
    assert torch.equal(conjugate_gradients(multiply, torch.zeros_like(b), 3), torch.zeros_like(b))


def test_the_products_with_the_jacobian_are_autograds():
    model = network().eval()
    x, _ = batch(model, 1)
    point = x.clone().requires_grad_()
    features = normalised_features(model.with_features(point)[1])
    jacobian = torch.autograd.functional.jacobian(
        lambda v: written_out_features(model, v).flatten(), x
    ).flatten(1)
    v = torch.rand_like(x)
    here = Linearised(PerceptualModel(model, None), point, features, probe=1e-6)
    expected = jacobian @ v.flatten()
    # a finite difference over 1e-6 is right to about that share; the ReLUs keep their side
    torch.testing.assert_close(here.push(v).flatten(), expected, rtol=1e-4, atol=1e-5)
    expected = jacobian.T @ expected
    torch.testing.assert_close(here.gram(v).flatten(), expected, rtol=1e-4, atol=1e-5)


def test_a_step_of_ppgd_is_the_written_out_one():
    model = network().eval()
    x = batch(model, 1)[0] * 0.6 + 0.2  # away from the walls of the image box
    y = model(x).argmax(dim=1)
    attack = PPGD("linf", 0.1, 1.0, 1, 0.01, 5, math.inf, probe=1e-6, start_std=0.0, lpips=SELF)
    moved = attack(model, x, y) - x
    jacobian = torch.autograd.functional.jacobian(
        lambda v: written_out_features(model, v).flatten(), x
    ).flatten(1)
    b = torch.autograd.functional.jacobian(lambda v: margin(model(v), y), x).flatten()
    # Five conjugate gradient iterations minimise over the first five Krylov vectors.
    krylov = [b]
    for _ in range(4):
        krylov.append(jacobian.T @ (jacobian @ krylov[-1]))
    basis = torch.linalg.qr(torch.stack([k / k.norm() for k in krylov], dim=1)).Q
    gram = basis.T @ jacobian.T @ jacobian @ basis
    v = basis @ torch.linalg.solve(gram, basis.T @ b)
    expected = 0.01 * v / (jacobian @ v).norm()
    # the attack's finite differences are right to about 1e-5
    torch.testing.assert_close(moved.flatten(), expected, rtol=1e-2, atol=1e-6)
    assert PerceptualModel(model, None).distance(x + moved, x).item() == pytest.approx(
        0.01, rel=0.1
    )


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("alexnet", [64, 192, 384, 256, 256]),
        ("alexnet_cifar", [64, 192, 384, 256, 256]),
        ("vgg16", [64, 128, 256, 512, 512]),
    ],
)
def test_an_lpips_network_shows_five_activations_after_their_relus(name: str, channels: list[int]):
    network = LPIPS_NETWORKS[name]("random", None).load()
    activations = network(torch.rand(2, 3, 32, 32))
    assert [a.shape[1] for a in activations] == channels
    assert all(a.min() == 0 for a in activations)


@pytest.mark.parametrize(
    ("name", "smallest"), [("alexnet", 31), ("alexnet_cifar", 7), ("vgg16", 16)]
)
def test_images_that_are_too_small_are_refused_or_enlarged(name: str, smallest: int):
    LPIPS_NETWORKS[name]("random", None).load()(torch.rand(1, 3, smallest, smallest))
    small = torch.rand(1, 1, smallest - 1, smallest - 1)  # grey, too
    with pytest.raises(ConfigError, match="enlarge_to is None"):
        LPIPS_NETWORKS[name]("random", None).load()(small)
    enlarged = LPIPS_NETWORKS[name]("random", 64).load()(small)
    assert enlarged[0].shape[-1] > 64 // 5  # the first activation has 64 / stride pixels a side


def test_random_lpips_networks_are_the_same_every_time_and_leave_torchs_generator_alone():
    state = torch.get_rng_state()
    one, two = (LPIPS_NETWORKS["alexnet_cifar"]("random", None).load() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def saved_weights() -> dict[str, Tensor]:
    network = LPIPS_NETWORKS["alexnet_cifar"]("random", None).load()
    return {f"features.{k}": v + 1 for k, v in network.features.state_dict().items()}


@pytest.mark.parametrize("form", ["safetensors", "state dict", "checkpoint"])
def test_weights_are_read_from_a_file(tmp_path, form: str):
    weights = saved_weights() | {"classifier.6.bias": torch.zeros(10)}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(weights, path)
    elif form == "state dict":
        torch.save(weights, path)
    else:
        torch.save({"model": {f"model.{k}": v for k, v in weights.items()}, "arch": "x"}, path)
    network = LPIPS_NETWORKS["alexnet_cifar"](str(path), None).load()
    assert isinstance(network, FeatureNetwork)
    for key, value in network.features.state_dict().items():
        assert torch.equal(value, weights[f"features.{key}"])


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors"])
def test_a_missing_weight_file_is_named(tmp_path, name: str):
    with pytest.raises(DataError, match=f"{name}', but there is no such file"):
        LPIPS_NETWORKS["alexnet"](str(tmp_path / name), None).load()


@pytest.mark.parametrize("name", ["bad.pt", "bad.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all"])
def test_a_damaged_weight_file_is_named(tmp_path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        LPIPS_NETWORKS["alexnet"](str(tmp_path / name), None).load()


def test_weights_of_another_network_are_refused(tmp_path):
    save_file(saved_weights(), tmp_path / "cifar.safetensors")
    with pytest.raises(DataError, match="another network"):
        LPIPS_NETWORKS["vgg16"](str(tmp_path / "cifar.safetensors"), None).load()
    save_file({"w": torch.zeros(1)}, tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="no layers"):
        LPIPS_NETWORKS["vgg16"](str(tmp_path / "none.safetensors"), None).load()


def test_published_weights_without_a_network_are_a_message(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("robustrun.storage.downloads.unreachable", lambda url: "no route to host")
    with pytest.raises(DataError, match=r"alexnet_cifar\.pt.*no route to host.*lpips\.weights"):
        LPIPS_NETWORKS["alexnet_cifar"](None, None).load()


def test_an_lpips_network_is_loaded_once_and_frozen():
    x = torch.rand(1, 3, 8, 8)
    first = RANDOM_ALEXNET.of(nn.Identity(), x).network
    assert first is RANDOM_ALEXNET.of(nn.Flatten(), x).network
    assert first is not None
    assert not any(p.requires_grad for p in first.parameters())


def test_an_lpips_network_registered_elsewhere_is_found(monkeypatch):
    class Doubled:
        def __init__(self, weights: str | None, enlarge_to: int | None) -> None:
            self.factor = float(weights or 1)

        def load(self) -> nn.Module:
            factor = self.factor

            class Images(nn.Module):
                def forward(self, x: Tensor) -> list[Tensor]:
                    return [factor * x]

            return Images()

    monkeypatch.setitem(LPIPS_NETWORKS._classes, "doubled", Doubled)
    x = torch.rand(2, 3, 4, 4)
    perception = LPIPS("doubled", "2", None).of(nn.Identity(), x)
    torch.testing.assert_close(perception.features(x), normalised_features([x]))


def test_a_model_without_activations_cannot_bound_itself():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    x, y = torch.rand(2, 3, 8, 8), torch.zeros(2, dtype=torch.long)
    with pytest.raises(
        ConfigError, match=r"lpips\.network is 'self', but the model \(Sequential\)"
    ):
        lpa()(model, x, y)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("alexnett", None, None), "Did you mean 'alexnet'"),
        (("self", "random", None), "weights is 'random'"),
        (("self", None, 64), "enlarge_to is 64"),
        (("alexnet", None, 0), "enlarge_to is 0"),
    ],
)
def test_a_wrong_lpips_block_is_refused(fields, message: str):
    with pytest.raises(ConfigError, match=message):
        LPIPS(*fields)


@pytest.mark.parametrize("change", [{"steps": 0}, {"rounds": 0}, {"penalty": 0.0}, {"probe": 0.0}])
def test_a_search_that_would_do_nothing_is_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        lpa(**change)
