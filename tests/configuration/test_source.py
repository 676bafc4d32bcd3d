"""What classes say of themselves, read without importing them."""

import inspect
import subprocess
import sys

import pytest

from robustrun.configuration import source
from robustrun.configuration.decoding import REGISTRIES

COMPUTED = ("wide_resnet28_10", "wide_resnet34_10")  # names that no source spells beside the class
BY_GROUP = {registry.group: registry for registry in REGISTRIES.values()}
EVERY = [(group, name) for group, registry in BY_GROUP.items() for name in registry]


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_the_source_says_what_the_imported_class_says(group: str, name: str) -> None:
    cls = BY_GROUP[group][name]
    if not cls.__module__.startswith("robustrun."):
        pytest.skip("of a plugin of another test")
    module = inspect.getdoc(inspect.getmodule(cls)) or ""
    said = source.documentation(group, name)
    if name in COMPUTED:
        assert said is None  # then the class is imported
        return
    assert said == f"{module}\n\n{inspect.getdoc(cls) or ''}"


def test_what_nothing_is_registered_by_has_no_documentation() -> None:
    assert source.documentation("method", "nosuch") is None
    assert source.documentation("experiment", "None") is None


def test_explaining_imports_no_torch() -> None:
    code = """
import sys
from robustrun.command_line.main import run_command_line
code = run_command_line(["explain", "method=trades"])
assert "torch" not in sys.modules
sys.exit(code)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("TRADES (Zhang et al. 2019")
