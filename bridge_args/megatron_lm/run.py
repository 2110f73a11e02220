"""What is true of a run beside its command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.checkpoint_args import Checkpoint, Taken
from bridge_args.records import Record
from bridge_args.versions import Versions

Read: TypeAlias = Callable[[str], str]  # gives the text of a file that a command line names, or raises OSError


class Run(Record):
    """A run, as far as it is no matter of its own arguments; made in one place (``steps.run_of``).

    Attributes:
        versions: the pair that the translation is for.
        catalog: the arguments there are: of that version of Megatron-LM, or of the checkout.
        world_size: number of ranks.
        env: environment variables; None where they are not known. The process environment is not read.
        whole_env: False where ``env`` holds only some of them, such as those that a script sets. A variable that
            Megatron-LM wants and that is not there is then a note, not an error.
        program: one of ``programs.TRANSLATED``.
        checkout: folder of the Megatron-LM that is asked; None for what is built in.
        mappings: path of a table with rows of the user's own.
        read: reads files that the command line names; None: none is read, and such an argument is lost.
        checkpoints: what ``--use-checkpoint-args`` takes values from, in Megatron-LM's order.
        taken: the values that it takes from them.
        checkpoints_here: folders of checkpoints are looked for as the run itself would do it.
    """

    versions: Versions
    catalog: Catalog
    world_size: int
    env: Mapping[str, str] | None = None
    whole_env: bool = True
    program: str = "pretrain_gpt.py"
    checkout: str | None = None
    mappings: str | None = None
    read: Read | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    taken: Mapping[str, Taken] = MappingProxyType({})
    checkpoints_here: bool = False

    @property
    def environment_known(self) -> bool:
        """Is all of it known, so that what is missing is missing?"""
        return self.whole_env and self.env is not None

    @property
    def context(self) -> dict[str, object]:
        """What a derivation may read beside arguments, but for what was typed."""
        return {"world_size": self.world_size, "env": self.env or {}, "program": self.program}
