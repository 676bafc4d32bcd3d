"""MODEL_CARD.md: what a reader who was handed the weights alone must know of them."""

import json
from functools import cache
from pathlib import Path
from textwrap import indent
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from robustrun.run_folder.schema import audit_verdict, images_measured, option
from robustrun.storage.files import write_atomically

NAME = "MODEL_CARD.md"
AUDITED = {
    "pass": "every check of the audit passes",
    "warn": "the audit warns; see results.json",
    "fail": "**the audit fails: the robust accuracies are not to be believed**; see results.json",
    "": "not made (`robustrun evaluate RUN evaluation=audit`)",
}


def write(folder: Path) -> None:
    """The card of a finished run, beside its weights; a run that has none gets none."""
    results = json.loads((folder / "results.json").read_bytes())
    if results["evaluation"] and (folder / "model.safetensors").is_file():
        write_atomically(folder / NAME, text(results).encode())


def text(results: dict[str, Any]) -> str:
    evaluation = results["evaluation"]
    return _template().render(
        model=results["model"],
        method=option(results, "method"),
        data=results["dataset"],
        scores=_scores(evaluation),
        images=images_measured(evaluation),
        audited=Markup(AUDITED[audit_verdict(evaluation)]),  # ours
        unanswered=_unanswered(evaluation),
        training=results["training"] or {"epochs": None},
        seed=results["config"].get("seed"),
        command=results["run"]["command"],
        environment=_environment(results["environment"]),
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


def _scores(evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    clean = {"name": "clean", "radius": ""} | evaluation["clean"]
    worst = {"name": "worst case", "radius": ""} | evaluation["worst_case"]
    attacks = [
        entry | {"radius": f"{entry['norm']} {entry['epsilon']:.4g}"}
        for entry in evaluation["attacks"]
    ]
    return [clean, *attacks, worst]


def _unanswered(evaluation: dict[str, Any]) -> list[str]:
    """How many images have logits that are not finite, where there are any."""
    entries = [{"name": "clean"} | evaluation["clean"], *evaluation["attacks"]]
    counts = [(entry["name"], entry.get("non_finite", 0)) for entry in entries]
    return [f"{count} ({name})" for name, count in counts if count]


def _environment(environment: dict[str, Any]) -> list[str]:
    names = ("robustrun", "torch", "python", "device", "git_commit")
    return [f"{name} {environment[name]}" for name in names if environment.get(name)]
