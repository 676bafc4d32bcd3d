"""`python -m robustrun` and the `robustrun` command: set up the process, then the command line."""

import os
import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Threads that wait must not spin, and OpenMP reads this when torch is imported: on a busy
    # 2-core machine an epoch took 26 s with spinning threads and 1 s without.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _open_closed_streams()
    try:
        from robustrun.command_line.main import run_command_line
        from robustrun.compute.place import leave

        code = run_command_line(sys.argv[1:])
    except KeyboardInterrupt:  # before or after the command, which says so itself
        print("robustrun: interrupted", file=sys.stderr)
        sys.exit(130)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # nobody reads any more: Python would complain of it at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    leave(code)


def _open_closed_streams() -> None:
    """Where a stream was closed by whoever started this (`>&-`), what goes there is lost; a file
    that is opened later must not take its place."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


if __name__ == "__main__":
    main()
