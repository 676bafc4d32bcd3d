"""Imports point down only, as docs/architecture.md draws it, and never in a circle."""

import ast
import re
import runpy
from pathlib import Path

import pytest

import robustrun

PACKAGE = Path(robustrun.__file__).parent
DOCS = Path(__file__).resolve().parents[1] / "docs"
FLOORS = [  # from the ground up; a module imports from its own room or from a floor below
    {"errors"},
    {"registry", "console"},
    {"storage"},
    {"types"},
    {"losses", "compute"},
    {"attacks"},
    {"methods", "models", "datasets", "devices", "trackers"},
    {"evaluation"},
    {"training"},
    {"configuration"},
    {"run_folder"},
    {"report"},
    {"experiment"},
    {"command_line"},
    {"__main__", "__init__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
GROUPS = {"methods", "models", "datasets", "trackers"}  # rooms whose modules stand side by side
SHARED = {  # modules that the others of their package stand on
    "methods.batch_norm",
    "methods.inner",
    "models.initial_weights",
    "models.normalize",
    "models.patches",
    "models.published",
    "models.onnx",
    "models.trial",
    "models.weights",
    "datasets.contents",
    "datasets.arrays",
    "datasets.arrow",
    "datasets.augmentation",
    "datasets.border",
    "datasets.checks",
    "datasets.class_names",
    "datasets.corruptions",
    "datasets.decoded",
    "datasets.decoded_items",
    "datasets.files",
    "datasets.image_reader",
    "datasets.holdout",
    "datasets.layout",
    "datasets.listing",
    "datasets.longtail",
    "datasets.parquet",
    "datasets.pictures",
    "datasets.pixel_cache",
    "datasets.relabelled",
    "datasets.repeated",
    "datasets.settings",
    "datasets.stored_arrays",
    "datasets.subset",
    "datasets.tensors",
    "datasets.tree",
    "datasets.validation",
    "datasets.watched",
    "trackers.contents",
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room(module: str) -> str:
    return module.split(".")[0]


def imports(module: str) -> set[str]:
    """The robustrun modules that a module imports, without the leading package name."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            deeper = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= deeper | {node.module}
    own = {name.removeprefix("robustrun.") for name in names if name.startswith("robustrun.")}
    return {name for name in own if name in MODULES and f"{name}.py" != module}


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    for other in imports(module):
        below = FLOOR[room(other)] < FLOOR[room(module)]
        assert below or room(other) == room(module), f"{module} imports {other}, which is above it"
        siblings = room(module) in GROUPS and room(other) == room(module) and "." in module
        assert not siblings or other in SHARED, f"{module} imports its sibling {other}"


def test_no_module_imports_itself_through_others() -> None:
    leaves: set[str] = set()
    graph = {
        module: {other for other in imports(module) if MODULES[other].stem != "__init__"}
        for module in MODULES
    }
    while len(leaves) < len(graph):
        free = {module for module, others in graph.items() if others <= leaves} - leaves
        assert free, f"a circle of imports among {sorted(set(graph) - leaves)}"
        leaves |= free


def test_the_root_of_the_package_is_seen_at_a_glance() -> None:
    entries = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"}
    entries -= {"conf"}  # there where the package is installed
    assert len(entries) <= 23
    assert {name.removesuffix(".py") for name in entries} - {"py.typed"} == set(FLOOR)


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    script = runpy.run_path(str(DOCS / "draw_rooms.py"))
    page = (DOCS / "architecture.md").read_text()
    assert f"```mermaid\n{script['drawn']()}\n```" in page


def test_what_is_written_by_hand_lies_where_the_page_says() -> None:
    page = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| ([^|]*`[\w/.]+(?:py|/)`[^|]*) \|", page, re.MULTILINE)
    places = [place for row in rows for place in re.findall(r"`([\w/.]+(?:py|/))`", row)]
    assert len(places) > 30
    assert [place for place in places if not (PACKAGE / place).exists()] == []
