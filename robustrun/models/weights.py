"""Weights that someone else trained: put into a network whatever wrappers they were saved in."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from robustrun.errors import DataError
from robustrun.models.normalize import MEANS, STDS
from robustrun.storage.weights import Weights

log = logging.getLogger(__name__)

# Parts of a name that DataParallel, torch.compile and others put anywhere into it.
MARKS = {"module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}
USUAL = ("model", "network", "net", "module", "student", "backbone", "encoder", "base_model")
SAME = 1e-3  # in pixel units: statistics are quoted with three or four digits
COUNTERS = ("n_averaged",)  # of torch.optim.swa_utils
ENOUGH = 0.9  # share of the network's names that a part of a file must hold to be taken for it
DEEPEST = 3  # parts of a name before which the network is looked for
SHOWN = 10  # tensors that an error names
INSTEAD = "name a file as model.weights, or start from random weights"


def fill(network: nn.Module, state: Weights, source: str, spare: str | None = None) -> list[str]:
    """Put `state` into the network; the layer called `spare` stays as it is if it does not fit, and
    that is said. Returns the names of the tensors that were taken; DataError if the file is another
    network's."""
    own = network.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    of_spare = [k for k in {**own, **state} if spare is not None and k.startswith(f"{spare}.")]
    # Files from before PyTorch 0.4.1 do not count batches, which nothing here reads.
    excused = {*of_spare, *(k for k in own if k.endswith("num_batches_tracked"))}
    wrong = [k for k in {**own, **state} if k not in fitting and k not in excused]
    if wrong:
        raise DataError(_difference(network, own, state, wrong, source))
    if replaced := [k for k in of_spare if k in own and k not in fitting]:
        fitting = {k: v for k, v in fitting.items() if k not in of_spare}  # all of it, or nothing
        learnt = len(state[replaced[0]]) if replaced[0] in state else None
        tell_new_head(source, str(spare), learnt, len(own[replaced[0]]))
    network.load_state_dict(fitting, strict=False)
    return [*fitting]


def tell_new_head(source: str, layer: str, learnt: int | None, classes: int) -> None:
    """Say that the layer of the logits has random weights, as `learnt` classes are not these."""
    held = "no such layer" if learnt is None else f"{learnt} classes"
    words = layer, classes, source, held
    log.info("the last layer (%s) has new, random weights for %d classes: %s has %s", *words)


def _difference(
    network: nn.Module, own: Weights, state: Weights, wrong: list[str], source: str
) -> str:
    """What does not fit: counts, what that hints at, and a table."""
    shapes = [k for k in wrong if k in own and k in state]
    missing = [k for k in wrong if k not in state]
    unknown = [k for k in wrong if k not in own]
    counts = [
        f"{len(keys)} {'are' if len(keys) > 1 else 'is'} {what}"
        for keys, what in (
            (shapes, "of another shape"),
            (missing, "missing"),
            (unknown, "unknown"),
        )
        if keys
    ]
    rows = [("tensor", "in the file", "in the network")]
    rows += [(k, _shape(state, k), _shape(own, k)) for k in [*shapes, *missing, *unknown][:SHOWN]]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    table = [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows]
    more = [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    fit = len(own) - len(shapes) - len(missing)
    message = (
        f"model.weights: {source} holds the weights of another network. Of the {len(own)} tensors "
        f"of the network {fit} fit, {', '.join(counts)}. {_hint(network, own, state, shapes)}"
    )
    return "\n".join([message.rstrip(), *table, *more])


def _shape(state: Weights, key: str) -> str:
    if key not in state:
        return "-"
    return " x ".join(map(str, state[key].shape)) or "one number"


def _hint(network: nn.Module, own: Weights, state: Weights, shapes: list[str]) -> str:
    """What may be another in the two networks."""
    own = {k: v for k, v in own.items() if not k.startswith("normalize.")}
    shapes = [k for k in shapes if k in own]
    common = [k for k in own if k in state]
    layers = [k for k, v in own.items() if v.ndim == 4]
    first = layers[:1] or list(own)[:1]
    if not common:
        return "No name is in both: the file is of another architecture."
    last = [k for k in own if own[k].ndim >= 2][-1:]
    layer = last[0].rpartition(".")[0] if last else ""
    if shapes and all(k.rpartition(".")[0] == layer for k in shapes):
        in_file, in_network = (len(part[shapes[0]]) for part in (state, own))
        return f"The number of classes differs: {in_file} in the file, {in_network} in the network."
    if shapes == first and state[shapes[0]].ndim == own[shapes[0]].ndim == 4:
        in_file, in_network = (part[shapes[0]].shape[1] for part in (state, own))
        return (
            f"The number of channels differs: {in_file} in the file, {in_network} in the network."
        )
    if len(shapes) > len(common) / 2:
        return "The names fit and the shapes do not: the file's network has another width."
    if len(common) > len(own) / 2:
        return "Most names are in both: a variant, or another depth, of this network."
    return "Few names are in both: the file is of another architecture."


def aligned(
    network: nn.Module,
    state: Weights,
    source: str = "the file",
    statistics: Weights | None = None,
) -> Weights:
    """`state` under the names that `network` has, whatever wrappers put before them, in any order.

    Normalisation in the file must be that of `statistics` (`mean` and `std`; left out, those of
    `network.normalize`), which stays as configured: DataError where it is another. Empty: the
    network normalises itself, and what it does is among its weights.
    """
    own = network.state_dict()
    kept = {k: v for k, v in own.items() if k.startswith("normalize.") and statistics != {}}
    if statistics is None:
        statistics = {k.removeprefix("normalize."): v for k, v in kept.items()}
    file = {k: v for k, v in state.items() if k not in COUNTERS}
    if statistics:
        file = _without_statistics(file, own, statistics, source)
    inside = {k: v for k, v in own.items() if k not in kept}
    return kept | _renamed(file, inside, source)


def _without_statistics(state: Weights, own: Weights, statistics: Weights, source: str) -> Weights:
    """The state without the normalisation in it, which must be the configured one. What the network
    normalises by itself is among its weights."""
    inside = [key for key in own if not key.startswith("normalize.") and key not in state]
    claimed = {_ending(key) for key in inside}
    keys = {
        key: kind
        for kind, names in (("mean", MEANS), ("std", STDS))
        for key, value in state.items()
        if key.rpartition(".")[2] in names
        and value.numel() in (1, statistics[kind].numel())
        and key not in own.keys() - {f"normalize.{kind}"}
        and _ending(key) not in claimed
    }
    stored = {kind: state[key].float().flatten() for key, kind in keys.items()}
    _require_same_statistics(stored, statistics, source)
    return {key: value for key, value in state.items() if key not in keys}


def _ending(key: str) -> tuple[str, ...]:
    """The last two parts of a name, which wrappers leave alone."""
    return tuple([part for part in key.split(".") if part not in MARKS][-2:])


def _require_same_statistics(stored: Weights, statistics: Weights, source: str) -> None:
    """DataError, with what to type, unless the stored normalisation is the configured one."""
    differences = (v - statistics[kind].flatten().cpu() for kind, v in stored.items())
    if all(difference.abs().max() <= SAME for difference in differences):
        return
    sides = [
        ", ".join(f"{kind} {_listed(side[kind])}" for kind in stored)
        for side in (stored, statistics)
    ]
    words = " ".join(f"'model.{kind}={_listed(value)}'" for kind, value in stored.items())
    raise DataError(
        f"{source} was trained with another normalisation: {sides[0]} in the file, {sides[1]} "
        f"here. To use it as it was trained: {words}."
    )


def _listed(values: Tensor) -> str:
    return f"[{','.join(f'{value:.4g}' for value in values.flatten().tolist())}]"


@dataclass(frozen=True)
class View:
    """A way to read the names of a state dict: without what stands before them."""

    names: dict[str, str]  # what is left of a name -> the name
    prefix: str = ""  # all that is below this alone


def _renamed(state: Weights, own: Weights, source: str) -> Weights:
    """The state under the names `own`: of all ways to read both sides, the one with most in common.
    What cannot be named is left as it was, for a message."""
    ways = [(ours, theirs) for ours in _peeled(own) for theirs in _peeled(state)]
    ways += [(ours, part) for ours in _peeled(own) for part in _parts(state, ours, own)]
    if not ways:
        return dict(state)
    most = max(_common(*way) for way in ways)
    best = [way for way in ways if _common(*way) == most]
    ours, theirs = best[0]
    if most == 0:
        return dict(state)
    if theirs.prefix:
        theirs = _chosen([part for view, part in best if view is ours], state, source)
    return {ours.names.get(left, full): state[full] for left, full in theirs.names.items()}


def _common(ours: View, theirs: View) -> int:
    return len(ours.names.keys() & theirs.names.keys())


def _chosen(parts: list[View], state: Weights, source: str) -> View:
    """Of parts of a file that would serve equally, the one under the most usual name; that is
    said."""
    different = {frozenset(part.names.values()): part for part in reversed(parts)}
    by_root = {part.prefix.partition(".")[0]: part for part in different.values()}
    usual = [name for name in USUAL if name in by_root]
    if len(different) > 1 and not usual:
        raise DataError(
            f"{source} holds several networks that fit, under {', '.join(sorted(by_root))}: save "
            f"the one that is meant alone."
        )
    chosen = by_root[usual[0]] if usual else parts[0]
    others = sorted(by_root.keys() - {chosen.prefix.partition(".")[0]})
    left = len(state) - len(chosen.names)
    if others:
        words = source, chosen.prefix, ", ".join(others)
        log.warning("%s: taken is what is under %s; %s would fit as well", *words)
    else:
        log.info("%s: taken is what is under %s, not %d others", source, chosen.prefix, left)
    return chosen


def _peeled(names: Iterable[str]) -> list[View]:
    """The names as they are, then again and again without what wrappers put into all of them."""
    now = {name: name for name in names}
    views = [View(dict(now))]
    while (shorter := _shorter(now)) is not None:
        now = shorter
        views.append(View(now))
    return views


def _shorter(names: dict[str, str]) -> dict[str, str] | None:
    """One wrapper less: marks that stand anywhere, or a first part that all names share."""
    split = {left: left.split(".") for left in names}
    bare = {left: ".".join(p for p in parts if p not in MARKS) for left, parts in split.items()}
    if bare.keys() != {*bare.values()} and len({*bare.values()}) == len(names):
        return {bare[left]: full for left, full in names.items()}
    first = {parts[0] for parts in split.values()}
    if len(first) == 1 and all(len(parts) > 1 for parts in split.values()):
        return {left.partition(".")[2]: full for left, full in names.items()}
    return None


def _parts(state: Weights, ours: View, own: Weights) -> list[View]:
    """What is below each beginning of a name, where that holds (nearly) all that is wanted."""
    beginnings: dict[str, None] = {}
    for name in state:
        parts = name.split(".")
        for depth in range(1, min(DEEPEST, len(parts) - 1) + 1):
            beginnings[".".join(parts[:depth])] = None
    views = []
    for prefix in beginnings:
        below = {k.removeprefix(f"{prefix}."): k for k in state if k.startswith(f"{prefix}.")}
        if ENOUGH * len(ours.names) <= len(below) < len(state):
            peeled = [{left: below[k] for left, k in v.names.items()} for v in _peeled(below)]
            views += [View(names, prefix) for names in peeled]
    return [view for view in views if _serves(view, ours, state, own)]


def _serves(part: View, ours: View, state: Weights, own: Weights) -> bool:
    """Whether a part of a file has the network's names, and half of the shapes or more."""
    common = ours.names.keys() & part.names.keys()
    shapes = [state[part.names[k]].shape == own[ours.names[k]].shape for k in common]
    return len(common) >= ENOUGH * len(ours.names) and sum(shapes) >= len(shapes) / 2


def head(network: nn.Module, classes: int) -> str:
    """The name of the layer that gives the logits: the last whose weight has a row for each of the
    classes (SqueezeNet's convolves); if there is none, the last layer with a weight at all."""
    layers = [(n, m.weight) for n, m in network.named_modules() if _is_layer(m)]
    fitting = [name for name, weight in layers if len(weight) == classes]
    last: str = (fitting or [name for name, _ in layers] or [""])[-1]
    return last


def _is_layer(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2
