"""What the tests of engines need beside the package alone."""

from importlib.util import find_spec

import pytest

from robustrun.configuration.composition import ENGINES


def require_launcher(name: str) -> None:
    """Skip where the plugin of `hydra/launcher=NAME` is not installed; Hydra's own needs none."""
    plugin, extra = ENGINES.get(name, ("", ""))
    if plugin and find_spec(f"hydra_plugins.{plugin}") is None:
        pytest.skip(f"robustrun[{extra}] is not installed")
