"""MODEL_CARD.md from results.json: numbers, names and what a run says, which stays text."""

from pathlib import Path
from typing import Any

import pytest

from robustrun.run_folder import model_card
from tests.report import run_folders


def measured(**evaluation: Any) -> dict[str, Any]:
    results = run_folders.results("trades", 3, 85, 52)
    results["dataset"] |= {"train_size": 1437}
    results["evaluation"] |= evaluation
    return results


def test_a_card_has_the_numbers_of_the_run_and_lies_beside_its_weights(tmp_path: Path) -> None:
    model_card.write(run_folders.record(measured(), tmp_path))
    assert not (tmp_path / model_card.NAME).exists()  # no weights that it could speak of
    (tmp_path / "model.safetensors").touch()
    model_card.write(run_folders.record(measured(), tmp_path))
    lines = (tmp_path / model_card.NAME).read_text().splitlines()
    assert lines[0] == "# small_cnn trained with trades on cifar10"
    assert "| pgd | linf 0.03137 | 52.00% | 42.3 to 61.5% |" in lines
    assert "| worst case |  | 50.00% | 40.4 to 59.6% |" in lines
    said = "2 epochs on 1,437 images, seed 3; the weights of epoch 2 were kept."
    assert said in lines
    assert "    robustrun method=trades" in lines
    assert "on all 100 test images. Audit: not made" in " ".join(lines)


def test_a_run_without_an_evaluation_gets_no_card(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    model_card.write(run_folders.record(measured() | {"evaluation": None}, tmp_path))
    assert not (tmp_path / model_card.NAME).exists()


@pytest.mark.parametrize("name", ["<script>x</script>", "a | b", "two\nlines"])
def test_what_a_run_says_is_text_of_its_card(name: str) -> None:
    results = measured()
    results["evaluation"]["attacks"][0]["name"] = name
    results["config"]["method"]["name"] = "<b>bold</b>"
    results["run"]["command"] = f"robustrun '{name}'\n\n# A heading"
    text = model_card.text(run_folders.record(results))
    body = [line for line in text.splitlines() if not line.startswith("    ")]
    assert "<script" not in "\n".join(body)
    assert "trained with &lt;b&gt;bold&lt;/b&gt; on" in text
    rows = [line for line in body if line.startswith("| ")]
    assert [row.count("|") for row in rows] == [5] * 5  # head, clean, two attacks, worst case
    assert "    # A heading" in text.splitlines()  # of the command, not of the card


@pytest.mark.parametrize(
    ("status", "said"),
    [("pass", "every check"), ("warn", "the audit warns"), ("fail", "**the audit fails")],
)
def test_the_audit_and_images_without_an_answer_are_told(status: str, said: str) -> None:
    results = measured(audit=[{"check": "c", "status": status, "why": "w"}])
    results["evaluation"]["attacks"][0]["non_finite"] = 4
    text = model_card.text(run_folders.record(results))
    assert f"Audit: {said}" in text
    assert "which count as wrong: 4 (pgd) images." in text
