"""Hybrid models: layers as letters, ``M`` for Mamba, ``*`` for attention, ``-`` for a feed-forward layer, and so on.

From 0.17 on the pattern ``M*|M-/M`` tells the number of layers, their division into pipeline segments (``|``), and
the multi-token-prediction layers (after each ``/``).
"""

from __future__ import annotations

from collections.abc import Mapping

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


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def hybrid_layer_pattern(
    hybrid_layer_pattern: str | None,
    hybrid_override_pattern: str | None,
    given: Mapping[str, object],
) -> str | None:
    """The old --hybrid-override-pattern means the same; the old pattern of predicted tokens comes behind it."""
    if hybrid_layer_pattern is not None and hybrid_override_pattern is not None:
        raise Invalid(
            "--hybrid-override-pattern and --hybrid-layer-pattern are the same",
            "keep --hybrid-layer-pattern",
            ("hybrid_override_pattern",),
        )
    pattern = hybrid_override_pattern if hybrid_layer_pattern is None else hybrid_layer_pattern
    return _with_predicted(pattern, given.get("mtp_hybrid_override_pattern"), given)


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def mtp_hybrid_override_pattern(
    mtp_hybrid_override_pattern: str | None,
    hybrid_override_pattern: str | None,
    given: Mapping[str, object],
) -> str | None:
    """Gone once it stands in the pattern of all layers."""
    pattern = given.get("hybrid_layer_pattern") or hybrid_override_pattern
    pattern = pattern if isinstance(pattern, str) else None
    moved = _with_predicted(pattern, mtp_hybrid_override_pattern, given) != pattern
    return None if moved else mtp_hybrid_override_pattern


def _with_predicted(pattern: str | None, predicted: object, given: Mapping[str, object]) -> str | None:
    layers = given.get("mtp_num_layers")
    if predicted is None or not isinstance(layers, int) or layers < 1 or "/" in (pattern or ""):
        return pattern
    return (pattern or "") + f"/{predicted}" * min(layers, _MOST_LAYERS)


_MOST_LAYERS = 1000  # more are a slip of the hand, and would only fill the memory


@derives(">=0.18", see=VALIDATE_ARGS, until="0.19", read=("0.18", "0.19"))
def multi_latent_attention(multi_latent_attention: bool, hybrid_layer_pattern: str | None) -> bool:
    """On where the pattern has layers of sparse attention."""
    return multi_latent_attention or "D" in (hybrid_layer_pattern or "")


@derives(">=0.19", see=VALIDATE_ARGS, read=("0.19", "0.20"), name="multi_latent_attention")
def multi_latent_attention_by_letters(multi_latent_attention: bool, hybrid_layer_pattern: str | None) -> bool:
    """On where the pattern has layers of latent or sparse attention."""
    return multi_latent_attention or not {"+", "D"}.isdisjoint(hybrid_layer_pattern or "")


@derives(">=0.17", see=VALIDATE_ARGS, read=("0.17", "0.18", "0.19", "0.20"))
def mtp_num_layers(mtp_num_layers: int | None, hybrid_layer_pattern: str | None) -> int | None:
    """Multi-token-prediction layers; the pattern's, where it has some."""
    return (hybrid_layer_pattern or "").count("/") or mtp_num_layers
