"""How measurements are made: their randomness, and what is known already."""

from pathlib import Path

import pytest
import torch

from evaluation.grey_images import CPU, grey, linear
from robustrun.attacks.fgsm import FGSM
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.setting import Setting
from robustrun.storage.journal import Journal


def drawn(setting: Setting, name: str = "pgd", batch: int = 0) -> list[float]:
    return torch.rand(4, generator=setting.generator(name, batch)).tolist()


def test_each_batch_of_each_attack_draws_its_own_numbers_whatever_ran_before() -> None:
    setting = Setting(0, 8, CPU)
    first = drawn(setting)
    others = [drawn(Setting(1, 8, CPU)), drawn(setting, "fab"), drawn(setting, batch=1)]
    assert all(first != other for other in others)
    torch.rand(3)
    assert drawn(Setting(0, 99, CPU)) == first


@pytest.mark.parametrize(
    ("seed", "name", "batch", "hexadecimal"),
    [(0, "pgd", 0, "951ccb1fbe37ac"), (7, "fab", 3, "2798e48a008b7b")],
)
def test_a_batch_draws_the_numbers_that_it_drew_in_every_version(
    seed: int, name: str, batch: int, hexadecimal: str
) -> None:
    """So that results can be repeated: `printf 0/pgd/0 | sha256sum` begins so."""
    generator = Setting(seed, 8, CPU).generator(name, batch)
    assert generator.initial_seed() == int(hexadecimal, 16)


def test_one_setting_serves_several_networks() -> None:
    """What was found for one is not recalled for the other."""
    images = TensorImages(grey(0.3, 0.6), torch.tensor([0, 1]))
    setting, entries = Setting(0, 2, CPU), accuracies({"fgsm": FGSM("linf", 0.15)})
    robust = [
        measure(linear(at), images, 2, entries, setting).attacks["fgsm"].robust.tolist()
        for at in (0.5, 0.44)
    ]
    assert robust == [[True, False], [False, True]]


def test_a_journal_of_a_file_keeps_what_it_is_told_and_one_of_none_does_not(
    tmp_path: Path,
) -> None:
    kept, lost = Journal(tmp_path / "journal", "this"), Journal()
    for journal in (kept, lost):
        journal.note("a", 1)
    assert (kept.recall("a"), lost.recall("a")) == (1, None)
    assert Journal(tmp_path / "journal", "this").recall("a") == 1
