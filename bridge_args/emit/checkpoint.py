"""What a checkpoint says of its run, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

from bridge_args.checkpoint.saved_args import Saved
from bridge_args.emit.hydra import shell_word
from bridge_args.mapping.translation import Translation
from bridge_args.secrets import found_in_variables, masked, masked_values
from bridge_args.seen import visible
from bridge_args.values import Symbol, finite


def about(saved: Saved, translation: Translation, format: str = "text") -> str:
    """A checkpoint's format, iteration, version and arguments.

    Args:
        saved: what the checkpoint holds.
        translation: of that.
        format: ``text``, with the command line the run could have had; or ``json``, with every argument.
    """
    told = {
        "file": str(saved.file),
        "format": saved.format,
        "iteration": saved.iteration,
        "checkpoint_version": saved.checkpoint_version,
        "megatron_lm": translation.versions.megatron,
        "world_size": translation.world_size,
        "program": translation.program,
        "consumed_train_samples": saved.values.get("consumed_train_samples"),
    }
    texts = {name: value for name, value in saved.values.items() if isinstance(value, str)}
    known = (*translation.secrets, *found_in_variables(texts))
    if format == "json":
        arguments = {name: _plain(value) for name, value in sorted(saved.values.items())}
        document = {**told, "argv": list(translation.words), "args": arguments}
        return json.dumps(finite(masked_values(document, known)), indent=1, allow_nan=False) + "\n"
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in told.items() if value is not None]
    lines.append("command line:")
    lines += [f"  {line}" for line in _wrapped(translation.words)]
    return "".join(f"{visible(masked(line, known))}\n" for line in lines)


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
