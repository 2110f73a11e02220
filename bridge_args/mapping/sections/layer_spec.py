"""Which modules a layer is made of: ``model.transformer_layer_spec``."""

from __future__ import annotations

from typing import Any

from bridge_args.bridge.names import name_of
from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.registry import Lost, Rejected, builder
from bridge_args.megatron_lm.derive.pipeline import stages_of
from bridge_args.megatron_lm.derive.registry import Invalid
from bridge_args.megatron_lm.programs import HYBRID_MODELS
from bridge_args.values import Built, Partial, Symbol, is_dotted


@builder(writes=("model.transformer_layer_spec",))
def layer_spec(
    transformer_impl: str,
    spec: list[str] | None,
    normalization: str,
    qk_l2_norm: bool,
    multi_latent_attention: bool,
    experimental_attention_variant: str | None,
    num_experts: int | None,
    moe_layer_freq: int | list[int],
    moe_use_legacy_grouped_gemm: bool,
    mtp_num_layers: int | None,
    pipeline_model_parallel_layout: str | None,
    program: str,
    schema: Schema,
) -> dict[str, Any]:
    """The function that makes the layers, where Bridge's default makes others than Megatron-LM.

    Bridge's own functions (megatron/bridge/models/gpt_provider.py default_layer_spec, local_layer_spec) make one
    kind of layer and know neither latent attention nor L2 norms; Megatron Core's block function, which Megatron-LM
    calls for experts (gpt_builders.py gpt_builder), reads everything from the configuration. Without experts it
    makes the layers that Megatron-LM's layer functions make.
    """
    if program in HYBRID_MODELS:
        return {}
    local = transformer_impl == "local"
    decided: dict[str, Any] = {}
    if transformer_impl == "inference_optimized":
        decided["transformer_impl"] = Lost("Bridge trains with Transformer Engine or local layers; choose one of them.")
    if spec:
        decided |= named_by(spec, "model.transformer_layer_spec")
    elif experimental_attention_variant is not None:
        variant = name_of("layers with another attention", schema.version)
        decided["model.transformer_layer_spec"] = Symbol(variant)
    elif (
        local
        and not multi_latent_attention
        and (not num_experts or moe_layer_freq == 1)
        and not (num_experts and (moe_use_legacy_grouped_gemm or qk_l2_norm))
    ):
        decided["model.transformer_layer_spec"] = Symbol(name_of("local layers", schema.version))
    elif num_experts or multi_latent_attention or qk_l2_norm:
        options = {"use_transformer_engine": not local, "normalization": normalization, "qk_l2_norm": qk_l2_norm}
        decided["model.transformer_layer_spec"] = Partial(name_of("layers of a block", schema.version), options)
    if moe_use_legacy_grouped_gemm and schema.find("model.moe_use_legacy_grouped_gemm") is None:
        decided["moe_use_legacy_grouped_gemm"] = Lost(
            f"Bridge {schema.version} has only the grouped multiplication of Transformer Engine; leave out the flag."
        )
    if mtp_num_layers:
        reason = _lost_in_prediction(
            local, bool(spec), multi_latent_attention or qk_l2_norm, pipeline_model_parallel_layout
        )
        if reason:
            decided["mtp_num_layers"] = Lost(reason)
    return decided


def named_by(spec: list[str], path: str) -> dict[str, Any]:
    """The setting of what ``--spec module object`` names, if these are names; a checkpoint may hold anything under it.

    It is fetched as Megatron-LM fetches it, by Megatron Core's function: Bridge would call what it finds at a path, and
    a specification is no function. See megatron/core/transformer/spec_utils.py import_module.
    """
    if not all(map(is_dotted, spec)):
        return {"spec": Rejected("--spec takes names of Python, with dots between.")}
    return {path: Built("megatron.core.transformer.spec_utils.import_module", {"module_path": list(spec)})}


def _lost_in_prediction(local: bool, spec: bool, own_layers: bool, layout: str | None) -> str:
    """Where the layers of multi-token prediction differ.

    See megatron/bridge/models/gpt_provider.py mtp_block_spec, and gpt_builders.py gpt_builder.
    """
    if local:
        return (
            "Bridge always joins the predicted tokens with Transformer Engine modules, Megatron-LM with local ones "
            "here, so the losses differ in rounding; use --transformer-impl transformer_engine."
        )
    if spec:
        return "Bridge predicts with the layers of --spec, Megatron-LM with its standard layers; leave out --spec."
    if own_layers and layout and _predicts_alone(layout):
        return (
            "In a pipeline stage without decoder layers Bridge predicts with standard attention; put a decoder "
            "layer (t) before the prediction layer (m) in --pipeline-model-parallel-layout."
        )
    return ""


def _predicts_alone(layout: str) -> bool:
    """Has a stage of ``Et*3|(tt|)*6mL`` prediction layers and no decoder layer?"""
    try:
        stages = stages_of(layout)
    except Invalid:
        return False  # reported where the layout is checked
    return any("m" in stage and "t" not in stage for stage in stages)
