"""What a checkpoint says of its run, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from bridge_args.checkpoint.contents import Contents
from bridge_args.checkpoint.saved_args import Saved
from bridge_args.checkpoint.tensors import Tensor, bytes_of
from bridge_args.emit.hydra import shell_word
from bridge_args.mapping.translation import Translation
from bridge_args.secrets import found_in_variables, masked, masked_values
from bridge_args.seen import visible
from bridge_args.values import Symbol, finite
from bridge_args.wording import counted

_ANSWERS: Final = {True: "yes", False: "no", None: "not known"}


def about(found: Contents | None, saved: Saved | None, translation: Translation | None, format: str = "text") -> str:
    """A checkpoint's kind, iteration, completeness and tensors, and the arguments of its run.

    Args:
        found: what is in the folder; None for a file by itself.
        saved: the arguments of Megatron-LM, where it has any.
        translation: of those.
        format: ``text``, with the command line the run could have had; or ``json``, with every tensor and argument.
    """
    told: dict[str, Any] = {}
    if saved is not None and translation is not None:
        told = {
            "file": str(saved.file),
            "format": saved.format if found is None else found.format,
            "iteration": saved.iteration,
            "checkpoint_version": saved.checkpoint_version,
            "megatron_lm": translation.versions.megatron,
            "world_size": translation.world_size,
            "program": translation.program,
            "consumed_train_samples": saved.values.get("consumed_train_samples"),
        }
    elif found is not None:
        told = {"format": found.format, "iteration": found.place.iteration}
    texts = {} if saved is None else {name: value for name, value in saved.values.items() if isinstance(value, str)}
    known = (*(translation.secrets if translation is not None else ()), *found_in_variables(texts))
    words = () if translation is None else translation.words
    if format == "json":
        document = {**told, **({} if found is None else _document(found))}
        if saved is not None:
            document["argv"] = list(words)
            document["args"] = {name: _plain(value) for name, value in sorted(saved.values.items())}
        return json.dumps(finite(masked_values(document, known)), indent=1, allow_nan=False) + "\n"
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in told.items() if value is not None]
    if found is not None:
        lines += _lines(found)
    if saved is not None:
        lines.append("command line:")
        lines += [f"  {line}" for line in _wrapped(words)]
    return "".join(f"{visible(masked(line, known))}\n" for line in lines)


def _document(found: Contents) -> dict[str, Any]:
    assert found.place.kind is not None
    return {
        "kind": found.place.kind.name,
        "folder": str(found.place.folder),
        "tracker": None if found.place.tracker is None else str(found.place.tracker),
        "tracked_iteration": None if found.place.tracker is None else found.place.iteration,
        "complete": found.complete,
        "problems": found.problems,
        "notes": found.notes,
        "about": found.about,
        "parallel": {name.replace(" ", "_"): size for name, size in found.parallel.items()},
        "files": found.files,
        "bytes": found.bytes,
        "links_out": found.links,
        "model": _summary(found.of_model),
        "optimizer": _summary(found.of_optimizer),
        "tensors": [
            {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)} for tensor in found.tensors
        ],
    }


def _summary(tensors: list[Tensor]) -> dict[str, Any]:
    return {
        "tensors": len(tensors),
        "numbers": sum(tensor.numbers for tensor in tensors),
        "bytes": bytes_of(tensors),
        "dtypes": dict(sorted(Counter(tensor.dtype for tensor in tensors).items())),
    }


def _lines(found: Contents) -> Iterator[str]:
    assert found.place.kind is not None
    yield f"kind: {found.place.kind.title}"
    yield f"folder: {found.place.folder}"
    yield f"complete: {_ANSWERS[found.complete]}"
    yield from (f"  {problem}" for problem in found.problems)
    yield from (f"{name.replace('_', ' ')}: {value}" for name, value in found.about.items())
    for name, tensors in (("model", found.of_model), ("optimizer", found.of_optimizer)):
        if tensors:
            summary = _summary(tensors)
            dtypes = ", ".join(f"{count} {dtype}" for dtype, count in summary["dtypes"].items())
            taken = "" if summary["bytes"] is None else f", {summary['bytes']:,} bytes"
            yield f"{name}: {counted(len(tensors), 'tensor')}, {summary['numbers']:,} numbers{taken} ({dtypes})"
    yield f"size: {found.bytes:,} bytes in {counted(found.files, 'file')}"
    if found.parallel:
        yield "parallel sizes: " + ", ".join(f"{name} {size}" for name, size in found.parallel.items())
    if found.links:
        yield f"links that lead out of the folder: {len(found.links)}, as {found.links[0]}"
    yield from (f"note: {note}" for note in found.notes)


def _wrapped(words: tuple[str, ...]) -> list[str]:
    """One flag a line, as in a script."""
    lines: list[str] = []
    for word in words:
        if word.startswith("--") or not lines:
            lines.append(shell_word(word))
        else:
            lines[-1] += " " + shell_word(word)
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _plain(value: Any) -> Any:
    if isinstance(value, Symbol):
        return value.path
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
