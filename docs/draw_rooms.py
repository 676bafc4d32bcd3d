"""Draws how the rooms of the package import each other, for docs/architecture.md.

python docs/draw_rooms.py
"""

import ast
from pathlib import Path

import robustrun

PACKAGE = Path(robustrun.__file__).parent
EVERYWHERE = {"errors", "registry", "console", "types", "losses", "storage", "compute"}


def room(module: str) -> str:
    """The room of a module of the package: `attacks` for `robustrun.attacks.pgd`."""
    return module.removeprefix("robustrun.").split(".")[0]


def rooms_below(path: Path) -> set[str]:
    """The rooms that the file at `path` imports from."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "robustrun":
            modules |= {f"robustrun.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return {room(module) for module in modules if module.startswith("robustrun.")}


def imports() -> dict[str, set[str]]:
    """Each room with the rooms that it imports from, without those that every room stands on."""
    graph: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        graph.setdefault(own, set()).update(rooms_below(path) - {own} - EVERYWHERE)
    return {own: graph[own] for own in sorted(graph) if own not in {*EVERYWHERE, "__init__"}}


def direct(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same without the arrows that a way through other rooms already tells."""

    def reached(own: str) -> set[str]:
        return graph[own].union(*(reached(below) for below in graph[own]))

    return {
        own: below - {further for other in below for further in reached(other)}
        for own, below in graph.items()
    }


def drawn() -> str:
    """The Mermaid graph."""
    lines = [
        f"    {own} --> {below}"
        for own, rooms in direct(imports()).items()
        for below in sorted(rooms)
    ]
    return "\n".join(["graph TD", *lines])


if __name__ == "__main__":
    print(drawn())
