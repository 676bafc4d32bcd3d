"""Certified radii, on networks whose smoothed classifier is known."""

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluation.grey_images import CPU, grey, linear
from robustrun.command_line.main import run_command_line
from robustrun.compute.predictions import NO_ANSWER
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import ConfigError
from robustrun.evaluation.certificate import CertifiedRadii, certified
from robustrun.evaluation.clean import CleanAccuracy
from robustrun.evaluation.measure import measure
from robustrun.evaluation.outcome import Certificates
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import Certificate
from robustrun.storage.journal import Journal

NORMAL = NormalDist()
PLAN = Certificate(0.3, 1, 100, 4000, 0.001, (0.1, 0.2))
LEVELS = (0.2, 0.35, 0.45, 0.5, 0.6, 0.9)  # of images, whose boundary is at 0.5


def certificates(
    network: nn.Module,
    plan: Certificate = PLAN,
    batch_size: int = 1000,
    journal: Path | None = None,
) -> Certificates:
    images = TensorImages(grey(*LEVELS), torch.tensor([0, 0, 0, 1, 1, 0]))
    kept = Journal() if journal is None else Journal(journal, "this")
    setting = Setting(5, batch_size, CPU, journal=kept)
    entries = [CleanAccuracy(), CertifiedRadii(plan)]
    found = measure(network, images, 2, entries, setting).certificates
    assert found is not None
    return found


def test_a_linear_network_is_certified_almost_up_to_its_boundary_and_never_beyond() -> None:
    # Smoothed, it is the same linear classifier: each image's distance is the largest true radius.
    found = certificates(linear())
    distances = [2 * abs(level - 0.5) for level in LEVELS]
    assert found.places.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.answers.tolist() == [0, 0, 0, NO_ANSWER, 1, 1]
    assert found.radii[3] == 0.0, "on the boundary half of the noise votes for either class"
    for radius, distance in zip(found.radii, distances, strict=True):
        share = NORMAL.cdf(distance / PLAN.sigma)
        # A level of 0.001 is 3.1 deviations below what was counted, which lies within 4 itself.
        least = share - (3.1 + 4) * (share * (1 - share) / PLAN.samples) ** 0.5 - 0.001
        assert radius <= distance
        assert radius >= PLAN.sigma * NORMAL.inv_cdf(max(least, 0.5))
    assert found.right(np.array([0, 0, 0, 1, 1, 0])).tolist() == [
        True,
        True,
        True,
        False,
        True,
        False,
    ]


def test_where_all_copies_agree_the_radius_is_that_of_the_paper() -> None:
    plan = replace(PLAN, sigma=1.0, samples=100_000)
    assert certified(7, 100_000, plan) == (7, pytest.approx(3.8115, abs=1e-3))
    share = 0.001 ** (1 / 4000)  # all of 4,000 right is as unlikely as alpha then
    assert certified(1, 4000, PLAN)[1] == pytest.approx(0.3 * NORMAL.inv_cdf(share), abs=1e-6)
    radii = [certified(0, votes, PLAN)[1] for votes in range(1900, 4001, 100)]
    assert radii == sorted(radii)


@pytest.mark.parametrize(
    ("votes", "answer"),
    # The least votes of 100 of which Clopper and Pearson's lower end, at 0.001, is above a half:
    # P(X >= 66) = 0.00090 and P(X >= 65) = 0.00176 for X of 100 fair coins.
    [(65, NO_ANSWER), (66, 3), (0, NO_ANSWER)],
)
def test_it_abstains_unless_the_votes_show_a_majority(votes: int, answer: int) -> None:
    found, radius = certified(3, votes, replace(PLAN, samples=100))
    assert found == answer
    assert (radius > 0) == (answer == 3)


def test_radii_do_not_depend_on_the_batch_size() -> None:
    radii = [certificates(linear(), batch_size=size).radii.tolist() for size in (7, 499, 5000)]
    assert radii[0] == radii[1] == radii[2]


def test_copies_without_an_answer_vote_for_no_class() -> None:
    class Broken(nn.Module):
        """Class 0, or no answer where the first pixel is above 0.6."""

        def forward(self, x: Tensor) -> Tensor:
            lost = torch.where(x[:, 0, 0, 0] > 0.6, torch.nan, 0.0)
            return torch.stack([1 + lost, lost], dim=1)

    found = certificates(Broken())
    share = NORMAL.cdf((0.6 - 0.45) / PLAN.sigma)  # of copies of the third image with an answer
    expected = PLAN.sigma * NORMAL.inv_cdf(share)
    assert found.answers[:5].tolist() == [0, 0, 0, 0, NO_ANSWER]  # the fifth: half has none
    assert expected - 0.05 < found.radii[2] < expected


def test_images_that_the_journal_has_are_not_voted_on_again(tmp_path: Path) -> None:
    class Silent(nn.Module):
        """No answer for any image."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 2), torch.nan)

    first = certificates(linear(), journal=tmp_path / "journal")
    again = certificates(Silent(), journal=tmp_path / "journal")
    assert again.radii.tolist() == first.radii.tolist()
    assert again.answers.tolist() == first.answers.tolist()
    notes = Journal(tmp_path / "journal", "this").findings.values()
    assert len(notes) == len(LEVELS)
    assert again.seconds >= sum(note["seconds"] for note in notes) > 0


def test_each_image_is_certified_alike_whichever_others_are() -> None:
    every, third = certificates(linear()), certificates(linear(), replace(PLAN, every=3))
    assert third.places.tolist() == [0, 3]
    assert third.radii.tolist() == every.radii[[0, 3]].tolist()


def test_a_radius_that_no_vote_can_reach_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        certificates(linear(), replace(PLAN, samples=1000))
        assert "no radius above" not in caplog.text
        certificates(linear(), replace(PLAN, samples=10))
    reach = f"{0.3 * NORMAL.inv_cdf(0.001 ** (1 / 10)):.4g}"  # of ten copies that all agree
    assert f"with noise of 0.3 and 10 samples no radius above {reach} can be cert" in caplog.text


def test_other_noise_than_the_trainings_is_told_where_the_training_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["evaluation.certificate.samples=10", "evaluation.certificate.radii=[]"]
    certify = ["evaluation=certificate", "device.threads=1", *short]

    def said(*words: str) -> bool:
        assert run_command_line([*words, *certify]) == 0
        text = "evaluation.certificate.sigma is 0.25, but the training has noise of 0.5"
        return text in capsys.readouterr().err

    train = ["method=gaussian", "method.sigma=0.5", "training.epochs=1", "keep.figures=false"]
    assert said(*train, "evaluation.examples=20", "hydra.run.dir=run")
    assert said("evaluate", "run")
    assert not said("evaluate", "run", "evaluation.certificate.sigma=1/2")
    assert not said("evaluate", "run/model.safetensors", "evaluation.examples=20")


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        *(("sigma", 0.0), ("every", 0), ("samples", 0), ("selection_samples", 0)),
        *(("alpha", 0.0), ("alpha", 0.5), ("radii", (0.1, 0.0))),
    ],
)
def test_a_setting_out_of_its_range_is_refused_by_name(key: str, wrong: object) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} is .* but must be "):
        replace(PLAN, **{key: wrong})  # type: ignore[arg-type]


def test_a_run_leaves_its_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["method=gaussian", "evaluation=certificate", "training.epochs=6", "device.threads=1"]
    words += ["evaluation.certificate.samples=500", "evaluation.certificate.every=10"]
    words += ["evaluation.examples=100", "hydra.run.dir=run"]
    assert run_command_line([*words, "evaluation.certificate.radii=[0.1]"]) == 0
    section = json.loads(Path("run/results.json").read_text())["evaluation"]["certificate"]
    with Path("run/certificates.csv").open() as file:
        lines = list(csv.DictReader(file))
    index = np.load("run/predictions.npz")["index"].tolist()
    assert [int(line["index"]) for line in lines] == index[::10]
    radii = [float(line["radius"]) * (line["answer"] == line["label"]) for line in lines]
    right = [line["answer"] == line["label"] for line in lines]
    assert [point["epsilon"] for point in section["curve"]] == [0.0, 0.1]
    assert [point["correct"] for point in section["curve"]] == [
        sum(right),
        sum(radius >= 0.1 for radius in radii),
    ]
    assert section["curve"][0]["total"] == len(lines) == 10
    assert section["average_radius"] == pytest.approx(sum(radii) / 10)
    assert section["abstained"] == sum(line["answer"] == "-1" for line in lines)
    assert 0 < section["average_radius"] < 0.25 * NORMAL.inv_cdf(0.001 ** (1 / 500))
    assert "certified in l2 (the network smoothed by noise of 0.25)" in capsys.readouterr().out
