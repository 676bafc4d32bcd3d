"""The configuration, the rows and the results of a run that trackers get."""

from typing import Any

SHORT = ["method=standard", "training.epochs=1", "evaluation=none", "evaluation.examples=20"]
CONFIG = {"seed": 3, "method": {"name": "trades", "beta": 6.0}, "radii": [1, 2]}
SCORE = {"accuracy": 0.75}
RESULTS = {
    "run": {"status": "completed", "seconds": 2.5},
    "evaluation": {"clean": SCORE, "worst_case": SCORE, "attacks": [{"name": "pgd", **SCORE}]},
}


def row(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "step": 10 * epoch, "train_loss": 1 / epoch, "train_accuracy": None}
