"""One digit, attacked within growing balls of three norms: what a threat model lets through.

python docs/pictures/threat_model.py
"""

import common
from matplotlib.axes import Axes
from torch import Tensor, nn

import robustrun

RADII = {"linf": (0.05, 0.1, 0.2, 0.4), "l2": (0.25, 0.5, 1, 2), "l1": (1, 2, 4, 8)}


def main() -> None:
    """A row a norm: the image, then the image that APGD finds at each radius."""
    model = common.network("standard")
    images, labels = common.digits()
    index = int((model(images).argmax(dim=1) == labels).nonzero()[3])
    x, y = images[index : index + 1], labels[index : index + 1]
    drawing, _ = common.figure(7.2, 5.6)
    drawing.clear()
    axes = drawing.subplots(len(RADII), 1 + len(RADII["linf"]))
    for row, (norm, radii) in zip(axes, RADII.items(), strict=True):
        show(row[0], model, x, f"{norm}: as it is")
        for axis, radius in zip(row[1:], radii, strict=True):
            attack = robustrun.attack("apgd_ce", norm=norm, epsilon=radius)
            show(axis, model, attack(model, x, y), f"{norm} {radius}")
    drawing.tight_layout(h_pad=1.6)
    common.save(drawing, "threat-model.svg")


def show(axis: Axes, model: nn.Module, x: Tensor, title: str) -> None:
    answer = int(model(x).argmax())
    axis.imshow(x[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
    axis.set(title=title, xticks=[], yticks=[], xlabel=f"answer: {answer}")
    axis.title.set_fontsize(9)


if __name__ == "__main__":
    main()
