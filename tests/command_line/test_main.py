"""The command line as a user runs it: a process, its files and its exit code."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robustrun.command_line.main import run_command_line
from robustrun.run_folder import provenance
from tests.faults.process import Command
from tests.faults.process import robustrun as forked

SHORT = [  # a run of a second or two once torch is imported
    "training.epochs=1",
    "training.batch_size=256",
    "method=standard",
    "attack=fgsm",
    "evaluation=none",
    "evaluation.examples=50",
    "keep.figures=false",
]


def robustrun(
    folder: Path,
    *words: str,
    code: int = 0,
    start: tuple[str, ...] = ("-m", "robustrun"),
    **env: str,
) -> subprocess.CompletedProcess[str]:
    found = subprocess.run(
        [sys.executable, *start, *words],
        cwd=folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == code, found.stdout + found.stderr
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working folder, in this process: torch need not be imported again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(sys, "argv", ["robustrun"])
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def run_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("outputs/**/results.json"))


NOTES_MODULES = """
import atexit, sys
from pathlib import Path
from robustrun.__main__ import main

def note(imported):
    Path("modules.txt").write_text("\\n".join(imported))

atexit.register(note, sys.modules)
main()
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished short run with everything that `evaluation=quick` measures; in `modules.txt` of
    the folder that it was started in, what its process had imported at its end."""
    folder = tmp_path_factory.mktemp("finished")
    own = ("method", "attack", "evaluation=", "keep")
    words = [word for word in SHORT if not word.startswith(own)]
    robustrun(folder, *words, start=("-c", NOTES_MODULES))
    return run_folders(folder)[0]


def test_a_default_run_imports_no_torchvision_and_no_compiler(finished: Path) -> None:
    imported = set((finished.parents[2] / "modules.txt").read_text().splitlines())
    assert "torch" in imported
    slow = {"torchvision", "torch._dynamo", "torch._inductor", "triton", "scipy", "pandas"}
    assert slow & imported == set()


def test_a_run_leaves_all_its_artefacts(finished: Path) -> None:
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "results.json",
        "metrics.csv",
        "predictions.npz",
        "model.safetensors",
        "run.log",
        "checkpoint/last.ckpt",
        "figures/training.png",
        "figures/accuracy_against_radius.png",
        "figures/adversarial_images.png",
    } <= names
    assert finished.parent.parent.name == "outputs"
    assert finished.name.endswith("_trades_digits")


def test_results_json_has_the_fields_that_scripts_rely_on(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert results["schema_version"] == 1
    assert results["run"]["status"] == "completed"
    assert results["run"]["error"] is None
    data, training = results["dataset"], results["training"]
    assert (data["name"], data["classes"], data["input_shape"]) == ("digits", 10, [1, 8, 8])
    assert data["train_size"] + data["validation_size"] + data["test_size"] == 1797
    assert sum(data["class_counts"]) == data["train_size"]
    assert training["method"] == "trades"
    assert training["best"]["epoch"] == training["selected_epoch"] == 1
    assert set(results["environment"]) >= {"torch", "device", "threads", "git_commit", "host"}
    evaluation = results["evaluation"]
    assert [attack["name"] for attack in evaluation["attacks"]] == ["pgd", "fgsm", "gaussian_noise"]
    for score in (evaluation["clean"], evaluation["worst_case"], *evaluation["attacks"]):
        low, high = score["ci95"]
        assert score["accuracy"] == score["correct"] / score["total"]
        assert 0 <= low <= score["accuracy"] <= high <= 1


def test_predictions_agree_with_the_accuracies(finished: Path) -> None:
    evaluation = json.loads((finished / "results.json").read_text())["evaluation"]
    with np.load(finished / "predictions.npz") as stored:
        right = stored["label"] == stored["prediction"]
        assert right.mean() == evaluation["clean"]["accuracy"]
        standing = right.copy()
        for attack in evaluation["attacks"]:
            robust = stored[f"attack/{attack['name']}"]
            assert robust.sum() == attack["correct"]
            standing &= robust
        assert standing.sum() == evaluation["worst_case"]["correct"]


def test_metrics_have_one_row_per_epoch(finished: Path) -> None:
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1"]
    assert {"step", "lr", "train_loss", "train_accuracy", "validation_robust_accuracy"} <= set(
        rows[0]
    )


def test_the_saved_configuration_runs_again_to_the_same_bits(
    finished: Path, tmp_path: Path
) -> None:
    forked(tmp_path, "--config-path", str(finished))
    again = run_folders(tmp_path)[0]
    assert (again / "model.safetensors").read_bytes() == (
        finished / "model.safetensors"
    ).read_bytes()


def test_the_result_goes_to_stdout_and_everything_else_to_stderr(tmp_path: Path) -> None:
    found = robustrun(tmp_path, *SHORT)
    assert "worst case" in found.stdout
    assert "epoch 1/1" in found.stderr
    assert "epoch" not in found.stdout
    assert "\x1b" not in found.stdout + found.stderr  # no terminal: no colours, no bars
    log = (run_folders(tmp_path)[0] / "run.log").read_text()
    assert "epoch 1/1" in log
    assert "worst case" in log


def test_a_sweep_gives_each_combination_a_folder_and_one_summary(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["-m", *SHORT, "seed=0,1", "attack.epsilon=4/255,8/255"]) == 0
    folders = run_folders(here)
    assert [folder.name for folder in folders] == ["0", "1", "2", "3"]
    with (folders[0].parent / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    combinations = {(row["seed"], round(float(row["attack.epsilon"]) * 255)) for row in rows}
    assert combinations == {("0", 4), ("0", 8), ("1", 4), ("1", 8)}
    assert all(0 <= float(row["worst_case"]) <= float(row["clean"]) <= 1 for row in rows)
    assert {row["status"] for row in rows} == {"completed"}
    assert "run 4 of 4 (0:00:" in (folders[3] / "run.log").read_text() + capfd.readouterr().err
    assert (folders[0].parent / "report.html").stat().st_size > 400_000  # plotly is in it


PLUGIN = """
import sys
from dataclasses import dataclass
from robustrun.types import METHODS

@METHODS.register("fails")
@dataclass(frozen=True)
class Fails:
    how: str

    def step(self, learner, x, y):
        if self.how == "exit":
            sys.exit(0)
        if self.how == "diverge":
            return x.sum() * float("nan")
        raise RuntimeError("on purpose")
"""


def with_plugin(folder: Path) -> list[str]:
    (folder / "myconf" / "method").mkdir(parents=True)
    (folder / "myconf" / "method" / "fails.yaml").write_text("# Fails\nname: fails\nhow: exit\n")
    (folder / "my_method.py").write_text(PLUGIN)
    short = [word for word in SHORT if not word.startswith(("method", "training.epochs"))]
    return ["-cd", "myconf", "plugins=[my_method]", *short]


def test_a_sweep_goes_on_after_runs_that_fail_in_any_way_and_names_them(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["-m", *with_plugin(here), "method=fails", "method.how=exit,raise,diverge"]
    assert run_command_line([*words, "training.epochs=1,0"]) == 1
    assert "6 of 6 runs of this sweep failed" in capfd.readouterr().err
    statuses = [json.loads((f / "results.json").read_text()) for f in run_folders(here)]
    assert [found["run"]["status"] for found in statuses] == ["failed"] * 6
    errors = " ".join(found["run"]["error"] for found in statuses)
    for word in ("SystemExit", "on purpose", "no longer finite", "training.epochs is 0"):
        assert word in errors


@pytest.mark.parametrize(("how", "reason"), [("raise", "on purpose"), ("exit", "SystemExit")])
def test_a_failed_run_keeps_its_results_and_exits_with_1(
    here: Path, capfd: pytest.CaptureFixture[str], how: str, reason: str
) -> None:
    words = [*with_plugin(here), "training.epochs=1", "method=fails", f"method.how={how}"]
    assert run_command_line(words) == 1
    assert {"raise": "on purpose", "exit": "sys.exit"}[how] in capfd.readouterr().err
    results = json.loads((run_folders(here)[0] / "results.json").read_text())
    assert results["run"]["status"] == "failed"
    assert reason in results["run"]["error"]
    assert results["dataset"]["name"] == "digits"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["method=trads"], ["trads", "'trades'"]),
        (["model=simple_cn"], ["simple_cn", "'simple_cnn'"]),
        (["attack.epsilom=0.1"], ["attack.epsilom", "attack.epsilon"]),
        (["methd=trades"], ["methd", "method"]),
        (["method.beta=abc"], ["method.beta", "'abc'", "fraction"]),
        (["attack.epsilon=-1"], ["attack.epsilon", "-1"]),
        (["attack.epsilon=1/0"], ["attack.epsilon", "denominator"]),
        (["attack=[fgsm,pgd]"], ["attack=fgsm", "-m attack=fgsm,pgd"]),
        (["dataset=image_folder", "dataset.root=nowhere"], ["nowhere"]),
        (["training.batch_size=100000"], ["training.batch_size", "1"]),
        (["device=cuda"], ["device.name", "cpu"]),
        (["device.threads=1000"], ["device.threads", "1000"]),
        (["model=null"], ["model"]),
        (["plugins=[no_such_module]"], ["no_such_module"]),
        (["method=trades", "method"], ["method"]),
        (["seed=0", "seed=1"], ["seed is given twice: seed=0 and seed=1"]),
        (["-m", "seed=0", "seed=1,2"], ["seed=0 and seed=1,2"]),
        (["method=trades", "method=pat"], ["method=trades and method=pat"]),
        (
            ["attack.epsilon=\uff18/255", "--cfg", "job"],
            ["FULLWIDTH DIGIT EIGHT", "attack.epsilon=8/255"],
        ),
        (["seed\uff1d3"], ["FULLWIDTH EQUALS SIGN", "seed=3"]),
        (["dataset.root=données"], ["LATIN SMALL LETTER E WITH ACUTE", "dataset.root='données'"]),
        (["dataset.root=a[1]"], ["dataset.root='a[1]'"]),
        (["dataset.root=it's"], [r"dataset.root='it\'s'"]),
        (["dataset.root=a=b"], ["dataset.root='a=b'"]),
        (["--cfg"], ["--cfg needs a value"]),
        (["evaluation.attacks.mine=fgsm"], ["+attack@evaluation.attacks.mine=OPTION"]),
        (["attack@evaluation.attacks.mine=fgsm"], ["+attack@evaluation.attacks.mine=OPTION"]),
        (["evaluation.audit.passes=3"], ["evaluation.audit is null"]),
        (["reprot"], ["reprot"]),
        (["method.beta=${nowhere}"], ["nowhere"]),
        (["-cd", "no_such_folder"], ["no_such_folder"]),
        (["list", "methd"], ["methd", "'method'"]),
        (["explain", "method=trads"], ["trads", "'trades'"]),
        (["report", "nowhere"], ["nowhere"]),
        (["attack.norm=l3"], ["attack.norm", "linf, l2, l1"]),
        (["hydra.run.dir=/proc/none"], ["/proc/none"]),
    ],
)
def test_wrong_input_is_one_paragraph_and_exit_code_2(
    here: Path, capfd: pytest.CaptureFixture[str], words: list[str], expected: list[str]
) -> None:
    assert run_command_line(words) == 2
    said = capfd.readouterr()
    message = [line for line in said.err.splitlines() if " INFO " not in line]
    assert said.out == ""
    assert len(message) == 1
    for word in expected:
        assert word in message[0]
    for results in here.rglob("results.json"):  # only what was wrong about the data got that far
        assert json.loads(results.read_text())["run"]["status"] == "failed"


def test_a_carriage_return_at_the_end_of_a_word_is_of_its_script(here: Path) -> None:
    words = [f"{word}\r" for word in [*SHORT, "--cfg", "job"]]
    assert run_command_line(words) == 0


def test_a_signal_while_packages_are_imported_is_no_damage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def imports(words: list[str]) -> int:
        monkeypatch.setitem(sys.modules, "robustrun.command_line.failures", None)  # half of it
        raise KeyboardInterrupt

    monkeypatch.setattr("robustrun.command_line.main._command", imports)
    assert run_command_line([]) == 130
    assert capsys.readouterr().err == "robustrun: interrupted\n"


@pytest.mark.parametrize("module", ["robustrun.command_line.main", "robustrun.compute.place"])
def test_a_signal_at_the_very_start_is_no_traceback(module: str) -> None:
    code = f"""
import sys
from importlib.abc import MetaPathFinder

class Interrupts(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupts())
from robustrun.__main__ import main
main()
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (130, "robustrun: interrupted\n")


@pytest.mark.parametrize("words", [[], ["nosuch"], ["evaluate"], ["explain"], ["doctor"]])
def test_help_is_a_word_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["help", *words]) == 0
    said = capsys.readouterr().out
    known = words if words != ["nosuch"] else []
    beginning = f"usage: robustrun {known[0]} " if known else "robustrun trains image classifiers"
    assert said.startswith(beginning)


def test_streams_that_are_closed_end_no_command(tmp_path: Path) -> None:
    for closed in (">&-", "<&- >&- 2>&-"):
        line = f'"{sys.executable}" -m robustrun list device {closed}'
        found = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=False)
        assert (found.returncode, found.stderr) == (0, b"")


def test_a_result_that_nobody_reads_is_no_failure(finished: Path) -> None:
    line = f'("{sys.executable}" -m robustrun report "{finished}"; echo $? >code) | true'
    subprocess.run(["sh", "-c", line], cwd=finished.parent, check=True, timeout=120)
    assert (finished.parent / "code").read_text() == "0\n"
    assert (finished.parent / "outputs" / "report" / "report.html").exists()


def test_where_a_run_is_asked_for_a_folder_above_names_one(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    above = finished.parents[1]
    for command in ("evaluate", "resume"):
        assert run_command_line([command, str(above)]) == 2
        said = capsys.readouterr().err
        assert f"Below it are runs, such as {finished}." in said
        assert "PyTorch" not in said  # which would be imported in vain
        assert run_command_line([command]) == 2
        assert "outputs/" in capsys.readouterr().err


def test_wrong_input_from_a_process_is_exit_code_2_and_leaves_nothing(tmp_path: Path) -> None:
    found = robustrun(tmp_path, "method.beta=abc", code=2)
    first, *_, message = found.stderr.splitlines()
    assert "starts; PyTorch is imported" in first
    assert message.startswith("robustrun: method.beta is 'abc'")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_call_leaves_the_environment_as_it_was(here: Path) -> None:
    before = dict(os.environ)
    assert run_command_line(["method=trads"]) == 2
    assert dict(os.environ) == before


def test_hydra_full_error_shows_the_traceback(tmp_path: Path) -> None:
    found = robustrun(tmp_path, "method=trads", code=2, HYDRA_FULL_ERROR="1")
    assert "Traceback" in found.stderr


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment whose torch says that it is imported, and ends the process with code 7."""
    (tmp_path / "torch").mkdir()
    text = "import sys\nprint('import torch', file=sys.stderr)\nraise SystemExit(7)\n"
    (tmp_path / "torch" / "__init__.py").write_text(text)
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help"], "robustrun report"),
        (["--version"], "robustrun 0."),
        (["--cfg", "job"], "epsilon:"),
        (["list", "method"], "trades"),
        (["-sc", "install=bash"], "hydra_bash_completion"),
        (["--info", "searchpath"], "Config search path"),
    ],
)
def test_help_configuration_and_completion_need_no_torch_and_say_nothing_else(
    tmp_path: Path, without_torch: dict[str, str], words: list[str], said: str
) -> None:
    found = robustrun(tmp_path, *words, **without_torch)
    assert said in found.stdout
    assert found.stderr == ""


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_needs_no_hydra_and_draws_nothing(word: str) -> None:
    code = "import sys; sys.modules |= dict.fromkeys(('torch', 'hydra', 'omegaconf', 'rich'))\n"
    code += f"from robustrun.command_line.main import run_command_line as run; run(['{word}'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.startswith("robustrun "), ended.stderr


@pytest.mark.parametrize("words", [["seed=1"], ["resume", "RUN"], ["evaluate", "FILE"]])
def test_a_command_says_that_it_has_begun_before_torch_is_imported(
    tmp_path: Path, without_torch: dict[str, str], words: list[str]
) -> None:
    provenance.take(tmp_path / "RUN", provenance.new(command="robustrun"))
    (tmp_path / "FILE").touch()
    first, second = robustrun(tmp_path, *words, code=7, **without_torch).stderr.splitlines()
    assert re.fullmatch(r"\S+ \S+ INFO robustrun \S+ starts; PyTorch is imported first", first)
    assert second == "import torch"


def test_completion_into_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    command = f"{sys.executable} -m robustrun -sc install=bash | head -1"
    found = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "Traceback" not in found.stderr
    assert "Error" not in found.stderr


def test_explain_gives_paper_formula_and_settings(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["explain", "method=trades"]) == 0
    text = capfd.readouterr().out
    for word in ("arxiv.org/abs/1901.08573", "KL(p(x) || p(x'))", "beta: 6.0", "pixel units"):
        assert word in text


def test_report_tabulates_finished_runs_and_lists_damaged_ones(
    finished: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damaged = finished.parent / "damaged"
    damaged.mkdir(exist_ok=True)
    (damaged / "results.json").write_text('{"schema_version": 1, "run"')
    assert run_command_line(["report", str(finished.parent), "--csv", "table.csv"]) == 0
    assert "damaged" in capfd.readouterr().out
    with (here / "table.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert rows[finished.name]["status"] == "completed"
    assert rows["damaged"]["status"] == "damaged"
    assert not (here / "outputs" / "report").exists()  # only what was named


def test_report_writes_its_four_files(
    finished: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["report", str(finished), "--by", "method"]) == 0
    names = ["report.html", "summary.csv", "summary.md", "summary.tex"]
    assert sorted(path.name for path in (here / "outputs" / "report").iterdir()) == names
    assert run_command_line(["report", str(finished), "--output", "elsewhere"]) == 0
    assert sorted(path.name for path in (here / "elsewhere").iterdir()) == names
    assert run_command_line(["report", "--compare", str(finished), str(finished)]) == 0
    assert "The configurations are the same" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--by", "metod"], "Did you mean 'method'"),
        (["--where", "method=nobody"], "No run fulfils"),
        (["--export", "robustbench"], "evaluation=standard"),
        (["--compare", "a", "b"], "--compare a: write COLUMN=VALUE"),
    ],
)
def test_report_says_what_is_wrong(
    finished: Path, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["report", str(finished), *words]) == 2
    assert said in capfd.readouterr().err


def test_runs_with_one_folder_given_do_not_share_it(here: Path) -> None:
    for _ in range(2):
        assert run_command_line([*SHORT, "hydra.run.dir=outputs/same"]) == 0
    assert [folder.name for folder in run_folders(here)] == ["same", "same-2"]
    assert run_command_line([*SHORT, "hydra.run.dir=outputs/same", "optimizer.lr=abc"]) == 2
    assert [folder.name for folder in run_folders(here)] == ["same", "same-2"]


def test_runs_started_together_get_different_folders(tmp_path: Path) -> None:
    started = [Command.start(tmp_path, *SHORT, f"seed={seed}") for seed in range(3)]
    assert [command.end() for command in started] == [0, 0, 0]
    seeds = [
        json.loads((f / "results.json").read_text())["config"]["seed"]
        for f in run_folders(tmp_path)
    ]
    assert sorted(seeds) == [0, 1, 2]


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_a_signal_leaves_results_and_its_exit_code(tmp_path: Path, name: str, code: int) -> None:
    long = [word for word in SHORT if not word.startswith("training.epochs")]
    with subprocess.Popen(
        [sys.executable, "-m", "robustrun", *long, "training.epochs=100000"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 2/" in line:
                break
        import signal

        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.wait(60) == code
    results = json.loads((run_folders(tmp_path)[0] / "results.json").read_text())
    assert results["run"]["status"] == "interrupted"


def test_a_finished_run_is_measured_again_with_another_radius(finished: Path, here: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert run_command_line(["evaluate", str(finished), "attack.epsilon=0.02"]) == 0
    results = json.loads((run_folders(here)[0] / "results.json").read_text())
    first = json.loads((finished / "results.json").read_text())["evaluation"]
    assert results["evaluated"]["source"] == str(finished)
    assert results["evaluation"]["clean"]["correct"] == first["clean"]["correct"]
    assert [attack["epsilon"] for attack in results["evaluation"]["attacks"]] == [0.02] * 3
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


def test_a_file_of_weights_is_measured_as_the_model_that_is_named(
    finished: Path, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = str(finished / "model.safetensors")
    assert run_command_line(["evaluate", weights, "model=simple_cnn"]) == 2
    assert "weights of another network" in capfd.readouterr().err
    words = ["evaluation=none", "evaluation.examples=50"]
    assert run_command_line(["evaluate", weights, *words]) == 0
    results = [json.loads((f / "results.json").read_text()) for f in run_folders(here)]
    first = json.loads((finished / "results.json").read_text())["evaluation"]
    assert results[-1]["evaluation"]["clean"]["correct"] == first["clean"]["correct"]


@pytest.mark.parametrize("words", [["nowhere"], [], ["attack=fgsm"], [".", "attack=fgsm"]])
def test_evaluate_says_what_it_needs(
    here: Path, capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run_command_line(["evaluate", *words]) == 2
    assert len(capfd.readouterr().err.strip().splitlines()) == 1
