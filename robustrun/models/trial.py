"""A network is tried before anything is measured: what it takes, answers and leaves behind.

What differs from float32 images in and logits N x K out, and can be handled without a doubt, is
handled and said; all else is a DataError.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustrun.compute.modes import attack_mode, modes_restored
from robustrun.compute.predictions import REPEATABLE, are_probabilities, logit_difference
from robustrun.errors import DataError
from robustrun.types import (
    ATTACKS,
    Attack,
    BuildsAsBegun,
    DeclaresGradient,
    Model,
    Shape,
    Staged,
)

log = logging.getLogger(__name__)
IMAGES = 3  # that a network is tried on, in batches of 1, 2 and 3
NAMES = ("logits", "out")  # of a dictionary's logits, by custom
LONGEST = 500  # characters of a reason


@dataclass(frozen=True)
class Adaptation:
    """What stands between a network and the rest of the program."""

    pick: str | int | None = None  # where in the output the logits are; None: they are the output
    image_type: torch.dtype | None = None  # that images are converted to
    converts: bool = False  # logits become float32
    clones: bool = False  # each pass has images of its own: the network writes to them
    doubles: bool = False  # a single image comes as two
    fixed: bool = False  # train() and eval() are not passed on: it has no modes


class Adapted(nn.Module):
    """A network that takes float32 images and leaves them as they are, and returns float32 logits.

    Its weights have the names that the network itself gives them.
    """

    def __init__(self, network: nn.Module, how: Adaptation) -> None:
        super().__init__()
        self.network, self.how = network, how
        self.training = network.training

    def forward(self, x: Tensor) -> Tensor:
        count = x.shape[0]  # not len(x), which fixes the batches of an exported network
        if self.how.doubles and count == 1:
            x = torch.cat([x, x])
        if self.how.image_type is not None:
            x = x.to(self.how.image_type)
        output = self.network(x.clone() if self.how.clones else x)
        logits: Tensor = output if self.how.pick is None else output[self.how.pick]
        return logits.float()[:count]

    def train(self, mode: bool = True) -> "Adapted":
        if self.how.fixed:
            self.training = mode
            return self
        return super().train(mode)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.network.load_state_dict(*args, **kwargs)


def built(model: Model, shape: Shape, classes: int, resumed: bool = False) -> nn.Module:
    """The network that `model` builds, tried and, where that is needed, adapted. `resumed`: of a
    run that began before, maybe with an earlier version."""
    if resumed and isinstance(model, BuildsAsBegun):
        network = model.build_as_begun(shape, classes)
    else:
        network = model.build(shape, classes)
    name = getattr(model, "title", getattr(model, "file", type(model).__name__))
    return tried(network, sample(shape), classes, str(name))


def sample(shape: Shape) -> Tensor:
    """Images to try a network on: noise, the same each time."""
    return torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0))


def tried(network: nn.Module, x: Tensor, classes: int | None, name: str) -> nn.Module:
    """The network, or what adapts it, after passes over IMAGES images `x` in eval mode; its mode
    and random generators are as before. `classes` is None where the number of logits tells.

    DataError, which begins with `name`, unless it takes batches of 1, 2 and 3 images, gives logits
    of N x K, and leaves its buffers and modes alone. What is random, depends on the rest of the
    batch or is no logit but a probability is warned of.
    """
    cuda = [x.device] if x.is_cuda else []
    with torch.random.fork_rng(devices=cuda), torch.no_grad(), _eval_mode(network) as fixed:
        before = _buffers(network), _modes(network)
        how = _adaptation(network, x, classes, Adaptation(fixed=fixed), name)
        adapted = network if how == Adaptation() else Adapted(network, how)
        _warn(adapted, x, name)
        _require_untouched(network, *before, name)
    for line in _remarks(how):
        log.info("%s %s", name, line)
    return adapted


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[bool]:
    """In this context, the network is in eval mode; whether it has no modes to switch."""
    with modes_restored(network):  # also where the network is refused
        try:
            network.eval()
            fixed = False
        except NotImplementedError:  # the module of a torch.export program
            fixed = True
        yield fixed


def _adaptation(
    network: nn.Module, x: Tensor, classes: int | None, how: Adaptation, name: str
) -> Adaptation:
    """What it takes to get logits N x K of batches of any size."""
    output, how = _first_pass(network, x[:2], how, name)
    pick = _place_of_logits(output, 2, classes, name)
    logits = output if pick is None else output[pick]
    _require_logits(logits, 2, classes, name)
    converts = logits.dtype != torch.float32
    how = replace(how, pick=pick, converts=converts)
    adapted = Adapted(network, how)
    _require_logits(_passed(adapted, x, name), len(x), classes, name)
    return how if _takes_one(adapted, x[:1], logits.shape[1]) else replace(how, doubles=True)


def _first_pass(
    network: nn.Module, x: Tensor, how: Adaptation, name: str
) -> tuple[Any, Adaptation]:
    """What the network makes of `x`, in its weights' own type if it takes no float32."""
    tensors = [*network.parameters(), *network.buffers()]
    types = {t.dtype for t in tensors if t.is_floating_point()} - {torch.float32}
    failure: Exception | None = None
    for image_type in (None, *sorted(types, key=str)):
        images = x.clone() if image_type is None else x.to(image_type)
        before = images.clone()
        try:
            output = network(images)
        except Exception as error:  # a foreign network fails in its own ways
            failure = failure or error
            continue
        clones = not torch.equal(images, before)
        return output, replace(how, image_type=image_type, clones=clones)
    raise _not_taken(x, name, failure) from failure


def _passed(network: nn.Module, x: Tensor, name: str) -> Any:
    try:
        return network(x)
    except Exception as error:
        raise _not_taken(x, name, error) from error


def _not_taken(x: Tensor, name: str, error: BaseException | None) -> DataError:
    count, size = len(x), " x ".join(map(str, x.shape[1:]))
    return DataError(
        f"{name} does not take a batch of {count} images of {size} ({reason(error)}). It must take "
        f"float32 images of that size in [0, 1], in batches of any size (a torch.export file: with "
        f"a dynamic batch size, dynamic_shapes of torch.export.export)."
    )


def reason(error: BaseException | None) -> str:
    """What an error says went wrong. TorchScript says it at the end of a traceback of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [n for n, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception): ", line)]
    if named and "TorchScript" in str(error):
        lines = lines[named[-1] :]
    text = " ".join(lines) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _place_of_logits(output: Any, count: int, classes: int | None, name: str) -> str | int | None:
    """Where the logits are: None for a plain tensor, a key for what holds several things."""
    if isinstance(output, Tensor):
        return None
    if isinstance(output, Mapping):
        parts: dict[Any, Any] = dict(output)
    elif isinstance(output, tuple | list):
        parts = dict(enumerate(output))
    else:
        raise DataError(f"{name} answers with a {type(output).__name__}: a tensor is needed.")
    fitting = [key for key, part in parts.items() if _fits(part, count, classes)]
    named = [key for key in NAMES if key in fitting]
    if len(fitting) == 1 or named:
        place: str | int = (named or fitting)[0]
        return place
    held = ", ".join(f"{key}: {_described(part)}" for key, part in parts.items())
    many = "several tensors that could be the logits" if fitting else "no logits"
    raise DataError(
        f"{name} answers with a {type(output).__name__} that holds {many} ({held}). Wrap it in a "
        f"network that returns the logits alone, {count} x {classes or 'classes'} for {count} "
        f"images."
    )


def _fits(part: Any, count: int, classes: int | None) -> bool:
    if not isinstance(part, Tensor) or part.ndim != 2 or not part.is_floating_point():
        return False
    return len(part) == count and part.shape[1] == (classes or part.shape[1]) and part.shape[1] > 1


def _described(part: Any) -> str:
    if not isinstance(part, Tensor):
        return type(part).__name__
    return f"{' x '.join(map(str, part.shape)) or 'one number'} {str(part.dtype)[6:]}"


def _require_logits(logits: Any, count: int, classes: int | None, name: str) -> None:
    """DataError, with what to do, unless these are logits of `count` images."""
    shape = tuple(logits.shape)
    wanted = (count, classes or (shape[1] if len(shape) == 2 else "classes"))
    if logits.dtype == torch.bool or logits.is_complex():
        raise DataError(f"{name} answers with {str(logits.dtype)[6:]}: logits are real numbers.")
    if shape in ((count,), (count, 1)):
        if not logits.is_floating_point():
            advice = "If these are class numbers, return what they are the largest of."
        else:
            advice = (
                "A network with one logit z for two classes is measured as one with two: return "
                "torch.stack([torch.zeros_like(z), z], dim=1) for z of shape N."
            )
        raise DataError(
            f"{name} answers {count} images with {shape}, one number each, but there must be one "
            f"logit for each of {classes or 'the'} classes. {advice}"
        )
    if shape != wanted:
        why = f"the data set has {classes} classes" if classes else "one row each is due"
        raise DataError(
            f"{name} answers {count} images with {shape}, but {why}: logits of shape "
            f"({wanted[0]}, {wanted[1]}) are needed."
        )


def _takes_one(network: nn.Module, x: Tensor, classes: int) -> bool:
    try:
        return tuple(network(x).shape) == (1, classes)
    except Exception:
        return False


def _warn(network: nn.Module, x: Tensor, name: str) -> None:
    """Of answers that can be measured and mean something else than they seem to."""
    first, again = network(x), network(x)
    if are_probabilities(first).all():
        log.warning(
            "%s answers with probabilities, not with logits: losses take a softmax of their own, "
            "so that it learns slowly and attacks on it are weak. Return what comes before its "
            "softmax.",
            name,
        )
    if logit_difference(again, first) > REPEATABLE:
        log.warning(
            "%s gives the same images other logits at each pass: what is measured is one draw of "
            "many. evaluation=audit says what that means.",
            name,
        )
        return
    alone = torch.cat([network(x[:1]), network(x[:2])])
    if logit_difference(alone, first[[0, 0, 1]]) > REPEATABLE:
        log.warning(
            "%s gives an image other logits in other batches: its verdict depends on what is "
            "measured beside it. evaluation=audit says what that means.",
            name,
        )


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.detach().clone() for name, buffer in network.named_buffers()}


def _modes(network: nn.Module) -> list[tuple[str, bool]]:
    return [(name, module.training) for name, module in network.named_modules()]


def _require_untouched(
    network: nn.Module, buffers: dict[str, Tensor], modes: list[tuple[str, bool]], name: str
) -> None:
    changed = [
        key
        for key, buffer in network.named_buffers()
        if key not in buffers or not same_values(buffer, buffers[key])
    ]
    if changed:
        raise DataError(
            f"{name} changes its buffers in a pass in eval mode ({', '.join(changed[:3])}): what "
            f"it answers would depend on what it has seen. Batch norm must keep its statistics "
            f"when eval() was called."
        )
    if _modes(network) != modes:
        raise DataError(f"{name} switches itself to another mode in a pass in eval mode.")


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal; NaN equals NaN."""
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _remarks(how: Adaptation) -> list[str]:
    """What was met, a line each."""
    lines = []
    if how.pick is not None:
        lines.append(f"answers with several things, of which {how.pick!r} are its logits")
    if how.image_type is not None:
        lines.append(f"computes in {str(how.image_type)[6:]}: images are converted to it")
    if how.converts:
        lines.append("gives logits of another type: they are rounded to float32")
    if how.clones:
        lines.append("writes to the images that it is given: each pass gets a copy")
    if how.doubles:
        lines.append("does not take a batch of one image: a single image comes as two")
    return lines


def require_gradient(network: nn.Module, x: Tensor, attacks: Mapping[str, Attack]) -> None:
    """DataError if one of `attacks` follows the gradient with respect to the image, and the
    network (tried before, on its device) has none."""
    named = [name for name, attack in attacks.items() if follows_gradient(attack)]
    why = _why_no_gradient(network, x) if named else None
    if why is not None:
        free = [name for name in ATTACKS if not follows_gradient(ATTACKS[name])]
        raise DataError(
            f"No usable gradient comes back from the network's logits to the image ({why}), and "
            f"{', '.join(named)} cannot do without. These attacks need none: {', '.join(free)}. "
            f"evaluation=none leaves out what is measured beside the run's own attack."
        )


def follows_gradient(attack: Attack | type[Attack]) -> bool:
    """Whether the attack needs a gradient with respect to the image: adversaries do, unless they
    declare otherwise."""
    if isinstance(attack, Staged) and not isinstance(attack, type):
        return any(follows_gradient(part) for _, part in attack.stages())
    if isinstance(attack, DeclaresGradient):
        return attack.needs_gradient
    return bool(getattr(attack, "adversarial", True))  # of a class, it may be a field


def _why_no_gradient(network: nn.Module, x: Tensor) -> str | None:
    """Why the logits have no usable gradient with respect to the image; None if they have one."""
    cuda = [x.device] if x.is_cuda else []
    with torch.random.fork_rng(devices=cuda), attack_mode(network):
        point = x.detach().clone().requires_grad_()
        try:
            logits = network(point)
            if not logits.requires_grad:
                return "no operation on the way can be differentiated"
            (slope,) = torch.autograd.grad(logits.square().sum(), point, allow_unused=True)
        except Exception as error:
            return reason(error)
    if slope is None:
        return "the logits do not depend on it by operations that can be differentiated"
    answered = logits.isfinite().all(dim=1)
    if not slope[answered].isfinite().all():
        return "it is NaN or infinite"
    return None
