"""MODEL_CARD.md from results.json: numbers, names and what a run says, which stays text."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

import robustrun
from robustrun.command_line.main import run_command_line
from robustrun.configuration import plugins
from robustrun.run_folder import artefacts, model_card
from tests.report import run_folders
from tests.short_run import SHORT


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
    assert lines[lines.index("---", 1) + 1] == ""
    assert lines[lines.index("---", 1) + 2] == "# small_cnn trained with trades on cifar10"
    assert "| pgd | linf 8/255 | 52.00% | 42.3 to 61.5% |" in lines
    assert "| worst case |  | 50.00% | 40.4 to 59.6% |" in lines
    said = "2 epochs on 1,437 images, seed 3; the weights of epoch 2 were kept."
    assert said in lines
    assert "    robustrun method=trades" in lines
    assert "on all 100 test images. Audit: not made" in " ".join(lines)


def test_a_run_without_an_evaluation_gets_no_card(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    model_card.write(run_folders.record(measured() | {"evaluation": None}, tmp_path))
    assert not (tmp_path / model_card.NAME).exists()


def test_code_that_a_network_needs_is_named_in_the_lines_that_load_it_from_the_hub() -> None:
    results = measured()
    results["config"] |= {"plugins": ["mine"]}
    results["config"]["model"] = {"name": "file", "network": "my_net.py:Net"}
    text = model_card.text(run_folders.record(results), "hf://me/net")
    assert 'robustrun.load_run("hf://me/net", plugins=["mine", "my_net"])' in text
    assert "robustrun evaluate hf://me/net plugins=[mine,my_net]\n" in text
    assert "code that is not in this repository: mine, my_net." in text
    assert 'load_run(".")' in model_card.text(run_folders.record(results))  # the folder has it


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


# --- the lines that load the network, as they stand in a card ------------------------------------


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", card, re.DOTALL)


def test_the_lines_of_a_real_card_run_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = robustrun.run(robustrun.compose([*SHORT, "model=simple_cnn"]), tmp_path / "run")
    monkeypatch.chdir(record.folder)
    card = Path(model_card.NAME).read_text()
    whole, alone = blocks(card, "python")
    names: dict[str, Any] = {}
    exec(whole, names)
    assert names["run"].evaluation == record.evaluation
    assert names["logits"].shape == (2, 10)
    assert set(names["answers"]) <= {str(digit) for digit in range(10)}
    exec(alone, names)
    assert names["weights"].keys() == names["network"].state_dict().keys()
    (shell,) = blocks(card, "sh")
    commands = [shlex.split(line) for line in shell.splitlines()]
    assert [words[:3] for words in commands] == [
        ["robustrun", "evaluate", "."],
        ["robustrun", "export", "."],
    ]
    for words in commands:
        assert run_command_line(words[1:]) == 0
    again = json.loads(next(Path("outputs").glob("*/*/results.json")).read_text())
    assert record.evaluation is not None
    assert again["evaluation"]["clean"]["correct"] == record.evaluation.clean.correct
    program = torch.export.load("network.pt2").module()
    torch.testing.assert_close(program(names["images"]), names["logits"])


def test_a_network_of_torchvision_is_loaded_without_robustrun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins.load()
    chosen = {"name": "torchvision", "architecture": "shufflenet_v2_x0_5"}
    results = measured() | {"model": {"name": chosen["architecture"], "parameters": 1}}
    results["config"]["model"] = chosen
    model = robustrun.model("torchvision", dataset="digits", architecture=chosen["architecture"])
    network = model.build((1, 32, 32), 2).eval()
    results["dataset"]["input_shape"] = [1, 32, 32]
    monkeypatch.chdir(tmp_path)
    artefacts.write_weights(Path("model.safetensors"), network.state_dict(), {})
    (block,) = [it for it in blocks(model_card.text(run_folders.record(results)), "python")][1:]
    assert "import torchvision" in block
    names: dict[str, Any] = {}
    exec(block, names)
    torch.testing.assert_close(names["logits"], network(names["images"]))


def test_a_head_that_a_method_puts_on_is_not_said_to_be_torchvisions() -> None:
    plugins.load()
    results = measured()
    results["config"] |= {"method": {"name": "robal"}, "options": {}}
    results["config"]["model"] = {"name": "torchvision", "architecture": "resnet18"}
    assert "torchvision" not in model_card.text(run_folders.record(results))
