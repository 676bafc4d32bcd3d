"""A network that answers with NaN or infinity has no answer: wrong, counted, and never class 0."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustrun.attacks.pgd import PGD
from robustrun.command_line.main import run_command_line
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config
from robustrun.datasets.corruptions import flip_rate
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError
from robustrun.evaluation.audit.audit import audit
from robustrun.evaluation.curve import AccuracyCurve
from robustrun.evaluation.measure import accuracies, evaluate, measure
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.search_networks import SearchNetworks
from robustrun.evaluation.setting import Setting
from robustrun.training.fit import fit
from robustrun.training.settings import TrainingPlan
from robustrun.types import Attack

CPU, SHAPE = torch.device("cpu"), (1, 8, 8)
NAN, INF = float("nan"), float("inf")
ADVERSARIES = [
    "apgd_ce",
    "apgd_dlr",
    "apgd_t",
    "autoattack",
    "cw_l2",
    "fgsm",
    "fmn",
    "mi_fgsm",
    "multi_targeted",
    "pgd",
    "pgd_l2",
    "screen",
    "square",
]


def from_catalogue(name: str, *words: str) -> Attack:
    raw = composition.compose_config([f"attack={name}", "evaluation=none", *words])
    return load_config(raw).attack


class Faulty(nn.Module):
    """Class 0 of four with a wide margin, but `fault` where an image's mean is above `above`; the
    margin falls towards there."""

    def __init__(self, above: float, fault: float = NAN) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([-1.0, 0.2, 0.1, 0.0]))
        self.above, self.fault = above, fault

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(dim=1, keepdim=True)
        logits = torch.tensor([9.0, 0.0, 0.0, 0.0]) + mean * self.scale
        fault = torch.tensor([[0.0, self.fault, 0.0, 0.0]])
        return torch.where(mean > self.above, logits + fault, logits)


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous()


@pytest.mark.parametrize(
    ("logits", "answer"),
    [
        ([0.0, 1.0, 0.0], 1),
        ([NAN, NAN, NAN], NO_ANSWER),
        ([0.0, 1.0, NAN], NO_ANSWER),
        ([0.0, INF, 0.0], NO_ANSWER),
        ([0.0, 1.0, -INF], NO_ANSWER),
        ([3e38, 3e38, 3.1e38], 2),  # finite, although their sum is not
    ],
)
def test_an_answer_needs_finite_logits(logits: list[float], answer: int) -> None:
    assert predicted(torch.tensor([logits, [1.0, 0.0, 0.0]])).tolist() == [answer, 0]


@pytest.mark.parametrize("fault", [NAN, INF, -INF])
def test_images_without_an_answer_are_wrong_and_counted_and_said_first(
    fault: float, caplog: pytest.LogCaptureFixture
) -> None:
    batch = [(grey(0.2, 0.3, 0.7, 0.8, 0.9), torch.tensor([0, 1, 0, 0, 0]))]
    attacks = {"noise": from_catalogue("gaussian_noise", "attack.epsilon=0.001")}
    with caplog.at_level(logging.INFO):
        found = evaluate(Faulty(0.5, fault), batch, attacks)
    assert found.predictions.tolist() == [0, 0, NO_ANSWER, NO_ANSWER, NO_ANSWER]
    assert found.clean_right.tolist() == [True, False, False, False, False]
    assert found.no_answer.sum() == 3
    assert found.attacks["noise"].no_answer.tolist() == [False, False, True, True, True]
    assert found.attacks["noise"].robust.sum() == 1
    assert "no answer for 3 of 5 images" in caplog.messages[0]


@pytest.mark.parametrize("name", ADVERSARIES)
def test_an_image_whose_logits_an_attack_makes_nan_is_fooled_of_its_own_kind(name: str) -> None:
    radius = 0.1 * 8 if name in ("pgd_l2", "cw_l2") else 0.1  # of 64 pixels, the same grey
    attack = from_catalogue(name, f"attack.epsilon={radius}")
    batch = [(grey(0.2, 0.47, 0.48, 0.8), torch.tensor([0, 0, 0, 0]))]
    found = evaluate(Faulty(0.5), batch, {"attack": attack}).attacks["attack"]
    assert found.robust.tolist() == [True, False, False, False], "0.2 + 0.1 is below 0.5"
    assert found.no_answer.tolist() == [False, True, True, True]


def test_curves_and_smallest_distances_know_no_answer_too() -> None:
    images = TensorImages(grey(0.2, 0.47), torch.zeros(2, dtype=torch.long))
    for name in ("pgd", "fmn"):
        attack = from_catalogue(name, "attack.epsilon=0.1")
        entries = [*accuracies({name: attack}), AccuracyCurve(name, attack, (0.1, 4.0))]
        found = measure(Faulty(0.5), images, 4, entries, Setting(0, 2, CPU))
        # 0.47 falls at 0.03, 0.2 at 0.3
        assert [int(right.sum()) for _, right in found.curve] == [2, 2, 1, 0]


def test_a_search_in_bfloat16_judges_what_has_no_answer_alike() -> None:
    images = TensorImages(grey(0.2, 0.47, 0.8), torch.zeros(3, dtype=torch.long))
    attacks = {"pgd": from_catalogue("pgd", "attack.epsilon=0.1")}
    setting = Setting(0, 3, CPU, "bfloat16")
    found = measure(Faulty(0.5), images, 4, accuracies(attacks), setting)
    assert found.attacks["pgd"].robust.tolist() == [True, False, False]
    assert found.attacks["pgd"].no_answer.tolist() == [False, True, True]


def test_a_buffer_that_is_nan_is_not_blamed_on_the_attack() -> None:
    model = Faulty(0.5)
    model.register_buffer("unused", torch.tensor([NAN, 1.0]))
    attacks = {"pgd": from_catalogue("pgd", "attack.epsilon=0.1")}
    found = evaluate(model, [(grey(0.2), torch.tensor([0]))], attacks)
    assert found.attacks["pgd"].robust.tolist() == [True]


def test_a_gradient_that_is_not_finite_is_the_networks_and_not_the_attacks() -> None:
    class Root(nn.Module):  # finite at 0, where its slope is infinite times zero
        def forward(self, x: Tensor) -> Tensor:
            root = (0 * x.flatten(1)).sqrt().sum(dim=1, keepdim=True)
            return torch.cat([1 + root, root], dim=1)

    pgd, batch = PGD("l2", 0.1, 3, 0.05, 1, False, "ce"), (grey(0.2, 0.3), torch.tensor([0, 0]))
    with pytest.raises(DataError, match=r"No usable gradient .*NaN or infinite.* square"):
        evaluate(Root(), batch, {"pgd": pgd})
    entries = accuracies({"pgd": pgd})
    with pytest.raises(DataError, match=r"NaN or infinite for 2 of 2 images.*attack=square"):
        measure(Root(), TensorImages(*batch), 2, entries, Setting(0, 2, CPU))


def test_a_frame_without_an_answer_is_the_same_as_no_other() -> None:
    assert flip_rate(np.array([NO_ANSWER] * 4), 4, "tilt") == 1.0
    assert flip_rate(np.array([1, 1, NO_ANSWER, 1]), 4, "tilt") == pytest.approx(2 / 3)


class BrokenInEvaluation(nn.Module):
    """Trains as it should, and answers with NaN in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits if self.training else logits * NAN


def test_validation_of_a_network_that_breaks_in_eval_mode_is_zero() -> None:
    words = ["training.epochs=1", "method=standard", "evaluation=none", "device.threads=1"]
    cfg = load_config(composition.compose_config(words))
    data = cfg.dataset.load()
    history = fit(
        BrokenInEvaluation(),
        cfg.method,
        data.train.subset(torch.arange(200)),
        data.test.subset(torch.arange(50)),
        torch.full((10,), 20),
        TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, cfg.device.prepare(1.0), 0),
        lambda history: None,
    ).history
    assert history[0].train_accuracy == 0
    assert history[0].validation_clean_accuracy == 0
    assert history[0].validation_robust_accuracy == 0


def audited(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, str]:
    cfg = load_config(composition.compose_config(["evaluation=audit", "attack.epsilon=0.1"]))
    assert cfg.evaluation.audit is not None
    subject = Subject(SearchNetworks(model, model), TensorImages(x, y), 4)
    plan, setting = cfg.evaluation.audit, Setting(0, 8, CPU)
    checks = audit(subject, cfg.attack, plan, setting, surrogate=Faulty(2.0))
    return {check.check: check.status for check in checks}


def test_the_audit_names_what_has_no_answer_and_blames_no_randomness() -> None:
    x, y = grey(*np.linspace(0.1, 0.9, 16).tolist()), torch.zeros(16, dtype=torch.long)
    for above in (0.0, 0.5):
        found = audited(Faulty(above), x, y)
        assert found["finite_logits"] == "fail"
        assert (found["randomised"], found["batch_dependence"]) == ("pass", "pass")
    assert audited(Faulty(2.0), x, y)["finite_logits"] == "pass"


def test_what_an_attack_makes_nan_fails_the_audit_although_all_clean_logits_are_finite() -> None:
    x, y = grey(0.1, 0.2, 0.46), torch.zeros(3, dtype=torch.long)
    assert audited(Faulty(0.5), x, y)["finite_logits"] == "fail"


@pytest.mark.parametrize("share", ["all", "some"])
def test_the_command_line_counts_them_in_every_artefact(
    share: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Breaks(nn.Module):
        def __init__(self, above: float) -> None:
            super().__init__()
            self.linear, self.above = nn.Linear(64, 10), above

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            bright = x.mean(dim=1, keepdim=True) > self.above
            return torch.where(bright, torch.full_like(x[:, :10], float("nan")), self.linear(x))

    monkeypatch.chdir(tmp_path)
    with pytest.warns(FutureWarning, match="deprecated"):
        torch.jit.script(Breaks(-1.0 if share == "all" else 0.3)).save("broken.pt")
    words = ["evaluation=none", "evaluation.examples=60", "device.threads=1", "attack.steps=3"]
    assert run_command_line(["evaluate", "broken.pt", *words]) == 0
    (folder,) = tmp_path.glob("outputs/*/*")
    found = json.loads((folder / "results.json").read_text())["evaluation"]
    predictions = np.load(folder / "predictions.npz")["prediction"]
    count = found["clean"]["non_finite"]
    assert count == (predictions == NO_ANSWER).sum()
    assert (count == 60) if share == "all" else (0 < count < 60)
    assert found["attacks"][0]["non_finite"] >= count
    said, log = capfd.readouterr(), " ".join((folder / "run.log").read_text().split())
    assert f"({count} without an answer)" in said.out
    assert "logits that are NaN or infinite, which count as wrong" in said.out
    assert "no answer for" in log.partition("accuracy")[0], "said before anything else"
    if share == "all":
        assert found["clean"]["correct"] == found["worst_case"]["correct"] == 0
