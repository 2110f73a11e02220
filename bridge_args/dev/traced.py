"""What a real run reads of its configuration: every attribute that is looked up, and by which function.

``python -m bridge_args.dev.traced PLAN`` is the program of the run; its last record holds what was read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from bridge_args.bridge.schema import Schema

_STEPS: Final = 3
# Code that handles every attribute of an object alike: to copy, compare, print or save it.
_ALL_ALIKE: Final = ("dataclasses.py", "copy.py", "copyreg.py", "pickle.py", "<string>", "inspect.py", "pprint.py")


def reads_of_a_run(source: str, schema: Schema) -> Iterator[tuple[str, str, str]]:
    """Class, setting and reading function, of a shrunk run of a source on the CPU.

    Raises:
        RehearsalError: the run stops.
    """
    from bridge_args.rehearse import rehearse
    from bridge_args.source.read import from_path
    from bridge_args.steps import Asked, translated
    from bridge_args.training.processes import records

    translation = translated(from_path(source), Asked(bridge=schema.version))
    plan = rehearse.plan(translation, steps=_STEPS, shrink=True, device="cpu").plan
    with tempfile.TemporaryDirectory() as folder:
        for record in records("bridge_args.dev.traced", plan, 1, {}, emulate=plan.emulate, own_folder=Path(folder)):
            yield from (tuple(read) for read in record.get("reads", ()))


def main(argv: list[str]) -> int:
    """Runs a plan with its configuration watched."""
    from bridge_args.training import container, process

    plan = process.Plan.read(Path(argv[0]))
    seen: set[tuple[str, str, str]] = set()
    load = container.load

    def watched(run_config: Any) -> Any:
        config = load(run_config)
        for cls in {type(part) for part in _parts(config)}:
            _watch(cls, config, seen)
        return config

    container.load = watched

    def run(receive: Callable[[dict[str, Any]], None]) -> None:
        try:
            process._train(plan, receive)
        finally:
            receive({"reads": sorted(seen)})

    return process.reported(run)


def _parts(config: Any) -> Iterator[Any]:
    """The objects of classes of their own in a container."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name, None)
        if dataclasses.is_dataclass(value):
            yield value
            yield from _parts(value)


def _watch(cls: type, container: Any, seen: set[tuple[str, str, str]]) -> None:
    names = {field.name for field in dataclasses.fields(cls)}
    label, look_up = f"{cls.__module__}.{cls.__qualname__}", cls.__getattribute__

    def looked_up(self: Any, name: str) -> Any:
        if name in names:
            place = _place(sys._getframe(1), (self, container))
            if place:
                seen.add((label, name, place))
        return look_up(self, name)  # type: ignore[call-arg]

    with contextlib.suppress(TypeError):  # a class that cannot be changed is not watched
        cls.__getattribute__ = looked_up  # type: ignore[assignment]


def _place(frame: FrameType | None, own: tuple[Any, ...]) -> str:
    """``module function``; empty for what configurations do with themselves, and for what is done to all alike."""
    while frame is not None and frame.f_code.co_name.startswith("<"):  # a comprehension is part of its function
        frame = frame.f_back
    if frame is None or os.path.basename(frame.f_code.co_filename) in _ALL_ALIKE:
        return ""
    if any(frame.f_locals.get("self") is one for one in own):
        return ""
    module = str(frame.f_globals.get("__name__", ""))
    return "" if module.startswith("bridge_args.") else f"{module} {frame.f_code.co_name}"


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    sys.exit(code)
