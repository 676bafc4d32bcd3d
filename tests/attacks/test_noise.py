"""Noise and the notebook's version of it: what they add, and what the notebook's clamp erases."""

import pytest
import torch

from attacks.small_networks import generator, network
from robustrun.attacks.noise import GaussianNoise, NotebookNoise
from robustrun.errors import ConfigError


def test_noise_has_the_deviation_that_results_name() -> None:
    x, y = torch.full((50, 3, 32, 32), 0.5), torch.zeros(50).long()
    found = GaussianNoise("linf", 0.05)(network(), x, y, generator=generator())
    # 153,600 draws: the deviation of their deviation is 0.05 / sqrt(2 * 153,600), 0.2%; five of it.
    assert float((found - x).std()) == pytest.approx(0.05, rel=0.01)
    assert NotebookNoise("linf", 0.05).own_radius == ("std", 0.05)
    assert float((found - x).mean()) == pytest.approx(0, abs=5 * 0.05 / 153_600**0.5)
    assert GaussianNoise("linf", 0.05).own_radius == ("std", 0.05)
    assert not GaussianNoise.bounded
    assert not GaussianNoise.adversarial


@pytest.mark.parametrize("noise", [GaussianNoise, NotebookNoise])
def test_noise_stays_in_the_image_and_the_generator_decides(noise: type[GaussianNoise]) -> None:
    x, y = torch.rand(8, 1, 8, 8, generator=generator()), torch.zeros(8).long()
    one, same, other = (
        noise("linf", 0.3)(network(), x, y, generator=generator(s)) for s in (0, 0, 1)
    )
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    with pytest.raises(ConfigError, match="epsilon"):
        noise("linf", -0.1)


def test_the_notebooks_noise_is_the_notebooks_and_erases_what_is_darker_than_mid_grey() -> None:
    x, y = torch.rand(8, 3, 8, 8, generator=generator()), torch.zeros(8).long()
    found = NotebookNoise("linf", 0.05)(network(), x, y, generator=generator(3))
    drawn = torch.empty_like(x).normal_(generator=generator(3))
    normalised = (x - 0.5) / 0.5
    notebook = torch.clamp(normalised + 0.1 * drawn, 0, 1)  # in its units of [-1, 1]
    torch.testing.assert_close(found, notebook * 0.5 + 0.5)
    assert (found[x < 0.2] == 0.5).all()
