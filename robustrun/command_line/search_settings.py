"""hydra.sweeper of a search, as conf/hydra/sweeper/optuna.yaml explains it."""

import random
from dataclasses import dataclass
from typing import Any, Literal

from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from robustrun.errors import ConfigError, require
from robustrun.run_folder.pruning import Pruner

Objective = Literal["validation_robust_accuracy", "validation_clean_accuracy"]


@dataclass(frozen=True)
class Settings:
    """What is searched for, how, and where it is kept."""

    n_trials: int
    n_jobs: int
    objectives: list[Objective]
    direction: Literal["maximize", "minimize"]
    sampler: Literal["tpe", "random", "grid"]
    n_startup_trials: int
    seed: int | None
    pruner: Literal["none", "median", "hyperband", "halving"]
    prune_after_trials: int
    prune_after_epochs: int
    storage: str | None
    study_name: str | None
    params: dict[str, Any]

    def __post_init__(self) -> None:
        require(self.n_trials > 0, "n_trials", self.n_trials, "at least 1")
        require(self.n_jobs > 0, "n_jobs", self.n_jobs, "at least 1")
        require(self.n_startup_trials >= 0, "n_startup_trials", self.n_startup_trials, "at least 0")
        names = self.objectives
        require(0 < len(names) == len({*names}), "objectives", names, "one or two different ones")
        if len(names) > 1 and self.pruner != "none":
            raise ConfigError(
                f"pruner is {self.pruner!r}, but Optuna prunes by one objective. Set it to none, "
                "or search with one of hydra.sweeper.objectives."
            )

    def sampler_of(self, run: int) -> BaseSampler:
        """What chooses the values of a run: of its own seed, so that a search which continues
        chooses what it would have chosen, and nothing twice."""
        seed = None if self.seed is None else random.Random(f"{self.seed} {run}").getrandbits(32)
        if self.sampler == "tpe":
            lie, start = self.n_jobs > 1, self.n_startup_trials  # lie: of trials that still run
            return TPESampler(n_startup_trials=start, seed=seed, constant_liar=lie)
        return RandomSampler(seed)

    def pruner_of(self, epochs: int) -> Pruner:
        """What ends trainings of at most `epochs`."""
        return Pruner(self.pruner, self.prune_after_trials, self.prune_after_epochs, epochs)
