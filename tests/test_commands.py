"""Every command of README and docs/ is run, page by page and in order, each page in a folder of its
own. What cannot be run here, or not at its size, is in a table below with the reason. (Sentences
and tables name commands, too: tests/test_documents.py runs those that show or report something.)

    pytest -m long tests/test_commands.py --times docs/commands.md

runs all and writes how long each took. By default only the pages of QUICK are run.
"""

import os
import re
import resource
import runpy
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from robustrun.run_folder.load import load_run
from tests.page_data import make_data
from tests.pages import PAGES, ROOT, make_reported, title
from tests.short_run import SHORT

LONGEST = 600  # seconds of one command on a busy machine; at its own size it should take a minute
QUICK = {f"docs/how-to/add-a{name}.md" for name in ("-method", "n-attack", "-model", "-data-set")}
FIRST = r"(?:robustrun|python3?|pytest|torchrun|pip|source|\.venv/bin/\w+|[A-Z]+=\")(?: |$)?"
# What is run of the commands inside sentences and tables.
INLINE = r"`(robustrun (?:doctor|resume RUN|export RUN|push RUN|evaluate (?:RUN|--help))[^`]*)`"

# Commands that are not run, by how they begin, and why.
NOT_RUN = {
    r"python3 -m venv|\.venv/bin/(pip|uv run robustrun)|source ": "installs; .ci/run begins so",
    r"\.venv/bin/uv run pytest": "is this suite, or a part of it",
    r"\.venv/bin/uv run --group docs": "builds the site, as .ci/run does",
    r"robustrun .*launcher=slurm": "needs a Slurm; tests/engines/test_slurm.py has one",
    r"robustrun .*launcher=ray": "needs a Ray; tests/engines/test_launchers.py has one",
    r"python -m benchmarks.*P(ATH|EERS)": "needs its authors' code; see tests/test_benchmarks.py",
    r"python -m benchmarks": "takes minutes to hours; tests/test_benchmarks.py runs it small",
    r".*device=cuda": "needs a GPU",
    r"robustrun push (?!.*--dry-run)|.*hf://": "needs the hub; see tests/run_folder/test_push.py",
    r"\.venv/bin/(uv sync|cosmic-ray|python tests)": "takes hours; a nightly workflow runs it",
    r".*dataset.path=uoft-cs": "needs the hub; see tests/datasets/test_huggingface.py",
    r".*model=robustbench": "needs its authors' code; see tests/models/test_robustbench.py",
    r".*=pretrained": "needs weights from the network; see tests/models/test_timm.py",
}
# What is added to a command that would take longer than a minute, by how it begins.
SMALL = {
    r"robustrun (report|resume(?!=)|list|explain|doctor|(evaluate )?--(help|version|hydra))": "",
    r"robustrun (export|push)": "",
    r"robustrun( method=standard)?$": "",
    r"robustrun .*--cfg": "",
    r"robustrun .*sweeper=optuna": "hydra.sweeper.n_trials=2 training.epochs=1 attack=fgsm "
    "evaluation.examples=20 keep.figures=false",
    r"robustrun evaluate .*(=audit|=standard|=ladder|=autoattack)": "evaluation.examples=5",
    r"robustrun evaluate .*ImageNet-C": "evaluation.corruptions.names=[fog,snow] "
    "evaluation.examples=5",
    r"robustrun evaluate": "evaluation.examples=20",
    r"robustrun .*device.processes=|torchrun": "device=cpu device.processes=2 training.epochs=1 "
    "evaluation=none evaluation.examples=20 keep.figures=false",
    r"robustrun .*experiment=trades_": "training.epochs=1 method.inner.steps=1 evaluation=none "
    "evaluation.examples=5 keep.figures=false device.threads=1",
    r"robustrun -m -cd mine": "seed=0 training.epochs=1 training.batch_size=256 evaluation=none "
    "evaluation.examples=20 keep.figures=false device.threads=1",
    r"robustrun .*-cd mine": "training.epochs=1 training.batch_size=256 evaluation=none "
    "evaluation.examples=20 keep.figures=false device.threads=1",
    r"robustrun -m method=(trades|standard,\w+,)": "seed=0 training.epochs=1 "
    "evaluation.examples=5 keep.figures=false device.threads=1",
    r"robustrun": "training.epochs=1 evaluation.examples=5 keep.figures=false device.threads=1",
}
OWN_NETWORK = ROOT / "docs" / "how-to" / "measure-your-network.md"  # has the file that others name
PICTURES = "IMAGES=10 "  # before `python docs/pictures/...`, which measures 200 images otherwise
# What is not here: a folder of made images instead (tests/page_data.py), with four classes; a run
# that is shorter.
DATA = {
    r"model=resnet18 dataset=cifar10 (.*)=outputs/RUN": r"model=small_cnn dataset=digits \1=RUN",
    r"outputs/…/RUN": "RUN",
    r"evaluate RUN (?=evaluation=corruptions|.*cat,dog)": "evaluate COLOURS ",
    r"(weights\.pt .*)dataset=cifar10": r"\1dataset=digits",
    r"dataset=cifar100?\b": "dataset=image_folder dataset.root=data/shapes",
    r"(\+experiment=(?!notebook)\w+)(?!.*digits)": r"\1 dataset=image_folder "
    "dataset.root=data/shapes",
    r"(dataset(?:=mnist|\.(?:root=(?:data|photos)|path=|file=|source=))[^ \"]*)": r"\1 "
    "training.batch_size=8",
    r"dataset\.fraction=0\.1": "dataset.fraction=0.9",
    r"=trades_wrn34_10": "=trades_wrn34_10 model=wide_resnet model.depth=10 model.widen_factor=1",
}


@dataclass(frozen=True)
class Command:
    """What a reader types: its page, the command, and the shell variables that were set before."""

    page: Path
    text: str
    variables: str = ""

    @property
    def reason(self) -> str:
        """Why it is not run; empty if it is."""
        return next((why for first, why in NOT_RUN.items() if re.match(first, self.text)), "")

    @property
    def added(self) -> str:
        """The words that make it small; they take the place of the page's own of the same keys."""
        return next((more for first, more in SMALL.items() if re.match(first, self.text)), "")

    @property
    def as_run(self) -> str:
        """What is run here: with made data, and small where it would take long."""
        if self.text.startswith("python docs/pictures/"):
            return PICTURES + self.text
        typed = f"{self.variables}{self.text}"
        for name, made in DATA.items() if " report " not in typed else ():
            typed = re.sub(name, made, typed)
        for key in re.findall(r"([\w.]+)=", self.added):
            typed = re.sub(rf'(?<= ){re.escape(key)}=[^ "]+', "", typed)
        return f"{typed} {self.added}".rstrip()

    @property
    def changed(self) -> str:
        """The words of what is run that the page does not have."""
        typed = f"{self.variables}{self.text}".split()
        words = [word.strip('"') for word in self.as_run.split() if word not in typed]
        return " ".join(dict.fromkeys(filter(None, words)))


def commands(page: Path) -> list[Command]:
    """The shell commands in the indented blocks of a page, in order, then those of sentences."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found, variables = [], ""
    for block in re.findall(r"(?:^|\n\n)((?:    .+(?:\n|$))+)", text):
        if not re.match(rf"    {FIRST}", block):
            continue
        for line in re.sub(r"\\\n +", "", block).splitlines():
            typed = re.sub(r" +#.*", "", line).strip()
            if re.match(r'[A-Z]+="', typed):
                variables += f"{typed}\n"
            elif typed:
                found.append(Command(page, typed, variables))
    if page.name != "commands.md":
        known = {command.text for command in found}
        inside = (" ".join(typed.split()) for typed in re.findall(INLINE, text))
        found += [Command(page, typed) for typed in inside if typed not in known]
    return list(dict.fromkeys(found))


def write_files(page: Path, folder: Path) -> None:
    """The files that a page tells the reader to write: `mine/NAME.py`, then its text."""
    pattern = r"`((?:mine/[\w/]+|measure|my_net)\.\w+)`.*?\n\n```\w+\n(.*?)```"
    for name, text in re.findall(pattern, page.read_text(), re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and a sweep, made once."""
    folder = tmp_path_factory.mktemp("finished")
    assert shell(" ".join(["robustrun", *SHORT, "hydra.run.dir=RUN"]), folder).returncode == 0
    shutil.copy(folder / "RUN" / "model.safetensors", folder / "weights.safetensors")
    batch = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    network, images = load_run(folder / "RUN")[1].eval(), torch.zeros(3, 1, 8, 8)
    torch.export.save(
        torch.export.export(network, (images,), dynamic_shapes=batch), folder / "network.pt2"
    )
    write_files(OWN_NETWORK, folder)
    made = runpy.run_path(str(folder / "my_net.py"))
    torch.save(made["Net"](10, 1).state_dict(), folder / "weights.pt")
    return folder


def shell(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
    }
    command = ["/bin/bash", "-euc", words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST
    )


@pytest.fixture
def place(finished: Path, page: Path, tmp_path: Path) -> Path:
    """A folder with all that the commands of a page speak of."""
    make_reported(tmp_path)
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    for made in re.findall(r"hydra\.\w+\.dir=(\S+)", page.read_text()):  # by the page itself
        shutil.rmtree(tmp_path / made, ignore_errors=True)
    make_data(tmp_path)
    if any("COLOURS" in command.as_run for command in commands(page)):
        words = " ".join(SHORT).replace("batch_size=256", "batch_size=8")
        colours = "dataset=image_folder dataset.root=data/shapes hydra.run.dir=COLOURS"
        assert shell(f"robustrun {words} {colours}", tmp_path).returncode == 0
    shutil.copytree(ROOT / "docs" / "pictures", tmp_path / "docs" / "pictures")
    shutil.copy(ROOT / "docs" / "draw_rooms.py", tmp_path / "docs")
    (tmp_path / "docs" / "concepts").mkdir()
    return tmp_path


WITH_COMMANDS = [page for page in PAGES if any(not it.reason for it in commands(page))]
TABLE: dict[Command, tuple[float, float]] = {}  # seconds, and seconds of a processor


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=title(page), marks=[] if title(page) in QUICK else pytest.mark.long)
        for page in WITH_COMMANDS
    ],
)
def test_the_commands_of_a_page_do_what_they_should(
    page: Path, place: Path, pytestconfig: pytest.Config
) -> None:
    write_files(page, place)
    failed = []
    for command in (it for it in commands(page) if not it.reason):
        before, used = time.perf_counter(), cpu_seconds()
        done = shell(command.as_run, place)
        if done.returncode != 0:
            failed.append(f"{command.as_run}\n{done.stdout[-500:]}{done.stderr[-1500:]}")
            continue
        TABLE[command] = time.perf_counter() - before, cpu_seconds() - used
        if file := pytestconfig.getoption("--times"):
            Path(str(file)).write_text(table(Path(str(file)).read_text()))
    assert not failed, "\n\n".join(failed)


def cpu_seconds() -> float:
    """Of a processor, in the processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_every_reason_is_of_a_command_that_a_page_has() -> None:
    texts = [command.text for page in PAGES for command in commands(page)]
    assert len(texts) > 40
    beginnings = [first for first in NOT_RUN if not any(re.match(first, text) for text in texts)]
    assert beginnings == []


def table(before: str) -> str:
    """docs/commands.md; what was not run now keeps its row if it would be run as it was then."""
    known = {row.rsplit(" | ", 2)[0]: row for row in before.splitlines()}
    rows, left_out = [], []
    for command in (command for page in PAGES for command in commands(page)):
        begins = f"| {title(command.page).removeprefix('docs/')} | `{command.text}`"
        if command.reason:
            left_out.append(f"{begins} | {command.reason} |")
            continue
        begins += f" | `{command.changed}`" if command.changed else " | "
        if command in TABLE:
            seconds, used = TABLE[command]
            rows.append(f"{begins} | {seconds:.1f} | {used:.1f} |")
        elif begins in known:
            rows.append(known[begins])
    return HEAD + "\n".join(rows) + LEFT_OUT + "\n".join(left_out) + "\n"


HEAD = """\
# Every command of these pages

    .venv/bin/uv run pytest -n 0 -m long tests/test_commands.py --times docs/commands.md

runs the commands of README and docs/, page by page and in order, each page in a folder of its own,
and notes below how long each took. (With `-k how-to` it runs some pages, and the rows of the others
stay.) Where a command would take longer than a minute, or needs data that is not in the package, it
was run with the words in the third column, in the place of the page's own of the same keys:
`data/shapes` and `COLOURS` are a folder of made images and a run on it, `RUN` a run on the digits.
`python docs/pictures/…` was run on 10 images instead of 200.

2 cores of an Intel Xeon, one thread a command, torch 2.15. Other work ran on the machine, so the
seconds are upper bounds; the last column, how long a processor worked for the command, depends less
on that. The time to import PyTorch is in each.

| page | command | run with | seconds | of a processor |
|---|---|---|---|---|
"""
LEFT_OUT = """

## Not run

| page | command | why |
|---|---|---|
"""
