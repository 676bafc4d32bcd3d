"""Train image classifiers that withstand adversarial attacks, and measure honestly whether they do.

The parts of the command line, with the same names, defaults and units (docs/python.md):

    attack = robustrun.attack("autoattack", norm="linf", epsilon=8/255)
    x_adv = attack(model, x, y)
    print(robustrun.evaluate(model, (x, y), attack))

They are imported when first used, so that `import robustrun` costs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robustrun import attacks, datasets, devices, methods, models, trackers
    from robustrun.configuration.objects import attack, compose, dataset, evaluate, method, model
    from robustrun.configuration.run_config import load_config
    from robustrun.experiment import run
    from robustrun.run_folder.export import export
    from robustrun.run_folder.load import load_run
    from robustrun.run_folder.push import push

    __version__: str

__all__ = [
    "__version__",
    "attack",
    "attacks",
    "compose",
    "dataset",
    "datasets",
    "devices",
    "evaluate",
    "export",
    "load_config",
    "load_run",
    "method",
    "methods",
    "model",
    "models",
    "push",
    "run",
    "trackers",
]

_OBJECTS = "robustrun.configuration.objects"
_FUNCTIONS = {
    **dict.fromkeys(("attack", "compose", "dataset", "evaluate", "method", "model"), _OBJECTS),
    "export": "robustrun.run_folder.export",
    "load_config": "robustrun.configuration.run_config",
    "load_run": "robustrun.run_folder.load",
    "push": "robustrun.run_folder.push",
    "run": "robustrun.experiment",
}
_PACKAGES = ("attacks", "datasets", "devices", "methods", "models", "trackers")

if not TYPE_CHECKING:  # a type checker must not take a misspelt name for anything

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("robustrun")
        if name in _FUNCTIONS:
            return getattr(import_module(_FUNCTIONS[name]), name)
        if name in _PACKAGES:
            return import_module(f"robustrun.{name}")
        raise AttributeError(f"module 'robustrun' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
