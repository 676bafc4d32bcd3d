"""What PyTorch says of itself and its devices, asked in a process of its own.

A broken PyTorch may end the process that imports it, and a driver may never answer; and while it is
imported, the doctor looks at the rest.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustrun.command_line.diagnosis import installation

PACKAGE = Path(__file__).resolve().parents[3]  # the folder that `robustrun` lies in
PATIENCE = 120.0  # seconds; a first import from a slow disk takes a minute
FIRST_PAUSE = 1.0  # seconds until it is said that the answer is waited for
MARK = "robustrun doctor: "
MAIN = "import sys; sys.path.append(sys.argv[1]); from {} import main; main()"
Answer = dict[str, Any]


class Probe:
    """The process that was asked."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", MAIN.format(__name__), str(PACKAGE)]
        path = os.pathsep.join(path for path in sys.path if path)  # as this process imports
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            text=True,
            errors="replace",
        )

    def answer(self, waiting: Callable[[float], object], patience: float = PATIENCE) -> Answer:
        """What it says; `error` alone if it could not say anything. Meanwhile `waiting` is called
        with the seconds so far, at doubling intervals."""
        try:
            return self._answer(waiting, patience)
        except BaseException:
            self.process.kill()
            raise

    def _answer(self, waiting: Callable[[float], object], patience: float) -> Answer:
        begun, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                output, complaint = self.process.communicate(timeout=min(pause, patience))
                return _read(output, complaint, self.process.returncode)
            except subprocess.TimeoutExpired:
                seconds, pause = time.monotonic() - begun, 2 * pause
            if seconds >= patience:
                self.process.kill()
                self.process.communicate()
                return {"error": f"importing it took {seconds:.0f} seconds and was given up"}
            waiting(seconds)


def _read(output: str, complaint: str, code: int) -> Answer:
    """The answer in what the process wrote."""
    said = [line for line in output.splitlines() if line.startswith(MARK)]
    if said:
        answer: Answer = json.loads(said[-1].removeprefix(MARK))
        return answer
    return {"error": _last_words(code, complaint)}


def _last_words(code: int, complaint: str) -> str:
    lines = complaint.strip().splitlines()
    ended = f"its process was ended by signal {-code}" if code < 0 else f"it ended with {code}"
    return f"{ended}: {lines[-1]}" if lines else ended


def main() -> None:
    """In the process that is asked: print one line of JSON."""
    print(MARK + json.dumps(_looked()), flush=True)


def _looked() -> Answer:
    faults = dict(filter(None, map(_fault, sorted(installation.modules()))))
    if "torch" in faults:
        return {"faults": faults}
    import torch

    answer: Answer = {
        "faults": faults,
        "version": torch.__version__,
        "cuda_build": torch.version.cuda or getattr(torch.version, "hip", None),
        "threads": torch.get_num_threads(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
    }
    for key, look in {"cuda": _cuda, "precision": _precision}.items():
        try:
            answer[key] = look()
        except Exception as error:
            answer[key] = {"error": _said(error)}
    answer["mps"] = torch.backends.mps.is_available()
    return answer


def _fault(module: str) -> tuple[str, str] | None:
    """Why a package that is there cannot be imported; None if it can."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        return None if error.name == module else (module, _said(error))
    except Exception as error:  # ImportError, OSError of a library, RuntimeError
        return module, _said(error)
    return None


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"


def _cuda() -> Answer:
    import warnings

    import torch

    with warnings.catch_warnings(record=True) as said:  # why a driver cannot be used
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        return {"cards": [], "why": " ".join(str(one.message) for one in said)}
    return {"cards": [_card(number) for number in range(torch.cuda.device_count())]}


def _card(number: int) -> Answer:
    import torch

    free, total = torch.cuda.mem_get_info(number)
    major, minor = torch.cuda.get_device_capability(number)
    name = torch.cuda.get_device_name(number)
    return {"name": name, "capability": f"{major}.{minor}", "free": free, "total": total}


def _precision() -> Answer:
    """The device that `device=auto` takes, and whether it has units for bfloat16."""
    from robustrun.devices.local import fastest_kind, has_bfloat16_units

    kind = fastest_kind()
    return {"device": kind, "bfloat16": has_bfloat16_units(kind)}
