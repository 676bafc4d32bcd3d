"""When products on CUDA may be rounded to TF32."""

from collections.abc import Iterator

import pytest
import torch

from robustrun.compute.tf32 import tf32_allowed


def flags() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def _flags_restored() -> Iterator[None]:
    before = flags()
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("before", [(False, False), (True, False)])
@pytest.mark.parametrize(("kind", "allowed"), [("cuda", True), ("cpu", False), ("mps", False)])
def test_it_is_allowed_in_the_context_alone(
    kind: str, allowed: bool, before: tuple[bool, bool]
) -> None:
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    with tf32_allowed(kind):
        assert flags() == ((True, True) if allowed else before)
    assert flags() == before
    with pytest.raises(KeyError), tf32_allowed(kind):
        raise KeyError
    assert flags() == before
