"""`python -m robustrun.command_line.worker RUN [SOURCE]`: one of the processes that
`device.processes` starts for the run in a folder."""

import os
import sys
from pathlib import Path

from robustrun.compute.place import leave


def main(folder: Path, source: Path | None) -> int:
    """Do the run beside the other processes; returns the exit code."""
    from robustrun.command_line import process
    from robustrun.command_line.together import run_together
    from robustrun.compute.place import place

    here = place(os.environ)
    assert here is not None  # the agent says so
    with process.left_as_before():
        return run_together(here, lambda: _first(folder, source))


def _first(folder: Path, source: Path | None) -> int:
    """The run, or the evaluation of what is at `source`, in the first process. What goes wrong is
    left to the process that started this one, to say."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    from robustrun import experiment
    from robustrun.command_line import exit_codes, failures, process
    from robustrun.command_line.together import order
    from robustrun.compute import interrupts
    from robustrun.configuration.run_config import load_config
    from robustrun.run_folder import provenance

    process.log_to_terminal()
    try:
        provenance.restore_plugins(folder)
        run_config = load_config(provenance.configuration(folder))
        order(run_config, folder, source)
        if source is None:
            experiment.run(run_config, folder)
        else:
            experiment.evaluate_again(run_config, folder, source)
    except interrupts.STOPPED as error:
        terminated = isinstance(error, interrupts.Terminated)
        return exit_codes.TERMINATED if terminated else exit_codes.INTERRUPTED
    except Exception as error:
        get_error_handler().record_exception(RuntimeError(failures.message_of(error, [])))
        return failures.exit_code_of(error)
    return exit_codes.DONE


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    named = [Path(argument) for argument in sys.argv[1:]]
    leave(main(named[0], named[1] if len(named) > 1 else None))
