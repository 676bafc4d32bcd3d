"""PGD-20 and AutoAttack on a GPU, beside the official code as it runs there."""

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from benchmarks import autoattack, pgd_evaluation
from benchmarks.arithmetic import AS_TORCH_COMES, FLOAT32, TF32, computed
from benchmarks.networks import PRECISIONS, Data, called, runtime_for, trained, tuned
from benchmarks.peers import pgd_attacks, without_cuda
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare

STEPS = 20


def works(
    data: Data, settings: Settings, found: dict[str, str]
) -> Mapping[str, Callable[[], list[Row]]]:
    """PGD-20; then AutoAttack, each contestant on its own, the official code last: it is slow."""
    name = "ResNet-18" if settings.deep else "BN CNN"
    given = (name, data, settings)
    todo: dict[str, Callable[[], list[Row]]] = {
        f"PGD-{STEPS}, {name}": partial(_pgd, *given, found)
    }
    for precision in reversed(PRECISIONS):
        todo[f"AutoAttack, {precision}"] = partial(_autoattack, precision, *given)
    if "AutoAttack" in found:
        todo["AutoAttack, official"] = partial(_official, False, *given)
        todo["AutoAttack, official tuned"] = partial(_official, True, *given)
    return todo


def _pgd(name: str, data: Data, settings: Settings, found: dict[str, str]) -> list[Row]:
    sizes = settings.sizes
    measured = data.measured(sizes.autoattack_images, settings.device)
    attacks = pgd_attacks(found, data.epsilon, STEPS)
    if "robust_overfitting" in found:
        attacks["robust_overfitting"] = partial(_rice, data.epsilon)
    networks = {"": trained(name, data, settings), " tuned": tuned(trained(name, data, settings))}
    contestants = [
        Contestant(
            f"{peer}{how}",
            computed(
                pgd_evaluation.theirs(attack, network, *measured, sizes.batch),
                TF32 if how else AS_TORCH_COMES,
            ),
        )
        for peer, attack in attacks.items()
        for how, network in networks.items()
    ]
    for precision in PRECISIONS:
        run = pgd_evaluation.evaluation(
            name, data, settings, precision, measured, STEPS, sizes.batch
        )
        words = called(precision, runtime_for(settings, precision, work=1e12))
        contestants.append(Contestant(words, computed(run, FLOAT32), ours=True))
    return _compared(f"PGD-{STEPS} evaluation", name, contestants, settings, sizes.rounds)


def _rice(epsilon: float, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Rice et al.'s attack; their normalisation divides by one, as the network has its own."""
    import train_cifar  # type: ignore[import-not-found]

    train_cifar.mu, train_cifar.std = 0.0, 1.0
    delta = train_cifar.attack_pgd(model, x, y, epsilon, epsilon / 4, STEPS, 1, "l_inf")
    perturbed: Tensor = (x + delta).clamp(0, 1).detach()
    return perturbed


def _autoattack(precision: str, name: str, data: Data, settings: Settings) -> list[Row]:
    mine = autoattack.ours("", name, data, settings, precision)
    run = computed(mine.run, FLOAT32)
    return _whole(Contestant(mine.name, run, ours=True), name, settings)


def _official(for_speed: bool, name: str, data: Data, settings: Settings) -> list[Row]:
    official = autoattack.official("", name, data, settings, for_speed)
    run = computed(official.run, TF32 if for_speed else AS_TORCH_COMES)
    return _whole(Contestant(official.name, run), name, settings)


def _whole(contestant: Contestant, name: str, settings: Settings) -> list[Row]:
    return _compared("AutoAttack", name, [contestant], settings, rounds=1, warm=False)


def _compared(
    work: str,
    name: str,
    contestants: list[Contestant],
    settings: Settings,
    rounds: int,
    warm: bool = True,
) -> list[Row]:
    with without_cuda(settings.device):
        return compare(
            work,
            name,
            contestants,
            rounds=rounds,
            items=settings.sizes.autoattack_images,
            meaning="robust accuracy",
            device=settings.device,
            warm=warm,
        )
