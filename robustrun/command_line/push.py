"""`robustrun push`: a finished run in a repository of the Hugging Face hub."""

from pathlib import Path

from robustrun import console
from robustrun.command_line import process
from robustrun.command_line.exit_codes import DONE
from robustrun.command_line.parser import CommandParser
from robustrun.run_folder.place import require_run

DESCRIPTION = """\
Puts a finished run into a repository of the Hugging Face hub, in one commit: its weights, its
configuration, its results, and its card as README.md. The name of this machine, the folders of
absolute paths and a tracker's settings are left out. A new repository is private. It needs
pip install 'robustrun[hub]', and a token that may write (hf auth login, or HF_TOKEN).

What is there is loaded by its address: robustrun evaluate hf://OWNER/NAME, or in Python
robustrun.load_run("hf://OWNER/NAME")."""
EXAMPLES = """\
Examples
  robustrun push outputs/RUN OWNER/NAME --dry-run
  robustrun push outputs/RUN OWNER/NAME --dry-run --output FOLDER
  robustrun push outputs/RUN OWNER/NAME --public --license mit"""


def parser() -> CommandParser:
    own = CommandParser("push", DESCRIPTION, EXAMPLES)
    own.add_argument("run", metavar="RUN", help="a finished run's folder, or a file exported of it")
    own.add_argument("repository", metavar="OWNER/NAME", help="made if it is not there")
    own.add_argument("--public", action="store_true", help="for everyone to see")
    own.add_argument("--license", metavar="NAME", help="in the card, as the hub names it: mit")
    text = "show what would be uploaded and what is left out, and send nothing"
    own.add_argument("--dry-run", action="store_true", help=text)
    text = "with --dry-run: write the files that would be uploaded here"
    own.add_argument("--output", type=Path, metavar="FOLDER", help=text)
    own.add_modules()
    return own


def command(arguments: list[str]) -> int:
    """`robustrun push RUN OWNER/NAME [--dry-run] [--public] [--license NAME]`"""
    options = parser().read(arguments)
    modules = parser().modules(options)
    if options.output is not None and not options.dry_run:
        parser().error("--output goes with --dry-run: it takes the files in the hub's place")
    require_run(options.run)  # before torch is imported
    process.log_to_terminal()
    process.import_torch()
    from robustrun.run_folder import push

    upload = push.prepare(options.run, options.repository, options.license, modules)
    seen = "public" if options.public else "private"
    sizes = [f"  {name} ({len(text) / 1000:,.1f} kB)" for name, text in upload.files.items()]
    console.show(f"hf://{options.repository} ({seen}):", *sizes)
    changes = [f"  {key}: {what}" for key, what in upload.changes.items()]
    if changes:
        console.show("Not as in the run's folder:", *changes)
    if options.dry_run:
        if options.output is not None:
            push.write(upload, options.output)
        place = "" if options.output is None else f"; the files are in {options.output}"
        console.show(f"Nothing was sent{place}.")
        return DONE
    console.show(f"uploaded: {push.send(upload, options.public)}")
    return DONE
