"""``python -m bridge_args`` is ``bridge-args``."""

from __future__ import annotations

import sys

from bridge_args.cli import main

if __name__ == "__main__":
    sys.exit(main())
