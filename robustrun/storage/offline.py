"""Whether this process may open a connection: ROBUSTRUN_OFFLINE, or the hub's own variable."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

VARIABLES = ("ROBUSTRUN_OFFLINE", "HF_HUB_OFFLINE")
YES = ("1", "true", "yes", "on")


def offline() -> str | None:
    """The variable that forbids connections, as it is set; None if none does."""
    for name in VARIABLES:
        if os.environ.get(name, "").strip().lower() in YES:
            return f"{name}={os.environ[name]}"
    return None


def keep_hub_offline() -> None:
    """Where connections are forbidden, let Hugging Face's libraries open none either: they go by
    HF_HUB_OFFLINE, which they read when they are imported."""
    if offline() is not None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        for module in _imported():
            module.HF_HUB_OFFLINE = True


@contextmanager
def hub_offline() -> Iterator[None]:
    """In this context Hugging Face's libraries that are imported read their cache alone."""
    before = [(module, module.HF_HUB_OFFLINE) for module in _imported()]
    for module, _ in before:
        module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for module, value in before:
            module.HF_HUB_OFFLINE = value


def _imported() -> list[Any]:
    """The modules in which those libraries keep what they read of the variable."""
    names = ("huggingface_hub.constants", "datasets.config")
    return [sys.modules[name] for name in names if name in sys.modules]
