"""A network of the user's own, from a Python file or an importable module."""

import importlib
import inspect
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from robustrun.errors import ConfigError, did_you_mean, require
from robustrun.models.initial_weights import digest_of, started
from robustrun.models.normalize import Normalize, check_statistics, normalises_itself
from robustrun.models.trial import reason, sample, tried
from robustrun.types import MODELS, Shape

log = logging.getLogger(__name__)
FORM = "FILE.py:NAME or PACKAGE.MODULE:NAME, NAME a class or function that makes the network"
CLASSES = ("num_classes", "classes", "n_classes")  # parameters that are filled where there are any
CHANNELS = ("in_channels", "channels", "in_chans")
SIZES = ("image_size", "img_size")
SHAPES = ("shape", "input_shape")
KEPT = ("robustrun", "torch", "torchvision", "numpy")  # never another module of that name
TWICE = (
    "%s seems to normalise images itself (%s), and gets them normalised already: unless both are "
    "meant, set model.mean=null model.std=null"
)


@MODELS.register("file")
@dataclass(frozen=True)
class File:
    """A class or function of a Python file, which is run as your own code.

    It is called with `arguments`, and with the number of classes (`num_classes`, `classes`), the
    channels (`in_channels`, `in_chans`), the side (`image_size`) or the shape (channels, height,
    width) of images where it has a parameter of that name. What it returns takes images in [0, 1],
    normalised by `mean` and `std` before it unless these are null, and gives logits N x K.
    """

    network: str
    arguments: dict[str, Any] | None
    weights: str  # random (whatever it makes itself), a file, or a finished run's folder
    mean: tuple[float, ...] | None  # None: the network normalises itself
    std: tuple[float, ...] | None

    def __post_init__(self) -> None:
        place, _, name = self.network.rpartition(":")
        require(bool(place) and name.isidentifier(), "network", self.network, FORM)
        both = (self.mean is None) == (self.std is None)
        require(both, "std", self.std, "null where mean is null, and only there")
        if self.mean is not None and self.std is not None:
            check_statistics(self.mean, self.std)

    @property
    def place(self) -> str:
        """The file or module."""
        return self.network.rpartition(":")[0]

    @property
    def maker(self) -> str:
        """The name of the class or function in it."""
        return self.network.rpartition(":")[2]

    @property
    def is_file(self) -> bool:
        return self.place.endswith(".py")

    @property
    def architecture(self) -> str:
        """What the network is called in results: `my_net.Net`."""
        module = Path(self.place).stem if self.is_file else self.place.rpartition(".")[2]
        return f"{module}.{self.maker}"

    @property
    def title(self) -> str:
        """What messages call it: `my_net.py:Net`."""
        return f"{Path(self.place).name}:{self.maker}"

    def code(self) -> dict[str, Path]:
        """The files that it is made of, by their names below the folder of the first: the file
        itself, and those beside it that it imports. Running it is what tells."""
        _, files = self._imported()
        return files

    def source_folder(self) -> Path:
        if self.is_file:
            return Path(self.place).expanduser().parent
        module = sys.modules.get(self.place)
        return Path(str(module.__file__)).parent if module else Path.cwd()

    def from_folder(self, folder: Path) -> "File":
        """The same network from a copy of its files; of a module, the module itself."""
        if not self.is_file:
            return self
        return replace(self, network=f"{folder / Path(self.place).name}:{self.maker}")

    def build(self, shape: Shape, classes: int) -> nn.Module:
        module, files = self._imported()
        file = next(iter(files.values()))
        log.info("%s is run as your own code (SHA-256 %s)", self.title, digest_of(file)[:16])
        log.info("it gets images %s", self._normalisation())
        make = self._maker_of(module)
        with _beside(file.parent):
            network = self._made(make, shape, classes)
        if self.weights != "random" and any(map(is_lazy, network.parameters())):
            tried(network, sample(shape), classes, self.title)  # a pass gives them their shapes
        if self.mean is None or self.std is None:
            return started(network, self.weights, nn.Identity(), classes)
        normalize = Normalize(self.mean, self.std, shape[0])
        if part := normalises_itself(network, shape[0]):
            log.warning(TWICE, self.title, part)
        started(network, self.weights, normalize, classes)
        return nn.Sequential(OrderedDict(normalize=normalize, network=network))

    def _normalisation(self) -> str:
        if self.mean is None or self.std is None:
            return "in [0, 1], not normalised (model.mean=null model.std=null)"
        mean, std = (", ".join(f"{it:.4g}" for it in both) for both in (self.mean, self.std))
        return f"normalised with mean {mean} and std {std} (model.mean, model.std)"

    def _imported(self) -> tuple[ModuleType, dict[str, Path]]:
        try:
            return (
                from_file(Path(self.place).expanduser())
                if self.is_file
                else from_module(self.place)
            )
        except ConfigError:
            raise
        except Exception as error:  # the user's own code fails in its own ways
            raise ConfigError(
                f"model.network is {self.network!r}, and {self.place} cannot be imported: "
                f"{_place_of(error, self.place)}{type(error).__name__}: {reason(error)}"
            ) from error

    def _maker_of(self, module: ModuleType) -> Callable[..., Any]:
        make = getattr(module, self.maker, None)
        if callable(make) and not isinstance(make, nn.Module) and _has_parameters(make):
            return make  # type: ignore[no-any-return]
        own = [
            name
            for name, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, nn.Module)
            if value.__module__ == module.__name__
        ]
        found = f"is a {type(make).__name__}" if hasattr(module, self.maker) else "is not in it"
        raise ConfigError(
            f"model.network is {self.title!r}, but {self.maker} {found}: a class or function is "
            f"needed.{did_you_mean(self.maker, own) if own else ''}"
        )

    def _made(self, make: Callable[..., Any], shape: Shape, classes: int) -> nn.Module:
        arguments = self.arguments or {}
        given = arguments | _known(make, shape, classes, arguments)
        try:
            inspect.signature(make).bind(**given)
        except TypeError as error:
            raise ConfigError(
                f"model.arguments: {self.title}{inspect.signature(make)} cannot be called with "
                f"{', '.join(given) or 'nothing'} ({error}). What it needs is given as "
                f"model.arguments='{{NAME: VALUE}}'."
            ) from None
        try:
            network = make(**given)
        except Exception as error:
            raise ConfigError(
                f"model.network: {self.title} cannot be made with {_shown(given)}: "
                f"{_place_of(error, self.place)}{type(error).__name__}: {reason(error)}"
            ) from error
        if not isinstance(network, nn.Module):
            raise ConfigError(
                f"model.network: {self.title} makes a {type(network).__name__}, but a "
                f"torch.nn.Module is needed."
            )
        return network


def _has_parameters(make: Callable[..., Any]) -> bool:
    """Whether it says what it is called with, as every class and function of Python does."""
    try:
        inspect.signature(make)
    except ValueError:
        return False
    return True


def _known(
    make: Callable[..., Any], shape: Shape, classes: int, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What the data set says, for the parameters that ask for it and have no argument."""
    side = shape[1] if shape[1] == shape[2] else shape[1:]
    values: dict[str, Any] = dict.fromkeys(CLASSES, classes) | dict.fromkeys(CHANNELS, shape[0])
    values |= dict.fromkeys(SIZES, side) | dict.fromkeys(SHAPES, shape)
    parameters = inspect.signature(make).parameters
    return {name: values[name] for name in parameters if name in values and name not in given}


def _shown(given: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in given.items()) or "no arguments"


def _place_of(error: Exception, file: str) -> str:
    """The line of the user's file that failed, where there is one."""
    if isinstance(error, SyntaxError) and Path(error.filename or "").name == Path(file).name:
        return f"line {error.lineno}: "
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(Path(file).name):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"line {lines[-1]}: " if lines else ""


def from_module(name: str) -> tuple[ModuleType, dict[str, Path]]:
    """An importable module, looked for in the current folder too, with its file."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"model.network names the module {name!r}, which is not found. It must be importable: "
            f"in the current folder ({Path.cwd()}), on PYTHONPATH or installed. Of a file, write "
            f"FILE.py:NAME."
        ) from None
    if (file := getattr(module, "__file__", None)) is None:
        raise ConfigError(
            f"model.network names {name!r}, which is no file: a folder, or built into Python. "
            f"Write {FORM}."
        )
    return module, {Path(file).name: Path(file)}


def from_file(file: Path) -> tuple[ModuleType, dict[str, Path]]:
    """A file as a module, with the files beside it that it imports. It is run again whenever it or
    its place is another; modules beside it are its own, not another file's of the same name."""
    if not file.is_file():
        where = "" if file.is_absolute() else f" in the current folder ({Path.cwd()})"
        raise ConfigError(f"model.network names {file}, but there is no such file{where}.")
    file = file.resolve()
    name = f"robustrun_file_{file.stem}_{digest_of(file)[:12]}_{abs(hash(str(file))):x}"
    if name not in sys.modules:
        sys.modules[name] = _run(file, name)
    module = sys.modules[name]
    return module, getattr(module, "__robustrun_files__", {file.name: file})


def _run(file: Path, name: str) -> ModuleType:
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    try:
        with _beside(file.parent) as imported:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    files = {file.name: file} | {str(f.relative_to(file.parent)): f for f in imported}
    vars(module)["__robustrun_files__"] = files
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[list[Path]]:
    """In this context modules of `folder` are found before all others, and those imported are
    forgotten afterwards, so that another file's are its own; what is yielded fills with their
    files."""
    folder = folder.resolve()
    files: list[Path] = []
    here = {path.stem for path in folder.glob("*.py")}
    here |= {path.parent.name for path in folder.glob("*/__init__.py")}
    here -= {*sys.stdlib_module_names, *KEPT}
    others = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in here and not _lies_in(module, folder)
    }
    for name in others:
        del sys.modules[name]
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield files
    finally:
        sys.path.remove(str(folder))
        for name in sys.modules.keys() - before:
            if name.partition(".")[0] in here and _lies_in(sys.modules[name], folder):
                files.append(Path(str(sys.modules.pop(name).__file__)).resolve())
        sys.modules.update(others)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and Path(file).resolve().is_relative_to(folder)
