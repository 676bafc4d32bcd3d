"""MODEL_CARD.md: what a reader who was handed the weights alone must know of them."""

from functools import cache
from pathlib import Path
from textwrap import indent

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from robustrun.run_folder.schema import (
    EnvironmentSection,
    EvaluationSection,
    RunRecord,
    Score,
    TrainingSection,
)
from robustrun.storage.files import write_atomically

NAME = "MODEL_CARD.md"
AUDITED = {
    "pass": "every check of the audit passes",
    "warn": "the audit warns; see results.json",
    "fail": "**the audit fails: the robust accuracies are not to be believed**; see results.json",
    "": "not made (`robustrun evaluate RUN evaluation=audit`)",
}


def write(record: RunRecord) -> None:
    """The card of a finished run, beside its weights; a run that has none gets none."""
    if record.evaluation is not None and (record.folder / "model.safetensors").is_file():
        write_atomically(record.folder / NAME, text(record).encode())


def text(record: RunRecord) -> str:
    evaluation = record.evaluation
    assert evaluation is not None  # of a finished run
    return _template().render(
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
    attacks = [(one.name, f"{one.norm} {one.epsilon:.4g}", one) for one in evaluation.attacks]
    return [("clean", "", evaluation.clean), *attacks, ("worst case", "", evaluation.worst_case)]


def _environment(environment: EnvironmentSection | None) -> list[str]:
    names = ("robustrun", "torch", "python", "device", "git_commit")
    return [f"{name} {value}" for name in names if (value := getattr(environment, name, None))]
