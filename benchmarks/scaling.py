"""What large work needs in GPU hours, storage, files and money, worked out on paper: the tables of
docs/scaling.md, from inputs that are arguments.

    python -m benchmarks.scaling [--gpu-price 3 --pairs-per-second 4000 ...]

Nothing is measured here. `python -m benchmarks.inputs` measures what a source calls "measured".
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Values = Mapping[str, float]  # inputs by name
HOUR, MONTH = 3600, 30 * 24
WEIGHT = 4  # bytes of a parameter
BATCH = 256  # images of a GPU in a step
RUNS = 10_000
GENERATED, SMALL_IMAGE = 50_000_000, 3 * 32 * 32  # images, and bytes of one
# Operations: a pass, with the input's gradient, with all gradients. A gradient costs a pass.
FORWARD, ATTACK, PAIR = 1, 2, 3


class Input(NamedTuple):
    """A number that others are worked out from. The unit is part of its source's text."""

    name: str
    value: float
    source: str


MEASURED = "measured"  # by python -m benchmarks.inputs
INPUTS = (
    Input("pairs-per-second", 2470, "images/s, ResNet-50, 224 x 224, one A100, [NVIDIA's][nvidia]"),
    Input("eight-gpus", 16621, "images/s, the same on 8 GPUs, [NVIDIA's][nvidia]"),
    Input("gpu-peak", 312, "TFLOP/s in bfloat16, A100, [NVIDIA's][a100]"),
    Input("tf32-rate", 0.5, "of the speed in bfloat16, A100, [NVIDIA's][a100]"),
    Input("standing", 0.5, "share of the images that withstand AutoAttack, assumed"),
    Input("gpu-price", 2.0, "$ a GPU hour, assumed"),
    Input("core-price", 0.04, "$ a CPU core hour, assumed"),
    Input("storage-price", 0.02, "$ a GB and month, assumed"),
    Input("gpu-memory", 80, "GB, assumed"),
    Input("workers", 8, "processes that decode: the most that `dataset.workers=null` takes"),
    Input("nvlink", 300, "GB/s in each direction, A100, [NVIDIA's][a100]"),
    Input("network", 25, "GB/s between machines (200 Gb/s), assumed"),
    Input("ethernet", 1.25, "GB/s between machines (10 Gb/s), assumed"),
    Input("metadata-per-second", 2000, "file look-ups/s of a network file system, assumed"),
    Input("read-megabytes", 500, "MB/s that it reads, assumed"),
    Input("network-note", 0.01, "s until a line is on its disk (fsync), assumed"),
    Input("digests", 5e6, "files whose SHA-256 is remembered for fingerprints, at most"),
    Input("inode-bytes", 16384, "bytes of an ext4 disk for each inode, [mke2fs's default][mke2fs]"),
    Input("slurm-array", 1001, "jobs of an array, Slurm's [MaxArraySize][slurm] by default"),
    Input("slurm-jobs", 10000, "jobs that Slurm keeps, its [MaxJobCount][slurm] by default"),
    Input("decoded-per-second", 343, f"JPEGs of 500 x 375 to 224 x 224, one core, {MEASURED}"),
    Input("notes-per-second", 2370, f"lines of the journal, each on the disk (fsync), {MEASURED}"),
    Input("checkpoint-seconds", 1.67, f"s, ResNet-50 with momentum and best weights, {MEASURED}"),
    Input("resnet50-gmac", 4.089, f"10^9 multiply-adds an image, 224 x 224, {MEASURED}"),
    Input("resnet50-parameters", 25.56, f"10^6, {MEASURED}"),
    Input("preact18-gmac", 0.5554, f"the same, PreAct ResNet-18, 32 x 32, {MEASURED}"),
    Input("preact18-parameters", 11.17, f"10^6, {MEASURED}"),
    Input("wrn28-10-gmac", 5.243, f"the same, WRN-28-10, 32 x 32, {MEASURED}"),
    Input("wrn70-16-gmac", 38.76, f"the same, WRN-70-16, 32 x 32, {MEASURED}"),
    Input("wrn70-16-parameters", 266.8, f"10^6, {MEASURED}"),
    Input("run-seconds", 25.1, f"s, TRADES on the digits, one thread, {MEASURED}"),
    Input("run-entries", 21, f"files and folders that this run leaves, {MEASURED}"),
    Input("run-kilobytes", 1230, f"kB in them, {MEASURED}"),
    Input("small-run-entries", 11, f"with `keep.checkpoint` and `keep.figures` false, {MEASURED}"),
    Input("small-run-kilobytes", 186, f"kB in them, {MEASURED}"),
    Input("results-kilobytes", 11.4, f"kB of `results.json`, {MEASURED}"),
    Input("report-seconds", 11.5, "s of a core for 10,000 runs, `python -m benchmarks.many_runs`"),
    Input("imagenet-images", 1281167, "training images, [ILSVRC 2012][imagenet]"),
    Input("imagenet-gigabytes", 144, "GB, training and validation files, [ILSVRC 2012][imagenet]"),
    Input("certified-samples", 100100, "noisy copies an image (n0 + n), [Cohen et al.][cohen]"),
    Input("certified-seconds", 150, "s an image on the GPU of 2019, [Cohen et al.][cohen]"),
)


def main() -> None:
    print("\n\n".join(tables(_arguments()).values()))


def tables(values: Values) -> dict[str, str]:
    """The tables by what they are about, in Markdown."""
    parts: dict[str, Callable[[Values], str]] = {
        "inputs": inputs,
        "imagenet": imagenet,
        "autoattack": autoattack,
        "feeding": feeding,
        "all-reduce": all_reduce,
        "sweep": sweep,
        "certification": certification,
        "generated": generated,
        "generated training": generated_training,
        "limits": limits,
    }
    return {name: part(values) for name, part in parts.items()}


def defaults() -> dict[str, float]:
    return {item.name: item.value for item in INPUTS}


def _arguments() -> dict[str, float]:
    parser = argparse.ArgumentParser("python -m benchmarks.scaling", description=__doc__)
    for name, value, source in INPUTS:
        parser.add_argument(f"--{name}", dest=name, type=float, default=value, help=source)
    return vars(parser.parse_args())


# --- what a step costs ----------------------------------------------------------------------------


def pgd_at(steps: int) -> tuple[float, float]:
    """Forward and backward pairs of an image in a step of PGD-AT, and operations (in forward
    passes): an attack's step needs no gradient of the weights."""
    return steps + 1, steps * ATTACK + PAIR


def trades(steps: int) -> tuple[float, float]:
    """The same for TRADES: the clean images' logits first, then two batches in the loss."""
    return steps + 2 + FORWARD / PAIR, steps * ATTACK + FORWARD + 2 * PAIR


def autoattack_passes() -> tuple[int, int]:
    """Forward passes of AutoAttack (standard, 10 classes or more, linf) on an image that stands:
    APGD-CE and APGD-T, which search in bfloat16, and FAB-T and Square, which do not."""
    steps, targets, queries = 100, 9, 5000
    apgd = (1 + targets) * (steps + 1) * ATTACK
    fab = targets * steps * (ATTACK + FORWARD)  # a step and its verdict
    return apgd, fab + queries + 1


def rate(values: Values, network: str) -> float:
    """Images/s forward and backward, if a network runs at as many operations/s as ResNet-50."""
    return values["pairs-per-second"] * values["resnet50-gmac"] / values[f"{network}-gmac"]


def gpu_hours(values: Values, network: str, images: float, pairs: float) -> float:
    return images * pairs / rate(values, network) / HOUR


def efficiency(values: Values) -> float:
    """Of 8 GPUs that share one training."""
    return values["eight-gpus"] / (8 * values["pairs-per-second"])


# --- the tables -----------------------------------------------------------------------------------


def inputs(values: Values) -> str:
    rows = [(f"`--{name}`", plain(values[name]), source) for name, _, source in INPUTS]
    return table(("argument", "value", "what it is, and its source"), rows)


def imagenet(values: Values) -> str:
    recipes = [
        ("standard, 90 epochs", 90, (1.0, float(PAIR))),
        ("PGD-AT, 3 steps, 90 epochs ([Salman et al.][salman])", 90, pgd_at(3)),
        ("PGD-AT, 2 steps, 300 epochs (as [Singh et al.][singh])", 300, pgd_at(2)),
    ]
    rows = []
    for name, epochs, (pairs, operations) in recipes:
        images = epochs * values["imagenet-images"]
        most = gpu_hours(values, "resnet50", images, pairs)
        fewest = gpu_hours(values, "resnet50", images, operations / PAIR)
        eight = most / efficiency(values)
        money = dollars(eight * values["gpu-price"])
        rows.append((name, f"{pairs:.0f}", short(fewest), short(most), short(eight / 8), money))
    header = ("ResNet-50 on ImageNet", "pairs an image", "GPU hours, at least", "at most")
    return table((*header, "hours on 8 GPUs", "$ for these"), rows)


def autoattack(values: Values) -> str:
    apgd, exact = autoattack_passes()
    rows = []
    for name, network, images in (
        ("ResNet-50, ImageNet", "resnet50", 5_000),
        ("PreAct ResNet-18, CIFAR-10", "preact18", 10_000),
        ("WRN-28-10, CIFAR-10", "wrn28-10", 10_000),
        ("WRN-70-16, CIFAR-10", "wrn70-16", 10_000),
    ):
        equal = (apgd + exact / values["tf32-rate"]) / PAIR
        most = gpu_hours(values, network, images, equal)
        fewest = most * values["standing"]
        passes, money = f"{apgd + exact:,}", dollars(fewest * values["gpu-price"])
        rows.append((name, f"{images:,}", passes, short(fewest), short(most), money))
    header = ("AutoAttack (standard)", "images", "forward passes of one that stands")
    return table((*header, "GPU hours", "if all stood", "$"), rows)


def feeding(values: Values) -> str:
    decoded = values["decoded-per-second"]
    rows = []
    for name, pairs in (("standard", 1), ("PGD-AT, 2 steps", 3), ("PGD-AT, 3 steps", 4)):
        images = values["pairs-per-second"] / pairs
        cores = images / decoded
        busy = min(values["workers"] / cores, 1)
        rows.append((name, short(images), f"{cores:.1f}", f"{8 * cores:.0f}", f"{busy:.0%}"))
    header = ("training", "images/s of a GPU", "cores that decode them", "cores for 8 GPUs")
    return table((*header, f"GPU busy with {plain(values['workers'])} cores"), rows)


def all_reduce(values: Values) -> str:
    """A ring on 8 GPUs sends 2 * 7 / 8 of the gradients; nothing overlaps."""
    sent = 2 * 7 / 8 * values["resnet50-parameters"] * 1e6 * WEIGHT
    rows = []
    for name in ("nvlink", "network", "ethernet"):
        exchange = sent / (values[name] * 1e9)
        steps = [BATCH * pairs / values["pairs-per-second"] for pairs in (1, 4)]
        shares = [f"{exchange / (step + exchange):.1%}" for step in steps]
        link = f"{values[name]:g} GB/s (`--{name}`)"
        rows.append((link, f"{1e3 * exchange:.1f} ms", *shares))
    header = (
        "link",
        "all-reduce of a step",
        "share of a standard step",
        "of a PGD-AT step, 3 steps",
    )
    return table(header, rows)


def sweep(values: Values) -> str:
    hours = gpu_hours(values, "preact18", 45_000 * 200, pgd_at(10)[0])
    weights = values["preact18-parameters"] * WEIGHT / 1e3  # GB
    small, whole = values["small-run-kilobytes"] / 1e6, values["run-kilobytes"] / 1e6
    digits = (values["run-seconds"] / HOUR, values["core-price"], whole, small)
    # A checkpoint has weights, momentum and the best weights, and the one before it is kept.
    cifar = (hours, values["gpu-price"], whole + 7 * weights, small + weights)
    rows = []
    for name, (each, price, full, less) in (
        ("digits, TRADES, one core", digits),
        ("CIFAR-10, PGD-AT, 10 steps, 200 epochs, PreAct ResNet-18, one GPU", cifar),
    ):
        total = each * RUNS
        cost = (short(total), short(total / 100), dollars(total * price))
        rows.append((name, *cost, gigabytes(full * RUNS), gigabytes(less * RUNS)))
    header = (f"{RUNS:,} runs", "core or GPU hours", "hours on 100 of them", "$", "all files")
    return table((*header, "without `checkpoint/`, `figures/`"), rows)


def certification(values: Values) -> str:
    rows = []
    for images in (500, 50_000):
        passes = images * values["certified-samples"]
        hours = passes / (PAIR * values["pairs-per-second"]) / HOUR
        then = short(images * values["certified-seconds"] / HOUR)
        money = dollars(hours * values["gpu-price"])
        rows.append((f"{images:,}", f"{passes:,.0f}", short(hours), money, then))
    header = ("images", "forward passes", "GPU hours", "$", "GPU hours at the authors' speed")
    return table(header, rows)


def generated(values: Values) -> str:
    forms = [
        ("one array of bytes", GENERATED * SMALL_IMAGE, 1),
        ("the same as float32", GENERATED * SMALL_IMAGE * 4, 1),
        ("a PNG file for each image, a block of 4 KiB each", GENERATED * 4096, GENERATED),
    ]
    rows = []
    for name, size, files in forms:
        disk = gigabytes(max(files * values["inode-bytes"], size) / 1e9)
        looks = f"{files / values['metadata-per-second'] / HOUR:.1f}"
        cost = dollars(size / 1e9 * values["storage-price"])
        rows.append((name, gigabytes(size / 1e9), f"{files:,}", disk, looks, cost))
    header = (f"{GENERATED:,} images, 32 x 32", "size", "files", "ext4 disk that holds them")
    return table((*header, "hours to look at each file", "$ a month"), rows)


def generated_training(values: Values) -> str:
    rows = []
    pairs, operations = trades(10)
    for name, network, epochs in (
        ("WRN-28-10, 400 epochs", "wrn28-10", 400),
        ("WRN-70-16, 2,000 epochs", "wrn70-16", 2000),
    ):
        images = epochs * 50_000
        most = gpu_hours(values, network, images, pairs)
        fewest = gpu_hours(values, network, images, operations / PAIR)
        read = rate(values, network) / pairs * SMALL_IMAGE / 1e6
        cells = (name, f"{images:,}", short(fewest), short(most))
        rows.append((*cells, dollars(most * values["gpu-price"]), f"{read:.2f} MB/s"))
    header = ("TRADES, 10 steps", "images seen", "GPU hours, at least", "at most")
    return table((*header, "$", "a GPU reads"), rows)


def limits(values: Values) -> str:
    return table(
        ("what", "how much", "how it shows, and what to do"),
        [*limits_of_images(values), *limits_of_sweeps(values), *limits_of_networks(values)],
    )


def limits_of_images(values: Values) -> list[tuple[str, str, str]]:
    look = (values["imagenet-images"] + 50_000) / values["metadata-per-second"] / 60
    read = values["imagenet-gigabytes"] * 1e3 / values["read-megabytes"] / 60
    return [
        (
            "looking at each file of ImageNet",
            f"{look:.0f} minutes at each start",
            "A run waits before its first epoch. Copy the images to the machine's own disk.",
        ),
        (
            "reading ImageNet for its fingerprint",
            f"{read:.0f} minutes, once",
            "The first run waits; what it read is remembered below `ROBUSTRUN_CACHE`.",
        ),
        (
            "50M images in the memory of a GPU",
            f"{gigabytes(GENERATED * SMALL_IMAGE / 1e9)} of {values['gpu-memory']:g} GB",
            "Out of memory at the start. They must stay on the disk, in one file.",
        ),
        (
            "50M files on a disk of 500 GB (ext4)",
            f"{500e9 / values['inode-bytes'] / 1e6:.0f}M inodes",
            '"No space left on device", while `df` shows free space; `df -i` shows none.',
        ),
        (
            "fingerprints of 50M files",
            f"{values['digests'] / GENERATED:.0%} remembered",
            "The others are read at each start. The images must be in a few large files.",
        ),
    ]


def limits_of_sweeps(values: Values) -> list[tuple[str, str, str]]:
    arrays = -(-RUNS // int(values["slurm-array"]))
    local, distant = 50_000 / values["notes-per-second"], 50_000 * values["network-note"]
    read = values["results-kilobytes"] * RUNS / 1e6
    million = values["report-seconds"] * 1e6 / RUNS / 60
    entries = [f"{RUNS * values[name]:,.0f}" for name in ("run-entries", "small-run-entries")]
    return [
        (
            f"{RUNS:,} jobs of Slurm",
            f"{arrays} arrays, {RUNS / values['slurm-jobs']:.0%} of all jobs that it keeps",
            '"Invalid job array specification". Ten smaller sweeps are one report, too.',
        ),
        (
            f"files and folders of {RUNS:,} runs",
            f"{entries[0]}; {entries[1]} with `keep.checkpoint` and `keep.figures` false",
            "A quota of files is reached before one of bytes; backups and `du` become slow.",
        ),
        (
            f"`robustrun report` on {RUNS:,} runs",
            f"{gigabytes(read)} of `results.json`, {values['report-seconds']:.0f} s",
            f"Its time grows with the runs; a million need {million:.0f} minutes.",
        ),
        (
            "a line of the journal for each of 50,000 images",
            f"{local:.0f} s on a local disk, {distant / 60:.0f} minutes on a network's",
            "Certificates wait for the disk. Attacks write one line for each batch.",
        ),
    ]


def limits_of_networks(values: Values) -> list[tuple[str, str, str]]:
    large = values["checkpoint-seconds"] * values["wrn70-16-parameters"]
    large /= values["resnet50-parameters"]
    size = 3 * WEIGHT * values["wrn70-16-parameters"] / 1e3
    flops = PAIR * 2 * values["resnet50-gmac"] * values["pairs-per-second"] / 1e3
    return [
        (
            "a checkpoint of WRN-70-16",
            f"{gigabytes(size)}, {large:.0f} s",
            f"{large / 600:.1%} of the time with one every 10 minutes; two are kept.",
        ),
        (
            "ResNet-50's operations/s, as measured by NVIDIA",
            f"{flops:.0f} TFLOP/s, {flops / values['gpu-peak']:.0%} of the peak",
            "Hours scaled to other networks by their operations may be wrong by some factor: "
            "measure a few steps first.",
        ),
    ]


# --- how numbers are written ----------------------------------------------------------------------


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def short(number: float) -> str:
    """Three digits that count, which is more than the inputs deserve."""
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:.3g}"


def plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:g}"


def dollars(number: float) -> str:
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 1 else f"{number:.2f}"


def gigabytes(number: float) -> str:
    return f"{short(number / 1e3)} TB" if number >= 1e3 else f"{short(number)} GB"


if __name__ == "__main__":
    main()
