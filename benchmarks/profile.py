"""Where the time of a TRADES epoch and of an AutoAttack run goes, on one thread.

    python -m benchmarks.profile [--package PATH]

PATH is a folder with another `robustrun/` and `conf/`, such as an earlier commit's, to profile that
instead: what is imported from it here has kept its name.
"""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.settings import FULL, Settings

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
BATCH, STEPS, EPOCHS = 128, 10, 3
KINDS = {  # by parts of the operations' names
    "convolutions backward": ("convolution_backward",),
    "forward": ("mkldnn_convolution",),
    "batch norm": ("batch_norm",),
    "ReLU": ("clamp_min", "relu", "threshold_backward"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--package", type=Path, help="another robustrun/ and conf/")
    parser.add_argument("--images", type=int, default=100, help="of the AutoAttack run")
    options = parser.parse_args()
    if options.package:
        sys.path.insert(0, str(options.package.resolve()))
    torch.set_num_threads(1)
    out = ROOT / "outputs" / "benchmarks"
    jpeg = ROOT / "data" / "cifar10-jpeg"
    settings = Settings(FULL, CPU, 0, 1, jpeg, out / "cache", deep=False)
    for precision in ("float32", "bfloat16"):
        print(epoch(settings, precision), flush=True)
        print(autoattack(settings, precision, options.images), flush=True)


def epoch(settings: Settings, precision: str) -> str:
    """Seconds of some epochs, and the shares of one more."""
    from benchmarks.networks import load_data, plain_config, runtime_for, untrained
    from robustrun.datasets.augmentation import as_floats
    from robustrun.training.batching import Batching
    from robustrun.training.fit import train_batch
    from robustrun.training.learner import Learner

    data = load_data(settings)
    runtime = runtime_for(settings, precision, work=1e12)
    model = untrained("BN CNN", data, settings.seed).train()
    model.to(memory_format=getattr(runtime, "memory_format", torch.contiguous_format))
    cfg = plain_config(["method=trades", f"attack.epsilon={data.epsilon}"])
    optimizer = cfg.optimizer.build(model)
    counts, batches = torch.ones(data.classes), Batching(BATCH)
    trainer = Learner(model, optimizer, counts, batches, STEPS, None, None)
    x, y = as_floats(data.train.pixels[: BATCH * STEPS]), data.train.labels[: BATCH * STEPS]

    def train() -> float:
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            for part, labels in zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True):
                train_batch(trainer, cfg.method, part, labels)
        return time.perf_counter() - began

    seconds = sorted(train() for _ in range(EPOCHS + 1))[:EPOCHS]  # one to warm up
    with profile(activities=[ProfilerActivity.CPU]) as found:
        train()
    return (
        f"TRADES epoch, {len(x)} images, {precision}: {seconds[EPOCHS // 2]:.2f} s "
        f"({seconds[0]:.2f} - {seconds[-1]:.2f}); {shares(found.key_averages())}"
    )


def shares(events: Any) -> str:
    """Of the time inside torch's operations, by kind."""
    total = sum(event.self_cpu_time_total for event in events)
    told, rest = [], 1.0
    for kind, names in KINDS.items():
        inside = [e for e in events if any(name in e.key for name in names)]
        share = sum(event.self_cpu_time_total for event in inside) / total
        told.append(f"{kind} {share:.0%}")
        rest -= share
    return ", ".join([*told, f"rest {rest:.0%}"])


def autoattack(settings: Settings, precision: str, count: int) -> str:
    """Seconds of each part, and how many images stand after it."""
    from benchmarks.networks import load_data, plain_config, runtime_for, trained
    from robustrun.datasets.tensors import TensorImages
    from robustrun.evaluation.measure import accuracies, measure
    from robustrun.evaluation.setting import Setting

    data = load_data(settings)
    runtime = runtime_for(settings, precision, work=1e12)
    model = trained("BN CNN", data, settings)
    model.to(memory_format=getattr(runtime, "memory_format", torch.contiguous_format))
    x, y = data.measured(count, CPU)
    attack = plain_config(["attack=autoattack", f"attack.epsilon={data.epsilon}"]).attack
    setting = Setting(settings.seed, BATCH, CPU, precision)
    found = measure(model, TensorImages(x, y), data.classes, accuracies({"all": attack}), setting)
    parts = [
        f"{stage.name} {stage.seconds:.1f} s ({stage.standing})"
        for stage in found.attacks["all"].stages
    ]
    whole = found.attacks["all"].seconds
    return f"AutoAttack, {count} images, {precision}: {whole:.1f} s; {', '.join(parts)}"


if __name__ == "__main__":
    main()
