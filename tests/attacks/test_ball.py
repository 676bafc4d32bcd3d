"""The same attack at another radius."""

from dataclasses import asdict

import pytest
from toys import EPSILON, from_catalogue

WITH_STEP = [("pgd", "linf"), ("mi_fgsm", "l2"), ("multi_targeted", "linf"), ("apgd_ce", "l1")]
WITHOUT = [("fgsm", "linf"), ("fab", "l2"), ("fmn", "linf"), ("cw_l2", "l2"), ("square", "l1")]


@pytest.mark.parametrize(("name", "norm"), WITH_STEP + WITHOUT)
@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_at_another_radius_a_step_keeps_its_share_of_it(name: str, norm: str, share: float) -> None:
    attack = from_catalogue(name, norm)
    other = attack.with_radius(share * EPSILON[norm])
    changed = {"epsilon": share * EPSILON[norm]}
    if (name, norm) in WITH_STEP:
        changed["step_size"] = pytest.approx(share * attack.step_size)
    assert asdict(other) == asdict(attack) | changed
    assert type(other) is type(attack)


def test_a_radius_of_zero_stays_one_where_no_step_can_be_scaled() -> None:
    flat = from_catalogue("pgd", "linf").with_radius(0.0)
    assert flat.with_radius(0.1).step_size == 0.0
