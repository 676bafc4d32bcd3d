"""Does the screen decide as AutoAttack? Verdict by verdict, on the same images of ten networks, and
of two whose gradients mislead or vanish.

    python -m benchmarks.screen --data data/cifar10-jpeg [--only NAME ...] [--after]
    python -m benchmarks.screen --alternatives --seed 1 --only digits

Networks are trained for a minute or two and kept in `--out`. Passes are counted on images that both
leave standing: a pass forward is one, a pass back to the image another.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.networks import Data, load_data, plain_config, runtime_for
from benchmarks.settings import FULL, Settings
from robustrun.datasets.tensors import TensorImages
from robustrun.devices.local import processor_name
from robustrun.evaluation.measure import accuracies, measure
from robustrun.evaluation.outcome import AttackResult
from robustrun.evaluation.setting import Setting
from robustrun.training.fit import fit
from robustrun.training.settings import TrainingPlan
from robustrun.types import Attack

ROOT = Path(__file__).resolve().parents[1]
COUNTED = 2  # standing images that passes are counted on
NAMES = ("autoattack", "screen", "autoattack_after_screen")
SHOWN = ("AutoAttack", "screen", "AutoAttack after it")
ALTERNATIVES = (  # words of a command line
    "apgd_ce",
    "apgd_dlr",
    "apgd_t",
    "apgd_t attack.targets=4 attack.steps=48",
    "multi_targeted attack.targets=4 attack.steps=48",
    "pgd attack.steps=195",
    "pgd attack.steps=195 attack.loss=margin",
    "screen",
    "screen attack.targets=1 attack.steps=163",
    "screen attack.targets=9 attack.steps=17",
    "screen attack.last_step=1",
)


@dataclass(frozen=True)
class Case:
    """A network, how it is trained, and how many images it is attacked on."""

    name: str
    data: str  # digits or cifar10
    words: str  # of a command line: model, method, norm
    train_images: int
    epochs: int
    images: int
    changed: Callable[[nn.Module], nn.Module] = lambda network: network


class Scaled(nn.Module):
    """The same decisions with logits a thousand times as large: the softmax is saturated."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return 1000 * logits


class Rounded(nn.Module):
    """Sees eight grey levels: the gradient to the image is 0 everywhere."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((7 * x).round() / 7)
        return logits


DIGITS = ("digits", 1293, 20, 200)
SMALL = ("cifar10", 5000, 4, 500)
FEWER = ("cifar10", 5000, 4, 200)
RESIDUAL = ("cifar10", 5000, 4, 100)
THREE = "method.inner.steps=3 method.inner.step_size="  # half the radius


def _case(
    name: str,
    of: tuple[str, int, int, int],
    words: str,
    changed: Callable[[nn.Module], nn.Module] = lambda network: network,
) -> Case:
    data, train_images, epochs, images = of
    return Case(name, data, words, train_images, epochs, images, changed)


L2 = "method=pgd_at attack.norm=l2"
WRN = "model=wide_resnet model.depth=10 model.widen_factor=1"
CASES = (
    _case("digits, standard", DIGITS, "method=standard model=small_cnn"),
    _case("digits, TRADES", DIGITS, "method=trades model=small_cnn"),
    _case("digits, MART", DIGITS, "method=mart model=simple_cnn"),
    _case("digits, PAT", DIGITS, "method=pat model=small_cnn"),
    _case("digits, PGD-AT, l2", DIGITS, f"{L2} model=small_cnn"),
    _case("CIFAR-10 (JPEG), TRADES", SMALL, f"method=trades model=simple_cnn {THREE}4/255"),
    _case("CIFAR-10 (JPEG), PGD-AT, linf", FEWER, f"method=pgd_at model=simple_cnn {THREE}4/255"),
    _case("CIFAR-10 (JPEG), PGD-AT, l2", FEWER, f"{L2} model=simple_cnn {THREE}1/4"),
    _case("CIFAR-10 (JPEG), FGSM-AT at 16/255", SMALL, "method=fgsm_at model=small_cnn"),
    _case("CIFAR-10 (JPEG), N-FGSM, WRN-10-1", RESIDUAL, f"method=n_fgsm {WRN}"),
    _case("digits, TRADES, logits x 1,000", DIGITS, "method=trades model=small_cnn", Scaled),
    _case("digits, TRADES, 8 grey levels", DIGITS, "method=trades model=small_cnn", Rounded),
)


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    device = torch.device("cpu")
    cache = options.out / "cache"
    settings = Settings(FULL, device, options.seed, options.threads, options.data, cache, False)
    cases = [c for c in CASES if not options.only or any(part in c.name for part in options.only)]
    where = f"{processor_name()}, {options.threads} threads, torch {torch.__version__}"
    print(f"{where}, float32, seed {options.seed}\n")
    if options.alternatives:
        _print(["network", "attack", "standing", "fooled by another", "passes"])
        for case in cases:
            for cells in alternatives(case, settings):
                _print(cells)
        return
    _print(_header(SHOWN[: 3 if options.after else 2]))
    for case in cases:
        _print(compared(case, settings, options.after))


def _print(cells: list[str]) -> None:
    """A line of a table; the first one is its head."""
    print("| " + " | ".join(cells) + " |", flush=True)
    if cells[0] == "network":
        print("|" + "---|" * len(cells), flush=True)


def alternatives(case: Case, settings: Settings) -> Iterator[list[str]]:
    """A row for each other attack: the images that stand, those of them that any other fools."""
    data, network = trained(case, settings)
    x, y = data.measured(case.images, settings.device)
    attacks = {words: attack_of(case, *words.split()) for words in ALTERNATIVES}
    found = verdicts(network, x, y, attacks, settings)
    stands = np.logical_and.reduce([its.robust for its in found.values()])
    some = np.flatnonzero(stands)[:COUNTED]
    for words, its in found.items():
        count = passes(attacks[words], network, x[some], y[some])
        cells = [words.replace("attack.", ""), its.robust.sum(), (its.robust & ~stands).sum()]
        yield [case.name, *map(str, cells), "" if count is None else f"{count:,.0f}"]


def _header(shown: tuple[str, ...]) -> list[str]:
    alone = ["fooled by AutoAttack alone", "by the screen alone"]
    passes = [f"passes, {name}" for name in SHOWN[:2]]
    return ["network", "images", "clean", *shown, *alone, *passes, *(f"s, {it}" for it in shown)]


def compared(case: Case, settings: Settings, after: bool) -> list[str]:
    """One row of the table."""
    data, network = trained(case, settings)
    x, y = data.measured(case.images, settings.device)
    attacks = {name: attack_of(case, name) for name in NAMES[: 3 if after else 2]}
    found = list(verdicts(network, x, y, attacks, settings).values())
    theirs, ours = (its.robust for its in found[:2])
    both = np.flatnonzero(theirs & ours)[:COUNTED]
    counts = [passes(attacks[name], network, x[both], y[both]) for name in NAMES[:2]]
    with torch.no_grad():
        clean = (network(x).argmax(dim=1) == y).float().mean().item()
    return [
        case.name,
        str(len(x)),
        f"{clean:.1%}",
        *(str(int(its.robust.sum())) for its in found),
        *(str(int(count)) for count in ((ours & ~theirs).sum(), (theirs & ~ours).sum())),
        *("" if count is None else f"{count:,.0f}" for count in counts),
        *(f"{its.seconds:.1f}" for its in found),
    ]


def verdicts(
    network: nn.Module, x: Tensor, y: Tensor, attacks: dict[str, Attack], settings: Settings
) -> dict[str, AttackResult]:
    """What each attack leaves standing, searched in float32."""
    setting = Setting(settings.seed, 500, settings.device)
    images = TensorImages(x, y.cpu())
    classes = len(network(x[:1])[0])
    return measure(network, images, classes, accuracies(attacks), setting).attacks


def attack_of(case: Case, name: str, *more: str) -> Attack:
    words = [word for word in _words(case) if not word.startswith("method")]
    return plain_config([f"attack={name}", *words, *more]).attack


def passes(attack: Attack, network: nn.Module, x: Tensor, y: Tensor) -> float | None:
    """Passes forward and back for each image; None without an image."""
    if len(x) == 0:
        return None
    counting = CountsPasses(network)
    attack(counting, x, y, generator=torch.Generator(x.device).manual_seed(0))
    return counting.passes / len(x)


class CountsPasses(nn.Module):
    """Counts how many images pass through, forward and back."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.passes = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        logits: Tensor = self.network(x)
        if logits.requires_grad:
            logits.register_hook(self._back)  # type: ignore[no-untyped-call]
        return logits

    def _back(self, slope: Tensor) -> None:
        self.passes += len(slope)


def trained(case: Case, settings: Settings) -> tuple[Data, nn.Module]:
    """The case's images and network, in eval mode: trained, or as it was kept."""
    data = load_data(settings if case.data == "cifar10" else _of_digits(settings))
    told = repr((case.data, case.words, case.train_images, case.epochs, settings.seed))
    kept = settings.cache / f"screen-{hashlib.sha256(told.encode()).hexdigest()[:12]}.safetensors"
    torch.manual_seed(settings.seed)
    network = plain_config(_words(case)).model.build(data.train.shape, data.classes)
    if kept.exists():
        network.load_state_dict(load_file(kept))
    else:
        _train(network, case, data, settings)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, kept)
    return data, case.changed(network).eval()


def _of_digits(settings: Settings) -> Settings:
    return replace(settings, data=Path("not there"))


def _words(case: Case) -> list[str]:
    words = [f"dataset={case.data}", *case.words.split()]
    return [*words, "attack.epsilon=16/255"] if "16/255" in case.name else words


def _train(network: nn.Module, case: Case, data: Data, settings: Settings) -> None:
    words = [f"training.epochs={case.epochs}", "training.batch_size=64", "optimizer.lr=0.05"]
    words += ["schedule=onecycle", "training.warmup=0", "training.select=last"]
    words += ["training.validation_fraction=0"]
    cfg = plain_config([*_words(case), *words])
    runtime = runtime_for(settings, "float32", work=1e12)
    fit(
        network,
        cfg.method,
        data.train.subset(torch.arange(min(case.train_images, len(data.train)))),
        None,
        torch.bincount(data.train.labels, minlength=data.classes),
        TrainingPlan(cfg.training, cfg.optimizer, cfg.schedule, runtime, settings.seed),
        lambda history: None,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.screen", description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "cifar10-jpeg")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "screen")
    parser.add_argument("--only", nargs="*", default=[], help="parts of the networks' names")
    parser.add_argument("--after", action="store_true", help="AutoAttack after the screen, too")
    parser.add_argument("--alternatives", action="store_true", help="other attacks instead")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
