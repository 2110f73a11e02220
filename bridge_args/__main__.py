"""``python -m bridge_args``, and the program ``bridge-args``."""

from __future__ import annotations

import gc
import sys


def run() -> int:
    """The command line as a program of its own.

    A translation is over in a moment and leaves no cycles worth looking for, so the garbage collector stays off, and
    what is alive at the end is not searched once more. Training happens in processes of its own.
    """
    gc.disable()
    from bridge_args.cli import main

    code = main()
    gc.freeze()
    return code


if __name__ == "__main__":
    sys.exit(run())
