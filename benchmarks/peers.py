"""The peers that are importable here, each a way to do the same work.

Nothing is installed. Checkouts (AutoAttack, TRADES, MAIR, robust_overfitting) are named by path on
the command line.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

Attacked = Callable[[nn.Module, Tensor, Tensor], Any]  # a tensor
MODULES = {
    "torchattacks": "torchattacks",
    "foolbox": "foolbox",
    "ART": "art.attacks.evasion",
    "MAIR": "mair",
    "AutoAttack": "autoattack",
    "TRADES": "trades",
    "robust_overfitting": "train_cifar",
}
PACKAGES = {"ART": "adversarial-robustness-toolbox"}


def importable(paths: dict[str, Path]) -> dict[str, str]:
    """The peers found, with their versions; `paths` to checkouts are put on the path first."""
    sys.path.extend(str(path) for path in paths.values() if str(path) not in sys.path)
    found = {}
    for name, module in MODULES.items():
        try:
            with without_cuda(torch.device("cuda" if torch.cuda.is_available() else "cpu")):
                importlib.import_module(module)
        except Exception as error:  # a peer that fails to import is a peer that is not here
            print(f"{name} is left out: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        found[name] = _version(name)
    return found


def _version(name: str) -> str:
    try:
        return version(PACKAGES.get(name, name.lower()))
    except PackageNotFoundError:
        return "checkout"


def pgd_attacks(found: dict[str, str], epsilon: float, steps: int) -> dict[str, Attacked]:
    """PGD (Linf, random start) as each peer has it."""
    step_size = epsilon / 4

    def with_torchattacks(model: nn.Module, x: Tensor, y: Tensor) -> Any:
        import torchattacks

        return torchattacks.PGD(model, eps=epsilon, alpha=step_size, steps=steps)(x, y)

    def with_mair(model: nn.Module, x: Tensor, y: Tensor) -> Any:
        from mair.attacks import PGD

        return PGD(model, eps=epsilon, alpha=step_size, steps=steps)(x, y)

    def with_foolbox(model: nn.Module, x: Tensor, y: Tensor) -> Any:
        import foolbox

        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device)
        attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=True)
        return attack(wrapped, x, y, epsilons=epsilon)[1]

    def with_art(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from art.attacks.evasion import ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

        kind = "gpu" if x.device.type == "cuda" else "cpu"
        loss, shape = nn.CrossEntropyLoss(), tuple(x.shape[1:])
        wrapped = PyTorchClassifier(model, loss, shape, 10, clip_values=(0, 1), device_type=kind)
        settings: dict[str, Any] = {"eps": epsilon, "eps_step": step_size, "max_iter": steps}
        settings |= {"num_random_init": 1, "batch_size": len(x), "verbose": False}
        attack = ProjectedGradientDescent(wrapped, **settings)
        return torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy())).to(x.device)

    attacks = {
        "torchattacks": with_torchattacks,
        "MAIR": with_mair,
        "foolbox": with_foolbox,
        "ART": with_art,
    }
    return {name: attack for name, attack in attacks.items() if name in found}


@contextmanager
def without_cuda(device: torch.device) -> Iterator[None]:
    """Lets code that says `.cuda()` run on a CPU, where it then does nothing; warns of nothing."""
    original = Tensor.cuda
    if device.type != "cuda":
        Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old names of losses
            yield
    finally:
        Tensor.cuda = original  # type: ignore[method-assign]
