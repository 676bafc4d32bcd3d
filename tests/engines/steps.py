"""What one process, or several, make of the same training steps in float64; as a program, for one
of several: `torchrun ... -m tests.engines.steps FOLDER METHOD ...` writes METHOD.pt for each."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import robustrun
from robustrun.compute import processes
from robustrun.compute.place import place
from robustrun.compute.random_state import seed_everything
from robustrun.configuration.run_config import RunConfig
from robustrun.datasets.augmentation import Augment
from robustrun.datasets.tensors import TensorImages
from robustrun.training.fit import fit
from robustrun.training.settings import TrainingPlan
from robustrun.types import Adapts
from tests.golden import CLASSES, TinyNetwork

IMAGES, BATCH = 94, 13  # of batches of 13, the last of an epoch has 3: fewer than four processes
METHODS = {  # and the words that the method is tried with beside its own
    "standard": ["training.label_smoothing=0.1"],
    "pgd_at": ["training.gradient_clip=0.01"],
    "trades": ["training.on_nonfinite=skip"],
    "trades_l2": ["attack=pgd_l2", "method.epsilon=0.5"],
    "trades_awp": ["training.weight_perturbation_warmup=0"],
    "free_at": [],
    "robal": ["training.ema_decay=0.9", "training.ema_buffers=recompute"],
    "robal_r": [],
    "mart": [],
    "at_bsl": [],
    "fast_at": [],
    "n_fgsm": [],
    "fgsm_at": [],
    "pat": ["method.lpips.network=self", "method.only_attack_correct=true"],
    "notebook_fgsm_at": [],
    "notebook_trades": [],
    "notebook_pat": [],
    "notebook_robal": [],
}


def images(count: int, seed: int) -> TensorImages:
    """Images of four classes, 1 x 5 x 5 float64, shifted and mirrored when they are trained on."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 1, 5, 5, generator=generator, dtype=torch.float64)
    labels = torch.arange(count) % CLASSES
    pixels[:, 0, 0, :CLASSES] = 0.7 * pixels[:, 0, 0, :CLASSES] + 0.3 * torch.eye(CLASSES)[labels]
    return TensorImages(pixels, labels, Augment(1, True, rotation=20.0))


def configuration(method: str) -> RunConfig:
    words = ["device=cpu", "device.threads=1", "dataset=digits", f"method={method}", "seed=3"]
    words += ["training.epochs=3", f"training.batch_size={BATCH}", "training.validation_every=3"]
    return robustrun.compose([*words, *METHODS[method]])


def trained(method: str) -> dict[str, Any]:
    """The rows of three epochs, and the weights after them."""
    torch.set_default_dtype(torch.float64)
    cfg = configuration(method)
    seed_everything(cfg.seed)
    model: nn.Module = TinyNetwork()
    train, counts = images(IMAGES, 0), torch.full((CLASSES,), IMAGES // CLASSES)
    counts[0] += 40  # as on long-tailed data
    if isinstance(cfg.method, Adapts):
        model = cfg.method.adapt(model, counts)
    plan = TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, cfg.device.prepare(1.0), 3)
    validation = images(60, 1).plain()
    result = fit(model, cfg.method, train, validation, counts, plan, lambda rows: None)
    losses = [row.train_loss for row in result.history]
    robust = [row.validation_robust_accuracy for row in result.history]
    return {"losses": losses, "robust": robust, "weights": result.last, "steps": result.steps}


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two networks' weights and statistics."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


if __name__ == "__main__":
    here = place(os.environ)
    assert here is not None
    with processes.together(here):
        for method in sys.argv[2:]:
            result = trained(method)
            sums = [float(w.double().sum()) for w in result["weights"].values()]
            assert processes.exchange(sums) == [sums] * processes.count()  # the same, to the bit
            if processes.is_first():
                torch.save(result, Path(sys.argv[1]) / f"{method}.pt")
