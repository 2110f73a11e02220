"""Environment variables that mean something else from a version of Megatron-LM on.

What a version refuses is checked in ``derive/``, by functions with a condition on the version; here is what is said of
it to people, and which value keeps a run as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from bridge_args.records import Record
from bridge_args.values import to_plain
from bridge_args.versions import number


class Variable(Record):
    """One rule.

    Attributes:
        since: the first series that has the new meaning.
        names: the variables.
        says: the new meaning, a sentence.
        see: where in Megatron-LM it can be verified.
        value: an expression for the values that it is about; empty: for all.
        arguments: it is about runs where one of these is on, or has the value named; none: about all.
        becomes: values by which the run is as it was; none: nothing has to change, or nothing helps.
    """

    since: str
    names: tuple[str, ...]
    says: str
    see: str
    value: str = ""
    arguments: Mapping[str, str] = MappingProxyType({})
    becomes: Mapping[str, str] = MappingProxyType({})

    def concerns(self, environment: Mapping[str, str], argument: Callable[[str], object]) -> tuple[str, ...]:
        """Which of these variables are set to what it is about, in a run that it is about.

        Args:
            argument: gives an effective value; None for an argument that there is not.
        """
        if self.arguments and not any(_is(argument(name), value) for name, value in self.arguments.items()):
            return ()
        return tuple(
            name
            for name in self.names
            if name in environment and re.fullmatch(self.value or ".*", environment[name], re.DOTALL)
        )


def _is(found: object, wanted: str) -> bool:
    return str(to_plain(found)) == wanted if wanted else bool(found)


_VALIDATE: Final = "megatron/training/arguments.py validate_args"
_DETERMINISM: Final = "megatron/training/determinism.py apply_determinism_env"
_CONNECTIONS: Final = "CUDA_DEVICE_MAX_CONNECTIONS"
_SEGMENTS: Final = ".*expandable_segments:True.*"

VARIABLES: Final = (
    Variable(
        "0.12",
        (_CONNECTIONS,),
        "CUDA_DEVICE_MAX_CONNECTIONS=1 is refused with fully sharded models, which want more than one; 8 is what CUDA "
        "takes where nothing is said.",
        _VALIDATE,
        "1",
        {"use_torch_fsdp2": "", "use_megatron_fsdp": "", "use_custom_fsdp": ""},
        {_CONNECTIONS: "8"},
    ),
    Variable(
        "0.16",
        ("DIST_CKPT_PAD_REPLICATE",),
        "DIST_CKPT_PAD_REPLICATE is read by nothing any more: checkpoints in zarr are gone.",
        "megatron/core/dist_checkpointing/strategies of 0.15, zarr.py",
    ),
    Variable(
        "0.16",
        ("PYTORCH_CUDA_ALLOC_CONF",),
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True with graphs of Transformer Engine wants "
        "NCCL_GRAPH_REGISTER=0.",
        _VALIDATE,
        _SEGMENTS,
        {"cuda_graph_impl": "transformer_engine"},
        {"NCCL_GRAPH_REGISTER": "0"},
    ),
    Variable(
        "0.17",
        ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"),
        "Where TORCH_FR_DUMP_TEMP_FILE or TORCH_NCCL_DEBUG_INFO_TEMP_FILE is set, Megatron-LM also sets what of "
        "TORCH_NCCL_TRACE_BUFFER_SIZE, TORCH_NCCL_DUMP_ON_TIMEOUT, TORCH_INCLUDE_STACK_TRACE, "
        "TORCH_INCLUDE_ONLY_ACTIVE and TORCH_NCCL_EXTRA_DUMP_ON_EXEC is not set, from "
        "--flight-recorder-trace-buffer-size and its like.",
        "megatron/training/initialize.py _initialize_distributed",
    ),
    Variable(
        "0.19",
        ("NCCL_ALGO",),
        "--deterministic-mode refuses NCCL_ALGO=Tree, whose sums are not the same each time; Ring adds in another "
        "order, so no value keeps the run bit for bit.",
        _DETERMINISM,
        "(.*,)?Tree(,.*)?",
        {"deterministic_mode": ""},
    ),
    Variable(
        "0.19",
        ("MAMBA_DETERMINISTIC",),
        "--deterministic-mode refuses a MAMBA_DETERMINISTIC that does not begin with 1.",
        _DETERMINISM,
        "[^1].*",
        {"deterministic_mode": ""},
    ),
)  # fmt: skip


def between(before: str, after: str) -> tuple[Variable, ...]:
    """The rules that hold for the later version and not for the earlier one."""
    return tuple(one for one in VARIABLES if number(before) < number(one.since) <= number(after))
