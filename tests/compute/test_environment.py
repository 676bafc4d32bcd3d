"""An environment variable is set for a while, and is as before afterwards."""

import contextlib
import os

import pytest

from robustrun.compute import environment


@pytest.mark.parametrize("before", [None, "", "old"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_variable_is_as_before_afterwards(
    before: str | None, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROBUSTRUN_TRIED", raising=False)
    if before is not None:
        monkeypatch.setenv("ROBUSTRUN_TRIED", before)

    with contextlib.suppress(KeyError), environment.variable("ROBUSTRUN_TRIED", "new"):
        assert os.environ["ROBUSTRUN_TRIED"] == "new"
        if fails:
            raise KeyError
    assert os.environ.get("ROBUSTRUN_TRIED") == before
