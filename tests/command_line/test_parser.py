"""Each sub-command has its help, takes its words in any order, and names a wrong one."""

import re
import subprocess
import sys

import pytest

from robustrun.command_line import evaluate, export, options, push, report, resume
from robustrun.command_line.commands import COMMANDS
from robustrun.command_line.main import run_command_line
from robustrun.command_line.parser import CommandParser
from robustrun.errors import RobustrunError

PARSERS = {
    "evaluate": evaluate.parser,
    "explain": options.explain_parser,
    "export": export.parser,
    "list": options.list_parser,
    "push": push.parser,
    "report": report.parser,
    "resume": resume.parser,
}


def test_every_sub_command_has_a_parser_and_stands_in_the_general_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ["doctor", *PARSERS] == [*COMMANDS]  # that one reads its words itself
    assert run_command_line(["--help"]) == 0
    said = capsys.readouterr().out
    for command in COMMANDS:
        assert f"robustrun {command} " in said


@pytest.mark.parametrize("command", PARSERS)
@pytest.mark.parametrize("words", [["--help"], ["-h"], ["RUN", "--help"]])
def test_help_shows_usage_and_examples_and_is_no_error(
    command: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([command, *words]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: robustrun {command} ")
    assert re.search(rf"Examples\n  robustrun {command}\b", said.out)
    assert max(map(len, said.out.splitlines())) <= 100
    assert said.err == ""


def test_no_help_needs_torch() -> None:
    code = "import sys; sys.modules['torch'] = None\n"
    code += "from robustrun.command_line.main import run_command_line as run\n"
    code += f"print([run([*words, '--help']) for words in ([], *zip({list(PARSERS)}))])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == str([0] * (1 + len(PARSERS))), ended.stderr


@pytest.mark.parametrize("command", PARSERS)
def test_an_unknown_flag_is_named_with_the_nearest(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([command, "RUN", "--hepl"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"robustrun: --hepl is no flag of robustrun {command}. Did you mean")
    assert "'--help'" in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


@pytest.mark.parametrize("command", ["evaluate", "explain", "export", "push", "report", "resume"])
def test_what_is_missing_is_named(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line([command]) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"See robustrun {command} --help.\n")
    assert "others" not in said
    assert "OVERRIDE" not in said


@pytest.mark.parametrize(
    "words", [["RUN", "a=1", "-cd", "x", "b=2"], ["-cd=x", "RUN", "a=1", "b=2"]]
)
def test_flags_and_words_stand_in_any_order(words: list[str]) -> None:
    given = evaluate.parser().read(words)
    assert (given.source, given.overrides, given.config_dir) == ("RUN", ["a=1", "b=2"], ["x"])


def test_what_is_wrong_is_an_error_and_leaves_the_process_running() -> None:
    parser = CommandParser("try", "Tries.", "")
    with pytest.raises(RobustrunError, match=r"^nothing there\. See robustrun try --help\.$"):
        parser.error("nothing there.")
