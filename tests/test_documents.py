"""README and docs: their lines, links, words, and what they say can be typed."""

import json
import re
import shlex
import subprocess
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import nn

import robustrun
from robustrun.command_line import report
from robustrun.command_line.main import run_command_line
from robustrun.configuration import composition
from robustrun.configuration.catalogue import catalogue
from robustrun.configuration.run_config import RunConfig, load_config
from tests.engines.installed import require_launcher
from tests.faults.process import printed
from tests.pages import PAGES, ROOT, make_reported, title

TEXTS = [*PAGES, ROOT / "CHANGELOG.md"]
# Words that stand for something else in each document: a run, a file, a folder.
PLACEHOLDERS = ("RUN", "A", "B", "PATH", "FOLDER", "EVALUATION", "FILE")
DIALECT = (
    r"anew|elsewise|goes on|go on with|going on|within it|told of|to mend|mends|be it"
    r"|of one's own|asks nobody|is met|are met|judged alike|told apart"
)


def each(pages: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=title)


@each(TEXTS)
def test_lines_have_100_columns_but_for_tables_and_links(page: Path) -> None:
    long = [
        line
        for line in page.read_text().splitlines()
        if len(line) > 100 and not line.startswith(("| ", "![", "[![")) and "://" not in line
    ]
    assert long == []


@each(TEXTS)
def test_sentences_have_no_words_that_only_some_readers_know(page: Path) -> None:
    prose = re.sub(r"`[^`]*`", "", page.read_text()).replace("\n", " ")
    assert re.findall(rf"\b(?:{DIALECT})\b", prose) == []


def test_neither_have_the_comments_of_the_catalogue() -> None:
    comments = [
        (file.name, match[0])
        for file in sorted(catalogue().rglob("*.yaml"))
        for line in file.read_text().splitlines()
        if (match := re.search(rf"#.*\b(?:{DIALECT})\b", line))
    ]
    assert comments == []


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", page.read_text())


def heading(line: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")


@each(TEXTS)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            lines = target.read_text().splitlines()
            assert anchor in [heading(line) for line in lines if line.startswith("#")], link


@each(PAGES)
def test_references_are_defined_one_a_line(page: Path) -> None:
    """Markdown takes a second definition in the same line for text, and shows it."""
    text = re.sub(r"```.*?```|`[^`\n]+`", "", page.read_text(), flags=re.DOTALL)
    defined = re.findall(r"^\[([^\]]+)\]: \S+$", text, re.MULTILINE)
    assert len(re.findall(r"\[[^\]]+\]: ", text)) == len(defined)
    assert set(re.findall(r"\]\[([^\]]+)\]", text)) == set(defined)


def ends(pages: set[Path]) -> set[Path]:
    """Where the links of these pages lead."""
    found = [page.parent / link for page in pages for link in links(page) if "://" not in link]
    return {Path(str(end).partition("#")[0]).resolve() for end in found}


def test_every_page_is_reached_from_the_readme_in_two_steps() -> None:
    first = ends({PAGES[0]})
    second = ends({page for page in first if page.suffix == ".md"})
    pages = [*PAGES[1:], *(ROOT / "docs").rglob("*.ipynb")]
    assert [title(page) for page in pages if page not in first | second] == []


def test_every_page_has_its_place_in_the_site() -> None:
    places = re.findall(r"[\w-]+(?:/[\w-]+)?\.md$", (ROOT / "mkdocs.yml").read_text(), re.M)
    names = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]]
    assert [name for name in names if name not in places] == []
    assert len(places) == len(set(places))


def exists(code: str, names: list[str]) -> bool:
    """Whether a test has the name in `code`, in which `…` stands for what is left out."""
    part = re.sub(r"\[\w+\]$", "", code.rpartition("::")[2] if "::" in code else code)
    pattern = ".*".join(re.escape(piece) for piece in part.split("…"))
    return any(re.fullmatch(pattern, name) for name in names)


def test_every_test_that_a_page_names_exists() -> None:
    files = {str(file.relative_to(ROOT)): file.read_text() for file in ROOT.glob("tests/**/*.py")}
    names = re.findall(r"^def (test_\w+)", "\n".join(files.values()), re.MULTILINE)
    codes = [code for page in PAGES for code in re.findall(r"`([^`\n]+)`", page.read_text())]
    named = [code for code in codes if re.match(r"test_\w+(…|\[\w+\])?$|…\w+|\S+::", code)]
    keys = ["test_from"]  # of results.json
    assert [code for code in named if not exists(code, names + keys)] == []
    paths = [code.partition("::")[0] for code in codes if code.startswith("tests/")]
    assert [path for path in paths if not list(ROOT.glob(path))] == []


# --- what can be typed --------------------------------------------------------------------------


def blocks(page: Path) -> list[str]:
    """The shell commands of a page, block by block."""
    found = re.findall(r"(?:^|\n\n)((?:    .+(?:\n|$))+)", page.read_text())
    return [block for block in found if re.search(r"^    robustrun ", block, re.MULTILINE)]


def typed(block: str) -> list[list[str]]:
    """The words of each `robustrun` in a block, as a shell reads them."""
    shell = 'python() { :; }; robustrun() { printf "%s\\0" "$@"; printf "\\0"; };\n'
    lines = (line[4:] for line in block.splitlines())
    script = shell + "\n".join(line for line in lines if not line.startswith((".venv", "python3")))
    command = ["/bin/bash", "--norc", "-uec", script]
    output = subprocess.run(
        command, env={"PATH": "/none"}, capture_output=True, text=True, check=True
    )
    calls = output.stdout.split("\0\0")
    return [[word for word in call.split("\0") if word] for call in calls if call]


def inline(page: Path) -> list[list[str]]:
    """The words of each `robustrun …` inside a sentence or a table."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    codes = re.findall(r"`robustrun ([^`]+)`", prose)
    return [shlex.split(code.replace("\n", " ")) for code in codes]


def overrides(words: list[str]) -> list[str]:
    """What is left for Hydra: without sub-command, flags, and what the reader is to fill in."""
    if not words or words[0] in (*SHOWING, "report", "resume"):
        return []
    rest = [word for word in words if word not in PLACEHOLDERS and not word.startswith("-")]
    # Those that the reader writes:
    own = ("mine", "my_method", "corners", "perceptron", "quick_draw", "json_lines")
    own += ("half_at", "flips", "tiny", "stripes", "aircraft", "my_net")
    parts = ("…", "...", "NAME", "OVERRIDE", *own)
    groups = {word.partition("=")[0] for word in rest if word.partition("=")[2] in own}
    others = [word for word in rest if word.partition(".")[0] not in groups]
    return [word for word in others if "=" in word and not any(part in word for part in parts)]


SHOWING = ("list", "explain", "--help", "--version", "--hydra-help", "--cfg")
TYPED = {
    f"{title(page)}: {' '.join(words)}"[:120]: words
    for page in PAGES
    for words in chain(*(typed(block) for block in blocks(page)), inline(page))
}
COMMANDS = [pytest.param(words, id=name) for name, words in TYPED.items() if overrides(words)]
SHOWN = {
    " ".join(words): words
    for words in TYPED.values()
    if words and words[0] in SHOWING and "mine" not in words  # a folder that test_commands.py makes
}


@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in SHOWN.items()])
def test_a_command_that_only_shows_something_shows_it(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pgd_at" if word == "NAME" else word.replace("NAME", "pgd_at") for word in words]
    assert run_command_line(words) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_a_page_is_a_valid_configuration(words: list[str]) -> None:
    parsed = OverridesParser.create().parse_overrides(overrides(words))
    for launcher in (word.partition("=")[2] for word in words if "hydra/launcher=" in word):
        require_launcher(launcher)
    if "hydra/sweeper=optuna" in words:
        pytest.importorskip("optuna", reason="robustrun[search] is not installed")
        from robustrun.command_line.search_space import space

        searched = space(parsed)
        combinations = [searched.words(values) for values in searched.extremes()]
    else:
        combinations = BasicSweeper.split_arguments(parsed, None)[0]
    for combination in (combinations[0], combinations[-1]):
        assert isinstance(load_config(composition.compose_config(combination)), RunConfig)


REPORTS = {
    " ".join(words): words[1:]
    for words in [
        *TYPED.values(),
        *chain(*map(inline, TEXTS)),
        *(shlex.split(line)[1:] for line in re.findall(r"^  (robustrun .*)", report.EPILOG, re.M)),
    ]
    if words and words[0] == "report" and len(words) > 1
}


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every path that the commands name."""
    folder = tmp_path_factory.mktemp("reported")
    make_reported(folder)
    return folder


@pytest.mark.parametrize("words", [pytest.param(words, id=name) for name, words in REPORTS.items()])
def test_a_report_that_a_page_or_its_help_shows_is_made(
    words: list[str],
    reported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(reported)
    words = [word for word in words if word != "..."]
    assert run_command_line(["report", *words]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    if "--compare" in words:
        assert "Method B is better in the worst case, by 30.00 points." in said
    elif "--export" in words:
        assert "model_info/cifar10/" in said
    else:
        flag = next((word for word in words if word in ("--html", "--csv", "--latex")), None)
        file = words[words.index(flag) + 1] if flag else "outputs/report/report.html"
        assert file in said
        assert "trades" in (reported / file).read_text()


PYTHON = [page for page in PAGES if title(page) in ("README.md", "docs/python.md")]


class Grey(nn.Module):
    """Two classes, told by whether the mean of an image is above one half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], dim=1)


@each(PYTHON)
def test_the_python_of_a_page_runs_as_it_stands(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x = torch.tensor([0.2, 0.49, 0.51, 0.8]).reshape(4, 1, 1, 1).expand(4, 1, 6, 6)
    names = {"robustrun": robustrun, "model": Grey(), "x": x, "y": torch.tensor([0, 0, 1, 1])}
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, names)
        if "evaluate(model" in block:  # half of them are nearer than 8/255 to the boundary
            words = capsys.readouterr().out.splitlines()[-1].split()
            assert words == ["worst", "case", "50.00%", "15.0-85.0%", "2/4"]


# --- parts of one's own, as docs/methods.md has them ---------------------------------------------

METHODS = (ROOT / "docs" / "methods.md").read_text()
FILES = dict(re.findall(r"`(\S+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", METHODS, re.DOTALL))
OPTIONS = [Path(name) for name in FILES if name.endswith(".yaml")]
SHORT = ["training.epochs=1", "evaluation=none", "evaluation.examples=20", "device.threads=1"]
SHORT += ["keep.figures=false"]
GROUPS = {"attack": ["method=standard"], "method": ["attack=fgsm"]}


def quick_draw(folder: Path) -> None:
    """Files with the names, types and shapes of Quick, Draw!'s bitmaps."""
    (folder / "quick_draw").mkdir()
    for seed, name in enumerate(("cat", "house", "tree")):
        drawn = np.random.default_rng(seed).integers(0, 256, (100, 784), dtype=np.uint8)
        np.save(folder / "quick_draw" / f"{name}.npy", drawn)


GIVEN = {"quick_draw": quick_draw}  # the files that an example reads


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.stem)
def test_an_example_runs_from_a_folder_of_its_own(option: Path, tmp_path: Path) -> None:
    folder, here = tmp_path / "mine", tmp_path / "here"
    group, name = option.parent.name, option.stem
    (folder / group).mkdir(parents=True)
    here.mkdir()
    (folder / group / option.name).write_text(FILES[str(option)])
    module = next(file for file in FILES if file.endswith(f"/{name}.py"))
    (folder / f"{name}.py").write_text(FILES[module])
    more = GROUPS.get(group, ["method=standard", "attack=fgsm"])
    GIVEN.get(name, lambda folder: None)(here)
    words = ["-cd", "../mine", f"plugins=[{name}]", f"{group}={name}", *more, *SHORT]
    said = printed(here, *words)
    if group == "tracker":
        lines = [json.loads(line) for line in (here / f"{name}.txt").read_text().splitlines()]
        assert len({line.pop("run") for line in lines}) == 1
        assert lines[0] == {"seed": 0, "method": "standard"}
        assert [line["epoch"] for line in lines[1:-1]] == [1]
        assert lines[-1] == {"status": "completed"}
    else:
        assert name in said
