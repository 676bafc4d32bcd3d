"""conf/method: each method's settings are its authors', at their radius."""

from fractions import Fraction

import pytest

from robustrun import config
from robustrun.compose import compose_raw

# A method, the radius its authors trained at, their inner step; epochs, peak rate, weight decay,
# and where the rate drops (None: a cycle, up to the peak half way and down to 0).
AUTHORS = [
    ("pgd_at", "8/255", "2/255", (200, 0.1, 5e-4), (100 / 200, 150 / 200)),
    ("pgd_at_l2", "128/255", "15/255", (200, 0.1, 5e-4), (100 / 200, 150 / 200)),
    ("trades", "0.031", "0.007", (76, 0.1, 2e-4), (74 / 76,)),
    ("trades_l2", "1/2", "1/10", (76, 0.1, 2e-4), (74 / 76,)),
    ("mart", "0.031", "0.007", (120, 0.01, 3.5e-3), (74 / 120, 89 / 120, 99 / 120)),
    ("fast_at", "8/255", "10/255", (15, 0.2, 5e-4), None),
    ("n_fgsm", "8/255", "8/255", (30, 0.2, 5e-4), None),
    ("free_at", "8/255", "8/255", (10, 0.04, 5e-4), None),
    ("at_awp", "8/255", "2/255", (200, 0.1, 5e-4), (100 / 200, 150 / 200)),
    ("trades_awp", "8/255", "2/255", (200, 0.1, 5e-4), (99 / 200, 149 / 200)),
    ("mart_awp", "0.031", "0.007", (120, 0.01, 3.5e-3), (74 / 120, 89 / 120, 99 / 120)),
    ("robal", "0.031", "0.0078", (80, 0.1, 2e-4), (59 / 80, 74 / 80)),
    ("robal_r", "0.031", "0.0078", (80, 0.1, 2e-4), (59 / 80, 74 / 80)),
    ("at_bsl", "8/255", "2/255", (100, 0.1, 5e-4), (74 / 100, 89 / 100)),
]


AWAY = 3  # radii are tried at a multiple of the authors', so that a fixed number would show
MODES = {
    "train": {"pgd_at", "pgd_at_l2", "at_awp", "fast_at", "n_fgsm"},
    "eval": {"trades", "trades_l2", "mart", "trades_awp", "mart_awp", "robal", "robal_r", "at_bsl"},
}


def composed(*overrides):
    return config.load(compose_raw(["dataset=cifar10", *overrides]))


@pytest.mark.parametrize(("name", "radius", "step", "run", "drops"), AUTHORS)
def test_the_defaults_are_the_authors_and_follow_the_radius(name, radius, step, run, drops):
    made = composed(f"method={name}", f"attack.epsilon={AWAY * Fraction(radius)}")
    base = getattr(made.method, "base", made.method)
    inner = getattr(base, "inner", base)
    assert base.epsilon == pytest.approx(float(AWAY * Fraction(radius)), rel=1e-12)
    assert inner.step_size == pytest.approx(float(AWAY * Fraction(step)), rel=1e-12)
    assert (made.training.epochs, made.optimizer.lr, made.optimizer.weight_decay) == run
    if drops is None:
        rates = [made.schedule.factor(share) for share in (0, 0.25, 0.5, 1)]
        assert rates == [0, 0.5, 1, 0]
    else:
        assert made.schedule.milestones == pytest.approx(drops)
    if name != "free_at":  # its attack is its training
        assert name in MODES[inner.bn_mode]


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # beta, gamma, margin, tau_m, tau_b, tau_p
        ("robal", (6, 1 / 32, 0.1, 0, 1.2, 0.1)),
        ("robal_r", (6, 1 / 32, 0.1, 0.3, 1.5, 0)),
        ("robal_n_cifar100", (3, 1 / 32, 0.2, 0, 0, 1.5)),
        ("robal_r_cifar100", (6, 1 / 16, 0.3, 0, 0, 1.7)),
    ],
)
def test_the_four_robal_variants(name, expected):
    m = composed(f"method={name}").method
    assert (m.beta, m.gamma, m.margin, m.tau_m, m.tau_b, m.tau_p) == expected
    assert (m.scale, m.inner.steps, m.inner.start) == (10, 5, "one_sided")


@pytest.mark.parametrize("name", ["fgsm_at", "trades", "robal", "pat"])
def test_the_notebooks_experiments_are_in_pixel_units(name):
    model = ["model=simple_cnn"] if name == "pat" else []
    made = config.load(compose_raw([f"+experiment=notebook_{name}", *model]))
    assert made.attack.epsilon == 0.05
    assert made.method.epsilon == (0.0 if name == "pat" else 0.05)
    assert made.method.clamp == (0.5, 1.0)
    assert made.evaluation.attacks["notebook_noise"].epsilon == 0.05
    assert (made.training.batch_size, made.optimizer.lr, made.optimizer.weight_decay) == (
        4,
        1e-3,
        0,
    )
    assert made.training.epochs == (2 if name == "fgsm_at" else 1)
    assert {entry.attack for entry in made.published} == {"clean", "notebook_noise"}
