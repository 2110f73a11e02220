"""One source -> entries: plain data that says what becomes of each of its commands."""

from __future__ import annotations

import json
import sys
from typing import IO, TYPE_CHECKING, Any, Final

from bridge_args.findings import KINDS
from bridge_args.secrets import masked
from bridge_args.source.read import from_path
from bridge_args.source.source import SourceError
from bridge_args.steps import Asked, translated

if TYPE_CHECKING:
    from bridge_args.findings import Finding
    from bridge_args.mapping.translation import Translation

Entry = dict[str, Any]

# One of these is in every command line of Megatron-LM (``validate_args``).
_WANTED: Final = (
    "num_layers",
    "encoder_num_layers",
    "hidden_size",
    "num_attention_heads",
    "micro_batch_size",
    "tensor_model_parallel_size",
    "use_checkpoint_args",
    "yaml_cfg",
)


def examine(path: str, asked: Asked) -> list[Entry]:
    """What becomes of one source: an entry for each of its commands.

    An entry holds ``path``, ``command`` (counted from 1; null where the source has only one), ``status`` (``ok``,
    ``losses``, ``errors``, ``not-megatron-lm``), ``findings`` and, where there is a translation, ``megatron_lm``,
    ``bridge``, ``world_size``, ``program``, ``settings`` (how many are written). A finding holds ``level``, ``kind``,
    ``message``, ``remedy``, ``arguments``, ``lost``, ``changes`` (what the loss changes: ``numbers``, an error under
    ``--strict``, ``speed``, ``logs``; null where nothing is lost), ``flag`` (the first it is about, as Megatron-LM
    calls it) and ``place`` (``file:line``).
    """
    try:
        return [_translated(path, None, asked)]
    except SourceError as problem:
        if problem.commands == 0:
            return [failed(path, "not-megatron-lm", "not-read", str(problem))]
        if problem.commands is None:
            return [failed(path, "errors", "unreadable-source", str(problem))]
        count = problem.commands
    entries = []
    for number in range(1, count + 1):
        try:
            entries.append(_translated(path, number, asked))
        except SourceError as problem:
            entries.append({**failed(path, "errors", "unreadable-source", str(problem)), "command": number})
    return entries


def _translated(path: str, number: int | None, asked: Asked) -> Entry:
    t = translated(from_path(path, asked.variables, number, asked.megatron_lm), asked)
    foreign = _not_ours(t)
    if foreign is not None:
        return {**failed(path, "not-megatron-lm", foreign.kind, foreign.message), "command": number}
    findings = [
        {
            "level": finding.level,
            "kind": finding.kind,
            "message": finding.message,
            "remedy": finding.remedy,
            "arguments": list(finding.arguments),
            "lost": finding in t.losses,
            "changes": finding.changes,
            "flag": _flag_of(finding, t),
            "place": str(finding.place) if finding.place else None,
        }
        for finding in t.findings
    ]
    return {
        "path": path,
        "command": number,
        "status": "errors" if t.errors else "losses" if t.losses else "ok",
        "megatron_lm": t.versions.megatron,
        "bridge": t.versions.bridge,
        "world_size": t.world_size,
        "program": t.program,
        "settings": len(t.assignments),
        "findings": findings,
    }


def _not_ours(t: Translation) -> Finding | None:
    """The finding that says why a command is none of ours to translate.

    A program that Megatron-LM does not have counts as one where it is given something that Megatron-LM wants of every
    run: other programs have a ``--lr`` and a ``--seed`` too.
    """
    for finding in t.findings:
        if finding.kind == "other-model":
            return finding
        if finding.kind == "other-program" and not any(
            t.outcomes[name].given for name in _WANTED if name in t.outcomes
        ):
            return finding._replace(message="another program, with none of the arguments that Megatron-LM requires")
    return None


def _flag_of(finding: Finding, t: Translation) -> str | None:
    """The flag a finding is about, as Megatron-LM calls it; as the user wrote it where Megatron-LM has none."""
    if finding.arguments:
        name = finding.arguments[0]
        return next(iter(t.catalog.flags_of(name)), name)
    if finding.kind == "unknown-argument" and finding.excerpt:
        marked = finding.excerpt.text[finding.excerpt.start : finding.excerpt.end]
        return marked.split("=", 1)[0].split(" ", 1)[0]
    return None


def failed(path: str, status: str, kind: str, message: str) -> Entry:
    finding = {
        "level": KINDS[kind].level,
        "kind": kind,
        "message": masked(message),
        "remedy": "",
        "arguments": [],
        "lost": False,
    }
    finding["changes"] = None
    return {"path": path, "command": None, "status": status, "findings": [{**finding, "flag": None, "place": None}]}


def answer(asked: str, questions: IO[str], answers: IO[str]) -> None:
    """What a worker process does: a line with a path comes in, a line with its entries goes out."""
    chosen = Asked(**json.loads(asked))
    for line in questions:
        path = json.loads(line)
        try:
            entries = examine(path, chosen)
        except Exception as problem:  # a fault of ours must not stop the others, and must be seen
            message = f"{path}: this program failed on it: {type(problem).__name__}: {problem}"
            entries = [failed(path, "errors", "unreadable-source", message)]
        answers.write(json.dumps(entries) + "\n")
        answers.flush()


if __name__ == "__main__":
    answer(sys.argv[1], sys.stdin, sys.stdout)
