"""A search: Optuna chooses the words of runs, a launcher does them, and their folders say what
they reached."""

import logging
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict
from optuna.trial import FrozenTrial, TrialState

from robustrun.command_line.failures import print_remarks
from robustrun.command_line.search_settings import Settings
from robustrun.command_line.search_space import Combination, Space, space
from robustrun.command_line.session import CURRENT, ExpectedRun, Session, subdirectory
from robustrun.command_line.study import SweepStudy
from robustrun.configuration import composition, plugins, words
from robustrun.configuration.decoding import decode, dump
from robustrun.configuration.run_config import RunConfig, load_config
from robustrun.errors import ConfigError
from robustrun.report import study as report
from robustrun.report.study import StudyRecord, StudyTrial
from robustrun.run_folder import provenance, pruning
from robustrun.run_folder.pruning import Pruner
from robustrun.run_folder.schema import read_record
from robustrun.storage import studies
from robustrun.training.settings import Training

log = logging.getLogger(__name__)
KEY = "hydra.sweeper"
JOURNAL = "study.journal"
ROBUST = "validation_robust_accuracy"
MOST_CHECKED = 50  # configurations, before the first trial


def search(
    config: DictConfig,
    loader: ConfigLoader,
    launcher: Launcher,
    arguments: list[str],
    isolated: bool,
) -> None:
    """The whole search, or what is left of it; ConfigError if it cannot be done. `isolated`: a run
    that is killed ends no other one of this launcher."""
    session = CURRENT.get()
    assert session is not None  # a search is driven by robustrun's own command
    session.require_folder()
    settings = _settings(config)
    searched = [f"{key}={value}" for key, value in settings.params.items()]
    parser = OverridesParser.create(config_loader=loader)
    choices = space(parser.parse_overrides([*searched, *arguments]))
    grid = choices.grid() if settings.sampler == "grid" else None
    session.runs = min(settings.n_trials, len(grid)) if grid else settings.n_trials
    runs = Runs(config, loader, session)
    combinations = choices.extremes()[:MOST_CHECKED]
    configurations = [runs.checked(choices.words(values)) for values in combinations]
    require_comparable(configurations, settings)
    epochs = max(run_config.training.epochs for run_config in configurations)
    pruner = settings.pruner_of(epochs)
    with _alone(runs.sweep):
        study = open_study(settings, choices, runs, pruner)
        Search(settings, runs, launcher, isolated, study, pruner, grid, session.runs).run()


@contextmanager
def _alone(sweep: Path) -> Iterator[None]:
    """ConfigError if another process does the search in this folder."""
    try:
        lock = FileLock(sweep / "study.lock", timeout=0).acquire()
    except Timeout:
        raise ConfigError(f"{sweep} is in use: another process does this search.") from None
    with lock:
        yield


def _settings(config: DictConfig) -> Settings:
    raw = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
    assert isinstance(raw, dict)
    settings: Settings = decode(Settings, {k: v for k, v in raw.items() if k != "_target_"}, KEY)
    return settings


@dataclass(frozen=True)
class Runs:
    """The runs of a sweep: their configurations and folders."""

    config: DictConfig  # of the sweep
    loader: ConfigLoader
    session: Session

    @property
    def sweep(self) -> Path:
        return Path(self.config.hydra.sweep.dir)

    def checked(self, given: list[str]) -> RunConfig:
        """The configuration of a run with these words; ConfigError, or Hydra's, if it is wrong."""
        composed = self.loader.load_sweep_config(self.config, given)
        hydra = composed.hydra
        with open_dict(composed):
            del composed["hydra"]
        for folder in self.session.folders:
            plugins.look_in(folder)
        return load_config(composition.with_options(composed, hydra), self.session.folders)

    def command(self, given: list[str]) -> str:
        """What a user types for one such run."""
        line = self.session.line
        flags = tuple(flag for flag in line.flags if flag[0] not in words.MULTIRUN)
        own = tuple(word for word in given if word.partition("=")[0] != "resume")
        return shlex.join(["robustrun", *replace(line, flags=flags, words=own).arguments()])


def require_comparable(configurations: list[RunConfig], settings: Settings) -> None:
    """ConfigError unless every run measures, and alike, what the search compares them by."""
    for config in configurations:
        _require_measured(config.training, settings)
    first, *others = [_measure(config, settings) for config in configurations]
    for other in others:
        for key, one, another in provenance.differences(first, other):
            raise ConfigError(
                f"{key} is {one!r} in one run of this search and {another!r} in another: their "
                f"accuracies on the validation split cannot be compared. Fix it, as in {key}={one}."
            )


def _require_measured(training: Training, settings: Settings) -> None:
    if training.validation_fraction == 0:
        raise ConfigError(
            "training.validation_fraction is 0, but a search compares runs by their accuracy "
            "on the validation split, never on test images. Set it to 0.1."
        )
    if ROBUST in settings.objectives and training.validation_attack is None:
        raise ConfigError(
            f"training.validation_attack is null, but the search compares runs by {ROBUST}. Give "
            f"it an attack, or set {KEY}.objectives to [validation_clean_accuracy]."
        )


def _measure(config: RunConfig, settings: Settings) -> dict[str, Any]:
    """What a run's accuracies on the validation split are of."""
    training = config.training
    attack = training.validation_attack if ROBUST in settings.objectives else None
    share = {"validation_fraction": training.validation_fraction}
    return {
        "training": share | {"validation_attack": dump(attack)},
        "dataset": {"name": config.name_of("dataset")},
    }


def open_study(settings: Settings, choices: Space, runs: Runs, pruner: Pruner) -> SweepStudy:
    """The study of a sweep, new or as it was left."""
    own = settings.storage is None
    if own:
        studies.mend(runs.sweep / JOURNAL)
    storage = studies.open_storage(place_of(settings, runs.sweep))
    before = [study.study_name for study in storage.get_all_studies()] if own else []
    study = optuna.create_study(
        storage=storage,
        study_name=settings.study_name or (before or [runs.sweep.name])[0],
        directions=[settings.direction] * len(settings.objectives),
        pruner=pruner.build(),
        load_if_exists=True,
    )
    sweep_study = SweepStudy(study, "" if own else str(runs.sweep.resolve()), choices)
    if own:
        sweep_study.fail_unready()
    return sweep_study


def place_of(settings: Settings, sweep: Path) -> str:
    """Where the study is kept: the absolute path of a journal, or a URL."""
    place = settings.storage or str(sweep / JOURNAL)
    return place if "://" in place else str(Path(place).absolute())


@dataclass(frozen=True)
class Search:
    """A search under way; everything that it knows is in the study and in the runs' folders."""

    settings: Settings
    runs: Runs
    launcher: Launcher
    isolated: bool
    study: SweepStudy
    pruner: Pruner
    grid: list[Combination] | None
    total: int  # runs

    def run(self) -> None:
        """Trials that a killed search has left are ended or continued, then new ones follow."""
        self._note(self.study.in_state(TrialState.RUNNING), TrialState.RUNNING)
        for number, trial in self.study.in_state(TrialState.FAIL).items():
            self._ask(number, trial.params)
        self._write()
        while batch := self._batch():
            self._launch(batch)
            self._write()

    def _batch(self) -> dict[int, FrozenTrial]:
        """The next runs: those that have trials already, else new ones."""
        if not self.study.in_state(TrialState.RUNNING):
            begun = len(self.study.trials())
            for number in range(begun, min(begun + self.settings.n_jobs, self.total)):
                self._ask(number, self.grid[number] if self.grid else None)
        running = self.study.in_state(TrialState.RUNNING)
        return dict([*running.items()][: self.settings.n_jobs])

    def _ask(self, number: int, fixed: Combination | None) -> None:
        self.study.study.sampler = self.settings.sampler_of(number)
        self.study.ask(number, subdirectory(number, self.total), fixed)

    def _launch(self, batch: dict[int, FrozenTrial]) -> None:
        """Do these runs, and note what they reached. Raises what the launcher raises if nothing has
        begun."""
        try:
            self._hand_over(batch)
        except Exception as error:
            if not any(provenance.taken(self._folder(trial)) for trial in batch.values()):
                raise
            told = " ".join(str(error).split())
            print_remarks([f"the launcher failed: {type(error).__name__}: {told}"])
            self._note(batch, TrialState.RUNNING)
            if len(batch) > 1:
                self._launch_lost(self._unfinished(batch))
        else:
            self._note(batch, TrialState.RUNNING)
        self._note(self._unfinished(batch), TrialState.FAIL)

    def _unfinished(self, batch: dict[int, FrozenTrial]) -> dict[int, FrozenTrial]:
        running = self.study.in_state(TrialState.RUNNING)
        return {number: trial for number, trial in batch.items() if number in running}

    def _launch_lost(self, batch: dict[int, FrozenTrial]) -> None:
        """Runs that are not finished are launched again one by one, since a run that was killed
        may have ended the others; isolated ones ended by themselves, unless they never began."""
        for number, trial in batch.items():
            if self.isolated and provenance.taken(self._folder(trial)):
                continue
            print_remarks([f"launched again, alone: {self._folder(trial)}"])
            self._launch({number: trial})

    def _hand_over(self, batch: dict[int, FrozenTrial]) -> None:
        """Raises what the launcher raises, and what went wrong in a job outside of its run."""
        if self.pruner.name != "none":
            for trial in batch.values():
                pruning.write(self._folder(trial), self._trial(trial))
        self._expect(batch)
        given = [self._words(trial) for trial in batch.values()]
        for job in self.launcher.launch(given, initial_job_idx=min(batch)):
            _ = job.return_value

    def _expect(self, batch: dict[int, FrozenTrial]) -> None:
        """Let the end of the sweep name those that leave no folder."""
        expected = {run.number: run for run in self.runs.session.expected}
        for number, trial in batch.items():
            own = tuple(self.study.space.words(trial.params))
            expected[number] = ExpectedRun(number, own, self._folder(trial))
        self.runs.session.expected = [*expected.values()]

    def _words(self, trial: FrozenTrial) -> list[str]:
        """Those of a run, with its folder: launchers count on, but runs that are left over do not
        follow one another."""
        folder = words.quoted(self.study.folder(trial))
        return [*self.study.space.words(trial.params), f"hydra.sweep.subdir={folder}"]

    def _trial(self, trial: FrozenTrial) -> pruning.Trial:
        place, name = place_of(self.settings, self.runs.sweep), self.study.study.study_name
        return pruning.Trial(place, name, trial.number, self.settings.objectives[0], self.pruner)

    def _folder(self, trial: FrozenTrial) -> Path:
        return self.runs.sweep / self.study.folder(trial)

    def _note(self, trials: dict[int, FrozenTrial], unfinished: TrialState) -> None:
        """Tell the study what the runs reached; `unfinished`: what becomes of those that have no
        result, or were interrupted."""
        for trial in trials.values():
            state, values = self._outcome(self._folder(trial), unfinished)
            if state != TrialState.RUNNING:
                self.study.tell(trial, state, values)

    def _outcome(self, folder: Path, unfinished: TrialState) -> tuple[TrialState, list[float]]:
        status = provenance.status(folder)
        if status != "completed":
            return (TrialState.FAIL if status == "failed" else unfinished), []
        training = read_record(folder).training
        if training is not None and training.pruned:
            return TrialState.PRUNED, []
        best = training.best if training else None
        values = [getattr(best, name, None) for name in self.settings.objectives]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            log.warning("%s has no number on the validation split: its trial failed", folder)
            return TrialState.FAIL, []
        return TrialState.COMPLETE, known

    def _write(self) -> None:
        """study.json as it stands."""
        settings, best = self.settings, {*self.study.front()}
        trials = self.study.trials().items()
        record = StudyRecord(
            study_name=self.study.study.study_name,
            storage=settings.storage,
            direction=settings.direction,
            objectives=[*settings.objectives],
            sampler=settings.sampler,
            pruner=settings.pruner,
            n_trials=self.total,
            trials=[self._told(number, trial, number in best) for number, trial in trials],
        )
        report.write(self.runs.sweep, record)

    def _told(self, number: int, trial: FrozenTrial, best: bool) -> StudyTrial:
        return StudyTrial(
            run=number,
            folder=self.study.folder(trial),
            state=trial.state.name.lower(),
            values=trial.values or [],
            parameters=trial.params,
            best=best,
            command=self.runs.command(self.study.space.words(trial.params)),
        )
