"""Sizes of the model, its activation function, and its vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

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
    read=("0.16", "0.17"),
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


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def clamped_activations(
    activation_func_clamp_value: float | None,
    swiglu: bool,
    num_experts: int | None,
    glu_linear_offset: float,
    use_te_activation_func: bool,
) -> Problems:
    """Bounds of gated units."""
    clamp = activation_func_clamp_value
    if clamp is None or not swiglu:
        return
    if not 0 < clamp < inf:
        yield Invalid(f"--activation-func-clamp-value with --swiglu must be above 0, not {clamp}")
    for name, on, fact in (
        ("num_experts", num_experts is None, "needs experts"),
        ("glu_linear_offset", glu_linear_offset != 0, "does not work with --glu-linear-offset"),
        ("use_te_activation_func", use_te_activation_func, "does not work with --use-te-activation-func"),
    ):
        if on:
            yield Invalid(
                f"--activation-func-clamp-value with --swiglu {fact}", "", ("activation_func_clamp_value", name)
            )


@checks(">=0.17", see=TRANSFORMER_CONFIG)
def fused_norms(fused_residual_rmsnorm: bool, normalization: str) -> Problems:
    """Norms fused with the residual."""
    if fused_residual_rmsnorm and normalization != "RMSNorm":
        yield Invalid(
            f"--fused-residual-rmsnorm needs --normalization RMSNorm, not {normalization}",
            arguments=("fused_residual_rmsnorm", "normalization"),
        )


@checks(">=0.17", see=TRANSFORMER_CONFIG)
def width_of_base_model(use_mup: bool, mup_base_hidden_size: int | None) -> Problems:
    """The model whose settings are scaled."""
    if use_mup and mup_base_hidden_size is not None and mup_base_hidden_size <= 0:
        yield Invalid(
            f"--mup-base-hidden-size must be at least 1, not {mup_base_hidden_size}",
            arguments=("mup_base_hidden_size",),
        )


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def hyper_connections(
    enable_mhc_connections: bool,
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
    mhc_recompute_layer_num: int | None,
    fine_grained_activation_offloading: bool,
    mtp_num_layers: int | None,
    inference_fuse_tp_communication: bool,
    pipeline_model_parallel_size: int,
    fp32_residual_connection: bool,
    mhc_sinkhorn_iterations: int,
    mhc_init_gating_factor: float,
) -> Problems:
    """What several residual streams exclude."""
    again = recompute_granularity == "selective" and "mhc" in (recompute_modules or ())
    if again and not enable_mhc_connections:
        yield Invalid("--recompute-modules mhc needs --enable-mhc-connections", "", ("recompute_modules",))
    if again and "mlp" in (recompute_modules or ()):
        yield Invalid("--recompute-modules mhc does not work with mlp", "keep one of them", ("recompute_modules",))
    if again and mhc_recompute_layer_num is not None and mhc_recompute_layer_num < 1:
        yield Invalid(f"--mhc-recompute-layer-num must be at least 1, not {mhc_recompute_layer_num}")
    if again and fine_grained_activation_offloading:
        yield Invalid("--recompute-modules mhc does not work with --fine-grained-activation-offloading")
    if not enable_mhc_connections:
        return
    for name, on in (
        ("mtp_num_layers", mtp_num_layers is not None),
        ("recompute_granularity", recompute_granularity == "full"),
        ("inference_fuse_tp_communication", inference_fuse_tp_communication),
        ("pipeline_model_parallel_size", pipeline_model_parallel_size > 1),
        ("fp32_residual_connection", fp32_residual_connection),
    ):
        if on:
            yield Invalid(f"--enable-mhc-connections does not work with {flag(name)}", "", (name,))
    for name, number, least in (
        ("mhc_sinkhorn_iterations", mhc_sinkhorn_iterations, 1),
        ("mhc_init_gating_factor", mhc_init_gating_factor, 0),
    ):
        if number < least:
            yield Invalid(f"{flag(name)} must be at least {least}, not {number}", "", (name,))


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
