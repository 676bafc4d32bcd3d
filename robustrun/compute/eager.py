"""torch's optimizers as they are where nothing compiles their steps."""

import inspect
from typing import TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)
DECORATED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


def eager(kind: type[Kind]) -> type[Kind]:
    """The same optimizer, whose methods are the functions that torch has decorated.

    The decorators keep torch.compile out of an optimizer's methods. For that they import it at the
    first call, which takes nearly as long as torch itself; here networks alone are compiled.
    """
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in DECORATED}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**plain, "step": step})
