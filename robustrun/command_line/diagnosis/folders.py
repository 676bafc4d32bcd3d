"""Where robustrun writes, and whether it can: outputs, caches, what is downloaded."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from robustrun.command_line.diagnosis.findings import Finding, Section, State, private, size
from robustrun.storage.cache import cache_folder
from robustrun.storage.offline import offline

COUNTING = 0.5  # seconds that the files of a folder are counted for
PROXIES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def section() -> Section:
    findings = [_outputs(), *(_cache(name, place) for name, place in caches().items()), _network()]
    return Section("Folders and network", findings)


def _outputs() -> Finding:
    folder = Path("outputs")
    if reason := unwritable(folder):
        text = f"{private(folder.absolute())} cannot be written ({reason}): go to another folder, "
        return Finding("outputs", f"{text}or set hydra.run.dir=FOLDER", "broken")
    return Finding("outputs", f"{private(folder.absolute())}, writable")


def caches() -> dict[str, Path | None]:
    """What is kept for the next run, and where: PyTorch's and Hugging Face's are theirs."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    torch = Path(os.environ.get("TORCH_HOME") or home / "torch")
    hub = Path(os.environ.get("HF_HOME") or home / "huggingface")
    own = cache_folder("")
    places = {"cache of robustrun": own, "weights (torch.hub)": torch / "hub", "Hugging Face": hub}
    return {name: place and place.expanduser() for name, place in places.items()}


def _cache(name: str, place: Path | None) -> Finding:
    if place is None:
        text = "no home folder, so nothing is kept: set ROBUSTRUN_CACHE=FOLDER"
        return Finding(name, text, "remark")
    reason, there = unwritable(place), place.is_dir()
    how = f"cannot be written ({reason})" if reason else "writable"
    filled = occupied(place) if there else "not there yet"
    state: State = "remark" if reason else "fine"
    return Finding(name, f"{private(place)}, {filled}, {how}", state)


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder, or the one that it would be made in; a file is made
    there, and removed."""
    place = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path("."))
    try:
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return error.strerror or str(error)


def occupied(folder: Path) -> str:
    """How much lies in a folder; of many files what half a second counts."""
    ends, total, left = time.monotonic() + COUNTING, 0, [folder]
    while left:
        with suppress(OSError), os.scandir(left.pop()) as entries:
            for entry in entries:
                if time.monotonic() > ends:
                    return f"over {size(total)}"
                if entry.is_dir(follow_symlinks=False):
                    left.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return size(total)


def _network() -> Finding:
    """Whether downloads are allowed; addresses of proxies may hold passwords and are not shown."""
    forbids = offline()
    proxies = sorted({name for name in PROXIES if os.environ.get(name)})
    said = [
        f"{forbids} forbids downloads" if forbids else "downloads are allowed",
        f"a proxy is set ({', '.join(proxies)})" if proxies else "",
    ]
    return Finding("network", "; ".join(filter(None, said)))
