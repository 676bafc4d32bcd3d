"""Registry[T]: names to classes, so that a YAML file's `name:` picks the class."""

import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import getattr_static
from typing import Generic, TypeVar

from robustrun.errors import ConfigError, did_you_mean

T = TypeVar("T")
C = TypeVar("C", bound=type)
log = logging.getLogger(__name__)


class NotRegistered(ConfigError):
    """No class of the group has the name."""

    def __init__(self, group: str, name: str, known: Iterable[str]) -> None:
        self.group, self.name = group, name
        self.what = f"{group}.name is {name!r}, which is not registered."
        super().__init__(f"{self.what}{did_you_mean(name, known)}")


class Registry(Generic[T]):
    """The classes of one configuration group, by name.

    `@METHODS.register("trades")` above a frozen dataclass is all that is needed; registering a
    name twice is an error unless it is the same class imported again.

    `forms` are the Protocols that an object of the group may have, each as its members with their
    meaning; `renamed` are methods that had another name once: a class that has the old one alone is
    warned of, since nothing calls it.
    """

    def __init__(
        self,
        group: str,
        *forms: Mapping[str, str],
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        self.group, self.forms, self.renamed = group, forms, renamed or {}
        self._classes: dict[str, type[T]] = {}

    def register(self, *names: str) -> Callable[[C], C]:
        def add(cls: C) -> C:
            for name in names:
                known = self._classes.get(name)
                if known is not None and known.__qualname__ != cls.__qualname__:
                    raise ValueError(f"{self.group} {name!r} is already {known.__qualname__}")
                self._classes[name] = cls
            self._warn_of_old_names(cls)
            return cls

        return add

    def _warn_of_old_names(self, cls: type) -> None:
        for old, new in self.renamed.items():
            if hasattr(cls, old) and not hasattr(cls, new):
                log.warning(
                    "%s %s: %s is called %s now, and is not used under its old name",
                    self.group,
                    cls.__qualname__,
                    old,
                    new,
                )

    def missing(self, instance: object) -> str:
        """What an object lacks of the form that it is nearest to, with the meaning of each member;
        empty if it lacks nothing."""
        lacks = [
            [f"{name} ({meaning})" for name, meaning in form.items() if not _has(instance, name)]
            for form in self.forms
        ]
        if not all(lacks):
            return ""
        share = [len(lack) / len(form) for lack, form in zip(lacks, self.forms, strict=True)]
        if min(share) < 1:
            return ", ".join(lacks[share.index(min(share))])
        return "; or ".join(", ".join(lack) for lack in lacks)

    def require_complete(self, instance: object, key: str) -> None:
        """ConfigError, which begins with `key`, if an object of the group lacks a member."""
        if lacks := self.missing(instance):
            raise ConfigError(f"{key}: the class {type(instance).__qualname__} lacks {lacks}.")

    def __getitem__(self, name: str) -> type[T]:
        try:
            return self._classes[name]
        except KeyError:
            raise NotRegistered(self.group, str(name), self._classes) from None

    def name_of(self, instance: T) -> str:
        """The name that the class of `instance` is registered by; empty if it is not."""
        return next((name for name in self if self._classes[name] is type(instance)), "")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._classes))

    def __contains__(self, name: object) -> bool:
        return name in self._classes


def _has(instance: object, name: str) -> bool:
    """Whether the object has the attribute; a property is not computed for it."""
    none = object()
    return getattr_static(instance, name, none) is not none or hasattr(instance, name)


def import_modules(package: str) -> list[str]:
    """Import every module of a package, so that what it registers is known; returns their names."""
    paths = importlib.import_module(package).__path__
    names = sorted(f"{package}.{m.name}" for m in pkgutil.iter_modules(paths))
    for name in names:
        importlib.import_module(name)
    return names


def export_modules(package: str, namespace: dict[str, object]) -> list[str]:
    """Import a package's modules and put the public classes that they define into `namespace`."""
    exported = []
    for name in import_modules(package):
        for key, value in vars(importlib.import_module(name)).items():
            if isinstance(value, type) and value.__module__ == name and not key.startswith("_"):
                namespace[key] = value
                exported.append(key)
    return sorted(exported)
