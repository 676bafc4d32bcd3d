"""Two runs over the same examples: differences, intervals and McNemar's test."""

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import run_folders
from storage.zips import encrypt

from robustrun.errors import DataError
from robustrun.report import compare


@pytest.mark.parametrize(("only_a", "only_b"), [*product(range(6), range(6))])
def test_mcnemar_is_the_share_of_coin_tosses_at_least_as_uneven(only_a: int, only_b: int) -> None:
    tosses = list(product([0, 1], repeat=only_a + only_b))
    uneven = [t for t in tosses if abs(2 * sum(t) - len(t)) >= abs(only_a - only_b)]
    assert compare.mcnemar(only_a, only_b) == pytest.approx(len(uneven) / len(tosses))


def test_mcnemar_is_exact_where_the_chance_is_tiny() -> None:
    assert compare.mcnemar(0, 1000) == math.ldexp(1, -999)
    assert compare.mcnemar(5000, 5000) == 1


def test_intervals_cover_the_true_difference_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    cells = rng.multinomial(100, [0.1, 0.3, 0.2, 0.4], size=2000)  # only A, only B, both, none
    covered = [
        low <= 0.2 <= high for low, high in (compare.interval(a, b, 100) for a, b, *_ in cells)
    ]
    # 2,000 draws of 95% have a standard deviation of 0.5 points: four of them to either side.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_the_difference_is_over_the_same_examples(tmp_path: Path) -> None:
    a = run_folders.run(tmp_path / "a", run_folders.results("standard", 0, 90, 32))
    b = run_folders.run(tmp_path / "b", run_folders.results("trades", 0, 85, 52))
    runs = compare.compare(a, b)
    by_name = {entry.name: entry for entry in runs.differences}
    assert (by_name["clean"].only_a, by_name["clean"].only_b) == (5, 0)
    assert by_name["worst_case"].difference == pytest.approx(0.2)
    assert by_name["worst_case"].p == 2 * 0.5**20
    assert runs.settings == [("method.name", "standard", "trades")]
    assert "B is better in the worst case, by 20.00 points" in compare.verdict(runs)
    assert "A is better" in compare.verdict(compare.compare(b, a))
    assert "Neither" in compare.verdict(compare.compare(a, a))
    assert "of these two networks on this test set, not of the methods" in compare.verdict(runs)


def test_examples_are_matched_by_their_place_in_the_test_set(tmp_path: Path) -> None:
    a = run_folders.run(tmp_path / "a", run_folders.results("standard", 0, 90, 32))
    half = run_folders.results("standard", 1, 90, 32)
    half["evaluation"]["subset"]["fingerprint"] = "half of them"
    b = run_folders.run(tmp_path / "b", half)
    with np.load(a / "predictions.npz") as file:
        arrays = {name: file[name][::-2] for name in file.files}
    np.savez(b / "predictions.npz", **arrays)
    runs = compare.compare(a, b)
    assert runs.examples == 50
    assert all(entry.only_a == entry.only_b == 0 for entry in runs.differences)


def test_subsets_that_each_seed_draws_are_matched_where_their_test_set_is_the_same(
    tmp_path: Path,
) -> None:
    for seed in range(2):
        results = run_folders.results("standard", seed, 90, 32)
        results["evaluation"]["subset"]["fingerprint"] = f"of {seed}"
        results["dataset"] |= {"fingerprint": f"split {seed}", "fingerprints": {"test": "test"}}
        run_folders.run(tmp_path / str(seed), results)
    assert compare.compare(tmp_path / "0", tmp_path / "1").examples == run_folders.EXAMPLES


def test_other_settings_of_an_attack_are_another_measure(tmp_path: Path) -> None:
    a = run_folders.run(tmp_path / "a", run_folders.results("standard", 0, 90, 32))
    wider = run_folders.results("standard", 0, 90, 20)
    wider["evaluation"]["attacks"][0]["epsilon"] = 0.5
    runs = compare.compare(a, run_folders.run(tmp_path / "b", wider))
    cautions = {entry.name: entry.caution for entry in runs.differences}
    assert cautions["clean"] == ""
    assert "other settings" in cautions["pgd"]
    assert "do not say which is better" in compare.verdict(runs)


def other_data(b: Path) -> None:
    content: dict[str, Any] = json.loads((b / "results.json").read_text())
    content["dataset"]["fingerprint"] = content["evaluation"]["subset"]["fingerprint"] = "other"
    (b / "results.json").write_text(json.dumps(content))


def no_predictions(b: Path) -> None:
    (b / "predictions.npz").unlink()


def cut_short(b: Path) -> None:
    content = (b / "predictions.npz").read_bytes()
    (b / "predictions.npz").write_bytes(content[: len(content) // 2])


def encrypted(b: Path) -> None:
    encrypt(b / "predictions.npz")


def pickled(b: Path) -> None:
    run_folders.predictions(b, 9, 5, prediction=np.array([object()] * run_folders.EXAMPLES))


def uneven(b: Path) -> None:
    run_folders.predictions(b, 9, 5, label=np.zeros(3))


def other_labels(b: Path) -> None:
    run_folders.predictions(b, 9, 5, label=np.ones(run_folders.EXAMPLES))


def nothing_in_common(b: Path) -> None:
    run_folders.predictions(b, 9, 5, index=np.arange(run_folders.EXAMPLES) + 1000)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (other_data, "fingerprints"),
        (no_predictions, "no predictions.npz"),
        (cut_short, "cannot be read"),
        (encrypted, "cannot be read.*encrypted"),
        (pickled, "cannot be read"),
        (uneven, "different lengths"),
        (other_labels, "other labels"),
        (nothing_in_common, "in common"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_paired_is_refused(tmp_path: Path, harm: Any, said: str) -> None:
    a = run_folders.run(tmp_path / "a", run_folders.results("standard", 0, 90, 32))
    b = run_folders.run(tmp_path / "b", run_folders.results("standard", 0, 90, 32))
    harm(b)
    with pytest.raises(DataError, match=said):
        compare.compare(a, b)
