"""LPIPS, against its formula written out in float64."""

import pytest
import torch
from torch import Tensor, nn

from attacks.networks_with_features import (
    batch,
    network,
    written_out_distance,
    written_out_features,
)
from attacks.small_attacks import RANDOM_ALEXNET, SELF, lpa
from robustrun.attacks.perceptual.lpips import LPIPS, PerceptualModel, normalised_features
from robustrun.attacks.perceptual.lpips_networks import LPIPS_NETWORKS
from robustrun.errors import ConfigError, DataError


def test_the_distance_is_the_written_out_one():
    model = network().eval()
    x, _ = batch(model)
    other = torch.rand_like(x)
    expected = written_out_distance(model, other, x)
    measured = PerceptualModel(model, None).distance(other, x)
    torch.testing.assert_close(measured, expected, rtol=1e-12, atol=0.0)  # float64 rounding
    assert expected.min() > 0.1


def test_a_distance_has_no_graph_and_belongs_to_its_pair():
    model = network().eval()
    x, _ = batch(model)
    measured = PerceptualModel(model, None).distance(x.flip(0), x)
    assert not measured.requires_grad
    assert measured.shape == (6,)
    torch.testing.assert_close(measured, measured.flip(0), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize(("size", "right"), [(None, True), (1, True), (0, False), (-1, False)])
def test_images_are_enlarged_to_a_pixel_or_more_or_not_at_all(size: int | None, right: bool):
    if right:
        assert LPIPS("alexnet", None, size).enlarge_to == size
        return
    with pytest.raises(ConfigError, match=r"^enlarge_to is .* but must be at least 1, or null"):
        LPIPS("alexnet", None, size)


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


def test_whether_it_can_be_used_is_known_before_any_attack(tmp_path):
    x = torch.rand(2, 3, 8, 8)
    SELF.require_usable(network(torch.float32).eval(), x)
    RANDOM_ALEXNET.require_usable(nn.Identity(), x)
    with pytest.raises(ConfigError, match="does not show its"):
        SELF.require_usable(nn.Flatten(), x)
    with pytest.raises(ConfigError, match="at least 31 pixels"):
        LPIPS("alexnet", "random", None).require_usable(nn.Identity(), x)
    with pytest.raises(DataError, match="no such file"):
        LPIPS("alexnet_cifar", str(tmp_path / "no.pt"), None).require_usable(nn.Identity(), x)
