"""How the cost of a PGD evaluation grows with steps, images, batch and network; ours alone."""

from benchmarks.networks import Data
from benchmarks.pgd_evaluation import evaluation
from benchmarks.settings import Settings
from benchmarks.timing import Contestant, Row, compare

PRECISION = "bfloat16"
USUAL = {"steps": 10, "images": 512, "batch": 128}  # of which one at a time is changed
CHANGES: dict[str, tuple[int, ...]] = {
    "steps": (5, 20, 40),
    "images": (128, 256, 1024),
    "batch": (16, 32, 512),
}


def rows(data: Data, settings: Settings) -> list[Row]:
    share = min(settings.sizes.images / USUAL["images"], 1.0)  # fewer images where all is smaller
    found = _of("BN CNN", data, settings, USUAL, share)
    for key, values in CHANGES.items():
        for value in values:
            found += _of("BN CNN", data, settings, USUAL | {key: value}, share)
    if settings.deep:
        found += _of("PreAct ResNet-18", data, settings, USUAL, share / 8)
    return found


def _of(
    name: str, data: Data, settings: Settings, sizes: dict[str, int], share: float
) -> list[Row]:
    count = max(int(sizes["images"] * share), 2)
    measured = data.measured(count, settings.device)
    steps, batch = sizes["steps"], sizes["batch"]
    run = evaluation(name, data, settings, PRECISION, measured, steps, batch)
    return compare(
        f"growth: {steps} steps, {len(measured[0])} images, batch {batch}",
        name,
        [Contestant(f"robustrun {PRECISION}", run, ours=True)],
        rounds=settings.sizes.rounds,
        items=len(measured[0]),
        meaning="robust accuracy",
        device=settings.device,
    )
