"""One standard network in three disguises: what four attacks say of each.

python docs/pictures/why_evaluations_lie.py
"""

import common
import numpy as np
from disguises import DISGUISES

import robustrun

SHOWN = ("as it is", "logits x 1,000", "8 grey levels")
ATTACKS = {"fgsm": "#9ecae1", "pgd": common.BLUE, "square": common.GREEN, "autoattack": common.RED}


def main() -> None:
    """Bars: accuracy under each attack, on the first 200 test images of the digits, linf 0.1."""
    network, images = common.network("standard"), common.digits(common.IMAGES)
    attacks = {name: robustrun.attack(name, dataset="digits") for name in ATTACKS}
    drawing, (axis,) = common.figure(6.8, 3.8)
    for place, name in enumerate(SHOWN):
        measured = robustrun.evaluate(DISGUISES[name](network), images, attacks, threads=1)
        heights = [common.percent(measured.attacks[attack].robust) for attack in ATTACKS]
        print(name, *(f"{attack} {it:.1f}" for attack, it in zip(ATTACKS, heights, strict=True)))
        places = place + 0.2 * (np.arange(len(ATTACKS)) - 1.5)
        bars = axis.bar(places, heights, width=0.18, color=list(ATTACKS.values()))
        axis.bar_label(bars, fmt="%.0f", fontsize=8)
    axis.legend(bars, list(ATTACKS), frameon=False, ncols=4, loc="upper left", fontsize=9)
    axis.set(ylim=(0, 112), yticks=range(0, 101, 20), ylabel="accuracy under the attack (%)")
    axis.set_xticks(range(len(SHOWN)), SHOWN)
    common.save(drawing, "why-evaluations-lie.svg")


if __name__ == "__main__":
    main()
