"""hydra/launcher=slurm and slurm_local: a submitit job for each run, and a wait for all of them."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher

from robustrun.command_line.engine_jobs import all_results
from robustrun.command_line.failures import print_remarks
from robustrun.errors import require

log = logging.getLogger(__name__)
OF_ANY_CLUSTER = {  # parameters that submitit names without the cluster's name before them
    *("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes"),
    *("name", "stderr_to_stdout"),
}


class SubmititLauncher(BaseSubmititLauncher):  # type: ignore[misc]
    """`cluster` is slurm, or local: processes of this machine. A job that is preempted or reaches
    its time limit is put into the queue again, and waited for."""

    def __init__(self, cluster: str, **params: Any) -> None:
        super().__init__(**params)
        self.cluster = cluster
        for name in ("nodes", "tasks_per_node"):
            right = "1: a run has one job of one task; more processes of it are device.processes"
            require(params[name] == 1, f"hydra.launcher.{name}", params[name], right)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        state = Singleton.get_state()
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        given = [
            ([*words], "hydra.sweep.dir", number, f"job_{number}", state)
            for words, number in zip(job_overrides, numbers, strict=True)
        ]
        jobs = self._executor().map_array(self, *zip(*given, strict=True))
        log.info("%s: %d jobs are queued, from %s on", self.cluster, len(jobs), jobs[0].job_id)
        try:
            return all_results([partial(_result, job) for job in jobs])
        except Exception:
            raise
        except BaseException:  # Ctrl-C or SIGTERM
            self._leave(jobs)
            raise

    def _executor(self) -> submitit.AutoExecutor:
        own = {key: value for key, value in self.params.items() if value is not None}
        folder, timeouts = own.pop("submitit_folder"), own.pop("max_num_timeout", 0)
        more = {"slurm_max_num_timeout": timeouts}
        executor = submitit.AutoExecutor(folder, cluster=self.cluster, **more)
        names = {key: key if key in OF_ANY_CLUSTER else f"slurm_{key}" for key in own}
        executor.update_parameters(**{names[key]: value for key, value in own.items()})
        return executor

    def _leave(self, jobs: list[submitit.Job[JobReturn]]) -> None:
        """Local jobs end with their driver; a cluster's go on without it."""
        if self.cluster == "local":
            for job in jobs:
                job.cancel(check=False)
            return
        number = jobs[0].job_id.partition("_")[0]
        print_remarks([f"the jobs stay in the queue. To end them: scancel {number}"])


def _result(job: submitit.Job[JobReturn]) -> JobReturn:
    result: JobReturn = job.results()[0]
    return result
