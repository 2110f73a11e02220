"""CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping

from bridge_args.megatron_lm.derive.registry import (
    TRANSFORMER_CONFIG,
    VALIDATE_ARGS,
    Invalid,
    Problems,
    checks,
    derives,
)

_MODULES = (VALIDATE_ARGS, "megatron/training/arguments.py::_normalize_cuda_graph_modules_args")
_OLD_MODULES = ("full", "full_iteration", "full_iteration_inference")


@derives(see=VALIDATE_ARGS, until="0.18", read=("0.16", "0.17", "0.18"))
def cuda_graph_impl(cuda_graph_impl: str, enable_cuda_graph: bool | None, external_cuda_graph: bool | None) -> str:
    """Who captures graphs; the old switches choose it too."""
    return _chosen(cuda_graph_impl, enable_cuda_graph, external_cuda_graph)


def _chosen(cuda_graph_impl: str, enable_cuda_graph: bool | None, external_cuda_graph: bool | None) -> str:
    if not (enable_cuda_graph or external_cuda_graph):
        return cuda_graph_impl
    if enable_cuda_graph and external_cuda_graph or cuda_graph_impl != "none":
        raise Invalid(
            "--enable-cuda-graph, --external-cuda-graph and --cuda-graph-impl exclude each other",
            "keep --cuda-graph-impl",
        )
    return "local" if enable_cuda_graph else "transformer_engine"


@derives(">=0.16", see=VALIDATE_ARGS, until="0.18", read=("0.16", "0.17", "0.18"))
def cuda_graph_scope(cuda_graph_scope: list[str]) -> list[str]:
    """Parts of a layer to capture; "full" is the old word for none named, the whole layer."""
    if "full" not in cuda_graph_scope:
        return cuda_graph_scope
    if cuda_graph_scope != ["full"]:
        raise Invalid(f"--cuda-graph-scope {' '.join(cuda_graph_scope)}: full is the whole layer", "keep full")
    return []


@derives(">=0.18", see=_MODULES, read=("0.18", "0.19", "0.20"), name="cuda_graph_impl")
def cuda_graph_impl_by_modules(
    cuda_graph_impl: str,
    enable_cuda_graph: bool | None,
    external_cuda_graph: bool | None,
    cuda_graph_scope_deprecated: list[str] | None,
    given: Mapping[str, object],
) -> str:
    """Who captures graphs; a whole iteration used to be named among the modules."""
    named = _named(given.get("cuda_graph_modules"), cuda_graph_scope_deprecated)
    before = _chosen(cuda_graph_impl, enable_cuda_graph, external_cuda_graph)
    if "full_iteration" not in named:
        return before
    if before not in ("none", "local", "full_iteration"):
        raise Invalid(
            f"--cuda-graph-modules full_iteration does not work with --cuda-graph-impl {before}",
            "use --cuda-graph-impl full_iteration",
            ("cuda_graph_impl",),
        )
    return "full_iteration"


@derives(">=0.18", see=_MODULES, read=("0.18", "0.19", "0.20"))
def cuda_graph_modules(cuda_graph_modules: list[str], cuda_graph_scope_deprecated: list[str] | None) -> list[str]:
    """Parts of a layer to capture; the old words for a layer, an iteration and inference are none of them."""
    named = _named(cuda_graph_modules, cuda_graph_scope_deprecated)
    old = [name for name in named if name in _OLD_MODULES]
    if "full" in old and named != ["full"] or len(set(old)) > 1:
        raise Invalid(f"--cuda-graph-modules {' '.join(named)}: {old[0]} stands alone", f"keep {old[0]}")
    return [name for name in named if name not in _OLD_MODULES]


@derives(">=0.18", see=_MODULES, read=("0.18", "0.19", "0.20"))
def inference_cuda_graph_scope(
    inference_cuda_graph_scope: str | None,
    cuda_graph_impl: str,
    cuda_graph_scope_deprecated: list[str] | None,
    given: Mapping[str, object],
) -> str:
    """What inference captures; by default what ``cuda_graph_impl`` allows."""
    named = _named(given.get("cuda_graph_modules"), cuda_graph_scope_deprecated)
    scope = inference_cuda_graph_scope or ("layer" if cuda_graph_impl == "local" else "none")
    if "full_iteration_inference" in named and cuda_graph_impl != "none":
        scope = "block"
    if scope not in (("layer", "block") if cuda_graph_impl == "local" else ("none",)):
        raise Invalid(
            f"--inference-cuda-graph-scope {scope} does not work with --cuda-graph-impl {cuda_graph_impl}",
            arguments=("inference_cuda_graph_scope", "cuda_graph_impl"),
        )
    return scope


def _named(modules: object, deprecated: list[str] | None) -> list[str]:
    named = list(modules) if isinstance(modules, list) else []
    if deprecated is None:
        return named
    if named:
        raise Invalid(
            "--cuda-graph-scope and --cuda-graph-modules are the same",
            "keep --cuda-graph-modules",
            ("cuda_graph_scope_deprecated",),
        )
    return deprecated


@derives(">=0.15", see=VALIDATE_ARGS)
def te_rng_tracker(te_rng_tracker: bool, cuda_graph_impl: str, transformer_impl: str) -> bool:
    """On where Transformer Engine is captured."""
    return te_rng_tracker or cuda_graph_impl != "none" and "transformer_engine" in (transformer_impl, cuda_graph_impl)


@checks(">=0.16, <0.17", see=(TRANSFORMER_CONFIG, VALIDATE_ARGS))
def scopes(
    cuda_graph_impl: str,
    cuda_graph_scope: list[str],
    num_experts: int | None,
    moe_layer_freq: int | list[int],
    moe_expert_capacity_factor: float | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_token_dispatcher_type: str,
    moe_router_padding_for_fp8: bool | None,
    check_for_nan_in_loss_and_grad: bool,
    inference_dynamic_batching: bool,
    fp8: str | None,
) -> Problems:
    """Which parts can be captured."""
    if cuda_graph_impl == "none":
        return
    named = set(cuda_graph_scope)
    concerned = ("cuda_graph_scope", "cuda_graph_impl")
    if "full_iteration" in named:
        if cuda_graph_impl == "transformer_engine":
            yield Invalid(
                "--cuda-graph-scope full_iteration needs --cuda-graph-impl local, not transformer_engine", "", concerned
            )
        elif inference_dynamic_batching and fp8:
            yield Invalid("--cuda-graph-scope full_iteration does not work with FP8 in inference", "", concerned)
        elif not inference_dynamic_batching and check_for_nan_in_loss_and_grad:
            yield Invalid(
                "--cuda-graph-scope full_iteration cannot look for NaNs",
                "add --no-check-for-nan-in-loss-and-grad",
                concerned,
            )
    if cuda_graph_impl == "local" and named & {"moe_router", "moe_preprocess"}:
        named |= {"moe_router", "moe_preprocess"}  # local captures both or none
    if {"moe", "moe_router"} <= named:
        yield Invalid("--cuda-graph-scope moe contains moe_router", "keep one of them", concerned)
    if "moe_preprocess" in named and "moe_router" not in named:
        yield Invalid("--cuda-graph-scope moe_preprocess needs moe_router", "add moe_router", concerned)
    if num_experts is None or num_experts <= 1:
        if named & {"moe", "moe_router"}:
            yield Invalid("--cuda-graph-scope moe and moe_router need experts", "", ("cuda_graph_scope", "num_experts"))
        return
    if "mlp" in named and (moe_layer_freq == 1 or isinstance(moe_layer_freq, list) and 0 not in moe_layer_freq):
        yield Invalid("--cuda-graph-scope mlp needs dense layers, and all have experts", "", concerned)
    limited = moe_expert_capacity_factor is not None and moe_expert_capacity_factor >= 0
    if limited and moe_pad_expert_input_to_capacity:
        return
    if "moe" in named:
        yield Invalid(
            "--cuda-graph-scope moe needs experts of one size",
            "add --moe-expert-capacity-factor and --moe-pad-expert-input-to-capacity",
            concerned,
        )
    if (
        "moe_preprocess" in named
        and moe_token_dispatcher_type == "alltoall"
        and (limited or moe_router_padding_for_fp8)
    ):
        yield Invalid(
            "--cuda-graph-scope moe_preprocess does not work where the dispatcher has to ask the GPU for sizes",
            "leave out moe_preprocess",
            concerned,
        )


@checks(">=0.16, <0.17", see=TRANSFORMER_CONFIG)
def recomputation_in_graphs(
    cuda_graph_impl: str,
    cuda_graph_scope: list[str],
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
    attention_dropout: float,
    hidden_dropout: float,
    moe_input_jitter_eps: float | None,
) -> Problems:
    """What may be recomputed inside a graph."""
    if cuda_graph_impl == "none" or not recompute_granularity:
        return
    concerned = ("recompute_granularity", "cuda_graph_impl")
    if recompute_granularity == "full":
        if cuda_graph_scope != ["full_iteration"]:
            yield Invalid(
                "--recompute-granularity full needs graphs of a whole iteration",
                "use --cuda-graph-impl local --cuda-graph-scope full_iteration, or selective recomputation",
                concerned,
            )
        return
    modules = set(recompute_modules or ["core_attn"])
    if cuda_graph_impl == "transformer_engine" and "moe" in modules and "moe_router" in cuda_graph_scope:
        yield Invalid(
            "--recompute-modules moe does not work with --cuda-graph-scope moe_router",
            arguments=("recompute_modules", "cuda_graph_scope"),
        )
    whole = not cuda_graph_scope or "full_iteration" in cuda_graph_scope
    for name, random, pairs in (
        ("attention_dropout", attention_dropout != 0.0, (("attn", "core_attn"),)),
        ("hidden_dropout", hidden_dropout != 0.0, (("mlp", "mlp"), ("moe", "moe"))),
        ("moe_input_jitter_eps", moe_input_jitter_eps is not None, (("moe", "moe"),)),
    ):
        for scope, module in pairs:
            if random and module in modules and (whole or scope in cuda_graph_scope):
                yield Invalid(
                    f"a graph cannot recompute {module} with random numbers ({name})",
                    "set it to 0, or leave the module out of --recompute-modules",
                    (name, "recompute_granularity"),
                )


@checks(">=0.16, <0.17", see=VALIDATE_ARGS)
def graph_memory(
    cuda_graph_impl: str,
    expert_model_parallel_size: int,
    moe_pad_experts_for_cuda_graph_inference: bool | None,
    env: Mapping[str, str],
) -> Problems:
    """Memory that may move, and experts of one size."""
    if cuda_graph_impl == "transformer_engine":
        movable = "expandable_segments:True" in env.get("PYTORCH_CUDA_ALLOC_CONF", "")
        if movable and env.get("NCCL_GRAPH_REGISTER", "") != "0":
            yield Invalid(
                "--cuda-graph-impl transformer_engine with PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True requires "
                "NCCL_GRAPH_REGISTER=0 in the environment",
                "export NCCL_GRAPH_REGISTER=0",
                ("cuda_graph_impl",),
                variable="NCCL_GRAPH_REGISTER",
            )
    elif cuda_graph_impl == "local" and expert_model_parallel_size > 1 and not moe_pad_experts_for_cuda_graph_inference:
        yield Invalid(
            "--cuda-graph-impl local with expert parallelism needs --moe-pad-experts-for-cuda-graph-inference",
            arguments=("cuda_graph_impl", "expert_model_parallel_size"),
        )


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def graphs_of_an_iteration(
    cuda_graph_impl: str, cuda_graph_modules: list[str], check_for_nan_in_loss_and_grad: bool
) -> Problems:
    """What a graph of a whole iteration excludes."""
    if cuda_graph_impl != "full_iteration":
        return
    if check_for_nan_in_loss_and_grad:
        yield Invalid(
            "--cuda-graph-impl full_iteration cannot look for NaNs",
            "add --no-check-for-nan-in-loss-and-grad",
            ("cuda_graph_impl",),
        )
    if cuda_graph_modules:
        yield Invalid(
            "--cuda-graph-impl full_iteration captures all modules",
            "leave out --cuda-graph-modules",
            ("cuda_graph_impl", "cuda_graph_modules"),
        )
