"""Sizes of the model, its activation function, and its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.hybrid import layers_of
from bridge_args.megatron_lm.derive.registry import (
    CORE_CONFIG,
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    computes,
    derives,
    flag,
)
from bridge_args.megatron_lm.programs import HYBRID_MODELS


def _required(name: str, value: int | None) -> int:
    if value is None:
        raise Invalid(f"{flag(name)} is missing", f"add {flag(name)} with a number", (name,))
    if value < 1:
        raise Invalid(f"{flag(name)} must be at least 1, not {value}")
    return value


@derives(see=VALIDATE_ARGS)
def num_layers(num_layers: int | None, hybrid_layer_pattern: str | None, given: Mapping[str, object]) -> int:
    """Layers of the decoder; required, but for a pattern."""
    if hybrid_layer_pattern is not None:
        return _required("num_layers", layers_of(hybrid_layer_pattern))
    encoder = given.get("encoder_num_layers")
    if num_layers is not None and encoder is not None:
        raise Invalid(
            "--num-layers and --encoder-num-layers are the same", "keep --num-layers", ("encoder_num_layers",)
        )
    return _required("num_layers", encoder if num_layers is None and isinstance(encoder, int) else num_layers)


@derives(see=VALIDATE_ARGS)
def encoder_num_layers(num_layers: int) -> int:
    """Another name of ``num_layers``."""
    return num_layers


@derives(see=VALIDATE_ARGS)
def hidden_size(hidden_size: int | None) -> int:
    """Width of the residual stream; required."""
    return _required("hidden_size", hidden_size)


@derives(see=VALIDATE_ARGS)
def num_attention_heads(num_attention_heads: int | None) -> int:
    """Query heads; required."""
    return _required("num_attention_heads", num_attention_heads)


@derives(see=VALIDATE_ARGS)
def max_position_embeddings(max_position_embeddings: int | None) -> int:
    """The longest sequence, in tokens; required."""
    return _required("max_position_embeddings", max_position_embeddings)


@derives(see=VALIDATE_ARGS)
def seq_length(seq_length: int | None, given: Mapping[str, object]) -> int:
    """Tokens of a sequence; required."""
    encoder = given.get("encoder_seq_length")
    if seq_length is not None and encoder is not None:
        raise Invalid(
            "--seq-length and --encoder-seq-length are the same", "keep --seq-length", ("encoder_seq_length",)
        )
    return _required("seq_length", encoder if seq_length is None and isinstance(encoder, int) else seq_length)


@derives(see=VALIDATE_ARGS)
def encoder_seq_length(seq_length: int) -> int:
    """Another name of ``seq_length``."""
    return seq_length


@derives(see=VALIDATE_ARGS)
def ffn_hidden_size(ffn_hidden_size: int | None, hidden_size: int, swiglu: bool) -> int:
    """Width of the feed-forward layer: 4 x hidden, or 8/3 of it in steps of 64 with SwiGLU."""
    if ffn_hidden_size is not None:
        return ffn_hidden_size
    return int((4 * hidden_size * 2 / 3) / 64) * 64 if swiglu else 4 * hidden_size


@derives(see=VALIDATE_ARGS)
def add_qkv_bias(add_qkv_bias: bool, add_bias_linear: bool) -> bool:
    """Biases everywhere include those of query, key and value."""
    return add_qkv_bias or add_bias_linear


@derives(see=VALIDATE_ARGS)
def bias_gelu_fusion(bias_gelu_fusion: bool, add_bias_linear: bool) -> bool:
    """Without biases there is nothing to fuse."""
    return bias_gelu_fusion and add_bias_linear


@computes(
    see=(
        "megatron/training/tokenizer/tokenizer.py::build_tokenizer",
        "megatron/training/tokenizer/tokenizer.py::_vocab_size_with_padding",
    ),
    until="0.18",
)
def padded_vocab_size(
    padded_vocab_size: int | None,
    tokenizer_type: str | None,
    vocab_size: int | None,
    make_vocab_size_divisible_by: int,
    tensor_model_parallel_size: int,
) -> int | None:
    """Rows of the embedding; None where only the tokenizer's files tell.

    A NullTokenizer adds an end-of-document token to ``vocab_size``.
    """
    if padded_vocab_size is not None or vocab_size is None or tokenizer_type not in _OWN_SIZE:
        return padded_vocab_size
    return _padded(vocab_size + 1, make_vocab_size_divisible_by, tensor_model_parallel_size)


@computes(
    ">=0.18",
    see=(
        "megatron/core/tokenizers/utils/build_tokenizer.py::build_tokenizer",
        "megatron/core/tokenizers/utils/build_tokenizer.py::vocab_size_with_padding",
    ),
    read=("0.18", "0.19", "0.20"),
    name="padded_vocab_size",
)
def padded_vocab_size_as_said(
    padded_vocab_size: int | None,
    pad_vocab_size: bool | None,
    tokenizer_type: str | None,
    vocab_size: int | None,
    make_vocab_size_divisible_by: int,
    tensor_model_parallel_size: int,
) -> int | None:
    """The same; the end-of-document token of a NullTokenizer is the last of ``vocab_size``."""
    known = vocab_size is not None and tokenizer_type in _OWN_SIZE
    if padded_vocab_size is not None or not known or pad_vocab_size is False:
        return padded_vocab_size
    return _padded(vocab_size or 0, make_vocab_size_divisible_by, tensor_model_parallel_size)


def _padded(size: int, make_vocab_size_divisible_by: int, tensor_model_parallel_size: int) -> int:
    multiple = make_vocab_size_divisible_by * tensor_model_parallel_size
    if multiple < 1:
        raise Invalid(
            f"--make-vocab-size-divisible-by must be at least 1, not {make_vocab_size_divisible_by}",
            arguments=("make_vocab_size_divisible_by",),
        )
    return -(-size // multiple) * multiple


# Tokenizers whose vocabulary is as large as --vocab-size says, up to 0.17 with one token more.
_OWN_SIZE = ("NullTokenizer", "NullMultimodalTokenizer")


@computes(see=VALIDATE_ARGS)
def cpu_offloading(cpu_offloading_num_layers: int | None) -> bool:
    """Are activations of some layers kept in host memory?"""
    return (cpu_offloading_num_layers or 0) > 0


@checks(see=VALIDATE_ARGS)
def lengths(seq_length: int, max_position_embeddings: int, decoder_seq_length: int | None) -> Problems:
    """Sequences against positions."""
    for name, length in (("seq_length", seq_length), ("decoder_seq_length", decoder_seq_length)):
        if length is not None and length > max_position_embeddings:
            yield Invalid(
                f"{flag(name)} {length} is longer than --max-position-embeddings {max_position_embeddings}",
                f"use --max-position-embeddings {length}",
                (name, "max_position_embeddings"),
            )


@checks(see=(CORE_CONFIG, TRANSFORMER_CONFIG))
def activation_function(
    swiglu: bool,
    squared_relu: bool | None,
    quick_geglu: bool | None,
    bias_gelu_fusion: bool,
    bias_swiglu_fusion: bool,
    use_te_activation_func: bool | None,
    glu_linear_offset: float | None,
) -> Problems:
    """One activation function, and what can be fused with it."""
    chosen = [
        name for name, on in (("squared_relu", squared_relu), ("quick_geglu", quick_geglu), ("swiglu", swiglu)) if on
    ]
    if swiglu and len(chosen) > 1:
        yield Invalid(f"{' and '.join(map(flag, chosen))} exclude each other", "keep one of them", tuple(chosen))
        return
    fused, fusion = (bias_swiglu_fusion, "--no-bias-swiglu-fusion") if swiglu else (bias_gelu_fusion, _NO_GELU_FUSION)
    if fused and squared_relu:
        yield Invalid("--squared-relu cannot be fused with a bias", f"add {fusion}", ("squared_relu",))
    if fused and glu_linear_offset and (squared_relu or not quick_geglu):
        yield Invalid(
            "--glu-linear-offset cannot be fused with this activation function",
            f"add --quick-geglu or {fusion}",
            ("glu_linear_offset",),
        )
    if use_te_activation_func and fused:
        yield Invalid(
            "--use-te-activation-func cannot be fused with a bias", f"add {fusion}", ("use_te_activation_func",)
        )
    if use_te_activation_func and (squared_relu or quick_geglu):
        yield Invalid(
            f"Transformer Engine does not have {flag(chosen[0])}",
            "leave out --use-te-activation-func",
            ("use_te_activation_func", chosen[0]),
        )


_NO_GELU_FUSION = "--no-bias-gelu-fusion"


@checks(
    ">=0.18",
    see="megatron/training/argument_utils.py::core_transformer_config_from_args",
    read=("0.18", "0.19", "0.20"),
)
def initialisation_of_layers(init_method_xavier_uniform: bool | None) -> Problems:
    """TransformerConfig still lacks the field that this sets."""
    yield from initialisation(init_method_xavier_uniform)


@checks(see=CORE_CONFIG, until="0.18", read=("0.16", "0.17"))
def initialisation(init_method_xavier_uniform: bool | None) -> Problems:
    """TransformerConfig lacks a field that this sets."""
    if init_method_xavier_uniform:
        yield Invalid("Megatron-LM cannot build a model with --init-method-xavier-uniform", "leave it out")


@checks(see="megatron/core/transformer/spec_utils.py::import_module")
def specification(spec: list[str] | None) -> Problems:
    """A module and the name of an object in it."""
    if spec and spec != ["local"] and len(spec) != 2:  # see attention.py backend for local
        words = " ".join(spec)
        remedy = "write --spec module object"
        yield Invalid(f"--spec takes a module and an object of it, not {words}", remedy, ("spec",))


@checks(see="mamba_builders.py::mamba_builder", until="0.18", read=("0.16", "0.17"))
def mamba(
    program: str,
    spec: list[str] | None,
    use_legacy_models: bool | None,
    transformer_impl: str | None,
    inference_fuse_tp_communication: bool | None,
) -> Problems:
    """What pretrain_mamba.py wants."""
    if program not in HYBRID_MODELS:
        return
    if use_legacy_models:
        yield Invalid("there is no legacy hybrid model", "leave out --use-legacy-models", ("use_legacy_models",))
    if transformer_impl == "inference_optimized":
        yield from _fused_communication(inference_fuse_tp_communication)
    elif spec is None:
        yield _without_layers(program, "mamba.mamba_layer_specs mamba_stack_spec")


@checks(">=0.18", see="hybrid_builders.py::hybrid_builder", read=("0.18", "0.19", "0.20"))
def hybrid(program: str, transformer_impl: str | None, inference_fuse_tp_communication: bool | None) -> Problems:
    """What pretrain_hybrid.py does not do."""
    if program in HYBRID_MODELS and transformer_impl == "inference_optimized":
        yield from _fused_communication(inference_fuse_tp_communication)


@checks(">=0.18", see="hybrid_builders.py::hybrid_builder", until="0.19", read=("0.18",))
def layers_of_hybrid_models(program: str, spec: list[str] | None, transformer_impl: str | None) -> Problems:
    """What pretrain_hybrid.py wants; from 0.19 on its configuration has a specification where none is given."""
    if program in HYBRID_MODELS and transformer_impl != "inference_optimized" and spec is None:
        yield _without_layers(program, "hybrid.hybrid_layer_specs hybrid_stack_spec; Megatron-LM 0.19 needs none")


def _fused_communication(inference_fuse_tp_communication: bool | None) -> Problems:
    if inference_fuse_tp_communication:
        yield Invalid(
            "--inference-fuse-tp-communication is not there for hybrid models",
            arguments=("inference_fuse_tp_communication",),
        )


def _without_layers(program: str, usual: str) -> Invalid:
    return Invalid(f"{program} needs --spec", f"add --spec megatron.core.models.{usual}", ("spec",))


@checks(see=VALIDATE_ARGS)
def legacy_models(
    use_legacy_models: bool | None,
    ckpt_format: str,
    rotary_interleaved: bool | None,
    decoupled_lr: float | None,
    decoupled_min_lr: float | None,
    overlap_param_gather: bool,
    mtp_num_layers: int | None,
    moe_latent_size: int | None,
) -> Problems:
    """What the models from before Megatron Core lack."""
    if not use_legacy_models:
        return
    if ckpt_format != "torch":
        yield Invalid(
            f"legacy models cannot be saved with --ckpt-format {ckpt_format}",
            "use --ckpt-format torch, or leave out --use-legacy-models",
            ("use_legacy_models", "ckpt_format"),
        )
    for name, on in (
        ("rotary_interleaved", rotary_interleaved),
        ("decoupled_lr", decoupled_lr is not None),
        ("decoupled_min_lr", decoupled_min_lr is not None),
        ("overlap_param_gather", overlap_param_gather),
        ("mtp_num_layers", mtp_num_layers),
        ("moe_latent_size", moe_latent_size is not None),
    ):
        if on:
            yield Invalid(f"legacy models do not have {flag(name)}", arguments=("use_legacy_models", name))


@checks(see=TRANSFORMER_CONFIG)
def offloading_of_layers(
    cpu_offloading: bool,
    cpu_offloading_num_layers: int | None,
    num_layers: int,
    pipeline_model_parallel_size: int,
    recompute_granularity: str | None,
    cuda_graph_impl: str | None,
    fine_grained_activation_offloading: bool | None,
) -> Problems:
    """Activations kept in host memory, by layers."""
    layers = cpu_offloading_num_layers or 0
    if not cpu_offloading:
        return
    if layers >= num_layers:
        yield Invalid(
            f"--cpu-offloading-num-layers must be less than --num-layers {num_layers}, not {layers}",
            arguments=("cpu_offloading_num_layers", "num_layers"),
        )
    for name, on in (
        ("pipeline_model_parallel_size", pipeline_model_parallel_size > 1),
        ("recompute_granularity", recompute_granularity is not None),
        ("cuda_graph_impl", cuda_graph_impl not in (None, "none")),
        ("fine_grained_activation_offloading", fine_grained_activation_offloading),
    ):
        if on:
            yield Invalid(
                f"--cpu-offloading-num-layers cannot be combined with {flag(name)}",
                arguments=("cpu_offloading_num_layers", name),
            )


@checks("<0.17", see=(VALIDATE_ARGS, TRANSFORMER_CONFIG))
def fine_grained_offloading(
    fine_grained_activation_offloading: bool | None,
    offload_modules: list[str] | None,
    transformer_impl: str | None,
    env: Mapping[str, str],
) -> Problems:
    """Activations kept in host memory, by modules."""
    if not fine_grained_activation_offloading:
        return
    modules = offload_modules or []
    if transformer_impl != "transformer_engine":
        yield Invalid(
            f"--fine-grained-activation-offloading needs Transformer Engine, not --transformer-impl {transformer_impl}",
            arguments=("fine_grained_activation_offloading", "transformer_impl"),
        )
    if env.get("NVTE_CPU_OFFLOAD_V1", "0") != "1":
        yield Invalid(
            "--fine-grained-activation-offloading requires NVTE_CPU_OFFLOAD_V1=1 in the environment",
            "export NVTE_CPU_OFFLOAD_V1=1",
            ("fine_grained_activation_offloading",),
            variable="NVTE_CPU_OFFLOAD_V1",
        )
    if not modules:
        yield Invalid(
            "--fine-grained-activation-offloading needs --offload-modules",
            f"name some of {', '.join(_OFFLOADABLE)}",
            ("fine_grained_activation_offloading",),
        )
    unknown = [name for name in modules if name not in _OFFLOADABLE]
    if unknown:
        yield Invalid(
            f"--offload-modules does not know {', '.join(unknown)}",
            f"it knows {', '.join(_OFFLOADABLE)}",
            ("offload_modules",),
        )
    if "attn_proj" in modules and "core_attn" not in modules:
        yield Invalid(
            "--offload-modules attn_proj needs core_attn, whose output it reads", "add core_attn", ("offload_modules",)
        )


_OFFLOADABLE = ("core_attn", "attn_proj", "expert_fc1", "moe_act", "attn_norm", "mlp_norm", "qkv_linear")
