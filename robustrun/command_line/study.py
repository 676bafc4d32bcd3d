"""The trials of one sweep in an Optuna study: one for each of its runs, known by its number."""

from dataclasses import dataclass

from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from robustrun.command_line.search_space import Combination, Space
from robustrun.errors import ConfigError

RUN = "run"  # the attribute of a trial: which run of which sweep it is
SPACE = "space"  # the attribute of a study: what is searched


@dataclass(frozen=True)
class SweepStudy:
    """The part of a study that one sweep does."""

    study: Study
    sweep: str
    space: Space

    def __post_init__(self) -> None:
        space = self.space.description()
        before = self.study.user_attrs.get(SPACE)
        if before is None:
            self.study.set_user_attr(SPACE, space)
        elif before != space:
            raise ConfigError(
                f"hydra.sweeper.study_name: the study {self.study.study_name!r} has searched other "
                f"values: {before}, not {space}. Give this search a name of its own."
            )

    def trials(self) -> dict[int, FrozenTrial]:
        """The latest trial of each run, by its number."""
        trials = {}
        for trial in self.study.get_trials(deepcopy=False):
            about = trial.user_attrs.get(RUN)
            if about is not None and about["sweep"] == self.sweep:
                trials[int(about["number"])] = trial
        return dict(sorted(trials.items()))

    def in_state(self, state: TrialState) -> dict[int, FrozenTrial]:
        """Those of the runs whose latest trial is in this state."""
        return {run: trial for run, trial in self.trials().items() if trial.state == state}

    def ask(self, run: int, folder: str, fixed: Combination | None) -> None:
        """Begin a trial of a run, with the values `fixed` or those that the sampler chooses. It is
        ready once it knows its run, and the folder of that in the sweep's."""
        if fixed is not None:
            self.study.enqueue_trial(fixed)
        trial = self.study.ask(self.space.parameters)
        trial.set_user_attr(RUN, {"sweep": self.sweep, "number": run, "folder": folder})

    def folder(self, trial: FrozenTrial) -> str:
        """Of the trial's run, in the sweep's folder."""
        return str(trial.user_attrs[RUN]["folder"])

    def tell(self, trial: FrozenTrial, state: TrialState, values: list[float]) -> None:
        """End a trial; only one that is complete has values."""
        done = state == TrialState.COMPLETE
        self.study.tell(trial.number, values if done else None, state)

    def fail_unready(self) -> None:
        """End the trials that a process was choosing values for when it was killed. Not in a study
        that others use, who may be choosing now."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if RUN not in trial.user_attrs:
                self.study.tell(trial.number, state=TrialState.FAIL)

    def front(self) -> list[int]:
        """The runs than which none is better: with one objective the best (several if they tie),
        with more the Pareto front."""
        best = {trial.number for trial in self.study.best_trials}
        return [run for run, trial in self.trials().items() if trial.number in best]
