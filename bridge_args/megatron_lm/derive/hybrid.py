"""Hybrid models: layers as letters, ``M`` for Mamba, ``*`` for attention, ``-`` for a feed-forward layer, and so on.

From 0.17 on the pattern ``M*|M-/M`` tells the number of layers, their division into pipeline segments (``|``), and
the multi-token-prediction layers (after each ``/``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import VALIDATE_ARGS, Invalid, Problems, checks, derives, flag, later
from bridge_args.megatron_lm.programs import HYBRID_MODELS

_NOW = ("0.18", "0.19", "0.20")
_OLD_ALLOCATION = "megatron/core/ssm/mamba_hybrid_layer_allocation.py"
_ALLOCATION = "megatron/core/models/hybrid/hybrid_layer_allocation.py"
# How patterns are read; validate_args calls both.
_READING = tuple(f"{_ALLOCATION}::{name}" for name in ("_validate_pattern", "parse_hybrid_pattern"))
_OLD_READING = tuple(f"{_OLD_ALLOCATION}::{name}" for name in ("_validate_pattern", "parse_hybrid_pattern"))


def layers_of(pattern: str) -> int:
    """Layers of the decoder. See get_hybrid_total_layer_count in mamba_hybrid_layer_allocation.py."""
    return len(pattern.partition("/")[0].replace("|", ""))


def depths_of(pattern: str) -> int:
    """Layers that predict further tokens; marks with nothing behind them are none. See parse_hybrid_pattern."""
    _, *predicted = pattern.split("/")
    return len(predicted) if any(predicted) else 0


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
    return depths_of(hybrid_layer_pattern or "") or mtp_num_layers


# ------------------------------------------------------------------------------------------------ what is refused


@checks(">=0.17", see=(VALIDATE_ARGS, *_OLD_READING), until="0.18", read=("0.17",))
def letters_before_sparse_attention(hybrid_layer_pattern: str | None) -> Problems:
    """Letters of 0.17."""
    yield from _misread(hybrid_layer_pattern, "MG*-E")


@checks(">=0.18", see=(VALIDATE_ARGS, *_READING), until="0.19", read=("0.18",))
def letters_before_latent_attention(hybrid_layer_pattern: str | None) -> Problems:
    """Letters of 0.18."""
    yield from _misread(hybrid_layer_pattern, "MG*D-E")


@checks(">=0.19", see=(VALIDATE_ARGS, *_READING), read=("0.19", "0.20"))
def letters(hybrid_layer_pattern: str | None) -> Problems:
    """Letters of 0.19 and later."""
    yield from _misread(hybrid_layer_pattern, "MG*D+-E")


def _misread(pattern: str | None, letters: str) -> Problems:
    """What no pattern may have."""
    if pattern is None:
        return
    argument = ("hybrid_layer_pattern",)
    layers, *predicted = pattern.split("/")
    predicted = predicted if any(predicted) else []
    if others := [part for part in predicted if part != predicted[0]]:
        yield Invalid(
            f"--hybrid-layer-pattern predicts tokens by {predicted[0]} and by {others[0]}",
            "write the same layers behind every /",
            argument,
        )
        return
    for part, allowed in [(layers, f"{letters}|"), *((part, letters) for part in predicted[:1])]:
        if unknown := sorted(set(part) - set(allowed)):
            yield Invalid(
                f"--hybrid-layer-pattern has {' '.join(unknown)}, which is no kind of layer",
                f"write {' '.join(letters)} for layers, | between stages of a pipeline, / before predicting layers",
                argument,
            )
        elif "*" in part and (beside := sorted({"D", "+"} & set(part))):
            yield Invalid(
                f"--hybrid-layer-pattern has * and {' '.join(beside)}, two kinds of attention that exclude each other",
                "use one of them",
                argument,
            )


@checks(">=0.17", see=VALIDATE_ARGS, read=("0.17", *_NOW))
def stages_beside_a_pattern(
    hybrid_layer_pattern: str | None,
    num_layers_per_virtual_pipeline_stage: int | None,
    num_virtual_stages_per_pipeline_rank: int | None,
    pipeline_model_parallel_layout: str | None,
    account_for_embedding_in_pipeline_split: bool | None,
    account_for_loss_in_pipeline_split: bool | None,
    decoder_first_pipeline_num_layers: int | None,
    decoder_last_pipeline_num_layers: int | None,
) -> Problems:
    """A pattern says itself where stages begin."""
    if hybrid_layer_pattern is None:
        return
    excluded: dict[str, object] = {
        "num_layers_per_virtual_pipeline_stage": num_layers_per_virtual_pipeline_stage,
        "num_virtual_stages_per_pipeline_rank": num_virtual_stages_per_pipeline_rank,
        "pipeline_model_parallel_layout": pipeline_model_parallel_layout,
        "account_for_embedding_in_pipeline_split": account_for_embedding_in_pipeline_split or None,
        "account_for_loss_in_pipeline_split": account_for_loss_in_pipeline_split or None,
    }
    if "|" in hybrid_layer_pattern.partition("/")[0]:
        excluded["decoder_first_pipeline_num_layers"] = decoder_first_pipeline_num_layers
        excluded["decoder_last_pipeline_num_layers"] = decoder_last_pipeline_num_layers
    for name, value in excluded.items():
        if value is not None:
            yield Invalid(
                f"{flag(name)} cannot be used with --hybrid-layer-pattern, which says itself where stages begin",
                "leave it out, and write | in the pattern between two stages",
                (name,),
            )


@checks(">=0.18", see=f"{_ALLOCATION}::select_pipeline_segment", read=_NOW)
def stages_of_a_pattern(
    hybrid_layer_pattern: str | None,
    pipeline_model_parallel_size: int,
    decoder_first_pipeline_num_layers: int | None,
    decoder_last_pipeline_num_layers: int | None,
    program: str,
) -> Problems:
    """What the model stops at when its layers are divided, where no | says how; and a model without layers."""
    where = "models/hybrid/hybrid_model.py HybridModel.__init__"
    if program not in HYBRID_MODELS:
        return
    if hybrid_layer_pattern is None:
        yield later(
            "without --hybrid-layer-pattern the model has no layers",
            "write a letter for each layer",
            ("hybrid_layer_pattern",),
            where,
        )
        return
    if decoder_first_pipeline_num_layers is not None or decoder_last_pipeline_num_layers is not None:
        return  # validate_args divides the others
    layers, stages = layers_of(hybrid_layer_pattern), pipeline_model_parallel_size
    if "|" not in hybrid_layer_pattern.partition("/")[0] and layers % stages:
        yield later(
            f"{layers} layers of --hybrid-layer-pattern cannot be divided among {stages} stages of the pipeline",
            "write | between the stages",
            ("hybrid_layer_pattern", "pipeline_model_parallel_size"),
            where,
        )
