"""Variants of attention: gated delta nets, and sparse attention."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import TRANSFORMER_CONFIG, Invalid, Problems, checks, flag

# Variants that are gated delta nets; the latter two are names since 0.20.
GATED_DELTA_NETS = ("gated_delta_net", "gdn", "gdn2")


def variant_of(experimental_attention_variant: str | None, hybrid_layer_pattern: str | None) -> str | None:
    """The variant of a model; layers of sparse attention in a pattern make it that (0.18).

    See core_transformer_config_from_args.
    """
    return "dsa" if "D" in (hybrid_layer_pattern or "") else experimental_attention_variant


@checks(">=0.16", see=TRANSFORMER_CONFIG)
def attention_variant(
    experimental_attention_variant: str | None,
    linear_attention_freq: int | list[int] | None,
    linear_conv_kernel_dim: int | None,
    linear_key_head_dim: int | None,
    linear_value_head_dim: int | None,
    linear_num_key_heads: int | None,
    linear_num_value_heads: int | None,
    num_layers: int,
    apply_rope_fusion: bool,
    hybrid_layer_pattern: str | None,
) -> Problems:
    """Gated delta net and sparse attention."""
    variant = variant_of(experimental_attention_variant, hybrid_layer_pattern)
    said = f"--experimental-attention-variant {variant}"
    if variant == "dsa" and apply_rope_fusion:
        yield Invalid(
            f"{said} cannot be combined with fused positions",
            "add --no-rope-fusion",
            ("experimental_attention_variant",),
        )
    if variant not in GATED_DELTA_NETS:
        return
    needed = {
        "linear_attention_freq": linear_attention_freq if variant != "gdn2" else 0,
        "linear_conv_kernel_dim": linear_conv_kernel_dim,
        "linear_key_head_dim": linear_key_head_dim,
        "linear_value_head_dim": linear_value_head_dim,
        "linear_num_key_heads": linear_num_key_heads,
        "linear_num_value_heads": linear_num_value_heads,
    }
    missing = [flag(name) for name, value in needed.items() if value is None]
    if missing:
        yield Invalid(f"{said} needs {', '.join(missing)}", arguments=("experimental_attention_variant",))
    if isinstance(linear_attention_freq, list) and len(linear_attention_freq) != num_layers:
        yield Invalid(
            f"--linear-attention-freq covers {len(linear_attention_freq)} layers; --num-layers is {num_layers}",
            arguments=("linear_attention_freq", "num_layers"),
        )
    keys, values = linear_num_key_heads, linear_num_value_heads
    if keys is not None and values is not None and (keys < 1 or values % keys):
        yield Invalid(
            f"--linear-num-value-heads {values} is not a multiple of --linear-num-key-heads {keys}",
            arguments=("linear_num_value_heads", "linear_num_key_heads"),
        )


@checks(">=0.16", see=TRANSFORMER_CONFIG, until="0.18")
def variant_among_tensor_ranks(
    experimental_attention_variant: str | None,
    linear_num_key_heads: int | None,
    linear_num_value_heads: int | None,
    tensor_model_parallel_size: int,
    context_parallel_size: int,
    hybrid_layer_pattern: str | None,
) -> Problems:
    """Heads of the gated delta net among ranks."""
    variant = variant_of(experimental_attention_variant, hybrid_layer_pattern)
    if variant in GATED_DELTA_NETS:
        yield from _whole_sequences(variant, context_parallel_size)
        heads = {"linear_num_key_heads": linear_num_key_heads, "linear_num_value_heads": linear_num_value_heads}
        yield from _heads_among(heads, tensor_model_parallel_size, f"tensor {tensor_model_parallel_size}")


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def variant_among_ranks(
    experimental_attention_variant: str | None,
    linear_num_key_heads: int | None,
    linear_num_value_heads: int | None,
    tensor_model_parallel_size: int,
    context_parallel_size: int,
    hybrid_layer_pattern: str | None,
) -> Problems:
    """The same where sequences are divided too."""
    variant = variant_of(experimental_attention_variant, hybrid_layer_pattern)
    if variant in GATED_DELTA_NETS:
        heads = {"linear_num_key_heads": linear_num_key_heads, "linear_num_value_heads": linear_num_value_heads}
        ranks = tensor_model_parallel_size * context_parallel_size
        said = f"tensor {tensor_model_parallel_size} x context {context_parallel_size}"
        yield from _heads_among(heads, ranks, said)


def _heads_among(heads: Mapping[str, int | None], ranks: int, said: str) -> Problems:
    for name, count in heads.items():
        if count is not None and count % ranks:
            yield Invalid(
                f"{flag(name)} {count} cannot be divided among {said}",
                arguments=(name, "tensor_model_parallel_size"),
            )


def _whole_sequences(variant: str | None, context_parallel_size: int) -> Problems:
    if context_parallel_size > 1:
        yield Invalid(
            f"--experimental-attention-variant {variant} cannot be combined with context parallelism",
            arguments=("experimental_attention_variant", "context_parallel_size"),
        )


@checks(">=0.16", see=TRANSFORMER_CONFIG, until="0.19")
def sparse_attention_of_whole_sequences(
    experimental_attention_variant: str | None, context_parallel_size: int, hybrid_layer_pattern: str | None
) -> Problems:
    """Sparse attention among ranks."""
    if variant_of(experimental_attention_variant, hybrid_layer_pattern) == "dsa":
        yield from _whole_sequences("dsa", context_parallel_size)


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def sparse_attention(
    experimental_attention_variant: str | None,
    add_bias_linear: bool,
    dsa_indexer_topk_freq: int,
    dsa_indexer_skip_topk_offset: int,
    context_parallel_size: int,
    cp_comm_type: list[str] | None,
    hybrid_layer_pattern: str | None,
) -> Problems:
    """The same where sequences may be divided, and what its indexer needs."""
    if variant_of(experimental_attention_variant, hybrid_layer_pattern) != "dsa":
        return
    said = "--experimental-attention-variant dsa"
    if add_bias_linear:
        yield Invalid(f"{said} has no biases", "add --disable-bias-linear", ("experimental_attention_variant",))
    for name, count, least in (
        ("dsa_indexer_topk_freq", dsa_indexer_topk_freq, 1),
        ("dsa_indexer_skip_topk_offset", dsa_indexer_skip_topk_offset, 0),
    ):
        if count < least:
            yield Invalid(f"{flag(name)} must be at least {least}, not {count}", arguments=(name,))
    kinds = cp_comm_type or ["none"]
    if context_parallel_size > 1 and any(kind.replace("_", "").lower() != "allgather" for kind in kinds):
        yield Invalid(
            f"{said} with context parallelism needs --cp-comm-type all_gather, not {' '.join(kinds)}",
            arguments=("experimental_attention_variant", "cp_comm_type"),
        )


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def gated_delta_products(
    gdp_num_householder: int, gdp_cutedsl_kernel: bool, gdp_num_chunk_states_to_recompute: int
) -> Problems:
    """Bounds of gated delta products."""
    if gdp_num_householder < 1:
        yield Invalid(f"--gdp-num-householder must be at least 1, not {gdp_num_householder}")
    if gdp_cutedsl_kernel and not 0 <= gdp_num_chunk_states_to_recompute <= 64:
        yield Invalid(
            f"--gdp-num-chunk-states-to-recompute must be from 0 to 64, not {gdp_num_chunk_states_to_recompute}",
            arguments=("gdp_num_chunk_states_to_recompute",),
        )
