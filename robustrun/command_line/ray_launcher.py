"""hydra/launcher=ray: a task of Ray for each run, and a wait for all of them."""

import logging
import signal
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import ray
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, setup_globals
from hydra_plugins.hydra_ray_launcher._launcher_util import launch_job_on_ray
from hydra_plugins.hydra_ray_launcher.ray_launcher import RayLauncher
from omegaconf import OmegaConf, open_dict

from robustrun.command_line.engine_jobs import all_results

log = logging.getLogger(__name__)


class PatientRayLauncher(RayLauncher):
    """On the cluster that `ray.init.address` or RAY_ADDRESS names, else on one of its own."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        setup_globals()
        starts = not ray.is_initialized()
        handler = signal.getsignal(signal.SIGTERM)
        if starts:
            start = OmegaConf.to_container(self.ray_cfg.init, resolve=True)
            assert isinstance(start, dict)
            ray.init(**{str(key): value for key, value in start.items()})
        signal.signal(signal.SIGTERM, handler)  # Ray would end the driver without its last words
        log.info("ray: %d tasks", len(job_overrides))
        try:
            tasks = [
                self._task(words, number)
                for number, words in enumerate(job_overrides, start=initial_job_idx)
            ]
            return all_results([partial(_result, task) for task in tasks])
        finally:
            if starts:
                ray.shutdown()

    def _task(self, words: Sequence[str], number: int) -> Any:
        assert self.hydra_context is not None
        assert self.config is not None
        assert self.task_function is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, [*words])
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = f"job_{number}", number
        context, remote, function = self.hydra_context, self.ray_cfg.remote, self.task_function
        return launch_job_on_ray(context, remote, config, function, Singleton.get_state())


def _result(task: Any) -> JobReturn:
    while not ray.wait([task], timeout=0)[0]:
        time.sleep(0.5)  # signals are answered here; Ray's own waiting swallows them
    result: JobReturn = ray.get(task)
    return result
