"""What would make runs on this machine faster: only what was found to be so."""

import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from robustrun.command_line.diagnosis import extras, folders, pytorch
from robustrun.command_line.diagnosis.findings import Finding, Section, size
from robustrun.command_line.diagnosis.machine import LITTLE_MEMORY, Cores, memory
from robustrun.command_line.diagnosis.probe import Answer

NOTHING = "nothing that could be found out here"


def section(answer: Answer, cores: Cores) -> Section:
    sentences = [
        *_of_devices(answer),
        *_of_cores(cores),
        *_of_sweeps(answer, cores),
        *_of_memory(),
        *_of_caches(),
        *_of_start(),
        *_of_processor(),
    ]
    found = [Finding("", sentence, "remark") for sentence in sentences]
    return Section("What would make runs faster here", found or [Finding("", NOTHING)])


def _of_devices(answer: Answer) -> list[str]:
    if "version" not in answer:
        return []
    why = pytorch.why_no_cuda(answer)
    return [f"The GPU is not used: {why}"] if why else []


def _of_cores(cores: Cores) -> list[str]:
    sentences = []
    if cores.given is not None:
        variable, count = cores.given
        sentences.append(
            f"{variable}={count} keeps {cores.allowed - count} of {cores.allowed} cores from a run:"
            f" unset it, unless other runs use them"
        )
    if hasattr(os, "getloadavg") and (load := os.getloadavg()[0]) >= cores.allowed:
        sentences.append(
            f"Other programs keep the cores busy (load {load:.1f} on {cores.allowed}): "
            f"fewer of them at once"
        )
    return sentences


def _of_sweeps(answer: Answer, cores: Cores) -> list[str]:
    """Small networks use one core, so that the runs of a sweep can stand side by side."""
    if cores.used < 2 or answer.get("cuda", {}).get("cards"):
        return []
    words = f"hydra/launcher=joblib hydra.launcher.n_jobs={cores.used} device.threads=1"
    needs = "" if extras.installed("parallel") else " (pip install 'robustrun[parallel]')"
    return [f"The runs of a sweep side by side: robustrun -m {words}{needs}"]


def _of_memory() -> list[str]:
    found = memory()
    if found is None or found[1] >= LITTLE_MEMORY:
        return []
    return [f"{size(found[1])} of memory are free: with less, programs wait for the disk"]


def _of_caches() -> list[str]:
    place = folders.caches()["cache of robustrun"]
    if place is not None and folders.unwritable(place) is None:
        return []
    return ["Decoded images and checksums are made again in each run: set ROBUSTRUN_CACHE=FOLDER"]


def _of_start() -> list[str]:
    """Python compiles each file at each start if it cannot keep what it compiled."""
    spec = find_spec("torch")
    file = Path(spec.origin or "") if spec else Path()
    if file.name != "__init__.py" or file.with_name("__pycache__").exists():
        return []
    return [
        "Packages are compiled at each start, since nothing can be kept beside them: python -m "
        "compileall once where it can, or PYTHONPYCACHEPREFIX=FOLDER"
    ]


def _of_processor() -> list[str]:
    """Whether an Apple processor runs a Python that was built for Intel's."""
    if sys.platform != "darwin" or platform.machine() != "x86_64":
        return []
    asked = ["sysctl", "-n", "sysctl.proc_translated"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return ["This Python is translated from Intel's: install one for arm64"] if said == "1" else []
