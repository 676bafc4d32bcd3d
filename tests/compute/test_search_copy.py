"""The copy that images are searched with: the same function."""

import copy
import logging

import pytest
import torch
from torch import Tensor, nn

from compute.digits_network import digits_network
from robustrun.compute import accelerators
from robustrun.compute.search_copy import as_bfloat16, search_copy
from robustrun.methods.inner import Inner


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return copy.deepcopy(digits_network())


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


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("compiles", [False, True])
def test_on_a_gpu_the_copy_of_a_compiled_network_is_compiled(
    waits: bool, compiles: bool, network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerators, "works_ahead", lambda x: waits)
    monkeypatch.setattr(
        nn.Module, "compile", lambda self: setattr(self, "_compiled_call_impl", self._call_impl)
    )
    model = copy.deepcopy(network)
    if compiles:
        model.compile()
    found = search_copy(model, torch.rand(4, 1, 8, 8))
    assert found is not None
    assert (found.network._compiled_call_impl is not None) == (waits and compiles)


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


def test_a_network_that_cannot_be_copied_is_searched_as_it_is(
    network: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    class Refuses(Counting):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise TypeError("not to be copied\nnor to be told at length")

    with caplog.at_level(logging.INFO):
        assert search_copy(Refuses(network), torch.rand(8, 1, 8, 8)) is None
    assert "cannot be copied for searching: not to be copied" in caplog.text
    assert "at length" not in caplog.text


class Viewing(nn.Module):
    """Views rows of what a convolution puts out, which channels that come last do not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 3), nn.Linear(72, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.first(x)
        logits: Tensor = self.last(rows.view(len(rows), -1))
        return logits


def test_channels_of_a_copy_come_last_where_its_python_allows_that(network: nn.Module) -> None:
    x = torch.rand(8, 1, 8, 8)
    for model, last in ((copy.deepcopy(network), True), (Viewing().eval(), False)):
        model.to(memory_format=torch.contiguous_format)
        made = search_copy(model, x)
        assert made is not None
        weights = [p for p in made.parameters() if (p.dim() == 4 and p.shape[1] > 1) or not last]
        layout = torch.channels_last if last else torch.contiguous_format
        assert weights
        assert all(p.is_contiguous(memory_format=layout) for p in weights)
        assert all(p.is_contiguous() for p in model.parameters()), "the network itself stays"
        torch.testing.assert_close(made(x), model(x))
