"""A run as RobustBench's leaderboard takes it: model_info/DATASET/THREAT/NAME.json.

The fields are those of RobustBench's files, https://github.com/RobustBench/robustbench; what a run
cannot know (authors, venue, link) is left empty for its owner to fill in.
"""

import re
from pathlib import Path
from typing import Any

from robustrun.errors import DataError
from robustrun.evaluation.table import as_text
from robustrun.report import summary
from robustrun.report.collect import StoredRun
from robustrun.run_folder.schema import AttackScore
from robustrun.storage.files import write_json

THREAT_MODELS = {"linf": "Linf", "l2": "L2"}
DATASETS = {"cifar10", "cifar100", "imagenet"}
AUTOATTACK = "autoattack"


def export(runs: list[StoredRun], folder: Path) -> list[Path]:
    """Write one file for every run that AutoAttack measured; DataError if there is none."""
    measured = [run for run in runs if _attack(run) is not None]
    if not measured:
        raise DataError(
            "RobustBench's leaderboard takes AutoAttack's accuracy (standard version, linf or l2), "
            "and none of these runs was measured with it. Measure one: robustrun evaluate RUN "
            "evaluation=standard."
        )
    paths: dict[Path, None] = {}
    for run in measured:
        info = model_info(run)
        path = folder / "model_info" / info["dataset"] / _threat_model(run) / f"{_name(run)}.json"
        while path in paths:  # of a run whose name differs in signs that a file name has not
            path = path.with_stem(f"{path.stem}_")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, info)
        paths[path] = None
    return [*paths]


def model_info(run: StoredRun) -> dict[str, Any]:
    """The JSON of one run; accuracies are texts in percent, as the leaderboard's are."""
    record, attack = run.record, _attack(run)
    assert record is not None  # _attack found one
    assert attack is not None
    assert record.evaluation is not None
    return {
        "link": None,
        "name": None,
        "authors": None,
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": str(record.config["dataset"]["name"]),
        "venue": "Unpublished",
        "architecture": record.model.name if record.model else "",
        "eps": as_text(attack.epsilon),
        "clean_acc": _percent(record.evaluation.clean.accuracy),
        "reported": _percent(attack.accuracy),
        "autoattack_acc": _percent(attack.accuracy),
        "unreliable": summary.verdict(run) == "fail",
        "footnote": _footnote(run, attack),
    }


def _attack(run: StoredRun) -> AttackScore | None:
    """The score of the standard AutoAttack; a weaker or longer one is no leaderboard number."""
    for attack in run.evaluation.attacks if run.evaluation else ():
        standard = attack.kind == AUTOATTACK and attack.norm in THREAT_MODELS
        if standard and attack.settings.get("version", "standard") == "standard":
            return attack
    return None


def _threat_model(run: StoredRun) -> str:
    attack = _attack(run)
    assert attack is not None  # only such runs are exported
    return THREAT_MODELS[attack.norm]


def _footnote(run: StoredRun, attack: AttackScore) -> str:
    """What a reader of the leaderboard must know, in plain words."""
    record = run.record
    assert record is not None  # it has an attack
    assert record.evaluation is not None
    dataset = record.config["dataset"]["name"]
    version = record.environment.robustrun if record.environment else ""
    said = [f"Measured by robustrun {version} on {attack.total} images."]
    if record.dataset and attack.total < (record.dataset.test_size or 0):
        said.append("This is a part of the test set; the leaderboard takes the whole one.")
    if dataset not in DATASETS:
        said.append(f"{dataset} is not a data set of RobustBench.")
    if counts := record.evaluation.unanswered:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        said.append(f"Images whose logits are NaN or infinite count as wrong: {told}.")
    return " ".join(said)


def _name(run: StoredRun) -> str:
    """A file name from the run's place: letters, digits, underscores."""
    method = str(run.settings.get("method.name", "run"))
    return re.sub(r"[^A-Za-z0-9]+", "_", f"{method}_{run.name}").strip("_")


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
