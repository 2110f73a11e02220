"""Every output of many command lines, as files: what two states of the code give is compared with ``diff -r``.

``python benchmarks/outputs.py FOLDER [RECORDED.jsonl ...]`` writes one file for each example, each script in
``tests/script/whole_scripts`` and each line of the recorded files (``{"case": {"argv": [...], "world_size": N}}``),
with the translation in every format, the report and all findings.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import bridge_args  # noqa: E402
from bridge_args.emit.hydra import unsayable  # noqa: E402
from bridge_args.emit.report import report  # noqa: E402

WRITERS: dict[str, Callable[[bridge_args.Translation], str]] = {
    "findings": lambda t: "\n".join(map(str, t.findings)),
    "yaml": bridge_args.to_yaml,
    "whole yaml": lambda t: bridge_args.to_yaml(t, full=True),
    "overrides": lambda t: "\n".join([*map(str, unsayable(t)), *bridge_args.to_overrides(t)]),
    "recipe": bridge_args.to_recipe,
    "argv": lambda t: " ".join(bridge_args.to_argv(t)),
    "run config": lambda t: json.dumps(bridge_args.to_run_config(t), indent=1),
    "report": lambda t: report(t, "text"),
    "report as JSON": lambda t: report(t, "json"),
}


def outputs(translate: Callable[[], bridge_args.Translation]) -> str:
    """All formats of one translation; what an output refuses is what it says."""
    try:
        t = translate()
    except ValueError as error:
        return f"{type(error).__name__}: {error}\n".replace(str(ROOT), "ROOT")
    made = []
    for name, write in WRITERS.items():
        try:
            text = write(t)
        except Exception as error:
            text = traceback.format_exception_only(error)[-1]
        made.append(f"== {name}\n{text}\n")
    return "".join(made).replace(str(ROOT), "ROOT")


def recorded(path: Path) -> Iterator[tuple[str, Callable[[], bridge_args.Translation]]]:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        case = json.loads(line)["case"]
        yield (
            f"{path.stem}-{number}",
            lambda case=case: bridge_args.translate(  # type: ignore[misc]
                case["argv"], case.get("world_size"), env=case.get("env"), program=case.get("program")
            ),
        )


def scripts() -> Iterator[tuple[str, Callable[[], bridge_args.Translation]]]:
    from bridge_args.source.read import from_path
    from bridge_args.steps import translated

    paths = [*(ROOT / "examples").glob("*/*"), *(ROOT / "tests").rglob("whole_scripts/*")]
    for path in sorted(path for path in paths if path.suffix in (".sh", ".sbatch", ".yaml")):
        yield path.name + "-" + path.parent.name, lambda path=path: translated(from_path(str(path), number=1))  # type: ignore[misc]


def main(folder: str, *files: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    count = 0
    for source in (scripts(), *map(recorded, map(Path, files))):
        for name, translate in source:
            Path(folder, name).write_text(outputs(translate), errors="surrogateescape")
            count += 1
    print(f"{count} command lines, {len(WRITERS)} outputs each")


if __name__ == "__main__":
    main(*sys.argv[1:])
