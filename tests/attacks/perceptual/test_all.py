"""What the attacks in the LPIPS ball promise: LPA, PPGD and Fast-LPA."""

import pytest
import torch

from attacks.networks_with_features import batch, network, written_out_distance
from attacks.small_attacks import BOUND, RANDOM_ALEXNET, fast_lpa, lpa, ppgd, with_bound
from robustrun.attacks.perceptual.lpips import PerceptualModel
from tests.frozen import changeable

ATTACKS = pytest.mark.parametrize(
    "attack", [lpa(), ppgd(), fast_lpa()], ids=lambda a: type(a).__name__
)


def test_what_measures_a_distance_cannot_be_changed():
    assert changeable("robustrun.attacks.perceptual", least=7) == []


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


@pytest.mark.parametrize("attack", [lpa(), ppgd()], ids=["LPA", "PPGD"])
def test_an_image_that_is_wrong_already_is_done_at_once(attack):
    model = network(torch.float32).eval()
    x, y = batch(model)
    x_adv = attack(model, x, (y + 1) % 4)
    assert (x_adv - x).abs().max() < 0.1  # nothing but the starting noise, 0.01 per pixel


@pytest.mark.parametrize("attack", [lpa(steps=40, rounds=4), ppgd(steps=60)], ids=["LPA", "PPGD"])
def test_once_all_images_have_fallen_the_model_is_passed_through_no_more(attack):
    model = network(torch.float32).eval()
    x, y = batch(model)
    sizes: list[int] = []
    model.first.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    x_adv = with_bound(attack, 2.0)(model, x, y, generator=torch.Generator().manual_seed(0))
    assert min(sizes) > 0, "no batch without images"
    assert (model(x_adv).argmax(dim=1) != y).all()


def test_an_attack_bounded_by_an_lpips_network_stays_in_the_networks_ball():
    model = network(torch.float32).eval()
    x, y = batch(model)
    for attack in (lpa(RANDOM_ALEXNET, steps=3), ppgd(RANDOM_ALEXNET, steps=3)):
        x_adv = attack(model, x, y)
        distance = RANDOM_ALEXNET.of(model, x).distance(x_adv, x)
        assert 0 < distance.max() <= BOUND * (1 + 1e-4)


@ATTACKS
def test_results_name_the_bound(attack):
    assert attack.own_radius == ("lpips", BOUND)
    assert not attack.bounded
