"""hydra/sweeper=optuna for Hydra, which imports this at each start: everything else waits."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """Asks Optuna for the runs of a sweep, hands them to any launcher, and tells what they reached
    (robustrun.command_line.search)."""

    def __init__(self, **settings: Any) -> None:  # read, with their names, from the configuration
        self.hydra_context = self.config = self.launcher = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from robustrun.storage import studies

        studies.require_optuna()
        from robustrun.command_line import search

        assert self.hydra_context is not None
        assert self.launcher is not None
        search.search(self.config, self.hydra_context.config_loader, self.launcher, arguments)
