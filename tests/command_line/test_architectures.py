"""The networks of timm and torchvision are searched by their names, without a network."""

import socket
from typing import NoReturn

import pytest

pytest.importorskip("timm", reason="robustrun[timm] is not installed")
import timm

from robustrun.command_line.main import run_command_line


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object) -> NoReturn:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setenv("COLUMNS", "150")


def cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def test_timms_networks_are_found_with_the_tags_of_their_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command_line(["list", "model", "--timm", "vit_tiny_patch16_*24"]) == 0
    name = "vit_tiny_patch16_224"
    assert cells(capsys.readouterr().out) == [
        [name, "augreg_in21k", "224 x 224", "21,843", "9,740,115"],  # its last layer is larger
        [name, "augreg_in21k_ft_in1k", "224 x 224", "1,000", "5,717,416"],
    ]
    assert timm.is_model(f"{name}.augreg_in21k")  # as model.architecture takes it


def test_a_tag_is_found_without_the_other_tags_of_its_network(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command_line(["list", "model", "--timm", "convnext_tiny.*dinov3*"]) == 0
    assert [row[:2] for row in cells(capsys.readouterr().out)] == [
        ["convnext_tiny", "dinov3_lvd1689m"]
    ]


def test_torchvisions_networks_are_found_with_the_names_of_their_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command_line(["list", "--torchvision", "resnet18"]) == 0
    found = cells(capsys.readouterr().out)
    assert found == [["resnet18", "IMAGENET1K_V1", "224 x 224", "1,000", "11,689,512"]]


def test_without_a_pattern_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["list", "model", "--torchvision"]) == 0
    rows = cells(capsys.readouterr().out)
    assert {"resnet18", "vit_b_16"} <= {row[0] for row in rows}
    (features,) = [row for row in rows if row[1] == "IMAGENET1K_FEATURES"]
    assert features[3] == "none"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timm", "resent18"], "timm has no architecture like 'resent18'. Did you mean resnet18"),
        (["attack", "--timm", "vit*"], "write robustrun list model --timm 'PATTERN'"),
    ],
)
def test_a_search_that_finds_nothing_says_what_is_near(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["list", *words]) == 2
    assert message in capsys.readouterr().err
