"""The command `parleyd`. What an editor spawns takes the short way: nothing is loaded that is not needed."""

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit."""
    # Imports allocate much and free next to nothing, so that collections during a start find nothing and
    # cost a tenth of its time. A daemon turns the collector on once it is loaded; the other commands are
    # over soon, or forward bytes without making cycles.
    gc.disable()
    words = sys.argv[1:]
    try:
        if words in (["stdio"], ["stdio", "--shared"]):
            from parley_daemon.launcher import Places, stdio

            code = stdio(Places.from_environment(), shared=len(words) > 1)
        else:
            from parley_daemon.cli import run_command

            code = run_command(words)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
