"""The device of a run: which it is, how many threads, and which precision and layout."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from robustrun.compute.threads import free_cores
from robustrun.devices import local
from robustrun.devices.local import LocalDevice
from robustrun.errors import ConfigError

SMALL, LARGE = 1e6, 1e9  # multiply-adds of a batch


@pytest.fixture
def _gpu_settings_restored() -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark
    yield
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = before


def device(**changed: Any) -> LocalDevice:
    settings: dict[str, Any] = {"name": "cpu", "threads": None, "precision": "auto"}
    settings |= {"compile": "auto", "processes": 1, "sync_batchnorm": True}
    return LocalDevice(**settings | changed)


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends that these devices are there."""

    def pretend(*kinds: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in kinds)
        monkeypatch.setattr(local, "_mps", lambda: "mps" in kinds)

    return pretend


@pytest.mark.parametrize(
    ("there", "kind"),
    [((), "cpu"), (("mps",), "mps"), (("cuda",), "cuda"), (("cuda", "mps"), "cuda")],
)
def test_auto_takes_cuda_then_mps_then_the_processor(
    there: tuple[str, ...], kind: str, has: Any
) -> None:
    has(*there)
    assert device(name="auto")._kind() == kind


def test_a_device_that_is_not_there_is_refused_with_those_that_are(has: Any) -> None:
    has("mps")
    assert device(name="mps")._kind() == "mps"
    with pytest.raises(ConfigError, match=r"device\.name is 'cuda'.*This machine has: cpu, mps\."):
        device(name="cuda").prepare(SMALL)


@pytest.mark.parametrize("threads", [0, -1, (os.cpu_count() or 1) + 1])
def test_more_threads_than_cores_or_none_are_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match=f"threads is {threads}, but must be null, or from 1 to"):
        device(threads=threads)


@pytest.mark.parametrize(
    ("threads", "work", "expected"),
    [(None, SMALL, 1), (None, LARGE, free_cores()), (1, LARGE, 1), (1, SMALL, 1)],
)
def test_as_many_threads_as_asked_for_or_as_the_work_is_worth(
    threads: int | None, work: float, expected: int
) -> None:
    runtime = device(threads=threads).prepare(work)
    assert runtime.threads == torch.get_num_threads() == expected
    assert runtime.shares == (threads or free_cores())


def pretend_units(
    monkeypatch: pytest.MonkeyPatch, vectors: bool, amx: bool = False, vendor: str = "AuthenticAMD"
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(local, "_vendor", lambda: vendor)


@pytest.mark.parametrize(
    ("vectors", "amx", "vendor", "faster"),
    [
        (True, False, "AuthenticAMD", True),
        (True, False, "GenuineIntel", False),
        (True, True, "GenuineIntel", True),
        (False, False, "AuthenticAMD", False),
    ],
)
def test_a_processor_computes_bfloat16_faster_by_amx_or_as_amds_do(
    vectors: bool, amx: bool, vendor: str, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_units(monkeypatch, vectors, amx, vendor)
    assert local.has_bfloat16_units("cpu") is faster


@pytest.mark.parametrize(
    ("asked", "work", "copies"),
    [("auto", LARGE, True), ("auto", SMALL, False), ("float32", LARGE, False)],
)
def test_attacks_search_with_a_copy_unless_float32_is_asked_for_or_the_network_small(
    asked: str, work: float, copies: bool
) -> None:
    assert device(precision=asked).prepare(work).search_copy is copies


@pytest.mark.parametrize(
    ("asked", "units", "work", "precision"),
    [
        ("auto", True, LARGE, "bfloat16"),
        ("auto", True, SMALL, "float32"),
        ("auto", False, LARGE, "float32"),
        ("bfloat16", False, SMALL, "bfloat16"),
        ("float32", True, LARGE, "float32"),
    ],
)
def test_bfloat16_is_taken_where_the_machine_has_it_and_the_network_is_large(
    asked: str, units: bool, work: float, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_units(monkeypatch, units)
    assert device(precision=asked).prepare(work).precision == precision


@pytest.mark.parametrize(
    ("kind", "capability", "has_units"),
    [
        ("cuda", (7, 5), False),
        ("cuda", (8, 0), True),
        ("cuda", (9, 0), True),
        ("mps", (9, 0), False),
    ],
)
def test_gpus_have_units_for_bfloat16_from_ampere_on(
    kind: str, capability: tuple[int, int], has_units: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_units(monkeypatch, True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert local.has_bfloat16_units(kind) is has_units


@pytest.mark.parametrize(
    ("kind", "machine", "units", "capability", "slow"),
    [
        ("cpu", "x86_64", False, (8, 0), True),
        ("cpu", "AMD64", False, (8, 0), True),
        ("cpu", "x86_64", True, (7, 5), False),
        ("cpu", "aarch64", False, (7, 5), False),  # has other units, which were not measured
        ("cuda", "aarch64", True, (7, 5), True),
        ("cuda", "x86_64", False, (8, 0), False),
        ("mps", "arm64", False, (7, 5), False),
    ],
)
def test_a_precision_that_the_machine_computes_slowly_is_said_once(
    kind: Any,
    machine: str,
    units: bool,
    capability: tuple[int, int],
    slow: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(local.platform, "machine", lambda: machine)
    pretend_units(monkeypatch, units)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    for precision in ("float32", "auto", "bfloat16"):
        device(precision=precision)._precision(kind, LARGE)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * slow
    assert all("precision=auto" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("kind", "precision", "last"),
    [
        ("cpu", "float32", True),
        ("cpu", "bfloat16", True),
        ("cuda", "bfloat16", True),
        ("cuda", "float32", False),
        ("mps", "float32", False),
    ],
)
def test_channels_come_last_where_kernels_take_them_so(
    kind: str, precision: str, last: bool
) -> None:
    layout = torch.channels_last if last else torch.contiguous_format
    assert local._memory_format(kind, precision) == layout


@pytest.mark.usefixtures("_gpu_settings_restored")
def test_on_a_gpu_verdicts_are_exact_and_one_process_feeds_it(
    has: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    has("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A GPU")
    torch.backends.cuda.matmul.allow_tf32 = True
    runtime = device(name="cuda", precision="float32").prepare(LARGE)
    assert (runtime.device, runtime.device_name) == (torch.device("cuda"), "A GPU")
    assert (runtime.threads, runtime.shares) == (1, 1)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize("text", [None, "", "vendor_id : x\nmodel name\t: Some CPU @ 3 GHz\n"])
def test_the_processor_has_its_own_name_or_its_architectures(
    text: str | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(local, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(local.platform, "processor", lambda: "")
    monkeypatch.setattr(local.platform, "machine", lambda: "riscv64")
    assert local.processor_name() == ("Some CPU @ 3 GHz" if text else "riscv64")
    assert local._vendor() == ("x" if text else "")


def test_where_the_c_library_is_another_memory_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def missing(name: str) -> None:
        asked.append(name)
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(local.ctypes, "CDLL", missing)
    local.keep_freed_memory()
    monkeypatch.setattr(local.ctypes, "CDLL", lambda name: asked.append(name))  # has no mallopt
    local.keep_freed_memory()
    assert len(asked) == 2
