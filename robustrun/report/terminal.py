"""Tables on the terminal: one run's closing table, and many runs side by side."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robustrun import console
from robustrun.console import Table
from robustrun.evaluation.table import as_text
from robustrun.report import collect, compare, grouping, judged, methods, summary, tables
from robustrun.report.collect import StoredRun
from robustrun.report.compare import Comparison
from robustrun.report.grouping import Group
from robustrun.run_folder.schema import (
    AttackScore,
    CleanScore,
    EvaluationSection,
    RunRecord,
    Score,
)

MOST_ROWS = 200  # of a table of runs or of groups: the files have all
SHOWN = 10  # names of classes without an image
WORST = "worst_case"  # as results.json and published numbers call it

# Words that leave the recipe of an experiment as it is.
NO_CHANGE = (
    *("experiment=", "seed=", "device", "evaluation", "tracker", "keep", "hydra", "resume="),
    *("dataset.root=", "dataset.download=", "dataset.workers="),
)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}%"


def interval(score: Score) -> str:
    low, high = score.ci95
    return f"{100 * low:.1f}-{100 * high:.1f}%"


def show_run(record: RunRecord) -> None:
    """The closing table of one run, published numbers beside what was measured, what the audit
    found."""
    evaluation = _measured(record)
    notes = [*_no_answers(evaluation), *_corruptions(evaluation), *_certified(evaluation)]
    notes += [*_doubts(evaluation), *_missing(record)]
    console.show(run_table(record), *_sources(record), *notes, str(record.folder))


def _measured(record: RunRecord) -> EvaluationSection:
    assert record.evaluation is not None  # tables are of runs that were measured
    return record.evaluation


def run_table(record: RunRecord) -> Table:
    evaluation, published = _measured(record), _published(record)
    header = ["measured with", "radius", "accuracy", "95% interval", "correct"]
    rows = [_row(name, score) for name, score in evaluation.scores.items()]
    if evaluation.verdict == "fail":
        for row in rows[1:]:
            row[2] += " (audit fails)"
    if published:
        header.append("published")
        for name, row in zip(evaluation.scores, rows, strict=True):
            row.append("; ".join(_number(entry) for entry in published if entry["attack"] == name))
    data, model = record.dataset, record.model
    about = f"{data.name if data else ''}, {model.name if model else ''}"
    return Table(f"{_subject(record)} on {about}", header, rows)


def _subject(record: RunRecord) -> str:
    """What was trained how: the method, or the run or file that was measured again."""
    if record.evaluated is not None:
        return Path(record.evaluated.source).name
    return record.option("method")


def _row(name: str, score: Score) -> list[str]:
    share, radius = percent(score.accuracy), ""
    if isinstance(score, AttackScore):
        radius = f"{score.norm} {as_text(score.epsilon)}"
        if score.perturbed_accuracy is not None:
            # Noise may turn a wrong answer right; both counts are honest, and they differ.
            share += f" ({percent(score.perturbed_accuracy)} under it alone)"
    if isinstance(score, CleanScore) and score.non_finite:
        share += f" ({score.non_finite} without an answer)"
    count = f"{score.correct}/{score.total}"
    return ["worst case" if name == WORST else name, radius, share, interval(score), count]


def _published(record: RunRecord) -> list[dict[str, Any]]:
    """The numbers that the configuration carries (run_config.Published), and a checkpoint's."""
    checkpoint = record.model.published if record.model else ()
    return [*(record.config.get("published") or []), *map(asdict, checkpoint)]


def _number(entry: dict[str, Any]) -> str:
    alone = " under it alone" if entry["measure"] == "perturbed_accuracy" else ""
    return percent(entry["accuracy"]) + alone


def _no_answers(evaluation: EvaluationSection) -> list[str]:
    """What it means that images are without an answer."""
    if not evaluation.unanswered:
        return []
    return ["without an answer: logits that are NaN or infinite, which count as wrong"]


def _corruptions(evaluation: EvaluationSection) -> list[str]:
    """What was measured beside attacks: corruptions are no adversary's."""
    said = []
    if (corruptions := evaluation.corruptions) is not None:
        error = corruptions.mean_corruption_error
        relative = "" if error is None else f" (mCE {percent(error)}, of AlexNet's error)"
        said.append(f"mean corruption accuracy {percent(corruptions.accuracy)}{relative}")
    if (perturbations := evaluation.perturbations) is not None:
        said.append(f"mean flip rate {percent(perturbations.flip_rate)}")
    return said


def _certified(evaluation: EvaluationSection) -> list[str]:
    """What holds against every adversary, of another classifier than the table's."""
    if (found := evaluation.certificate) is None:
        return []
    shares = [f"{percent(point.accuracy)} at {as_text(point.epsilon)}" for point in found.curve]
    return [
        f"certified in l2 (the network smoothed by noise of {as_text(found.sigma)}): "
        f"{', '.join(shares)}, of {found.curve[0].total} images; mean radius "
        f"{found.average_radius:.4g}; {found.abstained} abstained"
    ]


def _missing(record: RunRecord) -> list[str]:
    """What the numbers do not cover, and what was to be made and is not."""
    evaluation = _measured(record)
    said = [f"not made: {what} ({why})" for what, why in record.run.lost.items()]
    said += [
        f"published for {entry['attack']}, which was not measured: {_number(entry)}"
        for entry in _published(record)
        if entry["attack"] not in evaluation.scores
    ]
    return [*said, *_classes_without_images(record)]


def _classes_without_images(record: RunRecord) -> list[str]:
    subset = _measured(record).subset
    absent = subset.classes_without_images if subset else ()
    if not absent:
        return []
    names = ", ".join(absent[:SHOWN]) + (" ..." if len(absent) > SHOWN else "")
    classes = record.dataset.classes if record.dataset else len(absent)
    about = f"{len(absent)} of {classes} classes have no measured image ({names})"
    return [f"{about}: balanced accuracy is over the others"]


def _doubts(evaluation: EvaluationSection) -> list[str]:
    """What the audit says, in one line if nothing is wrong."""
    wrong = [check for check in evaluation.audit if check.status != "pass"]
    if evaluation.audit and not wrong:
        return [f"audit: all {len(evaluation.audit)} checks pass"]
    return [f"audit {check.status}, {check.check}: {check.why}" for check in wrong]


def _sources(record: RunRecord) -> list[str]:
    """Where published numbers are from, and what they are of."""
    sources = dict.fromkeys(entry["source"] for entry in _published(record))
    said = [f"published, not run here: {source}" for source in sources]
    measured = _measured(record).images
    if said and not measured.startswith("all"):
        said.append(f"published numbers are of the whole test set; this run measured {measured}")
    if said and (changes := _changes(record)):
        said.append(f"published numbers are of the recipe as it stands; this run has {changes}")
    return said


def _changes(record: RunRecord) -> str:
    """The words of a run that make it another than the experiment it names."""
    given = record.run.overrides or ()
    return ", ".join(word for word in given if not word.lstrip("+~").startswith(NO_CHANGE))


def show_table(folders: Iterable[Path]) -> None:
    """Runs side by side: what they share, what differs between them and what they reached."""
    runs = collect.read_all(folders)
    where = "summary.csv has them"
    console.show(judged.common(runs), comparison(runs), *left_out(len(runs), "runs", where))


def left_out(count: int, what: str, where: str) -> list[str]:
    """What a table does not show of so many rows, and where it is."""
    if count <= MOST_ROWS:
        return []
    return [f"{count - MOST_ROWS} further {what} are not shown; {where}"]


def comparison(runs: list[StoredRun]) -> Table:
    """A row for each of the first runs; accuracies in percent with their 95% intervals over
    images."""
    keys, columns = summary.distinguishing_keys(runs), grouping.accuracy_columns(runs)
    header = ["run", "status", *summary.heads(keys), *(f"{name} (%)" for name in columns)]
    rows = [
        [*_about(run, keys), *_accuracies(run, columns), _seconds(run)] for run in runs[:MOST_ROWS]
    ]
    return Table(f"{len(runs)} runs (95% interval)", [*header, "seconds"], rows)


def _about(run: StoredRun, keys: list[str]) -> list[str]:
    row = summary.row(run, keys)
    return [row["run"], row["status"], *(summary.text(row.get(key)) for key in keys)]


def _accuracies(run: StoredRun, columns: list[str]) -> list[str]:
    shares, bounds = summary.accuracies(run), summary.intervals(run)
    cells = {
        name: f"{100 * share:.2f} {tables.interval(*bounds[name])}"
        for name, share in shares.items()
    }
    if summary.verdict(run) == "fail":
        cells["worst_case"] += " (audit fails)"
    return [cells.get(name, "-") for name in columns]


def _seconds(run: StoredRun) -> str:
    seconds = run.record.run.seconds if run.record else None
    return "-" if seconds is None else f"{seconds:.1f}"


def problems(runs: list[StoredRun]) -> list[str]:
    """One line for each folder that could not be read, and one for how many more there are."""
    lines = [f"skipped {run.folder}: {run.problem}" for run in runs if run.problem]
    more = len(lines) - MOST_ROWS
    return [*lines[:MOST_ROWS], *([f"skipped {more} further folders"] if more > 0 else [])]


def group_table(runs: list[StoredRun], groups: list[Group]) -> Table:
    """Each accuracy over the runs of each of the first groups, in percent."""
    header, *rows = tables.table(runs, groups, tables.PLAIN, MOST_ROWS)
    rows = [[cell.replace(" (", "\n(") for cell in row] for row in rows]  # the interval below
    several = any(len(group.runs) > 1 for group in groups)
    title = "mean ± standard deviation (95% interval)" if several else "accuracy (95% interval)"
    return Table(title, header, rows)


def show_comparison(comparison: Comparison) -> None:
    """What differs between two runs, and whether it made a difference."""
    header = ["measured with", "A", "B", "B - A (points)", "95% interval"]
    header += ["only A right", "only B right", "p (McNemar)", "note"]
    rows = [
        [
            entry.name,
            percent(entry.a),
            percent(entry.b),
            f"{100 * entry.difference:+.2f}",
            f"{100 * entry.low:+.1f} to {100 * entry.high:+.1f}",
            str(entry.only_a),
            str(entry.only_b),
            f"{entry.p:.2g}",
            entry.caution,
        ]
        for entry in comparison.differences
    ]
    console.show(
        f"A: {comparison.a.folder}",
        f"B: {comparison.b.folder}",
        _settings_table(comparison.settings),
        Table(f"over the same {comparison.examples} examples", header, rows),
        compare.verdict(comparison),
        *_failed_audits([("A", [comparison.a]), ("B", [comparison.b])]),
    )


def show_methods(comparison: methods.Comparison) -> None:
    """What differs between two methods, and whether it made a difference."""
    header = ["measured with", "A (%)", "B (%)", "B - A (points)", "95% interval", "note"]
    rows = [
        [
            entry.name,
            *(f"{100 * mean:.2f} ± {100 * spread:.2f}" for mean, spread in (entry.a, entry.b)),
            f"{100 * entry.difference:+.2f}",
            f"{100 * entry.low:+.1f} to {100 * entry.high:+.1f}",
            entry.caution,
        ]
        for entry in comparison.differences
    ]
    sides = [("A", comparison.a), ("B", comparison.b)]
    console.show(
        *(f"{letter}: {', '.join(str(run.folder) for run in side)}" for letter, side in sides),
        *(f"left out, for its seed is on one side: {run.folder}" for run in comparison.left_out),
        judged.common([*comparison.a, *comparison.b]),
        _settings_table(comparison.settings),
        Table("mean ± standard deviation over seeds", header, rows),
        methods.verdict(comparison),
        *_failed_audits(sides),
    )


def _failed_audits(sides: list[tuple[str, list[StoredRun]]]) -> list[str]:
    return [
        f"The audit of {letter} fails: its robust accuracy is not to be believed."
        for letter, side in sides
        if any(summary.verdict(run) == "fail" for run in side)
    ]


def _settings_table(settings: list[tuple[str, Any, Any]]) -> Table | str:
    if not settings:
        return "The configurations are the same."
    rows = [[key, summary.text(one), summary.text(two)] for key, one, two in settings]
    return Table("what differs in configuration", ["key", "A", "B"], rows)
