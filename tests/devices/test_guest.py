"""A process that is set up for a while: what it computes with meanwhile, and as it was before."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from robustrun.compute import threads
from robustrun.compute.threads import free_cores
from robustrun.devices import guest, local

CPU = torch.device("cpu")
SMALL, LARGE = 1e6, 1e9  # multiply-adds of a batch
TF32 = [torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul]


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The thresholds, in bytes, from which on the C library was told to give blocks back."""
    told: list[int] = []

    class Library:
        def __init__(self, name: str) -> None:
            pass

        def mallopt(self, which: int, value: int) -> None:
            if which == local.M_MMAP_THRESHOLD:
                told.append(value)

    monkeypatch.setattr(local.ctypes, "CDLL", Library)
    monkeypatch.setattr(local, "_keeps", False)
    return told


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (guest, local):
        monkeypatch.setattr(module, "free_cores", lambda: 2)
    monkeypatch.setattr(local.os, "cpu_count", lambda: 2)


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("torchs", "asked", "work", "inside"),
    [
        (2, None, SMALL, (1, 2)),  # threads of a layer, shares of a batch
        (2, None, LARGE, (2, 2)),
        (1, None, LARGE, (1, 1)),
        (1, 2, LARGE, (2, 2)),
        (2, 1, LARGE, (1, 1)),
    ],
)
def test_threads_are_as_many_as_torch_has_or_as_asked_for_and_then_as_before(
    torchs: int, asked: int | None, work: float, inside: tuple[int, int], bounds: list[int]
) -> None:
    torch.set_num_threads(torchs)
    threads.set_parallelism(7)
    with guest.set_up(CPU, "float32", asked, work):
        assert (torch.get_num_threads(), threads._count) == inside
        assert bounds == [2**30]
    assert (torch.get_num_threads(), threads._count) == (torchs, 7)
    assert bounds == [2**30, 2**25]


def test_a_process_that_keeps_its_memory_still_does(bounds: list[int]) -> None:
    local.keep_freed_memory()
    with guest.set_up(CPU, "auto", 1, SMALL):
        pass
    assert bounds == [2**30, 2**30]


def test_an_error_leaves_the_process_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError), guest.set_up(CPU, "auto", free_cores(), LARGE):
        raise ZeroDivisionError
    assert (torch.get_num_threads(), threads._count) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "units", "work", "precision"),
    [
        ("auto", True, LARGE, "bfloat16"),
        ("auto", True, SMALL, "float32"),
        ("auto", False, LARGE, "float32"),
        ("bfloat16", True, SMALL, "bfloat16"),
        ("float32", True, LARGE, "float32"),
    ],
)
def test_the_precision_is_that_of_the_command_line(
    asked: str, units: bool, work: float, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "has_bfloat16_units", lambda kind: units)
    with guest.set_up(CPU, asked, 1, work) as chosen:
        assert chosen == (precision, asked == "auto" and work == LARGE)


@pytest.mark.parametrize(("asked", "chosen"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_on_a_device_that_nothing_is_known_of_nothing_is_set(asked: str, chosen: str) -> None:
    before = threads.set_parallelism(5)
    with guest.set_up(torch.device("meta"), asked, None, LARGE) as found:
        assert found == (chosen, False)
        assert threads.set_parallelism(before) == 5


@pytest.fixture
def tf32() -> Iterator[None]:
    before = [part.fp32_precision for part in TF32]
    legacy = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = legacy
    for part, value in zip(TF32, before, strict=True):
        part.fp32_precision = value


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("newer", [False, True])
def test_rounding_on_a_gpu_is_off_for_a_while_however_it_was_asked_for(
    newer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A GPU")
    if newer:
        for part in TF32:
            part.fp32_precision = "tf32"
    else:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    before = [part.fp32_precision for part in TF32]
    with guest.set_up(torch.device("cuda"), "float32", None, LARGE):
        assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.benchmark
    assert [part.fp32_precision for part in TF32] == before
    assert newer or torch.backends.cudnn.allow_tf32
    assert newer or torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize(
    ("precision", "count", "error", "said"),
    [
        ("float16", 1, ValueError, "precision is 'float16', but must be one of float32, bfloat16"),
        (None, 1, ValueError, "precision is None"),
        ("auto", 0, ValueError, "threads is 0, but must be null, or from 1"),
        ("auto", "2", TypeError, "threads is '2', but must be a whole number, or None"),
        ("auto", True, TypeError, "threads is True"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_what_can(
    precision: Any, count: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said), guest.set_up(CPU, precision, count, LARGE):
        pass
