"""results.json as types: read and written without loss, whichever version wrote it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robustrun.errors import DataError
from robustrun.run_folder.schema import RunRecord, RunSection, read_record, worst_status
from tests.report import run_folders

OLD = Path(__file__).parents[1] / "old_runs"


def contained(part: Any, whole: Any) -> bool:
    """Whether `whole` says all that `part` says."""
    if isinstance(part, dict):
        return all(key in whole and contained(value, whole[key]) for key, value in part.items())
    if isinstance(part, list) and part and isinstance(part[0], dict):
        return len(part) == len(whole) and all(map(contained, part, whole))
    return bool(part == whole)


@pytest.mark.parametrize("name", ["completed", "interrupted"])
def test_a_run_of_an_earlier_version_is_read_and_written_without_loss(name: str) -> None:
    record = read_record(OLD / name)
    written = json.loads(json.dumps(record.to_json()))
    assert contained(json.loads((OLD / name / "results.json").read_text()), written)
    again = RunRecord.from_json(json.dumps(written).encode(), OLD / name)
    assert again == record


def test_sections_keep_the_order_of_the_contract() -> None:
    sections = list(run_folders.record(run_folders.results("trades", 0, 90, 50)).to_json())
    assert sections[:8] == [
        *("schema_version", "run", "config", "dataset", "model"),
        *("training", "evaluation", "environment"),
    ]
    assert "folder" not in sections


def test_numbers_have_their_types_and_what_a_run_does_not_say_its_default() -> None:
    record = run_folders.record(run_folders.results("trades", 0, 90, 50))
    evaluation = record.evaluation
    assert evaluation is not None
    assert evaluation.clean.accuracy == 0.9
    assert evaluation.attacks[0].epsilon == 8 / 255
    assert evaluation.attacks[0].kind == "pgd"  # this run did not note it: the entry's name
    assert (evaluation.attacks[1].stages, evaluation.corruptions) == ((), None)
    assert list(evaluation.scores) == ["clean", "pgd", "autoattack", "worst_case"]
    assert (evaluation.verdict, evaluation.unanswered) == ("", {})
    assert (record.run.lost, record.evaluated) == ({}, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 1.2}, r"`float` <= 1\.0"),
        ({"accuracy": None}, r"Expected `float`, got `null`"),
        ({"ci95": [0.1]}, "length 2"),
        ({"correct": "many"}, r"Expected `int`"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_place(change: dict[str, Any], said: str) -> None:
    results = run_folders.results("trades", 0, 90, 50)
    results["evaluation"]["attacks"][1] |= change
    with pytest.raises(DataError, match=said) as raised:
        run_folders.record(results)
    assert "$.evaluation.attacks[1]" in str(raised.value)


def test_a_newer_version_is_refused_and_keys_that_it_added_to_this_one_are_passed_over() -> None:
    results = run_folders.results("trades", 0, 90, 50)
    with pytest.raises(DataError, match="schema_version 2 is newer"):
        run_folders.record(results | {"schema_version": 2})
    results["evaluation"]["of_a_later_version"] = {"radius": 0.5}
    assert run_folders.record(results).evaluation is not None


def test_numbers_of_numpy_in_an_attacks_settings_are_written_as_numbers() -> None:
    run = RunSection(status="completed")
    record = RunRecord(run=run, config={"attack": {"steps": np.int64(3), "size": np.float32(0.5)}})
    assert record.to_json()["config"]["attack"] == {"steps": 3, "size": 0.5}


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [((), ""), (("pass",), "pass"), (("pass", "warn"), "warn"), (("warn", "fail", "pass"), "fail")],
)
def test_the_worst_status_speaks_for_all(statuses: tuple[str, ...], worst: str) -> None:
    assert worst_status(statuses) == worst
