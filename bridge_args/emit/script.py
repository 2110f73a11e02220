"""A launch script for Megatron-LM: ``torchrun``, the program, and one flag a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bridge_args.emit.hydra import shell_word
from bridge_args.mapping.translation import Translation
from bridge_args.wording import counted

_OF_A_NODE: Final = 8  # GPUs


def to_script(t: Translation, words: Sequence[str], variables: Sequence[str] = (), source: str = "") -> str:
    """A script for bash that starts the run.

    Args:
        t: with a program.
        words: what stands after the program's name.
        variables: those that bash is to fill in.
        source: what it is made from.
    """
    return "".join(f"{line}\n" for line in _lines(t, words, variables, source))


def _lines(t: Translation, words: Sequence[str], variables: Sequence[str], source: str) -> Iterator[str]:
    yield "#!/bin/bash"
    made_from = f", from {source}" if source else ""
    yield f"# For Megatron-LM {t.versions.megatron}, {counted(t.world_size, 'GPU')}{made_from}."
    for finding in t.findings:
        if finding.kind == "environment" and finding.export:
            yield f"export {finding.export}"
    nodes, rest = divmod(t.world_size, _OF_A_NODE)
    if t.world_size <= _OF_A_NODE or rest:
        yield f"torchrun --nproc-per-node {t.world_size} {t.program} \\"
    else:
        yield f"torchrun --nproc-per-node {_OF_A_NODE} --nnodes {nodes} \\"
        yield '    --node-rank "${NODE_RANK:-0}" --master-addr "${MASTER_ADDR:-localhost}" --master-port 6000 \\'
        yield f"    {t.program} \\"
    flags = list(_grouped(words))
    for index, flag in enumerate(flags):
        said = " ".join(shell_word(word, variables) for word in flag)
        yield f"    {said}" + (" \\" if index < len(flags) - 1 else "")


def _grouped(words: Sequence[str]) -> Iterator[list[str]]:
    """Each flag with its values."""
    group: list[str] = []
    for word in words:
        if word.startswith("--") and group:
            yield group
            group = []
        group.append(word)
    if group:
        yield group
