"""results.json and metrics.csv: what they hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
METRICS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "train_accuracy",
    "validation_clean_accuracy",
    "validation_robust_accuracy",
    "seconds",
)


@dataclass(frozen=True)
class RunResult:
    """A finished run: where it is, and what its results.json says."""

    folder: Path
    results: dict[str, Any]


def audit_verdict(evaluation: dict[str, Any]) -> str:
    """The worst status of the audit's checks: fail, warn or pass; empty if none were made."""
    return worst_status(check["status"] for check in evaluation.get("audit", []))


def worst_status(statuses: Iterable[str]) -> str:
    """The worst of audits' statuses; empty if there is none."""
    present = set(statuses)
    return next((status for status in ("fail", "warn", "pass") if status in present), "")


def option(results: dict[str, Any], group: str) -> str:
    """What the user chose of a group; of runs that did not note it, the registered name."""
    config = results["config"]
    if group == "model" and results.get("model"):
        return str(results["model"]["name"])  # an architecture of a library
    return str(config.get("options", {}).get(group) or config[group]["name"])


def images_measured(evaluation: dict[str, Any]) -> str:
    """Which test images were measured, in words."""
    subset = evaluation["subset"]
    if not subset or subset["size"] == subset["of"]:
        return f"all {evaluation['clean']['total']} test images"
    return f"{subset['size']} of {subset['of']} test images ({subset['chosen']})"
