"""Imports point down only, as docs/architecture.md draws it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "robustrun"
LAYERS = [  # from the ground up; a module imports only from its own line's packages or below
    {
        "errors",
        "registry",
        "console",
        "journal",
        "chance",
        "words",
        "files",
        "storage",
    },
    {"types"},
    {"losses", "compute"},
    {"attacks"},
    {"methods", "models", "datasets", "devices", "trackers", "optimizers", "schedules"},
    {"config", "plugins", "compose", "origin", "finished", "collapse"},
    {"train", "averaging", "batching", "evaluation", "compiling", "foresight", "run_folder"},
    {"audit", "corruption_benchmark"},
    {"results", "checkpoint", "record", "repetition"},
    {"figures"},
    {"dispatch", "report", "catalogue"},
    {"cli", "__main__", "__init__"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MAY_SHARE = ("attacks", "audit", "compute", "report", "storage")  # modules build on each other
SHARED = {  # modules that the others of their package stand on
    "methods.batch_norm",
    "methods.inner",
    "models.normalize",
    "models.trial",
    "models.weights",
    "datasets.contents",
    "datasets.augmentation",
    "datasets.border",
    "datasets.decoded",
    "datasets.files",
    "datasets.image_reader",
    "datasets.longtail",
    "datasets.pictures",
    "datasets.pixel_cache",
    "datasets.settings",
    "datasets.tensors",
    "datasets.tree",
    "datasets.validation",
    "trackers.contents",
}
PARTS = LAYERS[4]


def part(module: str) -> str:
    return module.split(".")[0]


def imported(path: Path) -> set[str]:
    """The robustrun modules that a file imports, without the leading package name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            deeper = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= deeper if node.module == "robustrun" else {node.module}
    return {name.removeprefix("robustrun.") for name in found if name.startswith("robustrun.")}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_imports_point_down(path: Path) -> None:
    own = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
    for other in imported(path):
        below = LEVEL[part(other)] < LEVEL[part(own)]
        same_line = part(own) == part(other) or (
            LEVEL[part(other)] == LEVEL[part(own)] and part(own) not in PARTS
        )
        siblings = part(other) == part(own) and "." in own and part(own) not in MAY_SHARE
        assert below or same_line, f"{own} imports {other}, which lies above it"
        assert not siblings or other in SHARED, f"{own} imports its sibling {other}"
