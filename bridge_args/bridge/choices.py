"""Values that a setting takes, where Bridge's classes do not check them, or their type has more or fewer.

Bridge builds and validates a configuration with any text in most of these. A wrong one is found when the first
checkpoint is written, or never.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from bridge_args.bridge.schema import Field, Schema
from bridge_args.bridge.series import SERIES
from bridge_args.bridge.types import accepts
from bridge_args.records import Record
from bridge_args.versions import Versions, holds


class Choices(Record):
    """What one setting takes.

    Attributes:
        when: for which versions of Bridge.
        values: all that work.
        see: where this can be verified.
        newer: those that Bridge sets, and the Megatron Core that is published with it does not have.
    """

    when: str
    values: tuple[str, ...]
    see: str
    newer: tuple[str, ...] = ()


_FSDP: Final = "megatron/core/distributed/fsdp/src/megatron_fsdp/param_and_grad_buffer.py"
_MUON: Final = "megatron/core/optimizer/optimizer_config.py OptimizerConfig"
_CHECKPOINTS: Final = "megatron/bridge/training/checkpointing.py _load_checkpoint_from_path"

# Setting to what it takes. The type of the formats has some that no code writes and reads, those of positions, of the
# decay and of tokenizers lack some that work, and the others' is any text.
CHOICES: Final[dict[str, Choices]] = {
    "checkpoint.ckpt_format": Choices("bridge >=0.2", ("torch_dist", "fsdp_dtensor"), _CHECKPOINTS),
    "checkpoint.async_strategy": Choices(
        "bridge >=0.4", ("nvrx", "mcore"), "megatron/training/config/training_config.py CheckpointConfig"
    ),
    "ddp.data_parallel_sharding_strategy": Choices(
        "bridge >=0.2", ("no_shard", "optim", "optim_grads", "optim_grads_params"), _FSDP
    ),
    "ddp.outer_dp_sharding_strategy": Choices("bridge >=0.3", ("no_shard", "optim"), _FSDP),
    "optimizer.muon_scale_mode": Choices("bridge >=0.3", ("spectral", "unit_rms_norm", "shape_scaling"), _MUON),
    "optimizer.muon_fp32_matmul_prec": Choices(
        "bridge >=0.3", ("low", "medium", "high", "highest"), f"{_MUON}; torch.set_float32_matmul_precision"
    ),
    "optimizer.muon_tp_mode": Choices("bridge >=0.3", ("blockwise", "duplicated", "distributed"), _MUON),
    "model.experimental_attention_variant": Choices(
        "bridge >=0.5",
        ("gated_delta_net", "dsa", "dsv4_hybrid"),
        "megatron/bridge/models/deepseek/deepseek_v4_bridge.py; megatron/core/models/gpt/"
        "experimental_attention_variant_module_specs.py get_experimental_attention_variant_module_spec",
        newer=("dsv4_hybrid",),
    ),
    "model.position_embedding_type": Choices(
        "bridge >=0.2",
        ("learned_absolute", "rope", "mrope", "yarn", "relative", "none"),
        "megatron/core/models/gpt/gpt_model.py GPTModel",
    ),
    "scheduler.lr_wsd_decay_style": Choices(
        "bridge >=0.2",
        ("exponential", "linear", "cosine", "minus_sqrt"),
        "megatron/core/optimizer_param_scheduler.py OptimizerParamScheduler.get_lr",
    ),
    "tokenizer.tokenizer_type": Choices(
        "bridge <0.4",
        (
            *("BertWordPieceLowerCase", "BertWordPieceCase", "GPT2BPETokenizer", "SentencePieceTokenizer"),
            *("GPTSentencePieceTokenizer", "HuggingFaceTokenizer", "Llama2Tokenizer", "TikTokenizer"),
            *("MultimodalTokenizer", "NullTokenizer", "NullMultimodalTokenizer", "SFTTokenizer"),
        ),
        "megatron/bridge/training/tokenizers/tokenizer.py build_tokenizer",
    ),
}


def choices_of(path: str, field: Field, bridge: str) -> tuple[Any, ...]:
    """The values that a setting takes in a version; empty where its type is all that is known."""
    known = CHOICES.get(path)
    if known is not None and holds(known.when, Versions("0", bridge)):
        return known.values
    return () if field.enum else field.choices or ()


def is_taken(path: str, field: Field, value: Any, bridge: str) -> bool:
    """Does a setting take a value? False for a text that is none of its choices."""
    if path in CHOICES and isinstance(value, str) and (taken := choices_of(path, field, bridge)):
        return value in taken
    return accepts(field, value)


def needs_newer_core(path: str, value: Any, bridge: str) -> str:
    """A sentence about a value that only a later Megatron Core has; empty of any other."""
    known = CHOICES.get(path)
    if known is None or value not in known.newer or not holds(known.when, Versions("0", bridge)):
        return ""
    core = next((one.core for one in SERIES if one.bridge == bridge), "")
    return (
        f"{path} {value} is known to Bridge {bridge}, and not to the Megatron Core"
        f"{f' {core}' if core else ''} that is published with it, which stops when it builds the model"
    )


def newer(run_config: Mapping[str, Any], schema: Schema) -> Iterator[str]:
    """What ``needs_newer_core`` has to say of a run config."""
    for path in CHOICES:
        section, _, name = path.partition(".")
        body = run_config.get(section)
        if isinstance(body, Mapping) and (told := needs_newer_core(path, body.get(name), schema.version)):
            yield told


def near(name: str, known: Iterable[str]) -> str:
    """``; did you mean torch_dist?``, or nothing."""
    found = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {found[0]}?" if found else ""


def wrong(run_config: Mapping[str, Any], schema: Schema) -> Iterator[tuple[str, str]]:
    """Texts of a run config that are none of the choices of their setting: the setting, and a sentence about it.

    Args:
        run_config: nested mapping, as ``ConfigContainer.to_yaml`` writes it. Only what is said is looked at; what names
            another value (``${...}``) is not.
    """
    for section, body in run_config.items():
        if not isinstance(body, Mapping) or section not in schema.sections:
            continue
        target = body.get("_target_")
        chosen = {section: target} if isinstance(target, str) and target in schema.classes else {}
        if isinstance(target, str) and not chosen:
            continue  # a class of the user's own
        for name, value in body.items():
            path = f"{section}.{name}"
            field = schema.find(path, chosen) if isinstance(name, str) and not name.startswith("_") else None
            if field is None or not isinstance(value, str) or "${" in value or value == field.default:
                continue
            taken = choices_of(path, field, schema.version)
            if value not in taken and taken and not is_taken(path, field, value, schema.version):
                yield path, f"{path} takes {', '.join(map(str, taken))}, not {value!r}{near(value, map(str, taken))}"
