"""The wheel and the sdist: what is in them, and that they work installed, away from the source."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import robustrun
from tests.short_run import SHORT

pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")
ROOT = Path(__file__).parents[1]
PARTS = ("robustrun", "conf", "hydra_plugins")
BESIDE = ("pyproject.toml", "README.md", "LICENSE")
# A root without the right to pass over the modes of files: what is read-only is so for it, too.
WITHOUT_OVERRIDE = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
INSTALLED = """
import sys
from pathlib import Path

import robustrun
from robustrun.command_line.main import run_command_line

target, version, *words = sys.argv[1:]
assert Path(robustrun.__file__).is_relative_to(target), robustrun.__file__
assert robustrun.__version__ == version
assert run_command_line(["list"]) == 0
assert run_command_line(words) == 0
"""


def build(source: Path, kind: str, folder: Path) -> Path:
    """The file that hatchling makes of the source, in `folder`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository that a clone has, and what running it leaves beside them."""
    folder = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in BESIDE:
        shutil.copy(ROOT / name, folder / name)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_nothing.py").touch()
    (folder / "outputs").mkdir()
    (folder / "outputs" / "model.safetensors").touch()
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def target(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel alone, installed; what it stands on is that of this environment."""
    folder = tmp_path_factory.mktemp("target")
    options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--target", str(folder)]
    command = [sys.executable, "-m", "pip", "install", *options, str(wheel)]
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def expected(source: Path) -> set[str]:
    """The names in the wheel of all files of the source that belong there."""
    names = set()
    for part in PARTS:
        for path in (source / part).rglob("*"):
            if path.is_file():
                place = path.relative_to(source).as_posix()
                names.add(f"robustrun/{place}" if part == "conf" else place)
    return names


def test_the_wheel_has_every_file_of_the_package_and_no_other(source: Path, wheel: Path) -> None:
    found = contents(wheel)
    about = {name for name in found if ".dist-info/" in name}
    assert set(found) - about == expected(source)
    assert {"robustrun/py.typed", "robustrun/conf/config.yaml"} <= set(found)
    assert any(name.startswith("hydra_plugins/") for name in found)
    (prefix,) = {name.partition("/")[0] for name in about}
    version = robustrun.__version__
    assert prefix == f"robustrun-{version}.dist-info"
    metadata = found[f"{prefix}/METADATA"].decode()
    assert f"\nVersion: {version}\n" in metadata
    assert "\nLicense-Expression: MIT\n" in metadata
    assert (ROOT / "README.md").read_text() in metadata
    assert found[f"{prefix}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    assert b"robustrun = robustrun.__main__:main" in found[f"{prefix}/entry_points.txt"]


def test_the_sdist_gives_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as file:
        file.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"robustrun-{robustrun.__version__}"
    assert not (folder / "tests").exists()
    assert not (folder / "outputs").exists()
    assert contents(build(folder, "wheel", tmp_path / "again")) == contents(wheel)


def run(target: Path, here: Path, *words: str, before: tuple[str, ...] = ()) -> str:
    """What the installed package prints for its list and a run, away from the source."""
    command = [*before, sys.executable, "-c", INSTALLED, str(target), robustrun.__version__, *words]
    environment = os.environ | {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_lists_and_runs_from_another_folder(target: Path, tmp_path: Path) -> None:
    printed = run(target, tmp_path, *SHORT, "hydra.run.dir=run")
    assert "trades_awp" in printed
    assert "measured with" in printed
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="a folder there has no mode")
def test_the_wheel_runs_where_its_folder_is_read_only(target: Path, tmp_path: Path) -> None:
    folder, here = tmp_path / "read only", tmp_path / "here"
    shutil.copytree(target, folder)
    here.mkdir()
    before: tuple[str, ...] = ()
    if os.getuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root writes everywhere, and setpriv, which changes that, is not there")
        before = tuple(WITHOUT_OVERRIDE)
    places = [folder, *folder.rglob("*")]
    for place in places:
        place.chmod(place.stat().st_mode & ~0o222)
    try:
        attempt = [*before, sys.executable, "-c", f"open({str(folder / 'new')!r}, 'w')"]
        tried = subprocess.run(attempt, capture_output=True, text=True)
        assert "Permission denied" in tried.stderr
        files = {place for place in places if place.is_file()}
        run(folder, here, *SHORT, "hydra.run.dir=run", before=before)
        assert {place for place in folder.rglob("*") if place.is_file()} == files
    finally:
        for place in places:
            place.chmod(place.stat().st_mode | 0o200)
    assert (here / "run" / "results.json").is_file()


@pytest.mark.long
def test_the_tests_pass_on_the_installed_wheel(target: Path, tmp_path: Path) -> None:
    """Of what computes, and of the configuration, with nothing of the source in reach."""
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}
    rooms = ["tests/attacks", "tests/methods", "tests/storage", "tests/models/test_all.py"]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-p", "no:cacheprovider", *rooms]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    where = [sys.executable, "-c", "import robustrun; print(robustrun.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert Path(found.stdout.strip()).is_relative_to(target)
