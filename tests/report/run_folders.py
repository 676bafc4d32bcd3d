"""Run folders as a run leaves them, made in milliseconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imsave

from robustrun.evaluation.statistics import wilson
from robustrun.run_folder.schema import RunRecord

EXAMPLES = 100


def score(correct: int, **more: Any) -> dict[str, Any]:
    ci95 = list(wilson(correct, EXAMPLES))
    entry = {"accuracy": correct / EXAMPLES, "correct": correct, "total": EXAMPLES, "ci95": ci95}
    return entry | {"per_class": [0.5, 0.6], "seconds": 0.1} | more


def results(method: str, seed: int, clean: int, robust: int, **config: Any) -> dict[str, Any]:
    settings = {"version": "standard"}
    attack = {"norm": "linf", "epsilon": 8 / 255, "settings": settings}
    return {
        "schema_version": 1,
        "run": {"id": "x", "status": "completed", "seconds": 2.0, "error": None}
        | {"command": f"robustrun method={method}"},
        "config": {
            "seed": seed,
            "published": [],
            "method": {"name": method},
            "dataset": {"name": "cifar10"},
            "attack": {"name": "pgd", "norm": "linf", "epsilon": 8 / 255},
        }
        | config,
        "dataset": {"name": "cifar10", "classes": 2, "class_names": ["cat", "dog"]}
        | {"test_size": EXAMPLES, "input_shape": [1, 8, 8], "fingerprint": "data"},
        "model": {"name": "small_cnn", "parameters": 10, "trainable_parameters": 10},
        "training": {"method": method, "epochs": 2, "selected_epoch": 2},
        "evaluation": {
            "subset": {"size": EXAMPLES, "of": EXAMPLES, "chosen": "all", "fingerprint": "images"},
            "clean": score(clean),
            "attacks": [
                {"name": "pgd", **attack, **score(robust)},
                {"name": "autoattack", **attack, **score(robust - 2)},
            ],
            "worst_case": score(robust - 2),
            "curve": [{"epsilon": 0.0, **score(clean)}, {"epsilon": 8 / 255, **score(robust)}],
            "audit": [],
        },
        "environment": {"robustrun": "0.1.0", "torch": "2.15", "git_commit": "abc"},
    }


def record(content: dict[str, Any], folder: Path = Path("here")) -> RunRecord:
    return RunRecord.from_json(json.dumps(content).encode(), folder)


def long_tail(results: dict[str, Any]) -> None:
    results["config"]["dataset"]["imbalance_ratio"] = 0.01


def fewer_images(results: dict[str, Any]) -> None:
    results["evaluation"]["subset"] = {"size": 100, "of": 10_000, "chosen": "first"}


def run(folder: Path, content: dict[str, Any]) -> Path:
    """Write the folder of one run: results, metrics, predictions and a picture."""
    (folder / "figures").mkdir(parents=True)
    (folder / "run.log").touch()
    (folder / "results.json").write_text(json.dumps(content))
    (folder / "metrics.csv").write_text(
        "epoch,train_loss,train_accuracy,validation_clean_accuracy,validation_robust_accuracy\n"
        "1,2.0,0.5,0.4,0.2\n2,1.0,0.6,,\n"
    )
    imsave(folder / "figures" / "adversarial_images.png", np.zeros((4, 6, 3)))
    evaluation = content["evaluation"]
    predictions(folder, *(evaluation[name]["correct"] for name in ("clean", "worst_case")))
    return folder


def written(folder: Path, content: dict[str, Any]) -> None:
    """A run of which only the results are there."""
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(content))


def predictions(folder: Path, clean: int, robust: int, **other: np.ndarray) -> None:
    """The first `clean` examples are right, the first `robust` of them under attack, too."""
    place = np.arange(EXAMPLES)
    arrays = {
        "index": place,
        "label": place % 2,
        "prediction": np.where(place < clean, place % 2, 1 - place % 2),
        "attack/pgd": place < robust,
    }
    np.savez_compressed(folder / "predictions.npz", **(arrays | other))


def sweep(root: Path) -> Path:
    """Two methods with three seeds each."""
    for number, (method, seed) in enumerate(
        (m, s) for m in ("standard", "trades") for s in range(3)
    ):
        better = 20 if method == "trades" else 0
        run(root / str(number), results(method, seed, 90 - better // 4 + seed, 30 + better + seed))
    return root
