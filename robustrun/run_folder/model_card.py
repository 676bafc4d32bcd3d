"""MODEL_CARD.md: what a reader who was handed the weights alone must know of them."""

from functools import cache
from pathlib import Path
from textwrap import indent

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from robustrun.evaluation.table import as_text
from robustrun.run_folder.folder import WEIGHTS
from robustrun.run_folder.place import code_of
from robustrun.run_folder.schema import (
    EnvironmentSection,
    EvaluationSection,
    RunRecord,
    Score,
    TrainingSection,
)
from robustrun.storage.files import write_atomically
from robustrun.types import METHODS

NAME = "MODEL_CARD.md"
HERE = "."  # the folder that the card lies in
TASK = "image-classification"
HUB_DATASETS = {  # ours: the hub's
    "cifar10": "uoft-cs/cifar10",
    "cifar100": "uoft-cs/cifar100",
    "imagenet": "ILSVRC/imagenet-1k",
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "svhn": "ufldl-stanford/svhn",
    "tiny_imagenet": "zh-plus/tiny-imagenet",
}
CHANGES = ("image_size", "arguments", "patch_size", "stem")  # keys of a network changed by us
PARTIAL = ("googlenet", "inception_v3")  # that are built without their auxiliary classifiers
AUDITED = {
    "pass": "every check of the audit passes",
    "warn": "the audit warns; see results.json",
    "fail": "**the audit fails: the robust accuracies are not to be believed**; see results.json",
    "": "not made (`robustrun evaluate RUN evaluation=audit`)",
}


def write(record: RunRecord) -> None:
    """The card of a finished run, beside its weights; a run that has none gets none."""
    if record.evaluation is not None and (record.folder / WEIGHTS).is_file():
        write_atomically(record.folder / NAME, text(record).encode())


def text(record: RunRecord, address: str = HERE, license: str | None = None) -> str:
    """The card, whose lines load the network from `address`: the folder that the card lies in, or
    `hf://OWNER/NAME`."""
    evaluation = record.evaluation
    assert evaluation is not None  # of a finished run
    return _template().render(
        front_matter=Markup(front_matter(record, address, license)),  # YAML, in which all is quoted
        address=address,
        repository=address.removeprefix("hf://") if address != HERE else "",
        needs=_modules(record) if address != HERE else [],
        library=_library(record),
        model=record.model,
        method=record.option("method"),
        data=record.dataset,
        scores=_scores(evaluation),
        images=evaluation.images,
        audited=Markup(AUDITED[evaluation.verdict]),  # ours
        unanswered=[f"{count} ({name})" for name, count in evaluation.unanswered.items()],
        training=record.training or TrainingSection(),
        seed=record.config.get("seed"),
        command=record.run.command,
        environment=_environment(record.environment),
    )


def front_matter(record: RunRecord, address: str = HERE, license: str | None = None) -> str:
    """The YAML block by which the hub finds a network and shows its accuracies; the licence is the
    owner's to name. https://huggingface.co/docs/hub/model-cards"""
    model, data, evaluation = record.model, record.dataset, record.evaluation
    assert model is not None
    assert data is not None
    assert evaluation is not None
    name = str(escape(f"{model.name} {record.option('method')} {data.name}"))
    results = {
        "task": {"type": TASK, "name": "Image classification"},
        "dataset": {"type": HUB_DATASETS.get(data.name, data.name), "name": data.name},
        "metrics": [
            {"type": "accuracy", "value": score.accuracy, "name": _metric(title, radius)}
            for title, radius, score in _scores(evaluation)
        ],
    }
    known = [HUB_DATASETS[data.name]] if data.name in HUB_DATASETS else []
    content = {
        **({"license": license} if license else {}),
        "library_name": "robustrun",
        "pipeline_tag": TASK,
        "tags": ["adversarial-robustness", "adversarial-training", "pytorch"],
        **({"datasets": known} if known else {}),
        "metrics": ["accuracy"],
        "model-index": [{"name": name, "results": [results]}],
    }
    written = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{written}---\n"


def _metric(title: str, radius: str) -> str:
    if title == "clean":
        return "accuracy"
    return str(escape(f"robust accuracy, {title}" + (f" ({radius})" if radius else "")))


def _modules(record: RunRecord) -> list[str]:
    """The Python modules that the network was made with: they are not in the hub's repository."""
    code = code_of(record.config)
    return [*map(str, record.config.get("plugins") or []), *([] if code is None else [code])]


def _library(record: RunRecord) -> dict[str, str] | None:
    """How torchvision or timm builds the same network without robustrun; None for a network of
    ours, for one that is changed or scales its images, and where a method has changed its head."""
    model, data = record.config.get("model", {}), record.dataset
    method = record.config["method"].get("name")
    library, architecture = model.get("name"), str(model.get("architecture"))
    changed = [key for key in CHANGES if model.get(key) not in (None, "default", {})]
    if data is None or changed or method not in METHODS or hasattr(METHODS[method], "adapt"):
        return None
    if library == "torchvision" and architecture not in PARTIAL:
        call = f'models.get_model("{architecture}", weights=None, num_classes={data.classes})'
    elif library == "timm" and (size := _timm_size(architecture, data.input_shape)) is not None:
        channels = f"in_chans={data.input_shape[0]}{size}"
        call = f'create_model("{architecture}", num_classes={data.classes}, {channels})'
    else:
        return None
    return {"name": library, "call": Markup(f"{library}.{call}")}


def _timm_size(architecture: str, shape: tuple[int, int, int]) -> str | None:
    """The argument of a network that is made for one size of images; None without timm."""
    try:
        import timm
    except ModuleNotFoundError:
        return None
    fixed = getattr(timm.get_pretrained_cfg(architecture), "fixed_input_size", False)
    return f", img_size=({shape[1]}, {shape[2]})" if fixed else ""


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": _code, "cell": _cell}
    return environment.get_template("model_card.md.jinja")


def _code(value: str) -> Markup:
    """A block of code, in which Markdown shows every sign as it is: no line of it may leave it."""
    lines = "\n".join(line for line in value.splitlines() if line.strip())
    return Markup(indent(lines, "    "))


def _cell(value: str) -> Markup:
    """Text in a table, whose columns it may not part."""
    return Markup(" ".join(escape(value).split()).replace("|", "&#124;"))


def _scores(evaluation: EvaluationSection) -> list[tuple[str, str, Score]]:
    """(name, radius, score) in reading order."""
    attacks = [(one.name, f"{one.norm} {as_text(one.epsilon)}", one) for one in evaluation.attacks]
    return [("clean", "", evaluation.clean), *attacks, ("worst case", "", evaluation.worst_case)]


def _environment(environment: EnvironmentSection | None) -> list[str]:
    names = ("robustrun", "torch", "python", "device", "git_commit")
    return [f"{name} {value}" for name in names if (value := getattr(environment, name, None))]
