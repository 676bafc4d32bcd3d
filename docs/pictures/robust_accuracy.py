"""Accuracy against radius of two networks: robust accuracy is a point of such a curve.

python docs/pictures/robust_accuracy.py
"""

import common
from matplotlib.axes import Axes

import robustrun

RADII = [round(0.025 * step, 3) for step in range(13)]
COLOURS = {"standard": common.ORANGE, "trades": common.BLUE}


def main() -> None:
    """Each network's accuracy under PGD-20 at each radius, with 95% intervals."""
    images = common.digits()
    drawing, (axis,) = common.figure(6.4, 3.8)
    for method, colour in COLOURS.items():
        model, points = common.network(method), []
        for radius in RADII:
            attack = robustrun.attack("pgd", norm="linf", epsilon=radius)
            measured = robustrun.evaluate(model, images, {"pgd": attack}, threads=1)
            points.append((measured.attacks["pgd"].robust.sum(), len(images[1])))
        draw(axis, method, colour, points)
    axis.axvline(0.1, color=common.GREY, linestyle=":", linewidth=1)
    axis.annotate("the radius of the digits: 0.1", (0.103, 97), color=common.GREY, fontsize=9)
    axis.set(xlabel="radius (linf, pixel units)", ylabel="accuracy under PGD-20 (%)")
    axis.set(ylim=(0, 100), xlim=(0, 0.3))
    axis.legend(frameon=False)
    common.save(drawing, "robust-accuracy.svg")


def draw(axis: Axes, method: str, colour: str, points: list[tuple[int, int]]) -> None:
    from robustrun.evaluation.statistics import wilson

    shares = [100 * correct / total for correct, total in points]
    low, high = zip(*(wilson(int(correct), total) for correct, total in points), strict=True)
    axis.fill_between(
        RADII, [100 * x for x in low], [100 * x for x in high], color=colour, alpha=0.2
    )
    axis.plot(RADII, shares, marker="o", markersize=3, color=colour, label=method)
    at = RADII.index(0.1)
    print(f"{method}: clean {shares[0]:.2f}%, at 0.1 {shares[at]:.2f}%, at 0.3 {shares[-1]:.2f}%")


if __name__ == "__main__":
    main()
