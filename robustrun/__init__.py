"""Train image classifiers that withstand adversarial attack, and measure honestly whether they do.

The same parts as on the command line: `robustrun.run(config, folder)`,
`robustrun.attacks.PGD(...)(model, x, y)`, `robustrun.evaluate(model, (x, y), attacks)`. They are
imported when first used, so that `import robustrun` costs no torch.
"""

from importlib import import_module

_FUNCTIONS = {
    "run": "robustrun.experiment",
    "evaluate": "robustrun.evaluation.measure",
    "load_config": "robustrun.configuration.run_config",
}
_PACKAGES = ("attacks", "datasets", "devices", "methods", "models", "trackers")

__all__ = [
    "attacks",
    "datasets",
    "devices",
    "evaluate",
    "load_config",
    "methods",
    "models",
    "run",
]


def __getattr__(name: str) -> object:
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name]), name)
    if name in _PACKAGES:
        return import_module(f"robustrun.{name}")
    raise AttributeError(f"module 'robustrun' has no attribute {name!r}")
