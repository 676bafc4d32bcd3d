"""`robustrun export`: a finished run's network as one file for other programs."""

from pathlib import Path

from robustrun import console
from robustrun.command_line import process
from robustrun.command_line.exit_codes import DONE
from robustrun.command_line.parser import CommandParser
from robustrun.errors import did_you_mean
from robustrun.run_folder.place import require_run

FORMATS = ("safetensors", "onnx", "torch.export")  # known before torch is imported
DESCRIPTION = """\
Writes the network of a finished run, with its selected weights and the normalisation inside it, as
one file. It takes images in [0, 1], in batches of any size, and returns logits. The file is read
back, and its logits are compared with the network's, before it gets its name.

  safetensors    the weights, with all that robustrun needs to build the network again
  onnx           for ONNX Runtime and others; needs pip install 'robustrun[onnx]'
  torch.export   a program for PyTorch without robustrun (.pt2); attacks can follow its gradients"""
EXAMPLES = """\
Examples
  robustrun export outputs/RUN --to safetensors
  robustrun export outputs/RUN --to onnx --output model.onnx
  robustrun export hf://OWNER/NAME --to torch.export
  robustrun export hf://OWNER/NAME --to onnx plugins=[my_method] -cd mine"""


def parser() -> CommandParser:
    own = CommandParser("export", DESCRIPTION, EXAMPLES)
    what = "a finished run's folder, an exported safetensors file, or hf://OWNER/NAME"
    own.add_argument("run", metavar="RUN", help=what)
    own.add_argument("--to", required=True, metavar="FORMAT", help=", ".join(FORMATS))
    text = "where to write (without it: in this folder, named as the run); it must not exist"
    own.add_argument("--output", type=Path, metavar="FILE", help=text)
    own.add_modules()
    return own


def command(arguments: list[str]) -> int:
    """`robustrun export RUN --to FORMAT [--output FILE] [plugins=[MODULE]]`"""
    options = parser().read(arguments)
    modules = parser().modules(options)
    if options.to not in FORMATS:  # before torch is imported
        parser().error(f"--to {options.to} is no format.{did_you_mean(options.to, FORMATS)}")
    require_run(options.run)  # before torch is imported
    process.log_to_terminal()
    process.import_torch()
    from robustrun.run_folder.export import BATCHES, TOLERANCE, export

    made = export(options.run, options.to, options.output, modules)
    sizes = " and ".join(", ".join(map(str, BATCHES)).rsplit(", ", 1))
    console.show(
        f"{made.path} ({made.size / 1000:,.0f} kB, {made.format})",
        f"compared with the network on {max(BATCHES)} images, in batches of {sizes}: the logits "
        f"differ by at most {made.difference:.1e} of the largest (allowed: {TOLERANCE:g})",
    )
    return DONE
