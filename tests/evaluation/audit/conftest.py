"""A network without any defence, and the digits that it is audited on."""

import pytest
from torch import nn

from evaluation.audit.small_audits import configuration, trained
from robustrun.types import Images


@pytest.fixture(scope="session")
def test_images() -> Images:
    return configuration().dataset.load().test


@pytest.fixture(scope="session")
def standard(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    return trained(tmp_path_factory.mktemp("standard"), "method=standard")
