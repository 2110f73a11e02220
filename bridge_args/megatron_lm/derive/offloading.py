"""Activations kept in host memory, by layers and by modules."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import (
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    flag,
)

_MODULES = ("core_attn", "attn_proj", "expert_fc1", "moe_act", "attn_norm", "mlp_norm", "qkv_linear")
_OF_EXPERTS = ("expert_fc1", "moe_act", "fused_group_mlp")


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
        ("cuda_graph_impl", cuda_graph_impl not in (None, "none", "full_iteration")),  # the last since 0.18
        ("fine_grained_activation_offloading", fine_grained_activation_offloading),
    ):
        if on:
            yield Invalid(
                f"--cpu-offloading-num-layers cannot be combined with {flag(name)}",
                arguments=("cpu_offloading_num_layers", name),
            )


@checks(see=(VALIDATE_ARGS, TRANSFORMER_CONFIG))
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
            "",
            ("fine_grained_activation_offloading",),
            variable="NVTE_CPU_OFFLOAD_V1",
            export="NVTE_CPU_OFFLOAD_V1=1",
        )
    if not modules:
        yield Invalid(
            "--fine-grained-activation-offloading needs --offload-modules",
            f"name some of {', '.join(_MODULES)}",
            ("fine_grained_activation_offloading",),
        )
    if "attn_proj" in modules and "core_attn" not in modules:
        yield Invalid(
            "--offload-modules attn_proj needs core_attn, whose output it reads", "add core_attn", ("offload_modules",)
        )


@checks(see=TRANSFORMER_CONFIG, until="0.19")
def modules_to_offload(fine_grained_activation_offloading: bool | None, offload_modules: list[str] | None) -> Problems:
    """Modules that can be named."""
    yield from _unknown(fine_grained_activation_offloading, offload_modules, _MODULES)


@checks(">=0.19", see=TRANSFORMER_CONFIG, until="0.20")
def modules_and_groups_to_offload(
    fine_grained_activation_offloading: bool | None, offload_modules: list[str] | None
) -> Problems:
    """The same with experts multiplied in one operation."""
    yield from _unknown(fine_grained_activation_offloading, offload_modules, (*_MODULES, "fused_group_mlp"))


@checks(">=0.20", see=TRANSFORMER_CONFIG)
def modules_and_products_to_offload(
    fine_grained_activation_offloading: bool | None,
    offload_modules: list[str] | None,
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
) -> Problems:
    """The same with gated delta products."""
    known = (*_MODULES, "fused_group_mlp", "gdp_qkv")
    yield from _unknown(fine_grained_activation_offloading, offload_modules, known)
    again = recompute_granularity == "selective" and "gdp_in_proj" in (recompute_modules or ())
    if fine_grained_activation_offloading and again and "gdp_qkv" in (offload_modules or ()):
        yield Invalid(
            "--offload-modules gdp_qkv keeps what --recompute-modules gdp_in_proj computes again",
            "keep one of them",
            ("offload_modules", "recompute_modules"),
        )


def _unknown(on: bool | None, named: list[str] | None, known: tuple[str, ...]) -> Problems:
    unknown = [name for name in named or () if name not in known]
    if on and unknown:
        yield Invalid(
            f"--offload-modules does not know {', '.join(unknown)}",
            f"it knows {', '.join(known)}",
            ("offload_modules",),
        )


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def offloading_of_experts(
    fine_grained_activation_offloading: bool,
    offload_modules: list[str],
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
    use_transformer_engine_op_fuser: bool,
) -> Problems:
    """Activations of experts."""
    if not fine_grained_activation_offloading:
        return
    named = [name for name in _OF_EXPERTS if name in offload_modules]
    if named and recompute_granularity == "selective" and "moe" in (recompute_modules or ()):
        yield Invalid(
            f"--offload-modules {' '.join(named)} keeps what --recompute-modules moe computes again",
            "keep one of them",
            ("offload_modules", "recompute_modules"),
        )
    if "fused_group_mlp" not in named:
        return
    if not use_transformer_engine_op_fuser:
        yield Invalid(
            "--offload-modules fused_group_mlp needs --use-transformer-engine-op-fuser", "", ("offload_modules",)
        )
    if len(named) > 1:
        yield Invalid(
            f"--offload-modules fused_group_mlp contains {named[0]}", "keep one of them", ("offload_modules",)
        )


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def sizes_to_offload(
    fine_grained_activation_offloading: bool,
    min_offloaded_tensor_size: int,
    activation_offload_fraction: float,
    delta_offload_bytes_across_pp_ranks: int,
) -> Problems:
    """How much is kept in host memory."""
    for name, size, most in (
        ("min_offloaded_tensor_size", min_offloaded_tensor_size, None),
        ("activation_offload_fraction", activation_offload_fraction, 1),
        ("delta_offload_bytes_across_pp_ranks", delta_offload_bytes_across_pp_ranks, None),
    ):
        if fine_grained_activation_offloading and (size < 0 or most is not None and size > most):
            bounds = "at least 0" if most is None else f"from 0 to {most}"
            yield Invalid(f"{flag(name)} must be {bounds}, not {size}", "", (name,))


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def offloading_in_graphs(
    fine_grained_activation_offloading: bool,
    cuda_graph_impl: str,
    cuda_graph_modules: list[str],
    cuda_graph_warmup_steps: int,
    fine_grained_offloading_max_inflight_offloads: int | None,
) -> Problems:
    """Offloading inside graphs."""
    if not fine_grained_activation_offloading or cuda_graph_impl == "none":
        return
    if "moe" in cuda_graph_modules:
        yield _with_graphs("no --cuda-graph-modules moe", "cuda_graph_modules")
    if cuda_graph_warmup_steps <= 0:
        fact = f"--cuda-graph-warmup-steps of 1 or more, not {cuda_graph_warmup_steps}"
        yield _with_graphs(fact, "cuda_graph_warmup_steps")
    most = fine_grained_offloading_max_inflight_offloads
    if cuda_graph_impl == "full_iteration" and (most is None or most < 0):
        name = "fine_grained_offloading_max_inflight_offloads"
        yield _with_graphs(f"{flag(name)} of 0 or more", name)


@checks(">=0.18", see=TRANSFORMER_CONFIG, until="0.19")
def offloading_in_local_graphs(fine_grained_activation_offloading: bool, cuda_graph_impl: str) -> Problems:
    """Graphs of layers that Megatron-LM captures itself."""
    if fine_grained_activation_offloading and cuda_graph_impl == "local":
        yield _with_graphs("--cuda-graph-impl transformer_engine or full_iteration, not local", "cuda_graph_impl")


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def offloading_of_experts_in_local_graphs(
    fine_grained_activation_offloading: bool,
    cuda_graph_impl: str,
    cuda_graph_modules: list[str],
    offload_modules: list[str],
) -> Problems:
    """The same; what experts keep may be there where parts of a layer are captured."""
    if not fine_grained_activation_offloading or cuda_graph_impl != "local":
        return
    if others := [name for name in offload_modules if name not in _OF_EXPERTS]:
        yield _with_graphs(f"other --offload-modules than {' '.join(others)}", "offload_modules")
    if not cuda_graph_modules:
        yield _with_graphs("--cuda-graph-modules, where --cuda-graph-impl is local", "cuda_graph_modules")


def _with_graphs(fact: str, name: str) -> Invalid:
    return Invalid(
        f"--fine-grained-activation-offloading with CUDA graphs needs {fact}",
        arguments=("fine_grained_activation_offloading", name),
    )
