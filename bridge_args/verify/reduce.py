"""A command line that this machine can train, on both sides: the same arguments, some of them with other values.

A rehearsal changes Bridge's run config (``rehearse/shrink.py``, ``emulation/adapt.py``). Here each of those changes is
said in Megatron-LM's words, so that both programs start from one command line and the translation itself is part of
what is verified.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from bridge_args.emit.run_config import to_run_config
from bridge_args.emulation.adapt import Change, adapt
from bridge_args.errors import UserError
from bridge_args.files import finder, read_file
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import parse
from bridge_args.megatron_lm.said import words_for
from bridge_args.rehearse.shrink import VOCABULARY, shrink
from bridge_args.steps import translate
from bridge_args.versions import Versions, holds

ROUNDS: Final = 4  # a change may uncover another one; more rounds than this have not been seen

# Before 0.16 mock data counts up to 4095 whatever the vocabulary has, later it begins anew at its end.
# Verify: megatron/core/datasets/gpt_dataset.py MockGPTLowLevelDataset.
_BEYOND_MOCK_DATA: Final = 5120

DROP: Final = object()  # the argument goes away, with whatever it was given


class Reduced(NamedTuple):
    """What both sides run.

    Attributes:
        translation: of the reduced command line.
        changes: Bridge's settings that differ from the user's run, with the reason.
        words: the reduced command line, after the program's name.
    """

    translation: Translation
    changes: tuple[Change, ...]
    words: tuple[str, ...]


class NotReducible(UserError):
    """A setting has to change and no argument says it; the message is for the user."""


def reduce(
    t: Translation,
    again: Callable[[tuple[str, ...]], Translation],
    *,
    nproc: int,
    small: bool,
    emulate: bool,
    exists: Callable[[str], bool] = lambda path: Path(path).exists(),
) -> Reduced:
    """The command line of a translation, changed until it can run.

    Args:
        t: without errors.
        again: translates other words in the same way.
        small: scale the model down to ``nproc`` processes.
        emulate: leave out what needs a GPU.
        exists: whether a file is there; see ``shrink``.

    Raises:
        NotReducible: there is no argument for a setting that has to change.
    """
    changes: list[Change] = []
    for _ in range(ROUNDS):
        run_config = to_run_config(t, t.run_environment)
        wanted = _wanted(run_config, t.versions, nproc, small=small, emulate=emulate, exists=exists)
        edits: dict[str, Any] = {}
        for change in wanted:
            edits.update(_arguments_for(change, t))
        words = rewritten(t.words, t.catalog, edits)
        if words == t.words:
            wanted = tuple(change for change in wanted if change.path not in _PADDED)
            if wanted:
                break  # it has to change, and no word says so
            return Reduced(t, tuple(changes), words)
        changes += [change for change in wanted if change.path not in {earlier.path for earlier in changes}]
        t = again(words)
        if t.errors:
            return Reduced(t, tuple(changes), words)
    paths = ", ".join(change.path for change in wanted)
    raise NotReducible(f"no command line of Megatron-LM could be found in which this differs: {paths}")


def _wanted(
    run_config: Mapping[str, Any],
    versions: Versions,
    nproc: int,
    *,
    small: bool,
    emulate: bool,
    exists: Callable[[str], bool],
) -> tuple[Change, ...]:
    changes: tuple[Change, ...] = ()
    if small:
        vocabulary = _BEYOND_MOCK_DATA if holds("megatron <0.16", versions) else VOCABULARY
        run_config, changes = shrink(run_config, nproc, exists, versions.bridge, vocabulary)
    if emulate:
        run_config, adapted = adapt(run_config, versions.bridge)
        changes += adapted
    return changes


# ------------------------------------------------------------------- from a setting to arguments

# Settings that several arguments come to, and what those become. A function gets the value the setting should have.
_FP8: Final = ("fp8", "fp8_recipe", "fp8_param_gather", "fp4", "fp4_recipe", "fp4_param")
_DATA: Final = (
    "data_path", "train_data_path", "valid_data_path", "test_data_path", "data_args_path", "per_split_data_args_path",
    "fim_data",
)  # fmt: skip
_OLD_PATTERNS: Final = ("hybrid_override_pattern", "mtp_hybrid_override_pattern")
_STAGES: Final = (
    "num_layers_per_virtual_pipeline_stage",
    "num_virtual_stages_per_pipeline_rank",
    "overlap_p2p_comm_warmup_flush",
)
_SPECIAL: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    "dataset.blend": lambda value: {**dict.fromkeys(_DATA, DROP), "mock_data": True},
    "dataset.blend_per_split": lambda value: {**dict.fromkeys(_DATA, DROP), "mock_data": True},
    "model.moe_layer_freq": lambda value: {
        "moe_layer_freq": f"({'+'.join(f'[{one}]' for one in value)})" if isinstance(value, list) else value
    },
    "model.hybrid_layer_pattern": lambda value: {**dict.fromkeys(_OLD_PATTERNS, DROP), "hybrid_layer_pattern": value},
    "model.hybrid_override_pattern": lambda value: {"hybrid_layer_pattern": DROP, "hybrid_override_pattern": value},
    "model.pipeline_model_parallel_size": lambda value: {
        **(dict.fromkeys(_STAGES, DROP) if value == 1 else {}),
        "pipeline_model_parallel_size": value,
    },
    "model.vocab_size": lambda value: {"padded_vocab_size": DROP},
    "model.should_pad_vocab": lambda value: {"padded_vocab_size": DROP},
    "model.virtual_pipeline_model_parallel_size": lambda value: {
        **dict.fromkeys(_STAGES if value is None else _STAGES[:1], DROP),
        **({} if value is None else {"num_virtual_stages_per_pipeline_rank": value}),
    },
    "mixed_precision": lambda value: dict.fromkeys(_FP8, DROP),
    "model.fp8": lambda value: dict.fromkeys(_FP8, DROP),
    "model.fp4": lambda value: dict.fromkeys(_FP8, DROP),
    "train.step_batch_size_schedule": lambda value: dict.fromkeys(
        ("rampup_batch_size", "step_batch_size_schedule"), DROP
    ),
    "inprocess_restart": lambda value: {"inprocess_restart": DROP},
    "ft": lambda value: {"enable_ft_package": DROP},
    "nvrx_straggler": lambda value: {"log_straggler": DROP},
    "profiling.use_nsys_profiler": lambda value: {"profile": DROP},
    "profiling.use_pytorch_profiler": lambda value: {"profile": DROP, "use_pytorch_profiler": DROP},
    "profiling.record_memory_history": lambda value: {"record_memory_history": DROP},
    "comm_overlap.tp_comm_overlap": lambda value: {"tp_comm_overlap": DROP},
    "model.cuda_graph_impl": lambda value: dict.fromkeys(
        ("cuda_graph_impl", "cuda_graph_scope", "enable_cuda_graph", "external_cuda_graph"), DROP
    ),
    "checkpoint.ckpt_format": lambda value: {"ckpt_format": value},
    # one follows from the other in Bridge, and there is no argument for it
    "model.overlap_p2p_comm": lambda value: {},
    "comm_overlap.overlap_p2p_comm": lambda value: {},
    "model.init_model_with_meta_device": lambda value: {"init_model_with_meta_device": DROP},
    "model.use_te_rng_tracker": lambda value: {"te_rng_tracker": DROP},
    "dist.use_megatron_fsdp": lambda value: {"use_megatron_fsdp": DROP},
}  # fmt: skip

# The padded vocabulary follows from --vocab-size and the padding that the command line asks for; it is small by then.
_PADDED: Final = frozenset({"model.vocab_size", "model.should_pad_vocab"})

# Arguments that Megatron-LM refuses without the one that is dropped.
_GO_WITH: Final = {
    "save": ("save_interval", "async_save", "non_persistent_save_interval", "replication"),
    "load": ("use_checkpoint_args", "ckpt_step"),
    "pretrained_checkpoint": ("use_checkpoint_args",),
    "use_megatron_fsdp": ("data_parallel_sharding_strategy", "ckpt_format", "fsdp_double_buffer"),
}


def _arguments_for(change: Change, t: Translation) -> dict[str, Any]:
    """Argument to value, or ``DROP``."""
    edits: dict[str, Any] = {}
    if change.path == "tokenizer.vocab_size":
        edits["vocab_size"] = _vocabulary(change, t)
    elif change.path in _SPECIAL:
        edits = _SPECIAL[change.path](change.after)
    elif change.path.startswith("mixed_precision."):
        edits = dict.fromkeys(_FP8, DROP)
    elif change.path == "model.seq_length":
        edits = {"seq_length": change.after}
        if t.args["max_position_embeddings"] == t.args["seq_length"]:
            edits["max_position_embeddings"] = change.after
    else:
        name = _argument_of(change.path, t)
        edits = {name: DROP if change.after is None else change.after}
    for name in list(edits):
        if edits[name] is DROP or edits[name] is False:
            edits.update(dict.fromkeys(_GO_WITH.get(name, ()), DROP))
    return edits


def _vocabulary(change: Change, t: Translation) -> int:
    """The argument for a size of the tokenizer, which some versions make one larger: by the end of a document."""
    there, said = t.args["vocab_size"], change.before
    return change.after + (there - said if isinstance(there, int) and isinstance(said, int) else 0)  # type: ignore[no-any-return]


def _argument_of(path: str, t: Translation) -> str:
    for outcome in t.outcomes.values():
        if path in outcome.paths and outcome.fate in ("to", "section"):
            return outcome.argument
    last = path.rpartition(".")[2]
    if last in t.catalog.defaults:
        return last
    raise NotReducible(f"{path} has to change on this machine, and no argument of Megatron-LM says it")


# ----------------------------------------------------------------------------- rewriting words


def rewritten(words: Iterable[str], catalog: Catalog, edits: Mapping[str, Any]) -> tuple[str, ...]:
    """The words with some arguments gone and some added at the end; all others as they are.

    Args:
        edits: argument to its new value; ``DROP`` to leave it out.
    """
    kept = list(words)
    while said := [typed for name, typed in parse(kept, catalog).typed.items() if name in edits]:
        gone = {index for typed in said for index in range(typed.index, typed.last + 1)}
        kept = [word for index, word in enumerate(kept) if index not in gone]
    for name, value in edits.items():
        if value is not DROP:
            kept += _said(name, value, catalog)
    return tuple(kept)


def _said(name: str, value: Any, catalog: Catalog) -> list[str]:
    """Words that give an argument a value; none where no word can, or none is needed."""
    if catalog.defaults[name] == value:
        return []
    return next(words_for(name, value, catalog), [])


def translations(t: Translation, checkout: str, mappings: str | None) -> Callable[[tuple[str, ...], int], Translation]:
    """Translates the words of a verification for a number of processes, in the way the user's own were translated.

    Asking a checkout takes seconds. Where the built-in resolver says the same of the user's own command line as the
    checkout does, it is asked for the others too.

    Args:
        t: the user's, resolved by the checkout.
        mappings: file with rows of the user's own.
    """
    asking = asked_of(t, checkout, mappings)
    built_in = asked_of(t, t.versions.megatron, mappings)
    try:
        found = built_in(t.words, t.world_size)
    except ValueError:  # no catalog of that version
        return asking
    said = [[(one.path, one.value) for one in each.assignments] for each in (found, t)]
    return built_in if said[0] == said[1] and not found.errors else asking


def asked_of(t: Translation, megatron_lm: str, mappings: str | None) -> Callable[[tuple[str, ...], int], Translation]:
    """Translates words for a number of processes, in the surroundings of a translation.

    Args:
        t: the user's, maybe for another version.
        megatron_lm: a version, or a checkout, which is asked each time.
        mappings: file with rows of the user's own.
    """
    # a variable that the process has, the run has
    env = {**os.environ, "CUDA_DEVICE_MAX_CONNECTIONS": "1", **t.run_environment}

    def again(words: tuple[str, ...], world_size: int) -> Translation:
        found = translate(
            list(words),
            world_size=world_size,
            megatron_lm=megatron_lm,
            bridge=t.versions.bridge,
            env=env,
            program=t.program,
            read=read_file,
            mappings=mappings,
            find=finder(),
        )
        return found._replace(environment=t.environment)

    return again
