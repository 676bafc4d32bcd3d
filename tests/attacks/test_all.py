"""What `robustrun.attacks` offers."""

import robustrun.attacks
from robustrun.types import ATTACKS


def test_the_package_of_attacks_offers_every_attack_and_nothing_else() -> None:
    attacks = {ATTACKS[name].__name__ for name in ATTACKS if _ours(ATTACKS[name])}
    assert robustrun.attacks.__all__ == sorted(attacks)


def _ours(attack: type) -> bool:
    return attack.__module__.startswith("robustrun.attacks.")  # not what another test registered
