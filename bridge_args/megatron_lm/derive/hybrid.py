"""Hybrid models: layers as letters, ``M`` for Mamba, ``*`` for attention, ``-`` for a feed-forward layer, and so on.

From 0.17 on the pattern ``M*|M-/M`` tells the number of layers, their division into pipeline segments (``|``), and
the multi-token-prediction layers (after each ``/``).
"""

from __future__ import annotations

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, derives


def layers_of(pattern: str) -> int:
    """Layers of the decoder. See get_hybrid_total_layer_count in mamba_hybrid_layer_allocation.py."""
    return len(pattern.partition("/")[0].replace("|", ""))


def virtual_stages_of(pattern: str, ranks: int) -> int | None:
    """Segments of the pattern on each pipeline rank, None for one. See validate_args, hybrid layer pattern."""
    segments = pattern.partition("/")[0].count("|") + 1
    if segments == 1:
        return None
    if segments % ranks:
        raise Invalid(
            f"--hybrid-layer-pattern has {segments} segments, which pipeline {ranks} does not divide",
            arguments=("hybrid_layer_pattern", "pipeline_model_parallel_size"),
        )
    return segments // ranks if segments > ranks else None


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17",))
def hybrid_layer_pattern(hybrid_layer_pattern: str | None, hybrid_override_pattern: str | None) -> str | None:
    """The old --hybrid-override-pattern means the same."""
    if hybrid_layer_pattern is not None and hybrid_override_pattern is not None:
        raise Invalid(
            "--hybrid-override-pattern and --hybrid-layer-pattern are the same",
            "keep --hybrid-layer-pattern",
            ("hybrid_override_pattern",),
        )
    return hybrid_override_pattern if hybrid_layer_pattern is None else hybrid_layer_pattern


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17",))
def mtp_num_layers(mtp_num_layers: int | None, hybrid_layer_pattern: str | None) -> int | None:
    """Multi-token-prediction layers; the pattern's, where it has some."""
    return (hybrid_layer_pattern or "").count("/") or mtp_num_layers
