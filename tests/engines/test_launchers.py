"""The same sweep on each engine: runs that go wrong in every way, and one that goes well."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.engines.installed import require_launcher
from tests.engines.misbehaving import (
    of_session,
    put_plugin,
    robustrun,
    rows,
    started,
    statuses,
    swept,
    wait_until,
)

pytestmark = pytest.mark.engines
KINDS = ("good", "raise", "exit", "memory", "kill")
RAY_ALONE = ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def require(engine: str) -> None:
    """Skip where an engine is not installed, or cannot be kept from the machine's network."""
    require_launcher(engine)
    if engine != "ray":
        return
    tried = subprocess.run([*RAY_ALONE, "true"], capture_output=True)
    if tried.returncode:
        pytest.skip("no network namespace can be made, and Ray binds the machine's address")


ENGINES = {
    "joblib": (["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"], ()),
    "slurm_local": (["hydra/launcher=slurm_local"], ()),
    "ray": (["hydra/launcher=ray"], RAY_ALONE),
}


@pytest.mark.parametrize(
    "engine", ["joblib", "ray", pytest.param("slurm_local", marks=pytest.mark.long)]
)
def test_the_others_finish_each_failure_is_named_and_resume_does_what_is_missing(
    tmp_path: Path, engine: str
) -> None:
    require(engine)
    words, before = ENGINES[engine]
    put_plugin(tmp_path)
    done = robustrun(tmp_path, *swept(*KINDS), *words, before=before)
    assert statuses(tmp_path) == ["completed", "failed", "failed", "failed", ""], done.stderr
    assert done.returncode == 1
    assert "4 of 5 runs of this sweep failed" in done.stderr
    for kind, said in zip(KINDS[1:], ("failed", "failed", "failed", "killed"), strict=True):
        assert f"method.kind={kind}) {said}: " in done.stderr
    assert [row["status"] for row in rows(tmp_path)] == ["completed", *["failed"] * 3, "killed"]
    assert (tmp_path / "all" / "report.html").is_file()
    if engine == "joblib":  # the folders are the same on each
        (tmp_path / "mended").touch()
        done = robustrun(tmp_path, "resume", "all", "hydra/launcher=basic")
        assert done.returncode == 0, done.stderr
        assert statuses(tmp_path) == ["completed"] * 5


@pytest.mark.parametrize(
    "engine", ["joblib", "slurm_local", pytest.param("ray", marks=pytest.mark.long)]
)
def test_a_signal_to_the_driver_ends_its_jobs(tmp_path: Path, engine: str) -> None:
    require(engine)
    words, before = ENGINES[engine]
    put_plugin(tmp_path)
    with started(tmp_path, *swept("slow", "good", epochs=1000), *words, before=before) as driver:
        wait_until(lambda: len(list(tmp_path.glob("all/*/metrics.csv"))) == 2, driver)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(60) == 143, (tmp_path / "log").read_text()
        wait_until(lambda: not of_session(driver.pid))
    assert "To continue: robustrun resume" in (tmp_path / "log").read_text()
