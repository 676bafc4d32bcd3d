"""What the package's own classes say of themselves, read from their source without importing it."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def documentation(group: str, name: str) -> str | None:
    """The docstrings of the module and the class that are registered in a group by this name; None
    if the package has no such class."""
    mark = f"@{group.upper()}S.register("
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if mark not in text or f'"{name}"' not in text:
            continue
        module = ast.parse(text)
        for cls in _registered(module, group, name):
            return f"{ast.get_docstring(module) or ''}\n\n{ast.get_docstring(cls) or ''}"
    return None


def _registered(module: ast.Module, group: str, name: str) -> Iterator[ast.ClassDef]:
    """The classes of a module that `@GROUPS.register(..., name, ...)` stands above."""
    for cls in module.body:
        if not isinstance(cls, ast.ClassDef):
            continue
        calls = [mark for mark in cls.decorator_list if isinstance(mark, ast.Call)]
        for call in calls:
            names = [word.value for word in call.args if isinstance(word, ast.Constant)]
            if ast.unparse(call.func) == f"{group.upper()}S.register" and name in names:
                yield cls
