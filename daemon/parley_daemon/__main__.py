"""The command `parleyd`. The commands that editors spawn skip argparse, to start sooner."""

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit."""
    # Imports allocate much and free almost nothing, so collections during a start find nothing and cost a
    # tenth of its time. A daemon turns the collector on once it is loaded. The other commands end soon, or
    # forward bytes without creating reference cycles.
    gc.disable()
    words = sys.argv[1:]
    try:
        if words in (["stdio"], ["stdio", "--shared"]):
            from parley_daemon.launcher import DaemonPaths, run_stdio

            code = run_stdio(DaemonPaths.from_environment(), shared=len(words) > 1)
        else:
            from parley_daemon.cli import run_command

            code = run_command(words)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    sys.exit(code)


def _leave_out_working_folder() -> None:
    """Import nothing from the folder in which `python -m parley_daemon` was started, maybe a foreign project.

    Modules are loaded when they are needed, also long after a model could write one there.
    """
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not sys.flags.safe_path and sys.path[0] != own:
        del sys.path[0]


if __name__ == "__main__":
    _leave_out_working_folder()
    main()
