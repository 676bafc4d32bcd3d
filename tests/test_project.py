"""The repository itself: workflows, forms, versions. Their schemas are checked in ci.yml."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import robustrun

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FORMS = [ROOT / f".github/ISSUE_TEMPLATE/{name}.yml" for name in ("bug", "number", "feature")]


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def jobs(path: Path) -> dict[str, Any]:
    return read(path)["jobs"]


def commands(path: Path) -> list[str]:
    return [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]


def test_there_are_a_check_a_night_and_a_release() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "nightly", "release"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_to_a_commit_and_names_its_version(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_only_the_publisher_says_who_it_is(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}
    for name, job in jobs(path).items():
        assert job.get("permissions") == ({"id-token": "write"} if name == "publish" else None)
        assert job["timeout-minutes"] <= 240
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


def test_what_is_published_was_built_once_and_tested() -> None:
    release = jobs(ROOT / ".github/workflows/release.yml")
    assert release["publish"]["needs"] == "test"
    assert release["test"]["needs"] == "build"
    builds = [line for line in commands(ROOT / ".github/workflows/release.yml") if "build" in line]
    assert builds == ["uv build --sdist --wheel"]
    assert not any("run" in step for step in release["publish"]["steps"])


def test_the_check_runs_on_each_python_that_is_promised() -> None:
    low, high = re.findall(r"3\.(\d+)", PYPROJECT["project"]["requires-python"])
    promised = [f"3.{minor}" for minor in range(int(low), int(high))]
    check = jobs(ROOT / ".github/workflows/ci.yml")
    assert check["tests"]["strategy"]["matrix"]["python"] == promised
    systems = {entry["system"] for entry in check["elsewhere"]["strategy"]["matrix"]["include"]}
    assert {name.partition("-")[0] for name in systems} == {"macos", "windows"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_names_groups_files_and_marks_that_exist(path: Path) -> None:
    lines = "\n".join(commands(path))
    assert set(re.findall(r"--group (\S+)", lines)) <= set(PYPROJECT["dependency-groups"])
    for name in re.findall(r"(?:tests|benchmarks)/[\w/.]+|\S+\.toml", lines):
        assert (ROOT / name).exists(), name
    marks = {
        mark.partition(":")[0] for mark in PYPROJECT["tool"]["pytest"]["ini_options"]["markers"]
    }
    for choice in re.findall(r'-m "([^"]+)"', lines):
        assert set(choice.split()) - {"not", "and", "or"} <= marks


def test_the_check_is_what_the_script_does() -> None:
    check = commands(ROOT / ".github/workflows/ci.yml")
    script = re.findall(r"uv run -q (.*)", (ROOT / ".ci/run").read_text())
    assert {"ruff format --check .", "ruff check .", "mypy robustrun benchmarks"} <= set(script)
    assert {line for line in script if line.split()[0] in ("ruff", "mypy")} <= set(check)


def test_at_least_92_of_100_lines_are_reached_or_the_check_fails() -> None:
    assert PYPROJECT["tool"]["coverage"]["report"]["fail_under"] >= 92
    assert any("--cov" in line for line in commands(ROOT / ".github/workflows/ci.yml"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_what_is_needed(path: Path) -> None:
    form = read(path)
    fields = {field["id"]: field for field in form["body"]}
    assert form["name"]
    assert form["description"]
    assert all(field["attributes"]["label"] for field in fields.values())
    if path.stem != "feature":
        assert fields["doctor"]["validations"]["required"]
        assert "robustrun doctor" in fields["doctor"]["attributes"]["label"]
        assert "results.json" in fields["folder"]["attributes"]["description"]


def test_the_version_is_the_same_wherever_it_stands() -> None:
    version = PYPROJECT["project"]["version"]
    assert robustrun.__version__ == version
    assert read(ROOT / "CITATION.cff")["version"] == version
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_names_the_licence_and_nobody_by_name() -> None:
    citation = read(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PYPROJECT["project"]["license"] == "MIT"
    assert citation["authors"] == [{"name": "The robustrun developers"}]


def test_contributing_fits_on_a_screen_and_names_commands_that_check() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert len(text.splitlines()) <= 50
    for line in commands(ROOT / ".github/workflows/ci.yml"):
        if line.startswith(("ruff check", "mypy")):
            assert line in text


def test_a_commit_is_checked_by_what_the_check_runs() -> None:
    (local,) = read(ROOT / ".pre-commit-config.yaml")["repos"]
    entries = [hook["entry"] for hook in local["hooks"]]
    assert entries[:3] == ["ruff format", "ruff check --fix", "mypy robustrun benchmarks"]


def test_a_badge_says_what_a_reader_can_check_here() -> None:
    """One from a server would be false as long as there is no such server."""
    assert not re.findall(r"!\[[^]]*\]\(https?:", (ROOT / "README.md").read_text())
