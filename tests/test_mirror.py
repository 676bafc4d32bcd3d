"""Tests lie as the code does: robustrun/ROOM/NAME.py is tested in tests/ROOM/test_NAME.py."""

import ast
from pathlib import Path

import pytest

import robustrun

TESTS = Path(__file__).parent
PACKAGE = Path(robustrun.__file__).parent
LONG = 25  # lines of a function that has something to test although it never branches
BRANCHES = (ast.If, ast.IfExp, ast.Match, ast.While, ast.Try)
# Tests of no single module. `test_all.py` is about what all modules of its folder promise.
WHOLE = {
    "engines/test_processes.py": "runs in several processes",
    "engines/test_search.py": "whole searches",
    "faults/test_damage.py": "whole runs with damaged files",
    "faults/test_kill_and_resume.py": "whole runs that are killed",
    "faults/test_wrong_input.py": "whole runs with wrong input",
    "methods/test_recipes.py": "methods, options of training and experiments put together",
    "report/test_many_runs.py": "whole reports over many runs",
    "engines/test_launchers.py": "a sweep on each engine: joblib, submitit, Ray",
    "engines/test_slurm.py": "sweeps on a Slurm: preemption, time and memory limits",
    "test_any_input.py": "the border: whatever comes in from files, Python and the command line",
    "test_benchmarks.py": "benchmarks/",
    "test_commands.py": "the commands of README and docs/",
    "test_device.py": "whole runs on a device",
    "test_distribution.py": "the wheel and the sdist",
    "test_documents.py": "README and docs/",
    "test_keep.py": "finished runs that keep little, used by every stage",
    "test_layers.py": "the imports of all modules",
    "test_measured_again.py": "finished runs and weights, measured on other data",
    "test_mirror.py": "the tests themselves",
    "test_names.py": "the names of options, from the command line to every artefact",
    "test_no_answer.py": "logits that are not finite, from training to the report",
    "test_project.py": "workflows, forms and versions",
    "test_old_runs.py": "folders of earlier versions, read by every stage",
    "test_told.py": "what a user asked for and did not get, from every stage",
    "test_tutorial.py": "docs/tutorial.ipynb",
    "test_what_is_asked.py": "what an evaluation asks for, from every stage",
    "test_without_posix.py": "the package where there is no POSIX",
}
# Modules that are tried as a part of something else, and where.
TRIED_IN = {
    "__main__.py": "command_line/test_main.py",
    "command_line/evaluate.py": "command_line/test_main.py",
    "command_line/experiments.py": "command_line/test_main.py",
    "command_line/export.py": "run_folder/test_export.py",
    "command_line/push.py": "run_folder/test_push.py",
    "command_line/report.py": "command_line/test_main.py",
    "command_line/ray_launcher.py": "engines/test_launchers.py",
    "command_line/search.py": "engines/test_search.py",
    "command_line/search_settings.py": "engines/test_search.py",
    "command_line/request.py": "command_line/test_sweep.py",
    "command_line/session.py": "command_line/test_sweep.py",
    "command_line/single_run.py": "command_line/test_main.py",
    "command_line/study.py": "engines/test_search.py",
    "command_line/together.py": "engines/test_processes.py",
    "command_line/stopping.py": "command_line/test_failures.py",
    "command_line/worker.py": "engines/test_processes.py",
    "compute/batch_norm.py": "engines/test_processes.py",
    "configuration/catalogue.py": "configuration/test_plugins.py",
    "configuration/foresight.py": "test_what_is_asked.py",
    "datasets/checks.py": "datasets/test_border.py",
    "datasets/watched.py": "datasets/test_border.py",
    "experiment.py": "command_line/test_main.py",
    "models/published.py": "models/test_timm.py",
    "report/curves.py": "report/test_page.py",
    "report/page_tables.py": "report/test_page.py",
    "report/study.py": "engines/test_search.py",
    "run_folder/export_formats.py": "run_folder/test_export.py",
    "run_folder/load.py": "test_measured_again.py",
    "run_folder/lpips_network.py": "methods/test_pat.py",
    "run_folder/provenance.py": "run_folder/test_repetition.py",
    "run_folder/recording.py": "command_line/test_main.py",
    "run_folder/sections.py": "command_line/test_main.py",
    "training/learner.py": "training/test_fit.py",
    "training/settings.py": "training/test_fit.py",
    "training/state.py": "training/test_fit.py",
    "training/validation.py": "training/test_fit.py",
    "training/weight_average.py": "training/test_fit.py",
}
FILES = sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py"))
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))


def file_of(module: str) -> str:
    """Where the tests of a module belong."""
    folder, _, name = module.rpartition("/")
    return f"{folder}/test_{name}".lstrip("/")


def has_logic(module: str) -> bool:
    """Whether a function of the module branches or is long."""
    functions = [
        node
        for node in ast.walk(ast.parse((PACKAGE / module).read_text()))
        if isinstance(node, ast.FunctionDef)
    ]
    return any(
        (node.end_lineno or 0) - node.lineno >= LONG
        or any(isinstance(part, BRANCHES) for part in ast.walk(node))
        for node in functions
    )


@pytest.mark.parametrize("file", FILES)
def test_a_test_file_is_about_a_module_that_exists(file: str) -> None:
    folder, name = (TESTS / file).parent.relative_to(TESTS), Path(file).name
    if name == "test_all.py":
        assert (PACKAGE / folder / "__init__.py").exists()
    elif file not in WHOLE:
        assert file in map(file_of, MODULES), f"{file} is of no module, and not in WHOLE"


@pytest.mark.parametrize("module", [name for name in MODULES if not name.endswith("__init__.py")])
def test_a_module_with_logic_has_its_test_file(module: str) -> None:
    if has_logic(module) and module not in TRIED_IN:
        assert file_of(module) in FILES, f"{file_of(module)} is missing"


def test_the_lists_name_what_exists() -> None:
    assert set(WHOLE) <= set(FILES)
    assert set(TRIED_IN) <= set(MODULES)
    assert set(TRIED_IN.values()) <= set(FILES)
