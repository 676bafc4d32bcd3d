"""The packages that robustrun needs: which are installed, and whether they fit together."""

import importlib.util
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from robustrun.command_line.diagnosis.findings import Finding, Section, private

NAME = re.compile(r"[A-Za-z0-9._-]+")
MODULES = {"hydra-core": "hydra"}  # packages whose module has another name
REINSTALL = "pip install --upgrade --force-reinstall torch torchvision"


def section() -> Section:
    return Section("Versions", [_robustrun(), _python(), *_packages(), *_fit(), *_shadowed()])


def _robustrun() -> Finding:
    folder = private(Path(__file__).parents[2])
    version = _version("robustrun")
    if version is None:
        text = f"not installed, found in {folder}: pip install . in the folder above it"
        return Finding("robustrun", text, "broken")
    return Finding("robustrun", f"{version} in {folder}")


def _python() -> Finding:
    text = f"{platform.python_version()} ({platform.python_implementation()}) in "
    text += private(sys.prefix)
    return Finding("Python", f"{text} on {platform.system()} {platform.release()}")


def requirements(extra: str | None = None) -> list[str]:
    """What robustrun requires (`torch>=2.9`), or with one of its extras beside that."""
    try:
        declared = metadata.requires("robustrun") or []
    except metadata.PackageNotFoundError:
        return []
    wanted = []
    for line in declared:
        requirement, _, marker = line.partition(";")
        named = re.search(r"""extra\s*==\s*['"]([^'"]+)['"]""", marker)
        if (named[1] if named else None) == extra:
            wanted.append(requirement.strip())
    return wanted


def package_of(requirement: str) -> str:
    """The package's name: torch of `torch>=2.9`."""
    found = NAME.match(requirement)
    return found[0] if found else requirement


def modules() -> set[str]:
    """The packages that robustrun requires, as they are imported."""
    return {MODULES.get(name, name) for name in map(package_of, requirements())}


def _packages() -> list[Finding]:
    return [_package(requirement) for requirement in requirements()]


def _package(requirement: str) -> Finding:
    name = package_of(requirement)
    version = _version(name)
    module = MODULES.get(name, name)
    if version is None:
        text = f"missing, and no run goes without it: pip install '{requirement}'"
        return Finding(name, text, "broken")
    if not _is_there(module):
        text = f"{version} is registered, but its files are gone: pip install --force-reinstall"
        return Finding(name, f"{text} '{requirement}'", "broken")
    if not _allows(requirement, version):
        text = f"{version}, but robustrun needs {requirement}: pip install '{requirement}'"
        return Finding(name, text, "broken")
    return Finding(name, version)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _allows(requirement: str, version: str) -> bool:
    """Whether the version is in the range; yes where nothing is there that reads ranges."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return True
    return Requirement(requirement).specifier.contains(version, prereleases=True)


def _fit() -> list[Finding]:
    """Whether torch is one that torchvision was built for; torchvision itself says which ones."""
    try:
        declared = metadata.requires("torchvision") or []
    except metadata.PackageNotFoundError:
        return []
    torch, needs = _version("torch"), [line for line in declared if package_of(line) == "torch"]
    if torch is None or all(_allows(line, torch) for line in needs):
        return []
    text = f"it was built for {needs[0]}, and torch {torch} is installed: {REINSTALL}"
    return [Finding("torchvision", text, "broken")]


def _shadowed() -> list[Finding]:
    """Files of the working folder that Python imports in a package's place: `python -m` looks there
    first, the command `robustrun` does not."""
    if sys.path[:1] not in ([""], [os.getcwd()]):
        return []
    hidden = [name for name in sorted(modules() | {"numpy"}) if os.path.exists(f"{name}.py")]
    text = "Python takes this file of the working folder for the package: rename it"
    return [Finding(f"{name}.py", text, "broken") for name in hidden]
