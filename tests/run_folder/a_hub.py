"""A folder in the place of the Hugging Face hub, behind huggingface_hub's own functions."""

import fnmatch
import hashlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@dataclass
class Hub:
    """Repositories as folders below `place`; snapshots lie in `cache` as the hub's package has
    them."""

    place: Path
    cache: Path
    private: dict[str, bool] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def HfApi(self, library_name: str) -> "Hub":
        assert library_name == "robustrun"
        return self

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.private.setdefault(repo_id, private)

    def repo_info(self, repo_id: str) -> SimpleNamespace:
        return SimpleNamespace(private=self.private[repo_id])

    def upload_folder(
        self, *, repo_id: str, folder_path: str, commit_message: str
    ) -> SimpleNamespace:
        shutil.copytree(folder_path, self.place / repo_id, dirs_exist_ok=True)
        self.messages.append(commit_message)
        oid = hashlib.sha1(f"{repo_id} {len(self.messages)}".encode()).hexdigest()
        self.commits[repo_id] = oid
        return SimpleNamespace(oid=oid)

    def snapshot_download(
        self, repo_id: str, *, revision: str | None, allow_patterns: list[str], **more: Any
    ) -> str:
        from huggingface_hub.errors import RevisionNotFoundError

        commit = self.commits[repo_id]
        if revision not in (None, "main", commit):
            raise RevisionNotFoundError(f"404 {revision}", response=answer(404))
        owner, name = repo_id.split("/")
        folder = self.cache / f"models--{owner}--{name}" / "snapshots" / commit
        folder.mkdir(parents=True, exist_ok=True)
        for path in (self.place / repo_id).iterdir():
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copy(path, folder)
        return str(folder)

    def hf_hub_download(self, repo_id: str, filename: str) -> str:
        return str(self.place / repo_id / filename)


def answer(status: int) -> Any:
    """What the server said, for an error of huggingface_hub."""
    import httpx2

    request = httpx2.Request("GET", "https://huggingface.co")
    return httpx2.Response(status, request=request)


def opened(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Hub:
    """A hub without repositories, which huggingface_hub's functions reach."""
    package = pytest.importorskip("huggingface_hub")
    hub = Hub(folder / "hub", folder / "cache")
    for name in ("HfApi", "snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(package, name, getattr(hub, name))
    return hub
