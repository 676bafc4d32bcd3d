"""conf/method and conf/experiment: settings are their authors'."""

import math
import re
from fractions import Fraction

import pytest

from robustrun.configuration.catalogue import option_file, options_by_group
from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.models.normalize import Normalize

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
    ("at_bsl", "8/255", "2/255", (100, 0.1, 5e-4), (74 / 100, 89 / 100, 99 / 100)),
]


AWAY = 3  # radii are tried at a multiple of the authors', so that a fixed number would show
MODES = {
    "train": {"pgd_at", "pgd_at_l2", "at_awp", "fast_at", "n_fgsm"},
    "eval": {"trades", "trades_l2", "mart", "trades_awp", "mart_awp", "robal", "robal_r", "at_bsl"},
}


def composed(*overrides):
    return load_config(compose_config(["dataset=cifar10", *overrides]))


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
    made = load_config(compose_config([f"+experiment=notebook_{name}", *model]))
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


def experiment(name, *overrides):
    return load_config(compose_config([f"+experiment={name}", *overrides]))


@pytest.mark.parametrize("name", options_by_group()["experiment"])
def test_an_experiment_begins_with_the_command_that_runs_it(name):
    lines = option_file("experiment", name).read_text().splitlines()
    assert lines[:2] == ["# @package _global_", f"# robustrun +experiment={name}"]
    assert lines[2].startswith("# ")


NORMALISES = [
    name
    for name in options_by_group()["experiment"]
    if "\n  mean: " in option_file("experiment", name).read_text()
]


@pytest.mark.parametrize("name", NORMALISES)
def test_an_experiment_with_its_own_normalisation_goes_with_grey_images_too(name):
    made = load_config(compose_config([f"+experiment={name}", "dataset=mnist"]))
    grey = Normalize(made.model.mean, made.model.std, 1)
    assert grey.std.shape == (1, 1, 1, 1)


# An experiment, its network, data set, radius; epochs, batch, rate, decay, clean and AutoAttack.
EXPERIMENTS = [
    ("robal_n_cifar10_lt", "wide_resnet34_10", 0.02, 0.031, (80, 64, 0.1, 2e-4), None),
    ("robal_r_cifar10_lt", "wide_resnet34_10", 0.02, 0.031, (80, 64, 0.1, 2e-4), None),
    ("at_bsl_cifar10_lt", "resnet18", 0.02, 8 / 255, (100, 128, 0.1, 5e-4), None),
    ("trades_l2_resnet18", "resnet18", None, 128 / 255, (76, 128, 0.1, 2e-4), None),
    (
        "mart_awp_wrn34_10",
        "wide_resnet34_10",
        None,
        8 / 255,
        (90, 128, 0.1, 7e-4),
        (0.8443, 0.5423),
    ),
    (
        "pgd_at_l2_preact18",
        "preact_resnet18",
        None,
        128 / 255,
        (200, 128, 0.1, 5e-4),
        (0.888, 0.6768),
    ),
]


@pytest.mark.parametrize(("name", "network", "ratio", "radius", "run", "published"), EXPERIMENTS)
def test_experiments_are_their_authors(name, network, ratio, radius, run, published):
    made = experiment(name)
    base = getattr(made.method, "base", made.method)
    options = compose_config([f"+experiment={name}"])["options"]
    assert options["model"] == network
    assert made.dataset.imbalance_ratio == ratio
    assert made.attack.epsilon == base.epsilon == pytest.approx(radius, rel=1e-12)
    training, optimizer = made.training, made.optimizer
    assert (training.epochs, training.batch_size, optimizer.lr, optimizer.weight_decay) == run
    assert "autoattack" in made.evaluation.attacks
    normalises = name == "pgd_at_l2_preact18"
    assert (made.model.mean == (0.0,)) != normalises
    assert (made.dataset.crop_border == "reflect") == normalises
    assert made.dataset.policy == ("autoaugment" if name.startswith("at_bsl") else None)
    said = {entry.attack: entry.accuracy for entry in made.published}
    assert (said and (said["clean"], said["autoattack"])) == (published or {})
    measured = {"clean", options["attack"]}
    assert set(said) <= measured | set(made.evaluation.attacks)


def test_the_variants_of_robal_and_mart_awp_are_the_ones_they_are_called():
    n, r = experiment("robal_n_cifar10_lt").method, experiment("robal_r_cifar10_lt").method
    assert (n.tau_m, n.tau_b, n.tau_p, r.tau_m, r.tau_b, r.tau_p) == (0, 1.2, 0.1, 0.3, 1.5, 0)
    awp = experiment("mart_awp_wrn34_10")
    assert (awp.training.weight_perturbation, awp.method.beta) == (0.005, 6)
    assert awp.schedule.milestones == pytest.approx((74 / 90, 89 / 90))


@pytest.mark.parametrize(
    ("name", "border"),
    [
        *((f"{method}_{net}", "reflect") for method in ("pgd_at", "at_awp")
          for net in ("preact18", "wrn34_10")),
        *((name, "zeros") for name in ("pgd_at_cifar100", "at_awp_cifar100", "trades_wrn34_10",
          "trades_awp_wrn34_10", "mart_resnet18", "fastat_pgd_at_resnet18")),
    ],
)  # fmt: skip
def test_crops_pad_as_the_authors_do(name, border):
    made = experiment(name).dataset
    assert (made.crop_padding, made.crop_border) == (4, border)


def test_pat_augments_and_normalises_as_the_robustness_library():
    made = experiment("pat_self_cifar10")
    found = made.dataset
    assert (found.crop_padding, found.crop_border, found.flip) == (4, "zeros", True)
    assert (found.color_jitter, found.rotation) == (0.25, 2.0)
    assert made.model.mean == (0.4914, 0.4822, 0.4465)
    assert made.model.std == (0.2023, 0.1994, 0.2010)


@pytest.mark.parametrize("steps", [1, 3, 10, 40])
def test_trades_l2_steps_by_two_radii_shared_among_its_steps(steps):
    made = composed("method=trades_l2", f"method.inner.steps={steps}", "attack.epsilon=1/2")
    assert made.method.inner.step_size == pytest.approx(2 * 0.5 / steps, rel=1e-12)


def test_the_record_is_three_steps_of_half_the_radius_from_anywhere_and_one_cycle_of_cosines():
    made = experiment("record")
    inner, training = made.method.inner, made.training
    assert (inner.loss, inner.steps, inner.start, inner.bn_mode) == ("ce", 3, "uniform", "eval")
    assert inner.step_size == pytest.approx(4 / 255)
    assert (training.batch_size, training.label_smoothing, training.select) == (256, 0.3, "last")
    optimizer = made.optimizer
    assert (optimizer.lr, optimizer.nesterov, optimizer.weight_decay) == (0.2, True, 5e-4)
    rates = [made.schedule.factor(share) for share in (0, 0.15, 0.3, 0.65, 1)]
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0])
    epochs = 1 / (1 - training.ema_decay) / math.ceil(50_000 / 256)
    assert 4 <= epochs <= 5, "the average reaches so many epochs back"
    assert (training.seconds, training.validation_fraction) == (285, 0.0)


def test_the_fastat_average_has_no_warm_up_and_takes_the_statistics_along():
    for name in ("fast_at", "n_fgsm", "pgd_at", "free_at"):
        training = experiment(f"fastat_{name}_resnet18").training
        found = training.ema_decay, training.ema_buffers, training.ema_warmup, training.ema_start
        assert found == (0.9995, "average", False, 0.0)


@pytest.mark.parametrize(
    ("method", "epochs", "drops"),
    [("mart", 90, (74, 89)), ("pat", 90, (30, 60, 80))],  # counted from 0: MART's from 1
)
def test_a_comment_that_names_another_length_names_its_drops(method, epochs, drops):
    comment = option_file("method", method).read_text()
    ((said, milestones),) = re.findall(r"epochs (\d+), milestones (\[.+?\])", comment)
    words = f"recipe.epochs={said}", f"recipe.milestones={milestones.replace(' ', '')}"
    made = composed(f"method={method}", *words)
    assert made.training.epochs == epochs
    rates = [made.schedule.factor(epoch / epochs) for epoch in range(epochs)]
    falls = [epoch for epoch in range(1, epochs) if rates[epoch] < rates[epoch - 1]]
    assert tuple(falls) == drops
