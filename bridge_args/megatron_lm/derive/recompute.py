"""Activations computed again in the backward pass instead of kept."""

from __future__ import annotations

from bridge_args.megatron_lm.derive.attention_variants import GATED_DELTA_NETS
from bridge_args.megatron_lm.derive.registry import (
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    derives,
)

_MODULES = ("core_attn", "moe_act", "layernorm", "mla_up_proj", "mlp", "moe", "shared_experts")


@derives(see=VALIDATE_ARGS)
def recompute_granularity(recompute_granularity: str | None, recompute_activations: bool | None) -> str | None:
    """--recompute-activations means selective."""
    return "selective" if recompute_activations else recompute_granularity


@checks(see=TRANSFORMER_CONFIG)
def granularity(
    recompute_granularity: str | None,
    recompute_method: str | None,
    recompute_num_layers: int | None,
    num_layers: int,
    pipeline_model_parallel_size: int,
    moe_layer_recompute: bool | None,
) -> Problems:
    """Full recomputation needs a method and a number; selective has neither."""
    if recompute_granularity == "full":
        if recompute_method is None:
            yield Invalid(
                "--recompute-granularity full needs --recompute-method",
                "choose uniform or block",
                ("recompute_granularity",),
            )
        if recompute_num_layers is None:
            yield Invalid(
                "--recompute-granularity full needs --recompute-num-layers",
                f"give 1 to {max(1, num_layers // pipeline_model_parallel_size)}, the layers of a stage",
                ("recompute_granularity",),
            )
        if moe_layer_recompute:
            yield Invalid(
                "--moe-layer-recompute does not work with --recompute-granularity full",
                arguments=("moe_layer_recompute", "recompute_granularity"),
            )
    elif recompute_granularity == "selective":
        for name, spelled, value in (
            ("recompute_method", "--recompute-method", recompute_method),
            ("recompute_num_layers", "--recompute-num-layers", recompute_num_layers),
        ):
            if value is not None:
                yield Invalid(
                    f"{spelled} {value} has no meaning with selective recomputation",
                    "leave it out, or use --recompute-granularity full",
                    (name, "recompute_granularity"),
                )


@checks(see=TRANSFORMER_CONFIG, until="0.19")
def modules(recompute_granularity: str | None, recompute_modules: list[str] | None) -> Problems:
    """What selective recomputation may name."""
    yield from _unknown(recompute_granularity, recompute_modules, _MODULES)


@checks(">=0.19", see=TRANSFORMER_CONFIG, until="0.20")
def modules_with_gated_norms(
    recompute_granularity: str | None, recompute_modules: list[str] | None, experimental_attention_variant: str | None
) -> Problems:
    """The same with the output norms of the gated delta net."""
    yield from _unknown(recompute_granularity, recompute_modules, (*_MODULES, "gdn_norm_out"))
    yield from _gated_norms(recompute_granularity, recompute_modules, experimental_attention_variant)


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def modules_with_hyper_connections(
    recompute_granularity: str | None, recompute_modules: list[str] | None, experimental_attention_variant: str | None
) -> Problems:
    """The same with parts of gated delta products and of hyper-connections."""
    more = ("gdn_norm_out", "gdp_in_proj", "gdp_qkv", "mhc")
    yield from _unknown(recompute_granularity, recompute_modules, (*_MODULES, *more))
    yield from _gated_norms(recompute_granularity, recompute_modules, experimental_attention_variant)


def _unknown(granularity: str | None, named: list[str] | None, known: tuple[str, ...]) -> Problems:
    unknown = [name for name in named or () if name not in known]
    if granularity == "selective" and unknown:
        yield Invalid(
            f"--recompute-modules does not know {', '.join(unknown)}",
            f"it knows {', '.join(known)}",
            ("recompute_modules",),
        )


def _gated_norms(granularity: str | None, named: list[str] | None, variant: str | None) -> Problems:
    if granularity == "selective" and "gdn_norm_out" in (named or ()) and variant not in GATED_DELTA_NETS:
        yield Invalid(
            "--recompute-modules gdn_norm_out needs --experimental-attention-variant gated_delta_net",
            arguments=("recompute_modules", "experimental_attention_variant"),
        )


@checks(see=TRANSFORMER_CONFIG)
def needs_of_modules(
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
    moe_grouped_gemm: bool | None,
    multi_latent_attention: bool | None,
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool | None,
    fp8: str | None,
    fp8_recipe: str | None,
) -> Problems:
    """What each of them needs."""
    if recompute_granularity != "selective" or not recompute_modules:
        return
    concerned = ("recompute_modules",)
    if "moe_act" in recompute_modules and not moe_grouped_gemm:
        yield Invalid("--recompute-modules moe_act needs --moe-grouped-gemm", arguments=concerned)
    if "mla_up_proj" in recompute_modules and not multi_latent_attention:
        yield Invalid("--recompute-modules mla_up_proj needs --multi-latent-attention", arguments=concerned)
    if "shared_experts" in recompute_modules and moe_shared_expert_overlap:
        if moe_shared_expert_intermediate_size is not None:
            yield Invalid(
                "--recompute-modules shared_experts does not work with --moe-shared-expert-overlap",
                arguments=("recompute_modules", "moe_shared_expert_overlap"),
            )
    delayed = [name for name in ("moe_act", "layernorm") if name in recompute_modules]
    if fp8 and fp8_recipe == "delayed" and delayed:
        yield Invalid(
            f"--recompute-modules {' '.join(delayed)} does not work with --fp8-recipe delayed",
            arguments=("recompute_modules", "fp8_recipe"),
        )


@checks(see=(VALIDATE_ARGS, TRANSFORMER_CONFIG))
def distributed_activations(
    distribute_saved_activations: bool | None,
    tensor_model_parallel_size: int,
    recompute_granularity: str | None,
    recompute_method: str | None,
    sequence_parallel: bool,
) -> Problems:
    """Kept activations divided among tensor-parallel ranks."""
    if not distribute_saved_activations:
        return
    for on, name, fact in (
        (tensor_model_parallel_size <= 1, "tensor_model_parallel_size", "tensor parallelism"),
        (recompute_granularity != "full", "recompute_granularity", "--recompute-granularity full"),
        (recompute_method is None, "recompute_method", "--recompute-method"),
        (sequence_parallel, "sequence_parallel", "no --sequence-parallel"),
    ):
        if on:
            yield Invalid(
                f"--distribute-saved-activations needs {fact}", arguments=("distribute_saved_activations", name)
            )
