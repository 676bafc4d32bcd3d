"""The doctor's report as text and as data."""

from pathlib import Path

import pytest

from robustrun.command_line.diagnosis import findings
from robustrun.command_line.diagnosis.findings import Finding, Section

SECTION = Section(
    "Machine",
    [
        Finding("cores", "2"),
        Finding("memory", "3 GB, of which one GB is free and the rest is not", "remark"),
        Finding("", "torch does not import", "broken"),
    ],
)


def test_names_stand_beside_their_texts_and_marks_before_them() -> None:
    assert findings.as_text(SECTION, None).splitlines() == [
        "Machine",
        "  cores                  2",
        "! memory                 3 GB, of which one GB is free and the rest is not",
        "X torch does not import",
    ]


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_on_a_terminal_no_line_is_wider_and_no_word_is_lost(width: int) -> None:
    text = findings.as_text(SECTION, width)
    assert max(map(len, text.splitlines())) <= width
    assert "3 GB, of which one GB is free and the rest is not" in " ".join(text.split())


def test_what_is_broken_is_no_healthy_installation() -> None:
    data = findings.as_data([SECTION])
    assert data["healthy"] is False
    assert data["sections"]["Machine"][0] == {"name": "cores", "text": "2", "state": "fine"}
    assert findings.as_data([Section("Machine", SECTION.findings[:2])])["healthy"] is True


def test_a_path_is_shown_without_the_users_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("USERPROFILE", "/home/ada")
    assert findings.private("/home/ada/data") == str(Path("~/data"))
    assert findings.private("/home/ada") == "~"
    assert findings.private("/home/adams/data") == "/home/adams/data"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 kB"), (1_500_000, "1.5 MB"), (25e9, "25 GB"), (1.25e12, "1.2 TB")],
)
def test_sizes_have_two_digits_or_more(count: float, text: str) -> None:
    assert findings.size(count) == text
