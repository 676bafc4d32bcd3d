"""The Python side: parts by their names and keys, in whatever program they are made."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from torch import nn

import robustrun
from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.errors import ConfigError
from robustrun.methods.inner import Inner

MAKE: dict[str, Any] = {
    "attack": robustrun.attack,
    "method": robustrun.method,
    "model": robustrun.model,
    "dataset": robustrun.dataset,
}
OPTIONS = [
    *(("attack", option) for option in ("autoattack", "gaussian_noise", "pgd_l2", "recolor")),
    *(("method", option) for option in ("pat", "standard", "trades_awp")),
    *(("model", option) for option in ("small_cnn", "timm", "wide_resnet28_10")),
    *(("dataset", option) for option in ("cifar10_lt", "digits", "image_folder")),
]


class Linear(nn.Module):
    """Ten classes from the first ten pixels of a digit."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 5 * x.flatten(1)[:, :10]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_an_option_is_the_object_that_the_command_line_makes(group: str, option: str) -> None:
    whole = load_config(compose_config([f"{group}={option}"]))
    assert MAKE[group](option) == getattr(whole, group)


@pytest.mark.parametrize(
    ("group", "option", "keys", "words"),
    [
        ("attack", "pgd", {"epsilon": 8 / 255}, ["epsilon=8/255"]),
        ("attack", "pgd", {"epsilon": "8/255"}, ["epsilon=8/255"]),
        ("attack", "pgd", {"norm": "l2"}, ["norm=l2"]),
        ("attack", "autoattack", {"epsilon": np.float32(0.5)}, ["epsilon=0.5"]),
        ("attack", "recolor", {"lattice": (4, 4, np.int64(4))}, ["lattice=[4,4,4]"]),
        ("attack", "lpa", {"lpips": {"network": "self"}}, ["lpips.network=self"]),
        ("method", "trades", {"inner": {"steps": 3}}, ["inner.steps=3"]),
        ("method", "trades", {"inner.steps": 3, "epsilon": 0.2}, ["inner.steps=3", "epsilon=0.2"]),
        ("model", "wide_resnet", {"depth": 10}, ["depth=10"]),
        ("model", "vgg_features", {"weights": Path("vgg.pth")}, ["weights=vgg.pth"]),
        ("dataset", "cifar10", {"root": Path("images")}, ["root=images"]),
    ],
)
def test_a_key_is_what_it_is_on_the_command_line(
    group: str, option: str, keys: dict[str, Any], words: list[str]
) -> None:
    given = [f"{group}.{word}" for word in words]
    whole = load_config(compose_config([f"{group}={option}", *given]))
    assert MAKE[group](option, **keys) == getattr(whole, group)


def test_an_object_is_taken_as_the_whole_of_its_block() -> None:
    inner = Inner("ce", steps=2, step_size=0.1, start="uniform", start_std=0.0, bn_mode="train")
    made: Any = robustrun.method("pgd_at", norm="linf", epsilon=0.2, inner=inner)
    assert made.inner == inner


def test_the_radius_is_that_of_the_data_set_that_is_named() -> None:
    assert robustrun.attack("pgd", dataset="cifar10").epsilon == 8 / 255
    assert robustrun.attack("pgd", dataset="cifar10", norm="l2").epsilon == 128 / 255
    model: Any = robustrun.model("resnet18", dataset="cifar10")
    assert len(model.mean) == 3


@pytest.mark.parametrize(
    ("group", "option", "keys", "said"),
    [
        ("attack", "pgd", {}, "attack=pgd has epsilon=0.1 from the default"),
        ("attack", "pgd", {"norm": "l2"}, "attack=pgd has epsilon=0.5 from the default"),
        ("attack", "gaussian_noise", {}, "attack=gaussian_noise has epsilon=0.1"),
        ("method", "trades", {"norm": "linf"}, "method=trades has epsilon=0.1 from the default"),
        ("model", "resnet18", {}, "model=resnet18 has mean=[0.305], std=[0.376] from"),
        ("attack", "pgd", {"epsilon": 0.1}, None),
        ("attack", "pgd", {"dataset": "digits"}, None),
        ("attack", "lpa", {}, None),  # in its own ball of LPIPS distance
        ("method", "standard", {}, None),
        ("dataset", "digits", {}, None),
    ],
)
def test_what_comes_from_a_data_set_that_nobody_named_is_told(
    group: str,
    option: str,
    keys: dict[str, Any],
    said: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    MAKE[group](option, **keys)
    assert (said in caplog.text) if said else (caplog.text == "")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: robustrun.attack("pdg"), r"attack=pdg: there is no such attack.*'pgd'"),
        (lambda: robustrun.attack("pgd", dataset="cifar"), r"dataset=cifar: .*'cifar10'"),
        (lambda: robustrun.attack("pgd", stepz=3), r"attack\.stepz is not a key.*'steps'"),
        (lambda: robustrun.attack("pgd", epsilon="x"), r"attack\.epsilon is 'x', but must be a n"),
        (lambda: robustrun.attack("pgd", epsilon=-1), r"attack\.epsilon is -1"),
        (lambda: robustrun.attack("pgd", norm="l3"), r"attack\.norm is 'l3'"),
        (lambda: robustrun.attack("pgd", steps={"a": 1}), r"attack\.steps is \{'a': 1\}"),
        (lambda: robustrun.method("trades", inner={"step": 1}), r"method\.inner\.step is not a k"),
        (lambda: robustrun.model("resnet18", mean="a"), r"model\.mean is 'a'"),
        (lambda: robustrun.compose(["method=trads"]), r"method=trads: .*'trades'"),
        (lambda: robustrun.compose(["seed=x"]), r"seed is 'x'"),
        (lambda: robustrun.compose(["attack.stepz=1"]), r"'attack\.stepz' is not a key"),
        (lambda: robustrun.load_run("nosuch"), r"nosuch is no finished run"),
    ],
)
def test_what_does_not_fit_is_a_value_error_that_says_what_and_where(
    make: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: robustrun.attack(3), "The attack is 3, but must be the name of an option"),
        (lambda: robustrun.compose("method=trades"), r"compose\(\['method=trades'\]\)"),
        (lambda: robustrun.compose([3]), "An override is 3"),
        (lambda: robustrun.run({}), "The configuration is {}, but must be what compose"),
        (lambda: robustrun.evaluate(Linear(), "digits", 3), "The attacks are 3, but must be"),
        (lambda: robustrun.evaluate(Linear(), "digits", [3]), r"The attacks are \[3\]"),
        (lambda: robustrun.evaluate(Linear(), 3, "fgsm"), "images given to evaluate are a int"),
    ],
)
def test_what_is_no_word_or_no_object_is_a_type_error(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'atack'"):
        robustrun.atack  # type: ignore[attr-defined]  # noqa: B018
    assert set(robustrun.__all__) <= set(dir(robustrun))
    for name in robustrun.__all__:
        assert getattr(robustrun, name) is not None


# --- measuring ------------------------------------------------------------------------------


def test_attacks_are_given_in_many_ways_and_measured_alike() -> None:
    digits = robustrun.dataset("digits")
    x, y = next(digits.load().test.batches(50))
    fgsm = robustrun.attack("fgsm", epsilon=0.1)
    ways = [fgsm, {"fgsm": fgsm}, "fgsm", ["fgsm"], {"fgsm": "fgsm"}]
    found = [robustrun.evaluate(Linear(), (x, y), way) for way in ways]
    for measured in found:
        assert list(measured.attacks) == ["fgsm"]
        assert (measured.worst_case == found[0].worst_case).all()


def test_a_data_set_gives_its_test_images_and_its_radius(caplog: pytest.LogCaptureFixture) -> None:
    digits = robustrun.dataset("digits")
    for data in (digits, "digits"):
        measured = robustrun.evaluate(Linear(), data, "fgsm")
        assert len(measured.labels) == 360
        assert measured.attacks["fgsm"].epsilon == 0.1
    assert "from the default" not in caplog.text


def test_an_evaluation_prints_as_a_table() -> None:
    # The right class is 0.5 ahead: noise of the sign moves the difference by 2 * epsilon.
    x = torch.full((4, 1, 4, 4), 0.25)
    x[:, 0, 0, 1] = 0.75
    y = torch.tensor([1, 1, 1, 0])
    attacks = {r: robustrun.attack("fgsm", epsilon=e) for r, e in (("in", 0.2), ("out", 0.3))}
    assert str(robustrun.evaluate(Linear(), (x, y), attacks)).splitlines() == [
        "measured with    radius  accuracy  95% interval  correct",
        "--------------------------------------------------------",
        "clean                      75.00%    30.1-95.4%      3/4",
        "in             linf 0.2    75.00%    30.1-95.4%      3/4",
        "out            linf 0.3     0.00%     0.0-49.0%      0/4",
        "worst case                  0.00%     0.0-49.0%      0/4",
    ]


# --- running --------------------------------------------------------------------------------

SHORT = [
    "method=standard",
    "training.epochs=1",
    "evaluation=none",
    "attack=fgsm",
    "device.threads=1",
    "evaluation.examples=40",
    "keep.figures=false",
]


def test_a_run_has_a_new_folder_and_is_loaded_with_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    level = logging.getLogger("robustrun").level
    config = robustrun.compose(SHORT)
    runs = [robustrun.run(config), robustrun.run(config)]
    assert len({run.folder for run in runs}) == 2
    for run in runs:
        assert run.folder.match("outputs/????-??-??/??-??-??-??????_standard_digits")
        assert run.results["run"]["status"] == "completed"
        assert "epoch 1/1" in (run.folder / "run.log").read_text()
    record, network = robustrun.load_run(runs[0].folder)
    assert record.results == runs[0].results
    measured = robustrun.evaluate(network, "digits", {})
    whole = record.results["evaluation"]["clean"]
    assert whole["total"] == 40
    assert abs(measured.clean_right.mean() - whole["accuracy"]) < 0.3  # of 360 and of 40 images
    assert logging.getLogger("robustrun").level == level


def test_a_folder_that_is_given_holds_the_run_and_is_not_run_twice(tmp_path: Path) -> None:
    config = robustrun.compose(SHORT)
    first = robustrun.run(config, tmp_path / "deep" / "run")
    assert first.folder == tmp_path / "deep" / "run"
    assert robustrun.run(config, str(first.folder)).results == first.results
    with pytest.raises(ConfigError, match="belongs to a run with another configuration"):
        robustrun.run(robustrun.compose([*SHORT, "seed=1"]), first.folder)


# --- in other programs ------------------------------------------------------------------------


def test_hydra_and_the_resolvers_are_as_they_were() -> None:
    for name in ("quotient", "pick"):  # of a command line that ran in this process before
        OmegaConf.clear_resolver(name)
    GlobalHydra.instance().clear()
    OmegaConf.register_new_resolver("times", lambda a, b: f"{a} times {b}", replace=True)
    try:
        assert robustrun.attack("pgd", epsilon=0.1).step_size == 0.025  # a quarter, by our `times`
        with pytest.raises(ValueError, match="is not a key"):
            robustrun.compose(["attack.stepz=1"])
        assert OmegaConf.create({"product": "${times:2,3}"}).product == "2 times 3"
        assert not OmegaConf.has_resolver("quotient")
        assert not GlobalHydra.instance().is_initialized()
    finally:
        OmegaConf.clear_resolver("times")


APPLICATION = """
import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import robustrun

OmegaConf.register_new_resolver("times", lambda a, b: f"{a} times {b}")


@hydra.main(version_base="1.3", config_path=".", config_name="theirs")
def main(config):
    loader, here = GlobalHydra.instance().hydra, HydraConfig.get().runtime.output_dir
    attack = robustrun.attack(config.attack, norm="linf", epsilon="8/255")
    assert abs(attack.step_size - 2 / 255) < 1e-9, attack
    assert robustrun.compose(["seed=3"]).seed == 3
    try:
        robustrun.attack("nosuch")
    except ValueError:
        pass
    assert GlobalHydra.instance().hydra is loader
    assert HydraConfig.get().runtime.output_dir == here
    assert HydraConfig.get().job.name == "app"
    assert config.product == "2 times 3"
    assert hydra.compose("theirs", ["attack=fgsm"]).attack == "fgsm"
    print("done")


main()
"""


def test_a_hydra_application_of_another_configuration_is_not_disturbed(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "theirs.yaml").write_text("attack: pgd\nproduct: ${times:2,3}\n")
    command = [sys.executable, "-W", "error", "app.py", "attack=pgd", "hydra.job.chdir=false"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "done\n"), found.stderr


def test_importing_the_package_imports_no_torch() -> None:
    code = "import robustrun, sys; print({'torch', 'hydra', 'numpy'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "set()\n"
