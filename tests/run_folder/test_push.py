"""A run put into a repository and taken from there: the same network, and nothing private."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import robustrun
from robustrun.command_line.main import run_command_line
from robustrun.errors import ConfigError, DataError
from robustrun.run_folder.hub import FILES
from robustrun.run_folder.load import load_run
from robustrun.run_folder.push import prepare, push
from tests.run_folder import a_hub
from tests.short_run import SHORT

X = torch.rand(3, 1, 8, 8)
AGAIN = ["evaluation=none", "evaluation.examples=20", "device.threads=1", "keep.figures=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private-folder") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        words = [*SHORT, "model=simple_cnn", f"hydra.run.dir={folder}"]
        assert run_command_line(words) == 0
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> a_hub.Hub:
    monkeypatch.chdir(tmp_path)
    return a_hub.opened(monkeypatch, tmp_path)


def test_a_run_is_uploaded_and_loaded_from_its_address(run: Path, hub: a_hub.Hub) -> None:
    record, network = load_run(run)
    where = push(run, "me/net")
    assert where == f"hf://me/net@{hub.commits['me/net']}"
    assert hub.private == {"me/net": True}
    assert {path.name for path in (hub.place / "me/net").iterdir()} == {*FILES, "README.md"}
    for address in ("hf://me/net", where):
        again, loaded = robustrun.load_run(address)
        assert torch.equal(loaded(X), network(X))
        assert again.evaluation == record.evaluation
        assert again.config == record.config


def test_it_is_measured_again_by_its_address(
    run: Path, hub: a_hub.Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    where = push(run, "me/net")
    words = ["attack=pgd", "attack.steps=2", "attack.epsilon=0.2", *AGAIN]
    assert run_command_line(["evaluate", "hf://me/net", *words]) == 0
    (path,) = Path("outputs").glob("*/*/results.json")
    results = json.loads(path.read_text())
    assert results["evaluated"]["source"] == where
    assert results["evaluated"]["kind"] == "run"
    (attack,) = results["evaluation"]["attacks"]
    assert (attack["name"], attack["epsilon"]) == ("pgd", 0.2)
    said = capsys.readouterr()
    assert "on digits, simple_cnn" in said.out
    assert "does not keep the words" not in said.err  # its results have them


def test_nothing_private_is_uploaded(run: Path, hub: a_hub.Hub) -> None:
    first = json.loads((run / "results.json").read_text())
    upload = prepare(run, "me/net")
    texts = {name: content for name, content in upload.files.items()}
    for name, content in texts.items():
        assert str(run.parent).encode() not in content, name
        assert b"private-folder" not in content, name
        assert f'"{first["environment"]["host"]}"'.encode() not in content, name
    assert json.loads(texts["results.json"])["environment"]["host"] == ""
    assert upload.changes["environment.host"] == "left out"
    assert yaml.safe_load(texts["config.yaml"]) == first["config"]
    assert texts["model.safetensors"] == (run / "model.safetensors").read_bytes()


def test_a_dry_run_shows_all_and_sends_nothing(
    run: Path, hub: a_hub.Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["push", str(run), "me/net", "--dry-run", "--license", "mit", "--output", "seen"]
    assert run_command_line(words) == 0
    said = capsys.readouterr().out
    for name in (*FILES, "README.md"):
        assert f"  {name} (" in said
    assert "environment.host: left out" in said
    assert "Nothing was sent; the files are in seen." in said
    assert hub.commits == {}
    assert (Path("seen") / "README.md").read_text().startswith("---\nlicense: mit\n")
    assert {path.name for path in Path("seen").iterdir()} == {*FILES, "README.md"}


def test_what_everyone_can_see_needs_a_word(
    run: Path, hub: a_hub.Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.private["me/net"] = False
    assert run_command_line(["push", str(run), "me/net"]) == 2
    assert "everyone can see it: add --public" in capsys.readouterr().err
    assert hub.commits == {}
    assert run_command_line(["push", str(run), "me/net", "--public"]) == 0
    assert f"uploaded: hf://me/net@{hub.commits['me/net']}" in capsys.readouterr().out


@pytest.mark.parametrize("repository", ["net", "me/net/x", "me/net@main", "hf://me/net", "me/"])
def test_a_repository_has_an_owner_and_a_name(run: Path, repository: str) -> None:
    with pytest.raises(ConfigError, match="must be OWNER/NAME"):
        push(run, repository)


def test_what_is_no_finished_run_is_refused(tmp_path: Path, hub: a_hub.Hub) -> None:
    with pytest.raises(DataError, match=r"is no finished run: it has no config\.yaml"):
        push(tmp_path, "me/net")
    assert hub.commits == {}


def test_the_card_is_what_the_hub_reads(run: Path, hub: a_hub.Hub) -> None:
    from huggingface_hub import ModelCard

    record, _ = load_run(run)
    assert record.evaluation is not None
    data = ModelCard(prepare(run, "me/net", "mit").files["README.md"].decode()).data
    assert (data.license, data.library_name) == ("mit", "robustrun")
    assert data.pipeline_tag == "image-classification"
    scores = {entry.metric_name: entry.metric_value for entry in data.eval_results}
    assert scores == {
        "accuracy": record.evaluation.clean.accuracy,
        "robust accuracy, fgsm (linf 0.1)": record.evaluation.attacks[0].accuracy,
        "robust accuracy, worst case": record.evaluation.worst_case.accuracy,
    }


def test_the_lines_of_an_uploaded_card_run_as_they_stand(run: Path, hub: a_hub.Hub) -> None:
    push(run, "me/net")
    card = (hub.place / "me/net" / "README.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", card, re.DOTALL):
        names: dict[str, object] = {}
        exec(block, names)
        if "answers" in names:
            assert set(names["answers"]) <= {str(digit) for digit in range(10)}  # type: ignore[call-overload]
        else:
            assert set(names["weights"]) == set(load_run(run)[1].state_dict())  # type: ignore[call-overload]
    (shell,) = re.findall(r"```sh\n(.*?)```", card, re.DOTALL)
    assert "robustrun evaluate hf://me/net\n" in shell


def test_where_the_hub_does_not_answer_or_take_it_that_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("huggingface_hub", reason="robustrun[hub] is not installed")
    from huggingface_hub.errors import HfHubHTTPError

    failures = {
        "cannot be reached: nothing was uploaded": ConnectionError("no route"),
        "Log in with a token that may": HfHubHTTPError("401", response=a_hub.answer(401)),
    }
    for said, failure in failures.items():
        monkeypatch.setattr("huggingface_hub.HfApi.create_repo", _raising(failure))
        assert run_command_line(["push", str(run), "me/net"]) == 2
        assert said in capsys.readouterr().err


def _raising(failure: Exception) -> Callable[..., None]:
    def fail(*given: object, **more: object) -> None:
        raise failure

    return fail
