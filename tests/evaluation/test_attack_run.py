"""One attack over all batches: its seed, its faster form, and what memory holds."""

import copy
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from compute.digits_network import attack, digits, digits_network
from torch import nn

from evaluation.grey_images import CPU, grey, linear, pgd
from robustrun.attacks.fgsm import FGSM
from robustrun.attacks.noise import GaussianNoise
from robustrun.compute import accelerators, threads
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError
from robustrun.evaluation.attack_run import _doubtful, run_attack, seconds_before
from robustrun.evaluation.measure import accuracies, evaluate, measure
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks, search_networks
from robustrun.evaluation.setting import Setting
from robustrun.storage.journal import Journal


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return copy.deepcopy(digits_network())


FAST_AND_PLAIN = [
    ["attack=pgd", "attack.steps=10"],
    ["attack=pgd_l2", "attack.steps=10", "attack.epsilon=0.7"],
    ["attack=apgd_ce", "attack.steps=20"],
    ["attack=apgd_t", "attack.steps=10", "attack.targets=3"],
    ["attack=mi_fgsm"],
    ["attack=multi_targeted", "attack.steps=5", "attack.targets=2"],
    ["attack=fab_t", "attack.steps=3", "attack.targets=2"],
    ["attack=square", "attack.queries=100"],
]
THE_OTHERS = [
    ["attack=fgsm"],
    ["attack=apgd_dlr", "attack.steps=10"],
    ["attack=apgd_ce", "attack.steps=10", "attack.norm=l2", "attack.epsilon=0.7"],
    ["attack=apgd_ce_t", "attack.attacks.apgd_ce.steps=5", "attack.attacks.apgd_t.steps=3"],
    ["attack=fab", "attack.steps=3"],
    ["attack=fab_t", "attack.steps=3", "attack.norm=l2", "attack.epsilon=0.7"],
    ["attack=square", "attack.queries=100", "attack.norm=l2", "attack.epsilon=0.7"],
    ["attack=square", "attack.queries=100", "attack.norm=l1", "attack.epsilon=3"],
    ["attack=cw_l2", "attack.steps=20", "attack.searches=3", "attack.epsilon=0.7"],
    ["attack=fmn", "attack.steps=20"],
    ["attack=fmn", "attack.steps=20", "attack.norm=l2", "attack.epsilon=0.7"],
    ["attack=screen"],
    ["attack=stadv", "attack.steps=10"],
    ["attack=gaussian_noise", "attack.epsilon=0.3"],
    ["attack=salt_and_pepper", "attack.epsilon=0.3"],
]


@pytest.mark.device
@pytest.mark.parametrize(
    "words",
    [*FAST_AND_PLAIN, *(pytest.param(words, marks=pytest.mark.long) for words in THE_OTHERS)],
    ids=" ".join,
)
def test_the_fast_path_finds_what_the_plain_one_finds(
    words: list[str], network: nn.Module, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, judge = digits(), attack(*words)
    network.to(device)
    monkeypatch.setattr(threads, "PAYS_FROM", 1e5)  # so that even digits are shared out

    def robust(precision: str, count: int) -> np.ndarray:
        threads.set_parallelism(count)
        setting = Setting(0, 500, device, precision)
        found = measure(network, images, 10, accuracies({"judge": judge}), setting)
        right: np.ndarray = found.attacks["judge"].robust
        return right

    plain = robust("float32", 1)
    assert len(plain) == 2000
    assert 0.05 < plain.mean() < 0.95, "an attack that decides nothing would show nothing"
    # As on a GPU: rows that are done leave the batch later. The others are the same but for their
    # last bits, since a product of matrices is rounded differently when it has other rows.
    with monkeypatch.context() as patch:
        patch.setattr(accelerators, "works_ahead", lambda x: True)
        assert (robust("float32", 1) != plain).sum() <= 2
    # In shares the last bits differ, and with them the sign of a slope that is all but zero.
    assert (robust("float32", 2) != plain).sum() <= 2
    # What the fast path attacks a second time gets a second random start, so it finds a little
    # more; what it misses of the plain one's are single images at the very edge.
    fast = robust("bfloat16", 2)
    assert fast.sum() <= plain.sum() + 2, "at most one more in 1,000 stands"
    assert (fast & ~plain).sum() <= 0.005 * len(plain)


@pytest.mark.long
def test_in_l1_bfloat16_changes_no_more_verdicts_than_another_random_start(
    network: nn.Module,
) -> None:
    """Of APGD in l1, where few pixels move at a time, two random starts decide 2% differently."""
    words = ["attack=apgd_ce", "attack.steps=10", "attack.norm=l1", "attack.epsilon=1.5"]
    entries = accuracies({"judge": attack(*words)})

    def robust(precision: str, seed: int) -> np.ndarray:
        found = measure(network, digits(), 10, entries, Setting(seed, 500, CPU, precision))
        right: np.ndarray = found.attacks["judge"].robust
        return right

    plain, fast, other = robust("float32", 0), robust("bfloat16", 0), robust("float32", 1)
    assert 0.4 < plain.mean() < 0.5
    assert (fast != plain).sum() <= 1.5 * (other != plain).sum()
    assert abs(fast.mean() - plain.mean()) <= 0.005


def test_the_same_seed_gives_the_same_verdicts_whatever_ran_before() -> None:
    batch = [(torch.rand(64, 1, 2, 2), torch.randint(0, 2, (64,)))]
    noise = GaussianNoise("linf", 0.3)
    alone = evaluate(linear(), batch, {"noise": noise}, seed=1)
    after = evaluate(linear(), batch, {"pgd": pgd(), "noise": noise}, seed=1)
    other = evaluate(linear(), batch, {"noise": noise}, seed=2)
    first = alone.attacks["noise"].perturbed_right
    assert (first == after.attacks["noise"].perturbed_right).all()
    assert (first != other.attacks["noise"].perturbed_right).any()


def test_a_batch_that_does_not_fit_into_memory_is_attacked_in_halves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @dataclass(frozen=True)
    class Large:
        norm: ClassVar[str] = "linf"
        epsilon: ClassVar[float] = 0.1
        bounded: ClassVar[bool] = True
        adversarial: ClassVar[bool] = True
        fits: int

        def __call__(self, model, x, y, *, generator=None):
            if len(x) > self.fits:
                raise torch.OutOfMemoryError("no room")
            return FGSM("linf", 0.1)(model, x, y)

    images = TensorImages(grey(0.45, 0.3, 0.7, 0.8), torch.tensor([0, 0, 1, 1]))
    setting = Setting(0, 4, CPU)
    found = measure(linear(), images, 2, accuracies({"large": Large(1)}), setting)
    assert found.attacks["large"].robust.tolist() == [False, True, True, True]
    assert "in halves" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        measure(linear(), images, 2, accuracies({"large": Large(0)}), setting)


@pytest.mark.parametrize("batches", [0, 1, 2])
def test_batches_that_the_journal_has_are_not_attacked_again(batches: int, tmp_path: Path) -> None:
    levels, labels = (0.45, 0.3, 0.7, 0.55), torch.tensor([0, 0, 1, 1])

    @dataclass(frozen=True)
    class Watched:
        norm: ClassVar[str] = "linf"
        epsilon: ClassVar[float] = 0.1
        bounded: ClassVar[bool] = True
        adversarial: ClassVar[bool] = True
        seen: list[int] = field(default_factory=list)

        def __call__(self, model, x, y, *, generator=None):
            self.seen.append(len(x))
            return FGSM("linf", 0.1)(model, x, y)

    path, images = tmp_path / "journal", TensorImages(grey(*levels), labels)
    networks = search_networks(linear(), images, Setting(0, 2, CPU))
    subject, tried = Subject(networks, images, 2), np.arange(4)
    setting = Setting(0, 2, CPU, journal=Journal(path, "this"))
    whole, _ = run_attack(Watched(), "fgsm", subject, tried, setting)  # type: ignore[arg-type]
    assert whole.tolist() == [False, True, True, False]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: 1 + batches]))  # stopped after so many
    attack, journal = Watched(), Journal(path, "this")
    spent = seconds_before(journal, "fgsm")
    assert (spent > 0) == (batches > 0)
    again = Setting(0, 2, CPU, journal=journal)
    found, no_answer = run_attack(attack, "fgsm", subject, tried, again)  # type: ignore[arg-type]
    assert found.tolist() == whole.tolist()
    assert not no_answer.any()
    assert attack.seen == [2] * (2 - batches)


def test_images_that_the_journal_knows_to_have_no_answer_are_recalled_as_such() -> None:
    journal = Journal()
    journal.findings["a batch 0"] = {"right": [1, 0], "no_answer": [1], "seconds": 1.5}
    journal.findings["a batch 1"] = {"right": [0], "seconds": 2.0}
    images = TensorImages(grey(0.1, 0.2, 0.3, 0.4), torch.zeros(4, dtype=torch.long))
    setting = Setting(0, 2, CPU, journal=journal)
    subject = Subject(search_networks(linear(), images, setting), images, 2)
    tried = np.array([0, 2, 3])
    right, no_answer = run_attack(FGSM("linf", 0.1), "a", subject, tried, setting)
    assert right.tolist() == [True, False, False, False]
    assert no_answer.tolist() == [False, False, True, False]
    assert seconds_before(setting.journal, "a") == 3.5


def test_an_attack_on_no_image_that_is_right_finds_none() -> None:
    wrong = evaluate(linear(), (grey(0.2, 0.3, 0.8), torch.tensor([1, 1, 0])), {"pgd": pgd()})
    assert wrong.attacks["pgd"].robust.tolist() == [False] * 3
    images, setting = TensorImages(grey(0.2), torch.tensor([1])), Setting(0, 2, CPU)
    subject = Subject(search_networks(linear(), images, setting), images, 2)
    nothing = np.array([], dtype=np.int64)
    found, no_answer = run_attack(pgd(), "pgd", subject, nothing, setting)
    assert (found.tolist(), no_answer.tolist()) == ([False], [False])


@pytest.mark.parametrize(
    ("height", "searched", "doubtful"),
    [
        # The two networks' margins are 0.1 apart at most: nearer than 0.2 is in doubt.
        ([-1.0, -0.21, -0.19, 0.3], [-1.1, -0.21, -0.19, 0.3], [False, False, True, True]),
        ([-1.0, -0.1], [-1.0, -0.1], [False, False]),
        ([-1.0, -5.0], [-1.0, math.nan], [False, True]),  # no answer of the one that is searched
        ([-1.0, -5.0], [math.inf, math.nan], [True, True]),
    ],
)
def test_what_is_as_near_to_a_mistake_as_the_networks_are_apart_is_attacked_again(
    height: list[float], searched: list[float], doubtful: list[bool]
) -> None:
    assert _doubtful(torch.tensor(height), torch.tensor(searched)).tolist() == doubtful


def test_a_network_whose_gradient_is_not_finite_is_told_with_how_many_images_it_lacks() -> None:
    class Root(nn.Module):
        """The square root of nothing has no slope that is finite."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rise = x[:, 0, 0, 0].sqrt()
            return torch.stack([1 - rise, rise - 1], dim=1)

    images = TensorImages(grey(0.0, 0.0, 0.3), torch.zeros(3, dtype=torch.long))
    setting = Setting(0, 3, CPU)
    subject = Subject(search_networks(Root(), images, setting), images, 2)

    class Follows(FGSM):
        """Infinity times the sign of nothing, as where a slope is NaN."""

        def __call__(self, model, x, y, *, generator=None):
            return x * math.nan

    with pytest.raises(DataError, match="NaN or infinite for 2 of 3 images, so a cannot follow"):
        run_attack(Follows("linf", 0.1), "a", subject, np.arange(3), setting)
    fine = Subject(search_networks(linear(), images, setting), images, 2)
    with pytest.raises(RuntimeError, match="attack a returned images that are not finite"):
        run_attack(Follows("linf", 0.1), "a", fine, np.arange(3), setting)


class Bounded(nn.Module):
    """The linear network of this boundary."""

    def __init__(self, boundary: float) -> None:
        super().__init__()
        self.boundary, self.network = boundary, linear(boundary)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x)
        return logits


def test_what_a_search_with_another_network_just_missed_is_attacked_again() -> None:
    """The copy's boundary is at 0.48, the network's at 0.5: so is the attack's, the second time."""
    seen: list[tuple[float, int]] = []

    class Reaches(FGSM):
        def __call__(self, model, x, y, *, generator=None):
            seen.append((model.boundary, len(x)))
            return x + (model.boundary + 0.005 - x).clamp(0, 0.1)

    exact, copied = Bounded(0.5), Bounded(0.48)
    networks = SearchNetworks(exact, exact, copied)  # type: ignore[arg-type]
    images = TensorImages(grey(0.45, 0.2, 0.39, 0.1), torch.zeros(4, dtype=torch.long))
    subject = Subject(networks, images, 2)
    reaches, tried = Reaches("linf", 0.1), np.arange(4)
    right, no_answer = run_attack(reaches, "a", subject, tried, Setting(0, 4, CPU))
    # 0.45 gets to 0.485 at first, and then to 0.505; 0.39 gets to 0.485 and no further than 0.49.
    assert right.tolist() == [False, True, True, True]
    assert not no_answer.any()
    assert seen == [(0.48, 4), (0.5, 2)]
