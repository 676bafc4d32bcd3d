"""MODEL_CARD.md: what a reader who was handed the weights alone must know of them."""

from pathlib import Path
from typing import Any

from robustrun.files import write_atomically
from robustrun.report import judged, summary
from robustrun.report.collect import option, read
from robustrun.results import audit_verdict

NAME = "MODEL_CARD.md"
AUDITED = {
    "pass": "every check of the audit passes",
    "warn": "the audit warns; see results.json",
    "fail": "**the audit fails: the robust accuracies are not to be believed**; see results.json",
    "": "not made (`robustrun evaluate RUN evaluation=audit`)",
}


def write(folder: Path) -> None:
    """The card of a finished run, beside its weights; a run that has none gets none."""
    results = read(folder).results
    if results and results["evaluation"] and (folder / "model.safetensors").is_file():
        write_atomically(folder / NAME, text(results).encode())


def text(results: dict[str, Any]) -> str:
    data, model = results["dataset"], results["model"]
    method, size = option(results, "method"), model["parameters"]
    channels, height, width = data["input_shape"]
    return f"""\
# {model["name"]} trained with {method} on {data["name"]}

A classifier of images of {channels} x {height} x {width} (channels first), values in [0, 1] (it
normalises inside), into {data["classes"]} classes. {size:,} parameters, in `model.safetensors`.

## Accuracy

{_accuracies(results["evaluation"])}

Robust accuracy is the share of all measured images that are right on the clean image and under the
attack; the worst case counts an image once, over every attack. Radii are in pixel units. Measured
on {judged.images(results["evaluation"])}. Audit: {AUDITED[audit_verdict(results["evaluation"])]}.
{_no_answers(results["evaluation"])}
## Training

{_training(results)}

    {results["run"]["command"]}

`config.yaml` beside this file has every setting: `robustrun --config-path FOLDER` repeats the run.

## Limits

The numbers hold for this data, these attacks and these radii. Robustness to other radii, norms,
attacks or data was not shown, and an attack that is stronger than those above may find more.

{_environment(results["environment"])}
"""


def _accuracies(evaluation: dict[str, Any]) -> str:
    lines = ["| measured with | radius | accuracy | 95% interval |", "|---|---|---|---|"]
    clean, worst = evaluation["clean"], evaluation["worst_case"]
    parts = [("clean", "", clean)]
    parts += [(a["name"], f"{a['norm']} {a['epsilon']:.4g}", a) for a in evaluation["attacks"]]
    for name, radius, entry in [*parts, ("worst case", "", worst)]:
        low, high = entry["ci95"]
        shown = f"{100 * entry['accuracy']:.2f}% | {100 * low:.1f} to {100 * high:.1f}%"
        lines.append(f"| {name} | {radius} | {shown} |")
    return "\n".join(lines)


def _no_answers(evaluation: dict[str, Any]) -> str:
    """A paragraph on images whose logits are not finite; nothing where there are none."""
    entries = [{"name": "clean"} | evaluation["clean"], *evaluation["attacks"]]
    counts = [(entry["name"], entry.get("non_finite", 0)) for entry in entries]
    said = ", ".join(f"{count} ({name})" for name, count in counts if count)
    return (
        f"\nLogits that are NaN or infinite, which count as wrong: {said} images.\n" if said else ""
    )


def _training(results: dict[str, Any]) -> str:
    training, config = results["training"] or {}, results["config"]
    selected = training.get("selected_epoch")
    kept = f"; the weights of epoch {selected} were kept" if selected is not None else ""
    settings = summary.text(config.get("seed"))
    size = results["dataset"]["train_size"]
    return f"{training.get('epochs')} epochs on {size:,} images, seed {settings}{kept}."


def _environment(environment: dict[str, Any]) -> str:
    names = ("robustrun", "torch", "python", "device", "git_commit")
    known = [f"{name} {environment[name]}" for name in names if environment.get(name)]
    return f"Made with {', '.join(known)}." if known else ""
