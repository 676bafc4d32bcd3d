"""A run's network in other programs' formats: it answers as the run's own, or there is no file."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch
from torch import Tensor, nn

import robustrun
from robustrun.command_line.main import run_command_line
from robustrun.errors import ConfigError, DataError, RunFailure
from robustrun.models import program
from robustrun.run_folder import export as module
from robustrun.run_folder import push
from robustrun.run_folder.export import Exported, export
from robustrun.run_folder.load import load_run
from robustrun.storage import header
from tests.short_run import SHORT

WORDS = [*SHORT, "model=simple_cnn", "training.ema_decay=0.5"]
AGAIN = ["evaluation=none", "evaluation.examples=20", "device.threads=1", "keep.figures=false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose selected weights are an average of those that were trained."""
    folder = tmp_path_factory.mktemp("exported") / "first.run"
    robustrun.run(robustrun.compose(WORDS), folder)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def images() -> Tensor:
    """Test images of the data set that the network learnt."""
    x, _ = next(robustrun.dataset("digits").load().test.batches(7))
    return x


def of_the_page(word: str) -> str:
    """The Python of docs/export.md that has this word."""
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    (block,) = [it for it in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if word in it]
    return str(block)


def written(place: Path = Path()) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_safetensors_alone_are_the_run(run: Path, images: Tensor) -> None:
    record, network = load_run(run)
    made = export(run, "safetensors", "alone.safetensors")
    size = Path("alone.safetensors").stat().st_size
    assert made == Exported(Path("alone.safetensors"), "safetensors", size, 0.0)
    again, rebuilt = robustrun.load_run("alone.safetensors")
    assert torch.equal(rebuilt(images), network(images))
    assert again.evaluation == record.evaluation
    assert again.config == record.config
    with safetensors.safe_open("alone.safetensors", "pt") as opened:
        about = json.loads(opened.metadata()["robustrun"])
    assert about["class_names"] == [str(digit) for digit in range(10)]
    assert (about["model"], about["input_shape"]) == ("simple_cnn", [1, 8, 8])
    assert (about["mean"], about["std"]) == ([0.305], [0.376])
    assert about["threat_model"] == {"norm": "linf", "epsilon": 0.1}
    assert record.evaluation is not None
    assert about["accuracy"]["worst_case"] == record.evaluation.worst_case.accuracy


def test_they_are_measured_again_without_a_word_about_the_network(run: Path) -> None:
    export(run, "safetensors", "alone.safetensors")
    assert run_command_line(["evaluate", "alone.safetensors", *AGAIN]) == 0
    (path,) = Path("outputs").glob("*/*/results.json")
    results, first = json.loads(path.read_text()), json.loads((run / "results.json").read_text())
    for name in ("clean", "attacks"):
        scores, before = results["evaluation"][name], first["evaluation"][name]
        one, other = (scores, before) if name == "clean" else (scores[0], before[0])
        assert one["correct"] == other["correct"]
    assert results["model"]["name"] == "simple_cnn"
    assert results["config"]["method"] == first["config"]["method"]


def test_a_program_of_torch_export_answers_to_any_number_of_images(
    run: Path, images: Tensor
) -> None:
    _, network = load_run(run)
    made = export(run, "torch.export")
    assert made.path == Path("first.run.pt2")
    exported = program.load(made.path)
    for count in (1, 2, 7):
        torch.testing.assert_close(exported(images[:count]), network(images[:count]))
    made.path.rename("digits.pt2")
    names: dict[str, Any] = {}
    exec(of_the_page("torch.export.load"), names)
    assert torch.equal(names["answers"], network(names["images"]).argmax(dim=1))
    about = header.header(Path("digits.pt2"))
    assert about["class_names"][9] == "9"
    assert "run" not in about
    content = Path("digits.pt2").read_bytes()
    assert str(Path(robustrun.__file__).parent).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


def test_onnx_answers_in_another_program(
    run: Path, images: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    _, network = load_run(run)
    with torch.no_grad():
        expected = network(images)
    assert run_command_line(["export", str(run), "--to", "onnx", "--output", "in/a.onnx"]) == 0
    said = capsys.readouterr().out
    assert "compared with the network on 8 images, in batches of 1, 3 and 8" in said
    session = runtime.InferenceSession("in/a.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        (logits,) = session.run(["logits"], {"images": images[:count].numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), expected[:count])
    Path("in/a.onnx").rename("digits.onnx")
    names: dict[str, Any] = {}
    exec(of_the_page("onnxruntime"), names)
    own = network(torch.from_numpy(names["images"])).argmax(dim=1)
    assert names["logits"].argmax(axis=1).tolist() == own.tolist()
    assert capsys.readouterr().out.strip() == str([str(answer) for answer in own.tolist()])
    model = onnx.load("digits.onnx")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["class_names"]) == [str(digit) for digit in range(10)]
    assert json.loads(properties["robustrun"])["threat_model"]["epsilon"] == 0.1
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    content = Path("digits.onnx").read_bytes()
    assert str(Path(robustrun.__file__).parent).encode() not in content
    assert str(Path(torch.__file__).parent).encode() not in content


class Other(nn.Module):
    """The network with one logit that differs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits + 0.01 * logits.abs().max() * torch.eye(logits.shape[1])[3]


@pytest.fixture
def _wrong(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Other(load_run(run)[1])
    form = module.FORMATS["safetensors"]
    wrong = module.Format(form.name, form.suffix, form.content, lambda path, network: other)
    monkeypatch.setitem(module.FORMATS, "safetensors", wrong)


@pytest.mark.usefixtures("_wrong")
def test_a_file_that_answers_otherwise_is_not_left(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunFailure, match=r"differ from the network's by 1\.0e-02 of the largest"):
        export(run, "safetensors", "wrong.safetensors")
    assert written() == []
    assert run_command_line(["export", str(run), "--to", "safetensors"]) == 1
    assert "first.run.safetensors was not written" in capsys.readouterr().err
    assert written() == []


def test_a_file_that_exists_stays_as_it_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.pt2").write_text("mine")
    words = ["export", str(run), "--to", "torch.export", "--output", "mine.pt2"]
    assert run_command_line(words) == 2
    assert "mine.pt2 exists already" in capsys.readouterr().err
    assert Path("mine.pt2").read_text() == "mine"
    assert written() == ["mine.pt2"]


def test_what_cannot_be_exported_is_said_in_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["export", str(run), "--to", "onx"]) == 2
    assert "--to onx is no format. Did you mean 'onnx'?" in capsys.readouterr().err
    assert run_command_line(["export", "nowhere", "--to", "onnx"]) == 2
    assert "nowhere is no finished run" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="The format 'pickle' is not known"):
        export(run, "pickle")
    assert written() == []


class Branches(nn.Module):
    """Does one thing or another, as its images are."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return flat if x.sum() > 3 else -flat


def test_a_network_that_a_format_cannot_express_is_named(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, _ = load_run(run)
    monkeypatch.setattr(module, "load_run", lambda place, plugins: (record, Branches().eval()))
    with pytest.raises(DataError, match=r"cannot be written as torch\.export .*every network can"):
        export(run, "torch.export")
    assert written() == []


def test_exporters_remarks_are_kept_back_but_not_how_long_it_takes(
    run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chatty(*args: Any, **kwargs: Any) -> Any:
        logging.getLogger("torch.onnx").warning("an inner remark")
        logging.getLogger("torch.onnx").error("what went wrong")
        logging.getLogger("robustrun.console").info("3 s so far")
        return written_by_torch(*args, **kwargs)

    written_by_torch = torch.export.export
    monkeypatch.setattr(torch.export, "export", chatty)
    caplog.set_level(logging.INFO)
    export(run, "torch.export")
    logging.getLogger("torch.onnx").warning("a later remark")
    assert "an inner remark" not in caplog.text
    assert [text in caplog.text for text in ("went wrong", "3 s so far", "a later")] == [True] * 3


NET = """
from torch import nn

def net(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = net(10)

    def forward(self, x):
        return self.layers(x), x
"""


def test_a_network_that_answers_with_several_things_is_exported_with_its_logits_alone(
    images: Tensor,
) -> None:
    Path("my_net.py").write_text(NET)
    words = [*SHORT, "model=file", "model.network=my_net.py:Pair", "model.mean=null"]
    assert run_command_line([*words, "model.std=null", "hydra.run.dir=pair"]) == 0
    _, network = load_run("pair")
    exported = program.load(export("pair", "torch.export").path)
    for count in (1, 7):
        assert torch.equal(exported(images[:count]), network(images[:count]))
    about = header.header(Path("pair.pt2"))
    assert (about["mean"], about["std"]) == (None, None)


def test_a_file_tells_the_normalisation_that_the_weights_of_a_library_have() -> None:
    words = [*SHORT, "model=timm", "model.architecture=test_resnet", "hydra.run.dir=library"]
    assert run_command_line([*words, "model.mean=weights", "model.std=weights"]) == 0
    about = header.header(export("library", "safetensors").path)
    assert (about["mean"], about["std"]) == ([0.5], [0.5])


def test_one_file_of_a_network_of_ones_own_is_exported_again_where_its_code_is_named(
    images: Tensor, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    Path("my_net.py").write_text(NET)
    words = [*SHORT, "model=file", "model.network=my_net.py:net", "hydra.run.dir=own"]
    assert run_command_line(words) == 0
    _, network = load_run("own")
    export("own", "safetensors", "own.safetensors")
    again = ["export", "own.safetensors", "--to", "torch.export"]
    assert run_command_line(again) == 2
    assert "name them behind it: plugins=[my_net]" in capsys.readouterr().err
    assert run_command_line([*again, "my_net"]) == 2
    assert "my_net is no word of robustrun export" in capsys.readouterr().err
    assert run_command_line([*again, "plugins=[my_net]"]) == 0
    assert torch.equal(program.load(Path("own.pt2"))(images), network(images))
    card = push.prepare("own.safetensors", "me/net", plugins=["my_net"]).files["README.md"]
    assert b'load_run("hf://me/net", plugins=["my_net"])' in card
    assert "is not what" not in caplog.text
    Path("my_net.py").write_text(f"{NET}# changed\n")
    load_run("own.safetensors", plugins=["my_net"])
    assert "my_net.py is not what own.safetensors was trained with" in caplog.text
    Path("my_net.py").rename("elsewhere.py")
    with pytest.raises(
        ConfigError, match=r"names my_net\.py, but there is no such file in the cur"
    ):
        export("own.safetensors", "torch.export", plugins=["my_net"])


def test_a_head_that_a_method_puts_on_is_exported(images: Tensor) -> None:
    words = ["method=robal", *SHORT[:2], *SHORT[3:], "model=simple_cnn"]
    folder = Path("robal")
    robustrun.run(robustrun.compose(words), folder)
    _, network = load_run(folder)
    made = export(folder, "torch.export")
    torch.testing.assert_close(program.load(made.path)(images), network(images))
    assert torch.equal(load_run(export(folder, "safetensors").path)[1](images), network(images))
