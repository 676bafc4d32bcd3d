"""The audit flags every planted kind of false robustness, and no honest network."""

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluation.audit.small_audits import (
    audited,
    configuration,
    failed,
    trained,
)
from robustrun.command_line.main import run_command_line
from robustrun.types import Images


class Before(nn.Module):
    """A layer before the network."""

    def __init__(self, layer: Callable[[Tensor], Tensor], network: nn.Module) -> None:
        super().__init__()
        self.layer, self.network = layer, network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.layer(x))
        return logits


class After(Before):
    """A layer on the logits."""

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.network(x))


def two_bits(x: Tensor) -> Tensor:
    return (x * 3).round() / 3


def detached(x: Tensor) -> Tensor:
    return x.detach() + 0 * x


def noisy(x: Tensor) -> Tensor:
    return x + 0.2 * torch.randn_like(x)


def resized(x: Tensor) -> Tensor:
    """Enlarged by a random factor, cut back at a random place (Xie et al. 2018)."""
    side = int(torch.randint(8, 12, ()))
    larger = F.interpolate(x, size=(side, side), mode="nearest")
    top, left = (int(torch.randint(0, side - 7, ())) for _ in range(2))
    return larger[:, :, top : top + 8, left : left + 8]


def with_activations(network: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """The same network with `change` after its first convolution."""
    made = copy.deepcopy(network)
    made.conv1.register_forward_hook(lambda *args: change(args[-1]))  # type: ignore[union-attr, operator]
    return made


class Winners(nn.Module):
    """Only the largest twentieth of an image's activations pass (Xiao et al. 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        kept = flat.topk(max(flat.shape[1] // 20, 1), dim=1)
        return torch.zeros_like(flat).scatter(1, kept.indices, kept.values).view_as(x)


@pytest.fixture(scope="module")
def winners() -> nn.Module:
    """Trained with its winners: on another network's weights they hide nothing."""
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), Winners())
    second = nn.Sequential(nn.Conv2d(64, 64, 3, stride=2, padding=1), Winners(), nn.Flatten())
    model = nn.Sequential(first, second, nn.Linear(1024, 128), Winners(), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    train = configuration().dataset.load().train
    for _ in range(10):
        for x, y in train.batches(64, torch.randperm(len(train))):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model.eval()


def pruned(x: Tensor) -> Tensor:
    """Activations drop out at random, the small ones more often (Dhillon et al. 2018)."""
    flat = x.flatten(1).abs()
    kept = 1 - (1 - flat / flat.sum(dim=1, keepdim=True)) ** (flat.shape[1] // 2)
    return x * (torch.rand_like(kept) < kept).view_as(x) / kept.clamp_min(1e-6).view_as(x)


class BatchStatistics(nn.Module):
    """Batch norm that uses the batch's statistics for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        normal: Tensor = self.norm(x)
        return 0.3 + 0.4 * normal


PLANTED: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "probabilities": (lambda m: After(lambda z: z.softmax(dim=1), m), "softmax_output"),
    "saturated softmax": (lambda m: After(lambda z: (30 * z).softmax(dim=1), m), "softmax_output"),
    "temperature": (lambda m: After(lambda z: 1e3 * z, m), "logit_scale"),
    "bit depth": (lambda m: Before(two_bits, m), "gradients"),
    "detached": (lambda m: Before(detached, m), "gradients"),
    "noise": (lambda m: Before(noisy, m), "randomised"),
    "random resize": (lambda m: Before(resized, m), "randomised"),
    "stochastic pruning": (lambda m: with_activations(m, pruned), "randomised"),
    "train-mode batch norm": (lambda m: Before(BatchStatistics(), m), "train_mode"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_false_robustness_is_flagged(
    kind: str, standard: nn.Module, test_images: Images, caplog: pytest.LogCaptureFixture
) -> None:
    plant, expected = PLANTED[kind]
    found = audited(plant(standard), test_images)
    assert expected in failed(found)
    doubts = [f"audit: {name} {it.status}s: " for name, it in found.items() if it.status != "pass"]
    assert [line[: len(doubt)] for line, doubt in zip(caplog.messages, doubts, strict=True)] == (
        doubts
    ), "each is told, once"


def test_a_network_of_winners_is_flagged(winners: nn.Module, test_images: Images) -> None:
    found = failed(audited(winners, test_images))
    assert {"black_box", "finite_differences"} <= found, "its slope at a point misleads"


FURTHER = [
    pytest.param(method, seed, marks=pytest.mark.long)
    for method in ("pgd_at", "trades")
    for seed in (1, 2)
]


@pytest.mark.parametrize(
    ("method", "seed"),
    [
        *((method, seed) for method in ("standard", "fgsm_at") for seed in (0, 1, 2)),
        *(("pgd_at", 0), ("trades", 0)),
        *FURTHER,
    ],
)
def test_an_honest_network_gets_no_fail(
    method: str, seed: int, test_images: Images, tmp_path: Path
) -> None:
    model = trained(tmp_path, f"method={method}", f"seed={seed}")
    assert not failed(audited(model, test_images))


def test_an_honest_network_gets_no_fail_under_autoattack(
    standard: nn.Module, test_images: Images
) -> None:
    parts = ["attacks.apgd_t.steps=30", "attacks.fab_t.steps=20", "attacks.square.queries=100"]
    words = [f"attack.{part}" for part in parts]
    attack = configuration("attack=autoattack", "attack.name=ensemble", "~attack.version", *words)
    assert not failed(audited(standard, test_images, attack.attack))


def test_the_same_seed_gives_the_same_audit_and_the_network_stays_as_it_was(
    standard: nn.Module, test_images: Images
) -> None:
    model = Before(nn.BatchNorm2d(1, affine=False), standard)
    model.layer.train()  # type: ignore[attr-defined]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    drawn = torch.get_rng_state()
    assert audited(model, test_images) == audited(model, test_images)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_failed_audit_stands_beside_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["method=standard", "attack=gaussian_noise", "training.epochs=1", "device.threads=1"]
    words += ["keep.figures=false"]
    assert run_command_line([*words, "evaluation=audit", "evaluation.examples=50"]) == 0
    (results,) = tmp_path.glob("outputs/*/*/results.json")
    checks = json.loads(results.read_text())["evaluation"]["audit"]
    assert {"check", "status", "measured", "expected", "why"} == set(checks[0])
    assert [check["check"] for check in checks if check["status"] == "fail"] == ["adversary"]
    said = capsys.readouterr().out
    assert "(audit fails)" in said
    assert "audit fail, adversary: The run is judged by a corruption" in said
    assert (
        run_command_line(["report", str(results.parent), str(results.parent), "--csv", "t.csv"])
        == 0
    )
    (row,) = csv.DictReader((tmp_path / "t.csv").read_text().splitlines())
    assert row["audit"] == "fail"
