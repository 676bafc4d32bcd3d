"""What a file of weights, or an exported program, says of itself beside its tensors."""

import json
import zipfile
from pathlib import Path
from typing import Any

import safetensors

from robustrun.storage.zip_faults import ZIP_FAULTS

KEY = "robustrun"  # of the header's entry, one JSON text
RUN = "run"  # in it, of a file that robustrun export wrote: the results of the run, as results.json
EXTRA = f"{KEY}.json"  # the same text in a program of torch.export


def header(file: Path) -> dict[str, Any]:
    """What robustrun wrote into the head of safetensors or into a torch.export program; empty for
    any other file. Needs no torch."""
    try:
        about = json.loads(_text(file))
    except (safetensors.SafetensorError, OSError, ValueError, *ZIP_FAULTS):
        return {}
    return about if isinstance(about, dict) else {}


def holds_run(file: Path) -> bool:
    """Whether a file is a whole run: its weights, results and configuration."""
    return file.is_file() and isinstance(header(file).get(RUN), dict)


def _text(file: Path) -> str:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            extra = [name for name in archive.namelist() if name.endswith(f"extra/{EXTRA}")]
            return archive.read(extra[0]).decode() if extra else "{}"
    with safetensors.safe_open(file, "numpy") as opened:
        return str((opened.metadata() or {}).get(KEY, "{}"))
