"""What a run says of itself, kept beside its checkpoints: the configuration, the report, the command line.

The files lie in ``bridge_args/`` inside the folder given to ``--save``. Bridge's own ``run_config.yaml`` is inside
each ``iter_*`` folder, and its tools look for trackers and for names that begin with ``iter_``, so that this folder
is in nobody's way. The newest start is at the top; those of earlier ones that differ are in ``earlier/0001`` and so on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge_args.files import write_whole
from bridge_args.secrets import masked

if TYPE_CHECKING:
    from bridge_args.mapping.translation import Translation

FOLDER: Final = "bridge_args"


def texts_of(t: Translation, words: Sequence[str]) -> dict[str, str]:
    """File name to content, without secrets; ``words`` is the command line with our own options."""
    import shlex

    from bridge_args.emit.config_yaml import to_yaml
    from bridge_args.emit.report import report

    return {
        "run_config.yaml": to_yaml(t, full=True),
        "report.txt": report(t, "text"),
        "report.json": report(t, "json"),
        "command.txt": masked(f"{t.program} {shlex.join(words)}\n", t.secrets),
    }


def keep(texts: Mapping[str, str], save: str) -> Path:
    """Writes them, each whole or not at all; returns the folder.

    Raises:
        OSError: nothing can be written there.
    """
    folder = Path(save, FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    there = [folder / name for name in texts if (folder / name).is_file()]
    if {file.name: file.read_text(encoding="utf-8") for file in there} == dict(texts):
        return folder
    if there:
        earlier = _next(folder / "earlier")
        for file in there:
            os.replace(file, earlier / file.name)
    for name, text in texts.items():
        write_whole(folder / name, text)
    return folder


def _next(folder: Path) -> Path:
    """A new folder with the next number."""
    folder.mkdir(exist_ok=True)
    numbers = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()]
    made = folder / f"{max(numbers, default=0) + 1:04d}"
    made.mkdir()
    return made
