"""What each check of the audit says of a network as it is, and of the same one in disguise.

python docs/pictures/audit.py
"""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import common
import numpy as np
import torch
from disguises import DISGUISES
from matplotlib.colors import ListedColormap
from torch import nn

from robustrun.command_line.main import run_command_line

STATUSES = ("pass", "warn", "fail")
COLOURS = ListedColormap(["#d9efe6", "#f6d28b", "#d9705f"])


def main() -> None:
    """A row a check, a column a network; `robustrun evaluate FILE evaluation=audit` for each."""
    network = common.network("standard")
    columns = {name: checks(name, disguise(network)) for name, disguise in DISGUISES.items()}
    rows = list(columns["as it is"])
    said = np.array([[STATUSES.index(column[row]) for column in columns.values()] for row in rows])
    drawing, (axis,) = common.figure(6.6, 5.2)
    axis.imshow(said, cmap=COLOURS, vmin=0, vmax=2, aspect="auto")
    for (row, column), status in np.ndenumerate(said):
        axis.text(column, row, STATUSES[status], ha="center", va="center", fontsize=8)
    axis.set_xticks(range(len(columns)), list(columns))
    axis.set_yticks(range(len(rows)), rows)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    common.save(drawing, "audit.svg")


def checks(name: str, network: nn.Module) -> dict[str, str]:
    """The verdict of each check on test images of the digits."""
    program = exported(network, common.RUNS / f"{name.replace(' ', '-').replace(',', '')}.pt2")
    words = ["evaluation=audit", f"evaluation.examples={common.IMAGES}", "keep.figures=false"]
    with redirect_stdout(StringIO()) as said:
        words += ["device=cpu", "device.threads=1"]
        assert run_command_line(["evaluate", str(program), *words]) == 0
    folder = Path(said.getvalue().split("\n")[-2])  # the last line
    results = json.loads((folder / "results.json").read_text())["evaluation"]
    verdicts = {check["check"]: check["status"] for check in results["audit"]}
    fails = [check for check, status in verdicts.items() if status == "fail"]
    print(f"{name}: PGD {results['attacks'][0]['accuracy']:.1%}, fails: {', '.join(fails) or '-'}")
    return verdicts


def exported(network: nn.Module, file: Path) -> Path:
    """The network as a file of torch.export, for batches of any size."""
    examples = (torch.zeros(3, 1, 8, 8),)
    sizes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    torch.export.save(torch.export.export(network.eval(), examples, dynamic_shapes=sizes), file)
    return file


if __name__ == "__main__":
    main()
