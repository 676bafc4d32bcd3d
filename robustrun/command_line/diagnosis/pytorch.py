"""PyTorch as its own process told it: devices, precision, threads, and what torch.compile needs."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from robustrun.command_line.diagnosis.findings import Finding, Section, State, private, size
from robustrun.command_line.diagnosis.installation import REINSTALL
from robustrun.command_line.diagnosis.machine import Cores
from robustrun.command_line.diagnosis.probe import Answer

DRIVER = Path("/proc/driver/nvidia/version")
NO_ROOM = ("failed to map segment", "annot allocate memory", "MemoryError")  # what loaders say
LIBRARIES = ("libcu", "libnv")  # NVIDIA's
UNITS = {  # what has units for bfloat16, as devices/local.py has it
    "cpu": "AMX, or AVX512-BF16 of AMD",
    "cuda": "a card of compute capability 8.0 or more",
    "mps": "a CPU or a CUDA card",
}


def section(answer: Answer, cores: Cores) -> Section:
    if error := answer.get("error"):
        return Section("PyTorch", [Finding("import torch", _cure("torch", error), "broken")])
    faults = [
        Finding(f"import {module}", _cure(module, fault), "broken")
        for module, fault in answer["faults"].items()
    ]
    if "version" not in answer:
        missing = Finding("import torch", "torch is not installed: see Versions", "broken")
        return Section("PyTorch", faults or [missing])
    findings = [
        Finding("torch", f"{answer['version']}, {_build(answer)}, CPU kernels {answer['vectors']}"),
        *_devices(answer),
        _precision(answer),
        _threads(cores),
        _compiler(),
    ]
    return Section("PyTorch", [*faults, *findings])


def _cure(module: str, error: str) -> str:
    """The error of importing a module, and what puts most of its kind right."""
    if any(words in error for words in NO_ROOM):
        return f"{error}. This process may not have the memory: see ulimit -v, or free some"
    if module == "torchvision":
        return f"{error}. It and torch must come from one release: {REINSTALL}"
    if module != "torch":
        return f"{error}. Its installation is damaged: pip install --force-reinstall {module}"
    if any(words in error for words in LIBRARIES):
        return f"{error}. Its CUDA libraries are missing or of another version: {REINSTALL}"
    if "signal 4" in error:
        return f"{error}. This processor lacks instructions that this build of PyTorch uses"
    return f"{error}. PyTorch is damaged or of another Python: {REINSTALL}"


def _build(answer: Answer) -> str:
    build = answer["cuda_build"]
    return f"built for CUDA {build}" if build else "built without CUDA"


def _devices(answer: Answer) -> list[Finding]:
    found = answer["cuda"]
    if error := found.get("error"):
        return [Finding("CUDA", error, "remark")]
    cards = [_card(number, card) for number, card in enumerate(found["cards"])]
    mps = [Finding("MPS", "this Apple GPU: device=mps")] if answer["mps"] else []
    return [*(cards or [_no_card(answer)]), *mps]


def _card(number: int, card: Answer) -> Finding:
    memory = f"{size(card['free'])} of {size(card['total'])} free"
    text = f"{card['name']}, compute capability {card['capability']}, {memory}{_driver()}"
    return Finding(f"CUDA card {number}", text)


def _no_card(answer: Answer) -> Finding:
    state: State = "remark" if why_no_cuda(answer) else "fine"
    return Finding("CUDA", why_no_cuda(answer) or "no NVIDIA card is found", state)


def why_no_cuda(answer: Answer) -> str:
    """Why a card that is in this machine cannot be used; empty where there is none."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not (DRIVER.exists() or shutil.which("nvidia-smi")) or answer["cuda"].get("cards"):
        return ""
    if answer["cuda_build"] is None:
        return (
            f"an NVIDIA driver is here, and torch {answer['version']} is built without CUDA: "
            f"install one with it, as https://pytorch.org/get-started says"
        )
    if hidden is not None:
        return f"CUDA_VISIBLE_DEVICES={hidden} hides the cards"
    return answer["cuda"].get("why") or "an NVIDIA driver is here, and PyTorch finds no card"


def _driver() -> str:
    """The version of NVIDIA's driver, where Linux tells it."""
    if not DRIVER.exists():
        return ""
    words = DRIVER.read_text(encoding="utf-8", errors="replace").split()
    version = next((word for word in words if word.count(".") >= 1 and word[0].isdecimal()), "")
    return f", driver {version}" if version else ""


def _precision(answer: Answer) -> Finding:
    name = "device.precision=auto"
    found = answer["precision"]
    if error := found.get("error"):
        return Finding(name, error, "broken")
    kind = found["device"]
    if found["bfloat16"]:
        text = f"bfloat16 on {kind} for networks that are large enough; verdicts stay float32"
        return Finding(name, text)
    return Finding(name, f"float32: {kind} lacks units for bfloat16 ({UNITS[kind]} has them)")


def _threads(cores: Cores) -> Finding:
    name = "threads"
    if cores.given is not None:
        variable, count = cores.given
        text = f"a run takes {count} of {cores.allowed} cores, since {variable}={count}"
        return Finding(name, text, "remark")
    set_to = os.environ.get("OMP_NUM_THREADS")
    why = f"OMP_NUM_THREADS={set_to}" if set_to else "OMP_NUM_THREADS is not set"
    cores_of = "the one core" if cores.allowed == 1 else f"up to {cores.allowed} cores"
    return Finding(name, f"a run takes {cores_of} ({why}); device.threads=N sets it")


def compiler() -> str | None:
    """The C++ compiler that torch.compile takes for a CPU; None if there is none."""
    if own := os.environ.get("CXX"):
        return shutil.which(own)
    names = ("cl",) if os.name == "nt" else ("g++", "clang++")
    return next((place for name in names if (place := shutil.which(name))), None)


def _compiler() -> Finding:
    name = "device.compile"
    place = compiler()
    if place is None:
        more = "apt install g++" if sys.platform == "linux" else "install one"
        text = f"torch.compile finds no C++ compiler, which it needs: {more}"
        return Finding(name, text, "remark")
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if not headers.exists():
        text = f"torch.compile needs {private(headers)}: apt install python3-dev"
        return Finding(name, text, "remark")
    return Finding(name, f"torch.compile can be used, with {place}")
