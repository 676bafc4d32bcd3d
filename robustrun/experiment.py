"""run(RunConfig) -> RunResult, in a straight line: data, network, training, evaluation, results."""

import dataclasses
import errno
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from robustrun.compute.cost import multiply_adds
from robustrun.compute.random_state import restore_rng, seed_everything
from robustrun.configuration import foresight, plugins
from robustrun.configuration.decoding import dump
from robustrun.configuration.run_config import RunConfig
from robustrun.console import logging_to
from robustrun.datasets import run_data
from robustrun.datasets.relabelled import TrainedOn, as_trained
from robustrun.datasets.run_data import Data
from robustrun.errors import RunFailure
from robustrun.evaluation import corruptions
from robustrun.evaluation.measure import choose_examples, measure, measurements
from robustrun.evaluation.outcome import Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.models import trial
from robustrun.run_folder import artefacts, checkpoint, model_card, provenance, sections
from robustrun.run_folder.folder import RUN_LOG, locked
from robustrun.run_folder.inputs import as_older_versions, inputs
from robustrun.run_folder.load import Source, require_size
from robustrun.run_folder.schema import SCHEMA_VERSION, RunResult, audit_verdict
from robustrun.run_folder.sections import evaluation_block
from robustrun.storage import files
from robustrun.storage.journal import Journal
from robustrun.trackers.guarded import Guarded
from robustrun.training import compile_choice
from robustrun.training.batching import require_a_batch
from robustrun.training.fit import fit
from robustrun.training.settings import TrainingPlan
from robustrun.types import Adapts, Images, Runtime, Splits

log = logging.getLogger(__name__)
OF_TRAINING = ("method", "recipe", "optimizer", "schedule", "training")
logging.getLogger("torch._subclasses").setLevel(logging.WARNING)  # it reports its caches


@dataclass
class Progress:
    """What is known of a run so far; results.json is written from it however the run ends."""

    config: RunConfig
    folder: Path
    origin: provenance.Provenance
    clock: float = field(default_factory=time.monotonic)
    sections: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)  # what was to be made, and why it is not

    def __post_init__(self) -> None:
        self.tracker = Guarded(self.config.tracker, self.lost)

    @contextmanager
    def spared(self, what: str) -> Iterator[None]:
        """What fails in it is named as lost, and does not fail the run."""
        try:
            yield
        except Exception as error:
            self.lost[what] = f"{type(error).__name__}: {error}"


def run(run_config: RunConfig, folder: str | Path | None = None) -> RunResult:
    """Do the whole run inside `folder`, which must be this run's own; if the run was started there
    before, what is left of it. Without `folder`, in a new one of outputs/, as the command line.

    For the whole process, and not put back, the random generators of Python, NumPy and torch are
    seeded, torch's threads set, freed memory is kept (GNU C library), and on CUDA TF32 is off and
    cuDNN's benchmark on. Signal handlers and logging are as before afterwards.

    results.json is written however the run ends. Raises what went wrong: RobustrunError (a
    ValueError) for input that turns out wrong, RunFailure and other exceptions for a run that
    failed.
    """
    if not isinstance(run_config, RunConfig):
        raise TypeError(f"The configuration is {run_config!r}, but must be what compose() returns.")
    folder = _new_folder(run_config) if folder is None else Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with logging_to(folder / RUN_LOG):
        return _recorded(run_config, folder, None, _straight_line)


def _new_folder(run_config: RunConfig) -> Path:
    """A folder of outputs/, named by the time, the method and the data set."""
    names = f"{run_config.name_of('method')}_{run_config.name_of('dataset')}"
    folder = Path("outputs", f"{datetime.now():%Y-%m-%d/%H-%M-%S-%f}_{names}")
    places = plugins.places(run_config)
    configuration = dump(run_config)
    about = provenance.new(
        command="robustrun.run(config)", plugins=places, configuration=configuration
    )
    return provenance.claim(folder, about)


def run_again(run_config: RunConfig, folder: Path, source: Path) -> RunResult:
    """Measure the network at `source` (a finished run's folder, or a file of weights) with what
    `run_config` says of attack, evaluation, data and device; as `run` otherwise."""
    return _recorded(run_config, folder, source, lambda progress: _measure_again(progress, source))


def _recorded(
    run_config: RunConfig, folder: Path, source: Path | None, work: Callable[[Progress], None]
) -> RunResult:
    """Do the work between config.yaml at its start and results.json at its end, on success and on
    failure."""
    with locked(folder):
        plain = dump(run_config)
        provenance.require_same(folder, plain)
        if provenance.status(folder) == "completed":  # since the caller looked
            return RunResult(folder, json.loads((folder / "results.json").read_bytes()))
        files.clear_parts(folder)
        text = yaml.safe_dump(plain, sort_keys=False)
        files.write_atomically(folder / "config.yaml", text.encode())
        begun = provenance.start(folder, plugins.places(run_config), source)
        progress = Progress(run_config, folder, begun)
        try:
            progress.tracker.start(folder, plain)
            work(progress)
        except Exception as error:
            _write(progress, "failed", f"{type(error).__name__}: {error}")
            raise _named(error) from error
        except BaseException as error:  # Ctrl-C, SIGTERM, or a part that calls sys.exit
            status = "failed" if isinstance(error, SystemExit) else "interrupted"
            _write(progress, status, type(error).__name__)
            raise
        return RunResult(folder, _write(progress, "completed", None))


def _measure_again(progress: Progress, path: Path) -> None:
    cfg, source = progress.config, Source(path)
    progress.sections["evaluated"] = source.section()
    trained = source.trained_on
    data = _load(progress, lambda splits: _as_trained(splits, trained, path))
    network = source.network(cfg, data.splits)
    if trained is not None:
        require_size(network, trained, data.splits.test.shape, str(path))
    work = multiply_adds(network, data.train.shape) * cfg.evaluation.batch_size
    runtime = cfg.device.prepare(work)
    runtime = dataclasses.replace(runtime, compile=False)  # training alone compiles
    progress.sections["environment"] = sections.environment(runtime)
    progress.sections["model"] = sections.model_section(cfg, network)
    place(network, runtime)
    _require_usable(cfg, network, data, runtime, training=False)
    images, measured = _measure(progress, data, network, runtime)
    _draw(progress, data, network, runtime, [], images, measured)


def _as_trained(splits: Splits, trained: TrainedOn | None, source: Path) -> Splits:
    return splits if trained is None else as_trained(splits, trained, str(source))


def _straight_line(progress: Progress) -> None:
    data = _load(progress)
    require_a_batch(progress.config.training.batch_size, len(data.train))
    model, runtime = _build(progress, data)
    history = _train(progress, data, model, runtime)
    images, measured = _measure(progress, data, model, runtime)
    _draw(progress, data, model, runtime, history, images, measured)


def _load(progress: Progress, view: Callable[[Splits], Splits] | None = None) -> Data:
    cfg = progress.config
    seed_everything(cfg.seed)
    data = run_data.load(
        cfg.dataset,
        cfg.training.validation_fraction,
        cfg.seed,
        lambda test: choose_examples(test, cfg.evaluation),
        view,
    )
    corruptions.check(cfg.evaluation, data.splits)
    progress.sections["dataset"] = sections.dataset_section(cfg, data)
    if (chosen := data.splits.chosen) is not None:
        text = "\n".join(map(str, chosen.tolist())) + "\n"
        files.write_atomically(progress.folder / "chosen_indices.txt", text.encode())
    return data


def _build(progress: Progress, data: Data) -> tuple[nn.Module, Runtime]:
    cfg = progress.config
    seed_everything(cfg.seed)  # weights do not depend on what loading drew
    model = trial.built(cfg.model, data.train.shape, data.splits.classes)
    if isinstance(cfg.method, Adapts):
        model = cfg.method.adapt(model, data.class_counts)
    work = multiply_adds(model, data.train.shape) * cfg.training.batch_size
    runtime = cfg.device.prepare(work)
    place(model, runtime)
    _require_usable(cfg, model, data, runtime, training=True)  # now, not when it is over
    if runtime.compile == "auto":
        train, plan = data.train.to(runtime.device), _plan(cfg, runtime)
        pays = compile_choice.pays(model, cfg.method, train, data.class_counts, plan)
        runtime = dataclasses.replace(runtime, compile=pays)
    progress.sections["environment"] = sections.environment(runtime)
    progress.sections["model"] = sections.model_section(cfg, model)
    names = (cfg.name_of("model"), cfg.name_of("dataset"), runtime.device)
    threads = (runtime.threads, runtime.shares)
    log.info("%s on %s, %s, CPU threads: %d in training, %d in attacks", *names, *threads)
    if runtime.compile:
        model.compile()
    return model, runtime


def _require_usable(
    cfg: RunConfig, model: nn.Module, data: Data, runtime: Runtime, training: bool
) -> None:
    """What every attack to come needs is looked for."""
    x = trial.sample(data.splits.test.shape).to(runtime.device)
    trial.require_gradient(model, x, cfg.attacks())
    foresight.require_usable(cfg, model, x, training)


def _train(
    progress: Progress, data: Data, model: nn.Module, runtime: Runtime
) -> list[dict[str, Any]]:
    """Train, save the weights, leave the selected ones in `model`; returns the epochs' rows."""
    cfg, folder = progress.config, progress.folder

    def epoch_end(history: list[dict[str, Any]]) -> None:
        artefacts.write_metrics(folder / "metrics.csv", history)
        progress.tracker.epoch(folder, history[-1])
        _log_epoch(history[-1], cfg.training.epochs)

    about = {
        "config": dump(cfg),
        "inputs": inputs(cfg, data),
        "environment": progress.sections["environment"],
    }
    minutes, steps = cfg.training.checkpoint_minutes, cfg.training.checkpoint_steps
    fitted = fit(
        model,
        cfg.method,
        data.train.to(runtime.device),
        data.validation.to(runtime.device) if data.validation is not None else None,
        data.class_counts,
        _plan(cfg, runtime),
        epoch_end,
        saves=checkpoint.FileCheckpointer(folder / "checkpoint", about, minutes, steps),
        start=_state_before(folder / "checkpoint", about, data),
    )
    progress.sections["training"] = sections.training_section(cfg, fitted, runtime)
    header = {"version": version("robustrun"), "model": cfg.name_of("model")}
    header |= {key: progress.sections["dataset"][key] for key in ("class_names", "input_shape")}
    artefacts.write_weights(folder / "model.safetensors", fitted.best, header)
    if fitted.selected_epoch != len(fitted.history):
        artefacts.write_weights(folder / "last.safetensors", fitted.last, header)
    model.load_state_dict(fitted.best)
    return fitted.history


def _plan(cfg: RunConfig, runtime: Runtime) -> TrainingPlan:
    return TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, runtime, cfg.seed)


def _state_before(folder: Path, about: dict[str, Any], data: Data) -> dict[str, Any] | None:
    """Where the training in `folder` stopped, with every random generator set to what it was."""
    loaded = checkpoint.load(folder)
    if loaded is None:
        return None
    before = json.loads(loaded["about"])
    provenance.require_equal(before["config"], about["config"], folder)
    now = as_older_versions(about["inputs"], before.get("inputs"), data)
    provenance.require_same_inputs(before.get("inputs"), now, folder)
    for name in ("torch", "device_name", "threads", "precision", "compile"):
        then, now = before["environment"][name], about["environment"][name]
        if then != now:
            log.warning("%s was %s and is %s: the last bits may differ", name, then, now)
    epoch, batch = loaded["fit"]["position"][:2]
    log.info("continuing in epoch %d after %d of its batches", epoch, batch)
    restore_rng(loaded["rng"])
    state: dict[str, Any] = loaded["fit"]
    return state


def _measure(
    progress: Progress, data: Data, model: nn.Module, runtime: Runtime
) -> tuple[Images, Evaluation]:
    """Clean and robust accuracy on the test images that `evaluation` asks for."""
    cfg = progress.config
    images = data.examples.to(runtime.device)
    subject = _subject(progress, data, images, model)
    journal = Journal(progress.folder / "checkpoint" / "evaluation.journal", subject)
    setting = Setting(
        cfg.seed, cfg.evaluation.batch_size, runtime.device, runtime.precision, journal
    )
    entries = measurements(cfg.evaluation, cfg.attacks(), cfg.name_of("attack"), data.splits)
    measured = measure(model, images, data.splits.classes, entries, setting)
    subset = sections.subset_section(images, cfg.evaluation, data.splits)
    progress.sections["evaluation"] = evaluation_block(measured, subset)
    artefacts.write_predictions(progress.folder / "predictions.npz", measured, data.places)
    return images, measured


def _subject(progress: Progress, data: Data, images: Images, model: nn.Module) -> str:
    """Names what is measured with what: configuration, images, weights and program."""
    about = {
        "config": dump(progress.config),
        "inputs": inputs(progress.config, data),
        "images": images.fingerprint(),
        "evaluated": progress.sections.get("evaluated"),
        "robustrun": version("robustrun"),
    }
    digest = hashlib.sha256(json.dumps(about).encode())
    for name, value in model.state_dict().items():
        whole = value.detach().cpu().contiguous().flatten().view(torch.uint8)  # of any type
        digest.update(name.encode() + whole.numpy().tobytes())
    return digest.hexdigest()


def _draw(
    progress: Progress,
    data: Data,
    model: nn.Module,
    runtime: Runtime,
    history: list[dict[str, Any]],
    images: Images,
    measured: Evaluation,
) -> None:
    # matplotlib is slow to import, and needed at the end only
    from robustrun.run_folder import figures

    attack, names = progress.config.attack, data.splits.class_names
    folder = progress.folder / "figures"
    folder.mkdir(exist_ok=True)
    grid = folder / "adversarial_images.png"
    audit_said = audit_verdict(progress.sections["evaluation"])
    title = _title(progress)
    if history:
        kept = progress.sections["training"]["selected_epoch"]
        with progress.spared("figures/training.png"):
            figures.training_curves(folder / "training.png", history, kept, title)
    with progress.spared("figures/accuracy_against_radius.png"):
        figures.accuracy_against_radius(
            folder / "accuracy_against_radius.png", measured, attack, audit_said, title
        )
    with progress.spared("figures/adversarial_images.png"):
        figures.adversarial_grid(
            grid, model, images, measured, names, attack, runtime.device, title
        )


def _title(progress: Progress) -> str:
    """What was trained how, or measured again, and in which folder."""
    cfg, evaluated = progress.config, progress.sections.get("evaluated")
    subject = Path(evaluated["source"]).name if evaluated else cfg.name_of("method")
    about = f"{subject} on {cfg.name_of('dataset')}, {progress.sections['model']['name']}"
    return f"{about} ({progress.folder.name})"


def place(model: nn.Module, runtime: Runtime) -> None:
    """Move the network to where the run computes, laid out in memory as that goes fastest."""
    model.to(runtime.device).to(memory_format=runtime.memory_format)


def _log_epoch(row: dict[str, Any], epochs: int) -> None:
    clean, robust = row["validation_clean_accuracy"], row["validation_robust_accuracy"]
    checked = "" if clean is None else f"  validation clean {clean:.1%}"
    checked += "" if robust is None else f"  robust {robust:.1%}"
    log.info(
        "epoch %d/%d  lr %.4g  loss %.4f%s  %.1f s",
        row["epoch"],
        epochs,
        row["lr"],
        row["train_loss"],
        checked,
        row["seconds"],
    )


def _named(error: BaseException) -> BaseException:
    """The same failure with a message that says what to do, where one is known."""
    if isinstance(error, torch.OutOfMemoryError):
        return RunFailure(
            "The device ran out of memory. Lower training.batch_size or evaluation.batch_size, or "
            f"take a smaller model. ({str(error).splitlines()[0]})"
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return RunFailure(f"No space is left on the disk that holds the run's folder ({error}).")
    return error


def _write(progress: Progress, status: str, error: str | None) -> dict[str, Any]:
    finished = datetime.now(UTC)
    written = {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "id": progress.folder.name,
            "status": status,
            "command": progress.origin.command,
            "overrides": progress.origin.overrides,
            "started_at": progress.origin.started_at,
            "resumed_at": progress.origin.resumed_at,
            "finished_at": finished.isoformat(timespec="seconds"),
            "seconds": progress.origin.seconds + time.monotonic() - progress.clock,
            "error": error,
            "lost": progress.lost,
        },
        "config": _own_config(progress),
    }
    for name in ("dataset", "model", "training", "evaluation", "environment"):
        written[name] = progress.sections.get(name)
    if "evaluated" in progress.sections:
        written["evaluated"] = progress.sections["evaluated"]
    files.write_json(progress.folder / "results.json", written)
    before = len(progress.lost)
    with progress.spared(model_card.NAME):
        model_card.write(progress.folder)
    progress.tracker.finish(progress.folder, written)
    if len(progress.lost) > before:
        files.write_json(progress.folder / "results.json", written)
    for what, why in progress.lost.items():
        log.warning("not made: %s (%s)", what, why)
    return written


def _own_config(progress: Progress) -> dict[str, Any]:
    """The configuration, without what speaks of a training that was not this network's: a file's
    was somewhere else."""
    whole: dict[str, Any] = dump(progress.config)
    if progress.sections.get("evaluated", {}).get("kind", "run") == "run":
        return whole
    own = {key: value for key, value in whole.items() if key not in OF_TRAINING}
    return own | {"options": {k: v for k, v in whole["options"].items() if k in own}}
