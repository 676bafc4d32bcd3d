"""Settings out of range are refused by name."""

import pytest

from datasets.small_sets import digits
from robustrun.datasets.settings import Radii
from robustrun.errors import ConfigError


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("crop_padding", -1),
        ("color_jitter", 1.5),
        ("rotation", -1.0),
        ("imbalance_ratio", 0.0),
        ("imbalance_ratio", 1.5),
        ("imbalance_seed", -1),
        ("classes", ("cat",)),
        ("fraction", 0.0),
        ("fraction", 1.5),
        ("fraction_seed", -1),
        ("mean", ()),
        ("std", (1.0, 1.0)),
        ("std", (0.0,)),
    ],
)
def test_settings_out_of_range_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{key} is "):
        digits(**{key: value})


def test_radius_that_is_not_positive_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"^l2 is 0"):
        Radii(linf=0.1, l2=0.0, l1=1.0)
