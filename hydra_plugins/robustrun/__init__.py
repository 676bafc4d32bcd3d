"""What Hydra takes for a sweeper and for launchers, by names that it finds in this namespace only.

Every program with Hydra imports this module as it starts: it imports nothing of weight, and an
engine only when its launcher is made.
"""

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper as HydraSweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Sweeper(BasicSweeper):
    """Hydra's own, which goes past what is finished and launches again what a launcher lost."""

    def setup(self, **given: Any) -> None:
        from robustrun.command_line.session import CURRENT

        session = CURRENT.get()
        assert session is not None  # a sweep is driven by robustrun's own command
        session.require_folder()
        super().setup(**given)

    def sweep(self, arguments: list[str]) -> Any:
        from robustrun.command_line.sweeper import representatives, run_all

        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (combinations,) = self.split_arguments(overrides, None)
        self.validate_batch_is_legal(representatives(combinations))
        isolated = isinstance(self.launcher, _EngineLauncher)
        run_all(combinations, self.config.hydra, self._launch, isolated)

    def _launch(self, combinations: Sequence[list[str]], number: int) -> None:
        """In batches; raises what a job raised."""
        assert self.launcher is not None
        size = self.max_batch_size or len(combinations)
        for first in range(0, len(combinations), size):
            batch = combinations[first : first + size]
            for job in self.launcher.launch(batch, initial_job_idx=number + first):
                _ = job.return_value


class OptunaSweeper(HydraSweeper):
    """hydra/sweeper=optuna: asks Optuna for the runs, and tells it what they reached."""

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
        isolated = isinstance(self.launcher, _EngineLauncher)
        loader = self.hydra_context.config_loader
        search.search(self.config, loader, self.launcher, arguments, isolated)


class _EngineLauncher(Launcher):
    """A launcher whose engine is imported when it is made, and has a process for each run."""

    def __init__(self, **params: Any) -> None:
        self.params = params

    @abstractmethod
    def made(self, params: dict[str, Any]) -> Launcher: ...

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.engines = self.made(self.params)
        self.engines.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        return self.engines.launch(job_overrides, initial_job_idx)


class SlurmLauncher(_EngineLauncher):
    """hydra/launcher=slurm"""

    def made(self, params: dict[str, Any]) -> Launcher:
        from robustrun.command_line.slurm_launcher import SubmititLauncher

        return SubmititLauncher("slurm", **params)


class SlurmLocalLauncher(_EngineLauncher):
    """hydra/launcher=slurm_local: the same without a cluster"""

    def made(self, params: dict[str, Any]) -> Launcher:
        from robustrun.command_line.slurm_launcher import SubmititLauncher

        return SubmititLauncher("local", **params)


class RayLauncher(_EngineLauncher):
    """hydra/launcher=ray"""

    def made(self, params: dict[str, Any]) -> Launcher:
        for name in ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"):
            # Nothing is sent anywhere; and below `uv run`, no copy of the folder is made that would
            # have no environment. Ray reads these when it is imported.
            os.environ.setdefault(name, "0")
        from robustrun.command_line.ray_launcher import PatientRayLauncher

        return PatientRayLauncher(**params)
