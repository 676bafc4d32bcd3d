"""What one process, or several, make of the same training steps in float64; as a program, for one
of several: `torchrun ... -m tests.engines.steps FOLDER WEIGHTS CASE ...` writes CASE.pt for
each, continued from CASE.ckpt if that is there, and verdicts on a network with the weights."""

import io
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import robustrun
from robustrun.compute import processes
from robustrun.compute.place import leave, place
from robustrun.compute.random_state import restore_rng, seed_everything
from robustrun.configuration.run_config import RunConfig
from robustrun.datasets.augmentation import Augment
from robustrun.datasets.tensors import TensorImages
from robustrun.evaluation.curve import AccuracyCurve
from robustrun.evaluation.measure import measure, measurements
from robustrun.evaluation.setting import Setting
from robustrun.run_folder.checkpoint import FileCheckpointer, _content
from robustrun.storage.journal import Journal
from robustrun.training import time_limit
from robustrun.training.fit import fit
from robustrun.training.settings import TrainingPlan
from robustrun.training.state import NoCheckpoints
from robustrun.types import Adapts, Splits
from tests.golden import CLASSES, TinyNetwork
from tests.short_run import SHORT

IMAGES, BATCH = 81, 13  # of batches of 13, the last of an epoch has 3: fewer than four processes
CASES = {  # and the words of each, whose first is a method
    "standard": ["standard", "training.label_smoothing=0.1"],
    "apart": ["standard", "device.sync_batchnorm=false", "training.batch_size=41"],
    "pgd_at": ["pgd_at", "training.gradient_clip=0.01"],
    "trades": ["trades", "training.on_nonfinite=skip"],
    "trades_l2": ["trades_l2", "attack=pgd_l2", "method.epsilon=0.5"],
    "trades_awp": ["trades_awp", "training.weight_perturbation_warmup=0"],
    "free_at": ["free_at"],
    "robal": ["robal", "training.ema_decay=0.9", "training.ema_buffers=recompute"],
    "mart": ["mart"],
    "fast_at": ["fast_at"],
    "n_fgsm": ["n_fgsm"],
    "fgsm_at": ["fgsm_at"],
    "gaussian": ["gaussian"],
    "pat": ["pat", "method.lpips.network=self", "method.only_attack_correct=true"],
    "notebook_fgsm_at": ["notebook_fgsm_at"],
    "notebook_pat": ["notebook_pat"],
    "notebook_robal": ["notebook_robal"],
}


LIMITED = ["device=cpu", "training.seconds=0.5", "training.epochs=50"]


def taken(*given: Any) -> float:
    """Seconds of so many steps, the last that is given: 10 ms each, and 20 ms in process 1."""
    return 0.01 * (1 + processes.rank()) * float(given[-1])


def images(count: int, seed: int) -> TensorImages:
    """Images of four classes, 1 x 5 x 5 float64, shifted and mirrored when they are trained on."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 1, 5, 5, generator=generator, dtype=torch.float64)
    labels = torch.arange(count) % CLASSES
    pixels[:, 0, 0, :CLASSES] = 0.7 * pixels[:, 0, 0, :CLASSES] + 0.3 * torch.eye(CLASSES)[labels]
    return TensorImages(pixels, labels, Augment(1, True, rotation=20.0))


def configuration(case: str) -> RunConfig:
    method, *words = CASES[case]
    words += [] if case == "apart" else [f"training.batch_size={BATCH}"]
    words += ["device=cpu", "device.threads=1", "dataset=digits", f"method={method}", "seed=3"]
    return robustrun.compose([*words, "training.epochs=3", "training.validation_every=3"])


def trained(case: str, folder: Path | None = None, start: Path | None = None) -> dict[str, Any]:
    """The rows of three epochs, and the weights after them. States go to `folder`, which are often
    enough that one is in the middle of an epoch; from the one in `start` it is continued."""
    torch.set_default_dtype(torch.float64)
    cfg = configuration(case)
    seed_everything(cfg.seed)
    model: nn.Module = TinyNetwork()
    train, counts = images(IMAGES, 0), torch.full((CLASSES,), IMAGES // CLASSES)
    counts[0] += 40  # as on long-tailed data
    if isinstance(cfg.method, Adapts):
        model = cfg.method.adapt(model, counts)
    plan = TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, cfg.device.prepare(1.0), 3)
    validation = images(60, 1).plain()
    keeps = folder is not None and processes.is_first()
    kept = FileCheckpointer(folder, {}, 1e9, 10) if keeps else NoCheckpoints()
    state = start and torch.load(io.BytesIO(_content(start)), weights_only=True)
    if state:
        restore_rng(state["rng"])
    result = fit(
        model,
        cfg.method,
        train,
        validation,
        counts,
        plan,
        lambda rows: None,
        checkpointer=kept,
        start=state and state["fit"],
    )
    losses = [row.train_loss for row in result.history]
    robust = [row.validation_robust_accuracy for row in result.history]
    return {"losses": losses, "robust": robust, "weights": result.last, "steps": result.steps}


def measured(weights: dict[str, Tensor], folder: Path) -> dict[str, Any]:
    """Every verdict on 60 images in batches of 7: AutoAttack, FMN and its distances, the audit."""
    torch.set_default_dtype(torch.float64)
    words = ["device=cpu", "dataset=digits", "evaluation=audit", "evaluation.radii=[2]", "seed=3"]
    words += ["evaluation.audit.examples=20", "evaluation.audit.surrogate_steps=20"]
    words += ["+attack@evaluation.attacks.autoattack=autoattack", "attack.epsilon=0.05"]
    words += ["evaluation.certificate={sigma: 0.3, every: 5, selection_samples: 20, samples: 200, "]
    words[-1] += "alpha: 0.001, radii: []}"
    cfg = robustrun.compose([*words, "+attack@evaluation.attacks.fmn=fmn"])
    model = TinyNetwork()
    model.load_state_dict(weights)
    journal = Journal(folder / "journal", "tiny", processes.rank())
    processes.wait_for_all()
    setting = Setting(cfg.seed, 7, torch.device("cpu"), journal=journal)
    attacks, test = cfg.attacks(), images(60, 2).plain()
    splits = Splits(test, test, tuple("abcd"))
    entries = measurements(cfg.evaluation, attacks, "pgd", splits)
    entries.append(AccuracyCurve("fmn", attacks["fmn"], (0.5, 2.0)))
    found = measure(model, test, CLASSES, entries, setting)
    curve = [(radius, robust.tolist()) for radius, robust in found.curve]
    stages = {name: [stage.standing for stage in a.stages] for name, a in found.attacks.items()}
    robust = {name: attack.robust.tolist() for name, attack in found.attacks.items()}
    clean, checks = found.predictions.tolist(), [asdict(check) for check in found.checks]
    assert found.certificates is not None
    radii = found.certificates.radii.tolist()
    verdicts = {"clean": clean, "robust": robust, "stages": stages, "curve": curve}
    return verdicts | {"checks": checks, "radii": radii}


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two networks' weights and statistics."""
    return max(float((one[name] - other[name]).abs().max()) for name in one)


if __name__ == "__main__":
    here = place(os.environ)
    assert here is not None
    with processes.together(here):
        out = Path(sys.argv[1])
        for case in sys.argv[3:]:
            start = out / f"{case}.ckpt"  # of an earlier number of processes
            result = trained(case, out / case, start if start.is_file() else None)
            sums = [float(w.double().sum()) for w in result["weights"].values()]
            assert processes.exchange(sums) == [sums] * processes.count()  # the same, to the bit
            if processes.is_first():
                torch.save(result, out / f"{case}.pt")
        verdicts = measured(torch.load(Path(sys.argv[2])), out)
        if processes.is_first():
            torch.save(verdicts, out / "verdicts.pt")
    if here.count == 2:
        torch.set_default_dtype(torch.float32)
        os.chdir(out)
        time_limit._timed = taken  # the second process is slower
        robustrun.run(robustrun.compose([*SHORT[1:], *LIMITED]))  # as a program of one's own does
    leave(0)
