"""Which network an attack searches with."""

import copy
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from compute.digits_network import attack, digits, digits_network
from torch import Tensor, nn

from evaluation.grey_images import CPU
from robustrun.compute import accelerators
from robustrun.compute.few_sizes import FewSizes
from robustrun.compute.search_copy import FoldedCopy
from robustrun.evaluation import search_networks as search_networks_module
from robustrun.evaluation.attack_run import run_attack
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks, search_networks
from robustrun.evaluation.setting import Setting


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return copy.deepcopy(digits_network())


def test_which_network_an_attack_sees(network: nn.Module) -> None:
    plain = search_networks(network, digits(), Setting(0, 100, CPU))
    fast = search_networks(network, digits(), Setting(0, 100, CPU, "bfloat16"))
    folded = search_networks(network, digits(), Setting(0, 100, CPU, search_copy=True))
    pgd, fab, noise = attack(), attack("attack=fab_t"), attack("attack=gaussian_noise")
    assert plain == SearchNetworks(network, network)
    assert plain.of(pgd) is network
    assert fast.of(noise) is network
    assert isinstance(fast.fast, FoldedCopy)
    assert fast.of(fab) is fast.fast
    assert getattr(fast.of(pgd), "low") is True  # noqa: B009
    assert folded.of(pgd) is folded.of(fab) is folded.fast
    assert getattr(folded.fast, "low") is False  # noqa: B009


class Sized(nn.Module):
    """Remembers how many images it was called with."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.sizes = network, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        logits: Tensor = self.network(x)
        return logits


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_the_networks_meet_a_few_sizes_whatever_is_left(
    precision: str, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "works_ahead", lambda x: True)
    model, images = copy.deepcopy(network), digits().subset(torch.arange(150))
    setting = Setting(0, 100, CPU, precision)
    subject = Subject(search_networks(model, images, setting), images, 10)
    searched = subject.networks.of(attack("attack=apgd_t"))
    few = next(part for part in searched.modules() if isinstance(part, FewSizes))
    few.network = Sized(few.network)
    for words in (["attack=pgd", "attack.steps=9"], ["attack=apgd_t", "attack.steps=3"]):
        run_attack(attack(*words), words[0], subject, np.arange(150), setting)
    assert len(few.network.sizes) > 20
    assert len(set(few.network.sizes)) > 2
    assert set(few.network.sizes) <= {7, 13, 25, 38, 50, 75, 100}


class Watched(nn.Module):
    """Remembers of each call whether TF32 was allowed and whether a copy was called, with Python
    that torch.fx cannot follow."""

    calls: ClassVar[list[tuple[bool, bool]]] = []

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.original = network, True

    def __deepcopy__(self, memo: Any) -> "Watched":
        copied = Watched(copy.deepcopy(self.network, memo))
        copied.original = False
        return copied

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((torch.backends.cudnn.allow_tf32, not self.original))
        logits: Tensor = self.network(x)
        return logits if float(logits.detach().sum()) > 0 else logits + 0


@pytest.fixture
def _as_on_cuda() -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    yield
    cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.usefixtures("_as_on_cuda")
@pytest.mark.parametrize("words", [["attack=fab_t"], ["attack=square", "attack.queries=5"]])
@pytest.mark.parametrize(
    ("precision", "kind", "searched_in_tf32"),
    [("bfloat16", "cuda", True), ("float32", "cuda", False), ("bfloat16", "cpu", False)],
)
def test_float32_attacks_search_in_tf32_on_cuda_and_verdicts_never_are(
    words: list[str],
    precision: str,
    kind: str,
    searched_in_tf32: bool,
    network: nn.Module,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allowed = search_networks_module.tf32_allowed
    monkeypatch.setattr(search_networks_module, "tf32_allowed", lambda _: allowed(kind))
    Watched.calls.clear()
    images, watched = digits().subset(torch.arange(20)), Watched(network)
    setting = Setting(0, 20, CPU, precision, search_copy=True)
    subject = Subject(search_networks(watched, images, setting), images, 10)
    Watched.calls.clear()  # those that try the copy
    run_attack(attack(*words), "a", subject, np.arange(20), setting)
    of_copy = {tf32 for tf32, copied in Watched.calls if copied}
    of_itself = {tf32 for tf32, copied in Watched.calls if not copied}
    assert of_copy == {searched_in_tf32}
    assert of_itself == {False}, "verdicts, and what is searched again, are float32"


def test_without_an_image_there_is_nothing_to_try_a_copy_on(network: nn.Module) -> None:
    none = digits().subset(torch.arange(0))
    found = search_networks(network, none, Setting(0, 100, CPU, "bfloat16"))
    assert found == SearchNetworks(network, network)
