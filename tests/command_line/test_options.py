"""`robustrun list` and `explain`, with options of a folder of one's own."""

import sys
from pathlib import Path

import pytest

import robustrun
from robustrun.command_line import options
from robustrun.command_line.main import run_command_line
from robustrun.errors import ConfigError

MODULE = '''"""What my method is, https://example.org/mine"""

from dataclasses import dataclass

from robustrun.types import METHODS


@METHODS.register("NAME")
@dataclass(frozen=True)
class Mine:
    """L = strength * CE(f(x), y)."""

    strength: float
'''
SAID = "To import the Python file that registers it, add plugins=[{}]."


def folder_of_options(folder: Path, name: str, modules: tuple[str, ...]) -> Path:
    """A folder with one method, and the Python files `modules`, of which the first registers it."""
    (folder / "method").mkdir(parents=True)
    text = f"# A method of mine\nname: {name}\nstrength: 1/2    # of what\n"
    (folder / "method" / f"{name}.yaml").write_text(text)
    for number, module in enumerate(modules):
        content = MODULE.replace("class Mine", f"class {name.title()}").replace("NAME", name)
        (folder / f"{module}.py").write_text(content if number == 0 else "")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@pytest.mark.parametrize("words", [["-cd", "../mine"], ["--config-dir=../mine", "plugins=[x]"]])
def test_options_of_a_folder_are_listed_among_the_others(
    here: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of_options(here / "mine", "listed_one", ())
    assert run_command_line(["list", "method", *words]) == 0
    said = capsys.readouterr().out
    assert "  listed_one " in said
    assert "A method of mine" in said
    assert "  trades " in said


@pytest.mark.parametrize("last", [True, False])
def test_an_option_of_a_folder_is_explained_by_its_module(
    here: Path, last: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"explained{last}".lower()
    folder_of_options(here / "mine", name, (f"{name}_module",))
    flags = ["-cd", "../mine", f"plugins=[{name}_module]"]
    words = [f"method={name}", *flags] if last else [*flags, f"method={name}"]
    assert run_command_line(["explain", *words]) == 0
    said = capsys.readouterr()
    for text in ("What my method is, https://example.org/mine", "L = strength", "1/2    # of what"):
        assert text in said.out
    assert said.err == ""


def test_without_its_module_its_settings_are_shown_and_the_module_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of_options(here / "mine", "alone", ("some_module",))
    assert run_command_line(["explain", "-cd", "../mine", "method=alone"]) == 0
    said = capsys.readouterr()
    assert "strength: 1/2" in said.out
    assert said.err == f"robustrun: {SAID.format('some_module')}\n"


@pytest.mark.parametrize(
    ("modules", "named"),
    [
        (("only",), "only"),
        (("one", "other"), "MODULE"),
        ((), "MODULE"),
        (("only", "__init__"), "only"),
    ],
)
@pytest.mark.parametrize("command", [[], ["evaluate", "weights.pt"]])
def test_a_run_whose_option_no_module_registers_is_told_of_plugins(
    here: Path,
    modules: tuple[str, ...],
    named: str,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder_of_options(here / "mine", "nobodys", modules)
    Path("weights.pt").touch()
    assert run_command_line([*command, "-cd", "../mine", "method=nobodys"]) == 2
    said = capsys.readouterr().err
    what = "method.name is 'nobodys', which is not registered."
    assert said == f"robustrun: {what} {SAID.format(named)}\n"


def test_python_and_sweeps_are_told_of_plugins_too(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of_options(here / "mine", "nobodys_either", ("only",))
    with pytest.raises(ConfigError, match=r"add plugins=\[only\]\.$"):
        robustrun.compose(["method=nobodys_either"], folders=[folder])
    assert run_command_line(["-m", "-cd", "../mine", "method=nobodys_either", "seed=0"]) == 1
    assert SAID.format("only") in capsys.readouterr().err


def test_no_module_is_hinted_at_where_one_is_named_or_the_name_is_no_folders(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_of_options(here / "mine", "missing", ("other", "another"))
    for words in (["method=missing", "plugins=[another]"], ["method.name=trads"]):
        assert run_command_line(["-cd", "../mine", *words]) == 2
        said = capsys.readouterr().err
        assert "which is not registered" in said
        assert "plugins=" not in said


@pytest.mark.parametrize("command", [["list"], ["explain", "method=trades"], ["seed=1"]])
def test_a_folder_that_does_not_exist_is_named(
    here: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([*command, "-cd", "nowhere"]) == 2
    assert capsys.readouterr().err == "robustrun: -cd nowhere: there is no such folder.\n"


def test_several_folders_are_looked_in(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        folder_of_options(here / name, name, ())
    words = ["-cd", "../first", "-cd", "../second"]
    assert run_command_line(["list", "method", *words]) == 0
    listed = capsys.readouterr().out.split()
    assert {"first", "second"} <= set(listed)
    for name in ("first", "second"):
        assert run_command_line([*words, f"method={name}", "--cfg", "job", "-p", "method"]) == 0
        assert f"name: {name}" in capsys.readouterr().out


def test_a_headline_is_the_first_comment_that_says_what_the_option_is(tmp_path: Path) -> None:
    file = tmp_path / "option.yaml"
    file.write_text("# @package _global_\n# robustrun method=a\n# What it is\nname: a\n# more\n")
    assert options.headline(file) == "What it is"
    file.write_text("name: a\n")
    assert options.headline(file) == ""


@pytest.mark.parametrize(
    ("words", "right"),
    [
        ([], "robustrun explain takes an option, as in method=trades"),
        (["trades"], "Write robustrun explain method=trades"),
    ],
)
def test_explain_without_an_option_says_how_it_is_written(
    words: list[str], right: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["explain", *words]) == 2
    assert right in capsys.readouterr().err
