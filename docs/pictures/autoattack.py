"""How many images stand after each of AutoAttack's four attacks, for three networks.

python docs/pictures/autoattack.py
"""

import common
from disguises import DISGUISES

import robustrun

STAGES = ("apgd_ce", "apgd_t", "fab_t", "square")


def main() -> None:
    """Lines: the images that stand before and after each attack; 200 digits, linf 0.1."""
    networks = {"standard": common.network("standard"), "trades": common.network("trades")}
    networks["standard, 8 grey levels"] = DISGUISES["8 grey levels"](networks["standard"])
    x, y = common.digits(common.IMAGES)
    drawing, (axis,) = common.figure(6.6, 3.8)
    colours = (common.ORANGE, common.BLUE, common.GREEN)
    for (name, model), colour in zip(networks.items(), colours, strict=True):
        standing = model(x).argmax(dim=1) == y
        counts = [int(standing.sum())]
        for stage in STAGES:
            left = standing.nonzero()[:, 0]
            attack = robustrun.attack(stage, dataset="digits")
            standing[left] = model(attack(model, x[left], y[left])).argmax(dim=1) == y[left]
            counts.append(int(standing.sum()))
        print(name, *(f"{stage} {n}" for stage, n in zip(("clean", *STAGES), counts, strict=True)))
        axis.plot(range(5), counts, marker="o", color=colour, label=name)
        for place, count in enumerate(counts):
            above = (place, count), (0, 6)
            axis.annotate(str(count), above[0], above[1], textcoords="offset points", fontsize=8)
    axis.set_xticks(range(5), ["clean", "APGD-CE", "APGD-T", "FAB-T", "Square"])
    axis.set(ylim=(0, 215), ylabel="images of 200 that stand")
    axis.legend(frameon=False, loc="lower left")
    common.save(drawing, "autoattack.svg")


if __name__ == "__main__":
    main()
