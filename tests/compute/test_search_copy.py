"""The copy that images are searched with: the same function, and the same verdicts."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.geometry.ball import around, project
from robustrun.compute import threads
from robustrun.compute.folding import folded
from robustrun.compute.search_copy import FoldedCopy, as_bfloat16, search_copy
from robustrun.configuration import composition
from robustrun.configuration.decoding import decode
from robustrun.configuration.run_config import load_config
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.attack_run import SearchNetworks, search_networks
from robustrun.evaluation.measure import measure
from robustrun.methods.inner import Inner
from robustrun.types import Attack

CPU = torch.device("cpu")


def attack(*words: str) -> Attack:
    raw = composition.compose_config(list(words))
    return decode(Attack, raw["attack"], "attack")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A small network with batch norm, trained for a moment on the digits."""
    torch.manual_seed(0)
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    second = [nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()]
    model = nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(512, 10))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for x, y in digits().batches(64, torch.randperm(1797)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


def digits() -> TensorImages:
    """2,000 images: all 1,797, and the first 203 of them lighter."""
    splits = load_config(composition.compose_config([])).dataset.load()
    parts = [next(part.plain().batches(len(part))) for part in (splits.train, splits.test)]
    x, y = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return TensorImages(torch.cat([x, 0.8 * x[:203]]), torch.cat([y, y[:203]]))


def test_batch_norm_is_folded_and_the_logits_stay(network: nn.Module) -> None:
    x = torch.rand(50, 1, 8, 8)
    copy = search_copy(network, x)
    assert copy is not None
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in copy.modules())
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    with torch.no_grad():
        expected = network(x)
        torch.testing.assert_close(copy(x), expected)
        low = as_bfloat16(copy)(x)
    assert low.dtype == torch.float32
    # bfloat16 keeps 8 bits: 2^-8 of the largest logit for each of three layers
    assert (low - expected).abs().max() < 3 * 2**-8 * expected.abs().max()


def test_rectifying_in_place_changes_no_bit_and_no_gradient() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10)).eval()
    copy = search_copy(model, torch.rand(4, 1, 8, 8))
    assert copy is not None
    code = getattr(copy.network, "code")  # noqa: B009
    assert code.count("inplace = True") == 2, "the third reads what a ReLU put out, not a layer"
    x, y = torch.rand(32, 1, 8, 8), torch.arange(32) % 10
    slopes = []
    for network in (model, copy):
        point = x.clone().requires_grad_()
        loss = nn.functional.cross_entropy(network(point), y)
        slopes.append(torch.autograd.grad(loss, point)[0])
    assert torch.equal(*slopes)


def test_a_folded_network_follows_its_source() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3)]
    model = nn.Sequential(*layers, nn.BatchNorm2d(4, affine=False), nn.Flatten(), nn.Linear(64, 10))
    x, optimizer = torch.rand(16, 1, 8, 8), torch.optim.SGD(model.parameters(), 0.1)
    first = folded(model.eval())
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in first.modules())
    for _ in range(3):  # weights and statistics move
        torch.testing.assert_close(folded(model.eval())(x), model(x))
        before = model(x).detach()
        model.train()(x).square().mean().backward()
        optimizer.step()
        assert (model.eval()(x) - before).abs().max() > 0.01, "a stale copy would not show"
    assert folded(model) is first, "traced once"
    model[0].weight = nn.Parameter(torch.rand(4, 1, 3, 3))
    torch.testing.assert_close(folded(model)(x), model(x))
    model.double()
    torch.testing.assert_close(folded(model)(x.double()), model(x.double()))


def test_what_is_read_twice_is_not_written_over() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.end = nn.Conv2d(1, 4, 3), nn.Linear(144, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            logits: Tensor = self.end((torch.relu(y) - y).flatten(1))
            return logits

    model, x = Twice().eval(), torch.rand(8, 1, 8, 8)
    copy = search_copy(model, x)
    assert copy is not None
    assert torch.equal(copy(x), model(x))


def test_inner_attacks_fold_batch_norm_in_bfloat16_only(network: nn.Module) -> None:
    inner = Inner("ce", 2, 0.02, "zero", 0.0, "eval")
    x, y = torch.rand(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64)
    seen = []
    handle = network.register_forward_hook(lambda *_: seen.append(1))
    plain = inner(network, x, y, norm="linf", epsilon=0.1)
    assert len(seen) == 2
    with torch.autocast("cpu", torch.bfloat16):
        low = inner(network, x, y, norm="linf", epsilon=0.1)
    handle.remove()
    assert len(seen) == 2, "a folded copy was climbed instead"
    # bfloat16 turns the sign of the smallest slopes alone
    assert ((low - plain).abs() < 1e-6).float().mean() > 0.9


class Noisy(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x + 0.1 * torch.randn_like(x))
        return logits


class Counting(nn.Module):
    """Has Python that torch.fx cannot follow, and weights that a copy shares with nobody."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits if float(logits.detach().sum()) > 0 else logits + 0


def test_a_network_that_draws_numbers_is_searched_as_it_is(network: nn.Module) -> None:
    assert search_copy(Noisy(network), torch.rand(8, 1, 8, 8)) is None


def test_a_network_that_cannot_be_followed_is_copied_unfolded(network: nn.Module) -> None:
    x = torch.rand(8, 1, 8, 8)
    copy = search_copy(Counting(network), x)
    assert copy is not None
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in copy.modules())
    torch.testing.assert_close(copy(x), network(x))


def test_which_network_an_attack_sees(network: nn.Module) -> None:
    plain = search_networks(network, digits(), "float32", 100, CPU)
    fast = search_networks(network, digits(), "bfloat16", 100, CPU)
    pgd, fab, noise = attack(), attack("attack=fab_t"), attack("attack=gaussian_noise")
    assert plain == SearchNetworks(network, network)
    assert plain.of(pgd) is network
    assert fast.of(noise) is network
    assert isinstance(fast.fast, FoldedCopy)
    assert fast.of(fab) is fast.fast
    assert getattr(fast.of(pgd), "low") is True  # noqa: B009


@pytest.mark.parametrize(
    "words",
    [
        ["attack=pgd", "attack.steps=10"],
        ["attack=pgd_l2", "attack.steps=10", "attack.epsilon=0.7"],
        ["attack=apgd_ce", "attack.steps=20"],
        ["attack=apgd_t", "attack.steps=10", "attack.targets=3"],
        ["attack=mi_fgsm"],
        ["attack=square", "attack.queries=100"],
    ],
)
def test_the_fast_path_finds_what_the_plain_one_finds(
    words: list[str], network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, judge = digits(), attack(*words)
    monkeypatch.setattr(threads, "PAYS_FROM", 1e5)  # so that even digits are shared out

    def robust(precision: str, count: int) -> np.ndarray:
        how = {"seed": 0, "batch_size": 500, "device": CPU, "precision": precision}
        threads.set_parallelism(count)
        try:
            found = measure(network, images, 10, {"judge": judge}, **how)  # type: ignore[arg-type]
        finally:
            threads.set_parallelism(1)
        right: np.ndarray = found.attacks["judge"].robust
        return right

    plain = robust("float32", 1)
    assert len(plain) == 2000
    assert 0.05 < plain.mean() < 0.95, "an attack that decides nothing would show nothing"
    # In shares the last bits differ, and with them the sign of a slope that is all but zero.
    assert (robust("float32", 2) != plain).sum() <= 2
    # What the fast path attacks a second time gets a second random start, so it finds a little
    # more; what it misses of the plain one's are single images at the very edge.
    fast = robust("bfloat16", 2)
    assert fast.sum() <= plain.sum() + 2, "at most one more in 1,000 stands"
    assert (fast & ~plain).sum() <= 0.005 * len(plain)


def test_in_float32_what_leaves_the_batch_changes_no_bit(network: nn.Module) -> None:
    """PGD that drops fooled images returns what the plain loop over all images finds."""
    images, epsilon, step_size = digits(), 0.1, 0.02
    x, y = next(images.batches(2000))
    words = ["attack.epsilon=0.1", "attack.steps=10", "attack.restarts=1", "attack.step_size=0.02"]
    fast = attack("attack=pgd", *words)(network, x, y, generator=torch.Generator().manual_seed(0))
    start = torch.empty_like(x).uniform_(
        -epsilon, epsilon, generator=torch.Generator().manual_seed(0)
    )
    point, found = (x + start).clamp(0, 1), torch.zeros(2000, dtype=torch.bool)
    plain = x.clone()
    for step in range(11):
        point.requires_grad_()
        logits = network(point)
        fooled = (logits.argmax(dim=1) != y) & ~found
        plain[fooled], found = point.detach()[fooled], found | fooled
        if step == 10:
            plain[~found] = point.detach()[~found]
            break
        loss = nn.functional.cross_entropy(logits, y, reduction="sum")
        slope = torch.autograd.grad(loss, point)[0]
        moved = point.detach() + step_size * slope.sign()
        point = torch.minimum(torch.maximum(moved, x - epsilon), x + epsilon).clamp(0, 1)
    assert 0.05 < float(found.float().mean()) < 0.95
    verdicts = [network(images).argmax(dim=1) == y for images in (fast, plain)]
    assert torch.equal(*verdicts)
    assert torch.equal(fast, plain)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projecting_many_points_around_one_image_gives_the_same_bits(norm: str) -> None:
    x, points = torch.rand(64, 3, 8, 8), 2 * torch.rand(64, 3, 8, 8) - 0.5
    assert torch.equal(around(x, norm, 0.1)(points), project(points, x, norm, 0.1))
