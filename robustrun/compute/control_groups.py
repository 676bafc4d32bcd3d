"""What the control groups of Linux allow this process, as those of a container do
(https://docs.kernel.org/admin-guide/cgroup-v2.html, and version 1 before it).
"""

from pathlib import Path

TOP = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")  # lines NUMBER:CONTROLLERS:PATH; of version 2, 0::PATH


def cpu_quota() -> float | None:
    """The CPU time that this process may take, in cores' worth (1.5: that of one and a half); None
    where nothing limits it."""
    pairs = [text.split() for text in group_files("cpu.max")]
    old = [group_files(f"cpu.cfs_{part}_us", "cpu") for part in ("quota", "period")]
    shares = [
        int(time) / int(period)
        for time, period in [*pairs, *zip(*old, strict=False)]
        if time.isdecimal() and period.isdecimal()  # max, or -1: no limit
    ]
    return min(shares, default=None)


def group_files(name: str, controller: str = "") -> list[str]:
    """What the files of this name say, of this process's group and those that it lies in, the
    innermost first; of version 1, `controller` says in which tree."""
    top = TOP / controller
    lines = [line.split(":", 2) for line in read(OWN).splitlines()]
    paths = [line[2] for line in lines if len(line) == 3 and controller in line[1].split(",")]
    inside = top / (paths[0].lstrip("/") if paths else "")
    folders = [folder for folder in (inside, *inside.parents) if folder.is_relative_to(top)]
    return [text for folder in folders if (text := read(folder / name))]


def read(file: Path) -> str:
    """The text of a small file; empty where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
