"""timm's networks."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from models.networks import COLOUR, DIGITS, ROUNDING
from robustrun.errors import ConfigError, DataError
from robustrun.models.timm import Timm


def timm(architecture: str, weights: str = "random") -> Timm:
    return Timm(architecture=architecture, weights=weights, mean=(0.5,), std=(0.25,))


def test_missing_timm_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'robustrun\[timm\]'"):
        timm("resnet18").build(COLOUR, 10)


class FakeTimm(SimpleNamespace):
    """As much of timm as is used: timm is an extra, which need not be there."""

    __version__ = "1.0"

    def is_model(self, name: str) -> bool:
        return name in self.list_models()

    def list_models(self) -> list[str]:
        return ["linear", "resnet18"]

    def create_model(
        self, name: str, pretrained: bool, num_classes: int, in_chans: int
    ) -> nn.Module:
        if pretrained and name == "linear":
            raise OSError("no network\nat all")
        if pretrained and name == "resnet18":
            network = nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 64, num_classes))
            network.pretrained_cfg = {"num_classes": 1000}  # type: ignore[assignment]
            return network
        return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 64, num_classes))


def test_timm_networks_are_built_normalised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())
    network: Any = timm("linear").build(DIGITS, 7)
    x = torch.rand(2, *DIGITS)
    torch.testing.assert_close(network(x), network.network((x - 0.5) / 0.25), **ROUNDING)
    torch.save(network.network.state_dict(), tmp_path / "w.pth")
    again = timm("linear", str(tmp_path / "w.pth")).build(DIGITS, 7)
    assert torch.equal(again(x), network(x))
    with pytest.raises(ConfigError, match=r"'resent18', which timm 1\.0.*'resnet18'"):
        timm("resent18").build(DIGITS, 7)
    with pytest.raises(ConfigError, match="cannot take images of 9 x 9"):
        timm("linear").build((1, 9, 9), 7)
    with pytest.raises(DataError, match=r"could not be fetched \(no network\)"):
        timm("linear", "pretrained").build(DIGITS, 7)


def test_timms_pretrained_networks_tell_of_a_new_last_layer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())
    with caplog.at_level("INFO"):
        timm("resnet18", "pretrained").build(DIGITS, 1000)
        assert not caplog.text
        timm("resnet18", "pretrained").build(DIGITS, 7)
    told = "the last layer (1) has new, random weights for 7 classes: pretrained resnet18 has 1000"
    assert told in caplog.text


def test_timms_own_networks_are_built() -> None:
    pytest.importorskip("timm")
    network = timm("resnet18").build(DIGITS, 7)
    assert network(torch.rand(2, *DIGITS)).shape == (2, 7)
