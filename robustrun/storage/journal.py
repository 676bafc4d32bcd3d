"""The findings of an evaluation so far, line by line: an interrupted one continues from them."""

import json
import logging
import os
import zlib
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Journal:
    """Findings by key, each a line `CRC32 JSON` of a file that only grows.

    A line that a crash tore, or that was damaged since, counts as never written. `subject` names
    what is measured with what: findings about another subject are not recalled. Without a path,
    nothing is kept. `number`: of the process that writes, if several do; each has a file of its
    own, and all know what is in any of them.
    """

    def __init__(self, path: Path | None = None, subject: str = "", number: int = 0) -> None:
        self.path = path
        self.findings: dict[str, Any] = {}
        if path is None:
            return
        for file in (path, *sorted(path.parent.glob(f"{path.name}.*"))):
            lines = _read(file)
            if lines[:1] == [["subject", subject]]:
                self.findings |= dict(lines[1:])
        self.path = path.with_name(f"{path.name}.{number}") if number else path
        self._open(self.path, subject)

    def _open(self, path: Path, subject: str) -> None:
        """Let the file begin with its subject, and end with a whole line."""
        lines = _read(path)
        if lines[:1] == [["subject", subject]]:
            log.info("continuing after %d findings in %s", len(self.findings), path)
            with path.open("ab") as file:
                file.write(b"\n")  # ends a torn line
            return
        if lines:
            log.warning(
                "%s is about other images, weights or settings: all is measured again", path
            )
        path.write_bytes(_line("subject", subject))

    def recall(self, key: str) -> Any | None:
        """What was noted under this key, or None."""
        return self.findings.get(key)

    def note(self, key: str, value: Any) -> None:
        """Keep a finding (plain JSON values); it is on the disk when this returns."""
        if self.path is not None:
            self.findings[key] = value
            with self.path.open("ab") as file:
                file.write(_line(key, value))
                file.flush()
                os.fsync(file.fileno())


def _line(key: str, value: Any) -> bytes:
    text = json.dumps([key, value]).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(path: Path) -> list[Any]:
    """The whole lines of the file, in order."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_bytes().split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text):
            lines.append(json.loads(text))
    return lines
