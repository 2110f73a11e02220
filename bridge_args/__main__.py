"""``python -m bridge_args``, and the program ``bridge-args``."""

import gc
import sys


def run() -> int:
    """The command line as a program of its own.

    A translation is over in a moment and leaves no cycles worth looking for, so the garbage collector stays off, and
    what is alive at the end is not searched once more. Training happens in processes of its own.
    """
    gc.disable()
    _without_this_folder()
    from bridge_args.cli.main import main

    code = main()
    gc.freeze()
    return code


def _without_this_folder() -> None:
    """An empty entry of ``PYTHONPATH``, as in ``export PYTHONPATH=$PYTHONPATH:/x``, would import what lies here."""
    import os

    value = os.environ.get("PYTHONPATH", "")
    named = value.split(os.pathsep)
    if not value or all(map(os.path.isabs, named)):
        return
    from bridge_args.begin import importable

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    sys.path[:] = list(dict.fromkeys([*importable(named), package]))


if __name__ == "__main__":
    sys.exit(run())
