"""run(RunConfig) -> RunRecord, in a straight line: data, network, training, evaluation, record."""

import dataclasses
import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from torch import nn

from robustrun.compute import processes
from robustrun.compute.cost import multiply_adds
from robustrun.compute.place import place as place_of
from robustrun.compute.random_state import seed_everything
from robustrun.configuration import foresight, plugins
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig
from robustrun.console import logging_to, paused, step
from robustrun.datasets import run_data
from robustrun.datasets.relabelled import TrainedOn, as_trained
from robustrun.datasets.run_data import Data
from robustrun.evaluation import certificate, corruptions
from robustrun.evaluation.measure import choose_examples, measure, measurements
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.models import trial
from robustrun.run_folder import artefacts, checkpoint, code, provenance, sections
from robustrun.run_folder.folder import FOLDER, RUN_LOG
from robustrun.run_folder.inputs import measured_subject, weights_digest
from robustrun.run_folder.load import Source, require_size
from robustrun.run_folder.pruning import Pruning
from robustrun.run_folder.recording import RunInProgress, recorded
from robustrun.run_folder.schema import (
    EnvironmentSection,
    EvaluatedSection,
    RunRecord,
    read_record,
)
from robustrun.storage import files
from robustrun.storage.journal import Journal
from robustrun.training import compile_choice, time_limit
from robustrun.training.batching import require_a_batch
from robustrun.training.fit import EpochEnd, Stops, fit
from robustrun.training.freezing import freeze
from robustrun.training.metrics import EpochMetrics
from robustrun.training.settings import TrainingPlan
from robustrun.training.state import NoCheckpoints, TrainingResult
from robustrun.types import Adapts, HasProcesses, Images, Runtime, Splits

log = logging.getLogger(__name__)


def run(run_config: RunConfig, folder: str | Path | None = None) -> RunRecord:
    """Do the whole run inside `folder`, which must be this run's own; if the run was started there
    before, what is left of it. Without `folder`, in a new one of outputs/, as the command line.

    For the whole process, and not put back, the random generators of Python, NumPy and torch are
    seeded, torch's threads set, freed memory is kept (GNU C library), and on CUDA TF32 is off and
    cuDNN's benchmark on. Signal handlers and logging are as before afterwards.

    In a program that torchrun or srun starts in several processes, each calls this, and one run is
    done by all of them.

    results.json is written however the run ends. Raises what went wrong: RobustrunError (a
    ValueError) for input that turns out wrong, RunFailure and other exceptions for a run that
    failed.
    """
    if not isinstance(run_config, RunConfig):
        raise TypeError(f"The configuration is {run_config!r}, but must be what compose() returns.")
    here = None if processes.joined() else place_of(os.environ)
    with nullcontext() if here is None else processes.together(here):
        return _run(run_config, folder)


def _run(run_config: RunConfig, place: str | Path | None) -> RunRecord:
    if place is None:
        place = processes.told(str(_new_folder(run_config)) if processes.is_first() else None)
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    if _starts_others(run_config):
        return _in_processes(run_config, folder, None)
    with logging_to(folder / RUN_LOG) if processes.is_first() else nullcontext():
        return recorded(run_config, folder, None, run_stages)


def evaluate_again(run_config: RunConfig, folder: Path, source: Path) -> RunRecord:
    """Measure the network at `source` (a finished run's folder, or a file of weights) with what
    `run_config` says of attack, evaluation, data and device; as `run` otherwise."""
    if _starts_others(run_config):
        return _in_processes(run_config, folder, source)
    return recorded(run_config, folder, source, lambda run: evaluation_stages(run, Source(source)))


def _starts_others(run_config: RunConfig) -> bool:
    """Whether the run is to have several processes, and is not in one of them already."""
    device = run_config.device
    several = isinstance(device, HasProcesses) and device.processes > 1
    return several and not processes.joined()


def _in_processes(run_config: RunConfig, folder: Path, source: Path | None) -> RunRecord:
    """The run in as many processes as its device asks for; this one waits for them."""
    from robustrun.compute import agent

    assert isinstance(run_config.device, HasProcesses)
    if provenance.status(folder) != "completed":
        if not provenance.taken(folder):
            provenance.claim(folder, _asked_from_python(run_config))
        words = ["-m", "robustrun.command_line.worker", str(folder.absolute())]
        more = [] if source is None else [str(source.absolute())]
        with paused():
            agent.run_processes(run_config.device.processes, [*words, *more])
    return read_record(folder)


def _new_folder(run_config: RunConfig) -> Path:
    """A folder of outputs/, named by the time, the method and the data set."""
    names = f"{run_config.name_of('method')}_{run_config.name_of('dataset')}"
    folder = Path("outputs", f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}_{names}")
    return provenance.claim(folder, _asked_from_python(run_config))


def _asked_from_python(run_config: RunConfig) -> provenance.Provenance:
    places, configuration = plugins.places(run_config), dump(run_config)
    return provenance.new(
        command="robustrun.run(config)", plugins=places, configuration=configuration
    )


def run_stages(run: RunInProgress) -> None:
    cfg, folder = run.config, run.folder
    certificate.warn_of_other_noise(cfg.evaluation.certificate, cfg.method)
    with_code = code.with_kept_code(cfg, folder)  # first: a mistake in it is soon found
    data = load_data(cfg, folder)
    run.note(dataset=sections.dataset_section(cfg, data))
    require_a_batch(cfg.training.batch_size, len(data.train))
    model, runtime = build(with_code, data, resumed=bool(run.provenance.resumed_at))
    environment = sections.environment_section(runtime)
    run.note(environment=environment, model=sections.model_section(cfg, model, folder))
    plan = _plan(cfg, runtime)
    if cfg.training.seconds is not None:
        plan = _within_time_limit(cfg, folder, data, model, plan)
    pruning = Pruning(folder, plan.training.epochs)
    epoch_end = _epoch_end(run, plan.training.epochs)
    result = train(cfg, folder, data, model, plan, environment, epoch_end, pruning.stops)
    run.note(training=sections.training_section(cfg, plan, result, pruning.reason))
    if processes.is_first():
        artefacts.write_selected_weights(folder, result, _weights_header(cfg, data))
    model.load_state_dict(result.best)
    _evaluate(run, data, model, runtime, result)


def evaluation_stages(run: RunInProgress, source: Source) -> None:
    cfg, trained = run.config, source.trained_on(run.config)
    run.note(evaluated=source.section())
    if source.kind == "run":  # how other networks were trained is not known
        certificate.warn_of_other_noise(cfg.evaluation.certificate, cfg.method)
    data = load_data(cfg, run.folder, lambda splits: _as_trained(splits, trained, source.path))
    run.note(dataset=sections.dataset_section(cfg, data))
    made = code.with_kept_code(cfg, run.folder) if source.kind in ("weights", "model") else cfg
    with step(f"loading the network of {source.path}"):
        model = source.network(made, data.splits)
    if source.kind == "model":
        section = dataclasses.replace(source.section(), weights_sha256=weights_digest(model))
        run.note(evaluated=section)
    if trained is not None:
        require_size(model, trained, data.splits.test.shape, str(source.path))
    work = multiply_adds(model, data.train.shape) * cfg.evaluation.batch_size
    runtime = cfg.device.prepare(work)
    compiled = runtime.compile is True  # `auto` asks whether a training is long enough
    runtime = dataclasses.replace(runtime, compile=compiled)
    run.note(environment=sections.environment_section(runtime))
    run.note(model=sections.model_section(cfg, model, run.folder))
    place(model, runtime)
    _require_usable(cfg, model, data, runtime, training=False)
    if compiled:
        model.compile()
    _evaluate(run, data, model, runtime)


def _as_trained(splits: Splits, trained: TrainedOn | None, source: Path) -> Splits:
    return splits if trained is None else as_trained(splits, trained, str(source))


def _evaluate(
    run: RunInProgress,
    data: Data,
    model: nn.Module,
    runtime: Runtime,
    result: TrainingResult | None = None,
) -> None:
    """Measure, and leave the predictions and the figures; `result` is of the run's own training."""
    cfg, folder = run.config, run.folder
    images = data.examples.to(runtime.device)
    evaluation = evaluate(cfg, folder, data, images, model, runtime, run.record.evaluated)
    if not processes.is_first():
        return
    subset = sections.subset_section(images, cfg.evaluation, data.splits)
    run.note(evaluation=sections.evaluation_section(evaluation, subset))
    artefacts.write_predictions(folder / "predictions.npz", evaluation, data.places)
    artefacts.write_certificates(folder / "certificates.csv", evaluation, data.places)
    with step("drawing figures") if cfg.keep.figures else nullcontext():
        _draw(run, data, model, runtime, images, evaluation, result)


def load_data(cfg: RunConfig, folder: Path, view: Callable[[Splits], Splits] | None = None) -> Data:
    """The run's images; which of them a long-tailed set keeps goes into its folder."""
    seed_everything(cfg.seed)
    with step(f"reading the data set {cfg.name_of('dataset')}"):
        data = _first_alone(
            lambda: run_data.load(
                cfg.dataset,
                cfg.training.validation_fraction,
                cfg.seed,
                lambda test: choose_examples(test, cfg.evaluation),
                view,
            )
        )
    corruptions.check(cfg.evaluation, data.splits)
    chosen = data.splits.chosen
    if chosen is not None and processes.is_first():
        text = "\n".join(map(str, chosen.tolist())) + "\n"
        files.write_atomically(folder / "chosen_indices.txt", text.encode())
    return data


def _first_alone(load: Callable[[], Data]) -> Data:
    """What `load` returns. The first process begins: what it downloads or decodes, the others find
    in place."""
    loaded = []

    def done() -> None:
        loaded.append(load())

    processes.combined(lambda: done() if processes.is_first() else None)
    processes.combined(lambda: None if processes.is_first() else done())
    return loaded[0]


def build(cfg: RunConfig, data: Data, resumed: bool = False) -> tuple[nn.Module, Runtime]:
    """The network, where it computes and as fast as that goes; `resumed`: of a run that began
    before."""
    seed_everything(cfg.seed)  # weights do not depend on what loading drew
    with step(f"making the network {cfg.name_of('model')}"):  # weights may have to be fetched
        model = trial.built(cfg.model, data.train.shape, data.splits.classes, resumed)
    if isinstance(cfg.method, Adapts):
        model = cfg.method.adapt(model, data.class_counts)
    freeze(model, cfg.training.freeze, data.splits.classes)
    work = multiply_adds(model, data.train.shape) * cfg.training.batch_size
    runtime = cfg.device.prepare(work)
    place(model, runtime)
    _require_usable(cfg, model, data, runtime, training=True)  # now, not when it is over
    if runtime.compile == "auto":
        train, plan = data.train.to(runtime.device), _plan(cfg, runtime)
        with step("finding out whether compiling pays"):
            pays = compile_choice.pays(model, cfg.method, train, data.class_counts, plan)
        runtime = dataclasses.replace(runtime, compile=pays)
    names = (cfg.name_of("model"), cfg.name_of("dataset"), runtime.device)
    threads = (runtime.threads, runtime.shares)
    log.info("%s on %s, %s, CPU threads: %d in training, %d in attacks", *names, *threads)
    if runtime.compile:
        log.info("the network is compiled in the first steps, which then take up to minutes")
        model.compile()
    return model, runtime


def place(model: nn.Module, runtime: Runtime) -> None:
    """Move the network to where the run computes, laid out in memory as that goes fastest."""
    model.to(runtime.device).to(memory_format=runtime.memory_format)


def _require_usable(
    cfg: RunConfig, model: nn.Module, data: Data, runtime: Runtime, training: bool
) -> None:
    """What every attack to come needs is looked for."""
    x = trial.sample(data.splits.test.shape).to(runtime.device)
    with step("trying every attack on one image"):
        trial.require_gradient(model, x, cfg.attacks())
        foresight.require_usable(cfg, model, x, training)


def train(
    cfg: RunConfig,
    folder: Path,
    data: Data,
    model: nn.Module,
    plan: TrainingPlan,
    environment: EnvironmentSection,
    epoch_end: EpochEnd,
    stops: Stops,
) -> TrainingResult:
    """Train `model` in place, from the checkpoint in the run's folder if there is one."""
    about = checkpoint.about(cfg, data, environment)
    place, training, device = folder / FOLDER, cfg.training, plan.runtime.device
    minutes, steps = training.checkpoint_minutes, training.checkpoint_steps
    checkpointer = checkpoint.FileCheckpointer(place, about, minutes, steps)
    validation = data.validation
    return fit(
        model,
        cfg.method,
        data.train.to(device),
        None if validation is None else validation.to(device),
        data.class_counts,
        plan,
        epoch_end,
        checkpointer=checkpointer if processes.is_first() else NoCheckpoints(),
        start=checkpoint.state_before(place, about, data),
        stops=stops,
    )


def _plan(cfg: RunConfig, runtime: Runtime) -> TrainingPlan:
    return TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, runtime, cfg.seed)


def _within_time_limit(
    cfg: RunConfig, folder: Path, data: Data, model: nn.Module, plan: TrainingPlan
) -> TrainingPlan:
    """The plan with as many epochs as fit; a run that continues keeps the number it began with."""
    journal = Journal(folder / FOLDER / "training.journal" if processes.is_first() else None)
    epochs = processes.told(journal.recall("epochs"))
    if epochs is None:
        train = data.train.to(plan.runtime.device)
        with step("finding out how many epochs fit into the time"):
            epochs = time_limit.epochs_that_fit(model, cfg.method, train, data.class_counts, plan)
        journal.note("epochs", epochs)
    training = dataclasses.replace(plan.training, epochs=epochs)
    return dataclasses.replace(plan, training=training)


def _epoch_end(run: RunInProgress, epochs: int) -> EpochEnd:
    """What is done with the epochs so far: a table, a line in the log, the tracker."""

    def epoch_end(history: list[EpochMetrics]) -> None:
        if not processes.is_first():
            return
        artefacts.write_metrics(run.folder / "metrics.csv", history)
        run.tracker.epoch(dataclasses.asdict(history[-1]))
        _log_epoch(history[-1], epochs)

    return epoch_end


def _log_epoch(row: EpochMetrics, epochs: int) -> None:
    clean, robust = row.validation_clean_accuracy, row.validation_robust_accuracy
    checked = "" if clean is None else f"  validation clean {clean:.1%}"
    checked += "" if robust is None else f"  robust {robust:.1%}"
    loss = "none" if row.train_loss is None else f"{row.train_loss:.4f}"
    about = (row.epoch, epochs, row.lr, loss, checked, row.seconds)
    log.info("epoch %d/%d  lr %.4g  loss %s%s  %.1f s", *about)


def _weights_header(cfg: RunConfig, data: Data) -> dict[str, object]:
    """What a file of weights says of itself."""
    return {
        "version": version("robustrun"),
        "model": cfg.name_of("model"),
        "class_names": list(data.splits.class_names),
        "input_shape": list(data.train.shape),
    }


def evaluate(
    cfg: RunConfig,
    folder: Path,
    data: Data,
    images: Images,
    model: nn.Module,
    runtime: Runtime,
    evaluated: EvaluatedSection | None,
) -> Evaluation:
    """Everything that `evaluation` asks for, on the test images that it names."""
    subject = measured_subject(cfg, data, images, model, evaluated)
    setting = Setting(
        cfg.seed,
        cfg.evaluation.batch_size,
        runtime.device,
        runtime.precision,
        runtime.search_copy,
        Journal(folder / FOLDER / "evaluation.journal", subject, processes.rank()),
    )
    processes.wait_for_all()  # each knows the same findings, before the first new one
    entries = measurements(cfg.evaluation, cfg.attacks(), cfg.name_of("attack"), data.splits)
    return measure(model, images, data.splits.classes, entries, setting)


def _draw(
    run: RunInProgress,
    data: Data,
    model: nn.Module,
    runtime: Runtime,
    images: Images,
    evaluation: Evaluation,
    result: TrainingResult | None,
) -> None:
    if not run.config.keep.figures:
        return
    # matplotlib is slow to import, and needed at the end only
    from robustrun.run_folder import figures

    attack, names = run.config.attack, data.splits.class_names
    folder, title = run.folder / "figures", _title(run)
    folder.mkdir(exist_ok=True)
    if result is not None:
        with run.spared("figures/training.png"):
            history, selected = result.history, result.selected_epoch
            figures.training_curves(folder / "training.png", history, selected, title)
    with run.spared("figures/accuracy_against_radius.png"):
        figures.accuracy_against_radius(
            folder / "accuracy_against_radius.png", evaluation, attack, title
        )
    with run.spared("figures/adversarial_images.png"):
        grid, device = folder / "adversarial_images.png", runtime.device
        figures.adversarial_grid(grid, model, images, evaluation, names, attack, device, title)


def _title(run: RunInProgress) -> str:
    """What was trained how, or measured again, and in which folder."""
    cfg, evaluated = run.config, run.record.evaluated
    subject = Path(evaluated.source).name if evaluated else cfg.name_of("method")
    about = f"{subject} on {cfg.name_of('dataset')}, {cfg.name_of('model')}"
    return f"{about} ({run.folder.name})"
