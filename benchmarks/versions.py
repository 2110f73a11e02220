"""What each known version costs: its data in the package, compressed, and whether start-up grows with their number.

    python benchmarks/versions.py                   # bytes of each version, as a wheel has them
    python benchmarks/versions.py --runs 30         # and start-up beside a copy with two versions of each program only

The copy keeps the pair that is meant by default and the newest one. Runs alternate, and time is that of the processor,
as in ``startup.py``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from startup import ROOT, SCRIPT, seconds

PACKAGE = ROOT / "bridge_args"
DATA = ("megatron_lm/catalogs", "bridge/schemas", "bridge/unread_settings")
LIMIT = 60_000  # bytes of a version


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0)
    options = parser.parse_args()
    largest = 0
    for folder, version, size in sizes():
        print(f"{folder:<26} {version:<18} {size:>7} bytes")
        largest = max(largest, size)
    print(f"the largest has {largest} bytes of {LIMIT}")
    if options.runs:
        compare(options.runs)
    if largest > LIMIT:
        raise SystemExit("a version is too large")


def sizes() -> Iterator[tuple[str, str, int]]:
    """Of each file of a version: its folder, the version, and its bytes when compressed."""
    for folder in DATA:
        for file in sorted((PACKAGE / folder).glob("*.json")):
            yield folder, file.stem, len(zlib.compress(file.read_bytes()))


def compare(runs: int) -> None:
    """Translates one script with all versions and with two, in turn."""
    from bridge_args.versions import PROVEN

    with tempfile.TemporaryDirectory() as name:
        few = Path(name)
        for part in ("bridge_args", "mappings"):
            shutil.copytree(ROOT / part, few / part, ignore=shutil.ignore_patterns("__pycache__"))
        for folder in DATA:
            files = sorted((few / "bridge_args" / folder).glob("*.json"))
            for file in files[:-1]:
                if file.stem not in PROVEN:
                    file.unlink()
        _keep_two_pairs(few / "bridge_args" / "versions.py")
        words = [sys.executable, "-m", "bridge_args", "translate", "--format", "overrides", "--world-size", "8"]
        times: dict[Path, list[float]] = {ROOT: [], few: []}
        for round in range(runs + 1):
            for place, measured in times.items():
                os.chdir(place)  # the package of the folder is the one that is started
                processor, _ = seconds([*words, str(SCRIPT)])
                measured += [processor] if round else []  # the first one writes bytecode
        os.chdir(ROOT)
    print(f"{'median of ' + str(runs) + ' runs':<24} processor")
    for place, measured in times.items():
        what = "all versions" if place == ROOT else "two of each"
        print(f"{what:<24} {1e3 * statistics.median(measured):6.1f} ms, fastest {1e3 * min(measured):6.1f} ms")


def _keep_two_pairs(file: Path) -> None:
    """The table of pairs, with the proven pair and nothing else that was checked beside the first."""
    text = file.read_text(encoding="utf-8")
    start = text.index("    *(\n        Pair(Versions(megatron, bridge)")
    end = text.index("\n)\n", start)
    file.write_text(text[:start].rstrip() + text[end:], encoding="utf-8")


if __name__ == "__main__":
    main()
