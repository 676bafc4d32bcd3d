"""The journal of findings: what a crash leaves of it, and whose findings are recalled."""

from pathlib import Path

import pytest

from robustrun.storage.journal import Journal

FINDINGS = {"a": [1, 0, 1], "b": {"seconds": 0.5, "text": "with\nlines é"}, "c": None}


def written(path: Path, subject: str = "weights 1") -> bytes:
    journal = Journal(path, subject)
    for key, value in FINDINGS.items():
        journal.note(key, value)
    return path.read_bytes()


def test_findings_are_recalled_by_the_next_process(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    journal = Journal(tmp_path / "journal", "weights 1")
    assert journal.findings == FINDINGS
    assert journal.recall("a") == [1, 0, 1]
    assert journal.recall("d") is None


def test_a_later_finding_of_a_key_is_the_one_that_counts(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    Journal(tmp_path / "journal", "weights 1").note("a", 7)
    assert Journal(tmp_path / "journal", "weights 1").findings == FINDINGS | {"a": 7}


def test_wherever_a_crash_tears_it_whole_lines_are_kept_and_further_ones_are_read(
    tmp_path: Path,
) -> None:
    path = tmp_path / "journal"
    content = written(path)
    ends = [place for place in range(len(content)) if content[place : place + 1] == b"\n"]
    for length in range(ends[0] + 1, len(content)):
        path.write_bytes(content[:length])
        whole = sum(end <= length for end in ends) - 1  # of findings; a line needs no line feed
        expected = dict(list(FINDINGS.items())[:whole])
        journal = Journal(path, "weights 1")
        assert journal.findings == expected
        journal.note("d", 4)
        assert Journal(path, "weights 1").findings == expected | {"d": 4}


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_damaged_line_counts_as_never_written(tmp_path: Path, line: int) -> None:
    path = tmp_path / "journal"
    lines = written(path).split(b"\n")
    lines[line] = lines[line].replace(b"]", b"}", 1)
    path.write_bytes(b"\n".join(lines))
    left = {key: value for n, (key, value) in enumerate(FINDINGS.items(), 1) if n != line}
    assert Journal(path, "weights 1").findings == left


def test_findings_about_something_else_are_not_recalled_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal"
    assert Journal(path, "weights 1").findings == {}
    assert caplog.text == ""
    written(path)
    assert Journal(path, "weights 2").findings == {}
    assert "is about other images, weights or settings: all is measured again" in caplog.text
    assert Journal(path, "weights 1").findings == {}, "the former findings are gone"


def test_a_file_whose_first_line_is_damaged_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"x" + written(path))
    assert Journal(path, "weights 1").findings == {}


def test_without_a_path_nothing_is_kept_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal()
    journal.note("a", 1)
    assert journal.recall("a") is None
    assert list(tmp_path.iterdir()) == []
