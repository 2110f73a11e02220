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
    flag,
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


@derives(">=0.14", see=VALIDATE_ARGS, until="0.15", name="te_rng_tracker")
def te_rng_tracker_by_switches(
    te_rng_tracker: bool, enable_cuda_graph: bool, external_cuda_graph: bool, transformer_impl: str
) -> bool:
    """On where layers of Transformer Engine are captured, by a switch."""
    return te_rng_tracker or (enable_cuda_graph or external_cuda_graph) and transformer_impl == "transformer_engine"


@derives(">=0.15", see=VALIDATE_ARGS, until="0.16", name="te_rng_tracker")
def te_rng_tracker_of_layers(te_rng_tracker: bool, cuda_graph_impl: str, transformer_impl: str) -> bool:
    """The same, by whom it is captured."""
    return te_rng_tracker or cuda_graph_impl != "none" and transformer_impl == "transformer_engine"


@derives(">=0.16", see=VALIDATE_ARGS)
def te_rng_tracker(te_rng_tracker: bool, cuda_graph_impl: str, transformer_impl: str) -> bool:
    """On where Transformer Engine is captured, or captures."""
    return te_rng_tracker or cuda_graph_impl != "none" and "transformer_engine" in (transformer_impl, cuda_graph_impl)


@checks(">=0.14", see=(VALIDATE_ARGS, TRANSFORMER_CONFIG), until="0.15")
def graphs_by_switches(
    enable_cuda_graph: bool,
    external_cuda_graph: bool,
    cuda_graph_scope: str,
    check_for_nan_in_loss_and_grad: bool,
    recompute_granularity: str | None,
    cpu_offloading: bool,
    env: Mapping[str, str],
) -> Problems:
    """What graphs exclude where switches ask for them."""
    if enable_cuda_graph and external_cuda_graph:
        yield Invalid("--enable-cuda-graph and --external-cuda-graph exclude each other", "keep one of them")
    if enable_cuda_graph and cuda_graph_scope == "full_iteration":
        yield from _no_nans("--cuda-graph-scope full_iteration", check_for_nan_in_loss_and_grad)
    for name, on in (
        ("recompute_granularity", recompute_granularity),
        ("cpu_offloading_num_layers", cpu_offloading),
    ):
        if enable_cuda_graph and on:
            yield Invalid(f"--enable-cuda-graph does not work with {flag(name)}", "", ("enable_cuda_graph", name))
    if external_cuda_graph:
        yield from _still_memory("external_cuda_graph", env)
        yield from _not_in_full("external_cuda_graph", recompute_granularity)


@checks(">=0.15", see=(VALIDATE_ARGS, TRANSFORMER_CONFIG), until="0.16")
def graphs_of_layers(
    cuda_graph_impl: str,
    cuda_graph_scope: str,
    check_for_nan_in_loss_and_grad: bool,
    inference_dynamic_batching: bool,
    fp8: str | None,
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
    env: Mapping[str, str],
) -> Problems:
    """What graphs exclude where it is said who captures them."""
    if cuda_graph_impl == "none":
        return
    if cuda_graph_impl == "local" and cuda_graph_scope == "full_iteration" and not inference_dynamic_batching:
        yield from _no_nans("--cuda-graph-scope full_iteration", check_for_nan_in_loss_and_grad)
    elif cuda_graph_impl == "local" and cuda_graph_scope == "full_iteration" and fp8:
        yield Invalid(
            "--cuda-graph-scope full_iteration does not work with FP8 in inference", "", ("cuda_graph_scope",)
        )
    yield from _still_memory("cuda_graph_impl", env)
    yield from _not_in_full("cuda_graph_impl", recompute_granularity)
    if recompute_granularity != "selective":
        return
    outside = cuda_graph_impl == "transformer_engine" and cuda_graph_scope == "attn"
    inside = {"core_attn", "mla_up_proj"} & set(recompute_modules or ["core_attn"])
    if not outside or inside:
        yield Invalid(
            "graphs recompute nothing that they capture",
            "use --cuda-graph-impl transformer_engine --cuda-graph-scope attn, and --recompute-modules outside of it",
            ("recompute_granularity", "cuda_graph_impl"),
        )


def _still_memory(argument: str, env: Mapping[str, str]) -> Problems:
    if "expandable_segments:True" in env.get("PYTORCH_CUDA_ALLOC_CONF", ""):
        yield Invalid(
            f"{flag(argument)} does not work with PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
            "unset PYTORCH_CUDA_ALLOC_CONF",
            (argument,),
        )


def _not_in_full(argument: str, recompute_granularity: str | None) -> Problems:
    if recompute_granularity == "full":
        yield Invalid(
            f"{flag(argument)} does not work with --recompute-granularity full",
            "use selective recomputation, or none",
            (argument, "recompute_granularity"),
        )


@checks(">=0.16", see=TRANSFORMER_CONFIG, until="0.18")
def scopes(
    cuda_graph_impl: str,
    cuda_graph_scope: list[str],
    num_experts: int | None,
    moe_layer_freq: int | list[int],
    moe_expert_capacity_factor: float | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_token_dispatcher_type: str,
    moe_router_padding_for_fp8: bool | None,
) -> Problems:
    """Which parts can be captured."""
    if cuda_graph_impl == "none":
        return
    if "full_iteration" in cuda_graph_scope and cuda_graph_impl == "transformer_engine":
        yield Invalid(
            "--cuda-graph-scope full_iteration needs --cuda-graph-impl local, not transformer_engine",
            arguments=("cuda_graph_scope", "cuda_graph_impl"),
        )
    yield from _parts(
        "cuda_graph_scope",
        cuda_graph_scope,
        cuda_graph_impl,
        num_experts,
        moe_layer_freq,
        moe_expert_capacity_factor,
        moe_pad_expert_input_to_capacity,
        moe_token_dispatcher_type,
        moe_router_padding_for_fp8,
    )


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def parts(
    cuda_graph_impl: str,
    cuda_graph_modules: list[str],
    num_experts: int | None,
    moe_layer_freq: int | list[int],
    moe_expert_capacity_factor: float | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_token_dispatcher_type: str,
    moe_router_padding_for_fp8: bool | None,
) -> Problems:
    """The same under another name; a whole iteration has no parts."""
    if cuda_graph_impl in ("local", "transformer_engine"):
        yield from _parts(
            "cuda_graph_modules",
            cuda_graph_modules,
            cuda_graph_impl,
            num_experts,
            moe_layer_freq,
            moe_expert_capacity_factor,
            moe_pad_expert_input_to_capacity,
            moe_token_dispatcher_type,
            moe_router_padding_for_fp8,
        )


def _parts(
    argument: str,
    parts_to_capture: list[str],
    cuda_graph_impl: str,
    num_experts: int | None,
    moe_layer_freq: int | list[int],
    moe_expert_capacity_factor: float | None,
    moe_pad_expert_input_to_capacity: bool | None,
    moe_token_dispatcher_type: str,
    moe_router_padding_for_fp8: bool | None,
) -> Problems:
    said, concerned, named = flag(argument), (argument, "cuda_graph_impl"), set(parts_to_capture)
    if cuda_graph_impl == "local" and named & {"moe_router", "moe_preprocess"}:
        named |= {"moe_router", "moe_preprocess"}  # local captures both or none
    if {"moe", "moe_router"} <= named:
        yield Invalid(f"{said} moe contains moe_router", "keep one of them", concerned)
    if "moe_preprocess" in named and "moe_router" not in named:
        yield Invalid(f"{said} moe_preprocess needs moe_router", "add moe_router", concerned)
    if num_experts is None or num_experts <= 1:
        if named & {"moe", "moe_router"}:
            yield Invalid(f"{said} moe and moe_router need experts", "", (argument, "num_experts"))
        return
    if "mlp" in named and (moe_layer_freq == 1 or isinstance(moe_layer_freq, list) and 0 not in moe_layer_freq):
        yield Invalid(f"{said} mlp needs dense layers, and all have experts", "", concerned)
    limited = moe_expert_capacity_factor is not None and moe_expert_capacity_factor >= 0
    if limited and moe_pad_expert_input_to_capacity:
        return
    if "moe" in named:
        yield Invalid(
            f"{said} moe needs experts of one size",
            "add --moe-expert-capacity-factor and --moe-pad-expert-input-to-capacity",
            concerned,
        )
    if (
        "moe_preprocess" in named
        and moe_token_dispatcher_type == "alltoall"
        and (limited or moe_router_padding_for_fp8)
    ):
        yield Invalid(
            f"{said} moe_preprocess does not work where the dispatcher has to ask the GPU for sizes",
            "leave out moe_preprocess",
            concerned,
        )


@checks(">=0.16", see=VALIDATE_ARGS, until="0.17")
def iteration_or_inference(
    cuda_graph_impl: str,
    cuda_graph_scope: list[str],
    check_for_nan_in_loss_and_grad: bool,
    inference_dynamic_batching: bool,
    fp8: str | None,
) -> Problems:
    """What a graph of a whole iteration excludes, in training and in inference."""
    if cuda_graph_impl != "local" or "full_iteration" not in cuda_graph_scope:
        return
    if inference_dynamic_batching and fp8:
        yield Invalid(
            "--cuda-graph-scope full_iteration does not work with FP8 in inference",
            arguments=("cuda_graph_scope", "cuda_graph_impl"),
        )
    elif not inference_dynamic_batching:
        yield from _no_nans("--cuda-graph-scope full_iteration", check_for_nan_in_loss_and_grad)


@checks(">=0.17", see=VALIDATE_ARGS, until="0.18")
def iteration_and_inference(
    cuda_graph_impl: str,
    cuda_graph_scope: list[str],
    check_for_nan_in_loss_and_grad: bool,
    fp8: str | None,
    fp8_recipe: str | None,
    transformer_impl: str,
) -> Problems:
    """The same, inference under a name of its own."""
    if cuda_graph_impl != "local":
        return
    if "full_iteration" in cuda_graph_scope:
        yield from _no_nans("--cuda-graph-scope full_iteration", check_for_nan_in_loss_and_grad)
    if "full_iteration_inference" in cuda_graph_scope:
        yield from _fp8_of_inference(
            "--cuda-graph-scope full_iteration_inference", "cuda_graph_scope", fp8, fp8_recipe, transformer_impl
        )


@checks(">=0.18", see=VALIDATE_ARGS)
def blocks_in_inference(
    inference_cuda_graph_scope: str, fp8: str | None, fp8_recipe: str | None, transformer_impl: str
) -> Problems:
    """The same under yet another name."""
    if inference_cuda_graph_scope == "block":
        name = "inference_cuda_graph_scope"
        yield from _fp8_of_inference(f"{flag(name)} block", name, fp8, fp8_recipe, transformer_impl)


def _no_nans(said: str, check_for_nan_in_loss_and_grad: bool) -> Problems:
    if check_for_nan_in_loss_and_grad:
        yield Invalid(f"{said} cannot look for NaNs", "add --no-check-for-nan-in-loss-and-grad", ("cuda_graph_impl",))


def _fp8_of_inference(
    said: str, argument: str, fp8: str | None, fp8_recipe: str | None, transformer_impl: str
) -> Problems:
    if not fp8:
        return
    if transformer_impl != "inference_optimized":
        yield Invalid(f"{said} with FP8 needs --transformer-impl inference_optimized", "", (argument, "fp8"))
    if fp8_recipe != "mxfp8":
        yield Invalid(f"{said} with FP8 needs --fp8-recipe mxfp8, not {fp8_recipe}", "", (argument, "fp8_recipe"))


@checks(">=0.17", see=VALIDATE_ARGS)
def graphs_of_inference(cuda_graph_impl: str, inference_dynamic_batching_num_cuda_graphs: int) -> Problems:
    """How many graphs inference has."""
    count = inference_dynamic_batching_num_cuda_graphs
    if cuda_graph_impl == "local" and count <= 0 and count != -1:
        yield Invalid(
            f"--inference-dynamic-batching-num-cuda-graphs must be at least 1, or -1, not {count}",
            arguments=("inference_dynamic_batching_num_cuda_graphs", "cuda_graph_impl"),
        )


@checks(">=0.16", see=TRANSFORMER_CONFIG, until="0.18")
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
    if cuda_graph_impl == "none":
        return
    if recompute_granularity == "full" and cuda_graph_scope != ["full_iteration"]:
        yield Invalid(
            "--recompute-granularity full needs graphs of a whole iteration",
            "use --cuda-graph-impl local --cuda-graph-scope full_iteration, or selective recomputation",
            ("recompute_granularity", "cuda_graph_impl"),
        )
    if recompute_granularity == "selective":
        whole = not cuda_graph_scope or "full_iteration" in cuda_graph_scope
        yield from _recomputed(
            "cuda_graph_scope",
            cuda_graph_scope,
            whole,
            cuda_graph_impl,
            recompute_modules,
            attention_dropout,
            hidden_dropout,
            moe_input_jitter_eps,
        )


@checks(">=0.18", see=TRANSFORMER_CONFIG)
def recomputation_in_parts(
    cuda_graph_impl: str,
    cuda_graph_modules: list[str],
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
    attention_dropout: float,
    hidden_dropout: float,
    moe_input_jitter_eps: float | None,
) -> Problems:
    """The same under another name."""
    if cuda_graph_impl == "none":
        return
    if recompute_granularity == "full" and cuda_graph_impl != "full_iteration":
        yield Invalid(
            "--recompute-granularity full needs graphs of a whole iteration",
            "use --cuda-graph-impl full_iteration, or selective recomputation",
            ("recompute_granularity", "cuda_graph_impl"),
        )
    if recompute_granularity == "selective":
        whole = not cuda_graph_modules or cuda_graph_impl == "full_iteration"
        yield from _recomputed(
            "cuda_graph_modules",
            cuda_graph_modules,
            whole,
            cuda_graph_impl,
            recompute_modules,
            attention_dropout,
            hidden_dropout,
            moe_input_jitter_eps,
        )


def _recomputed(
    argument: str,
    captured: list[str],
    whole: bool,
    cuda_graph_impl: str,
    recompute_modules: list[str] | None,
    attention_dropout: float,
    hidden_dropout: float,
    moe_input_jitter_eps: float | None,
) -> Problems:
    modules = set(recompute_modules or ["core_attn"])
    if cuda_graph_impl == "transformer_engine" and "moe" in modules and "moe_router" in captured:
        yield Invalid(
            f"--recompute-modules moe does not work with {flag(argument)} moe_router",
            arguments=("recompute_modules", argument),
        )
    for name, random, pairs in (
        ("attention_dropout", attention_dropout != 0.0, (("attn", "core_attn"),)),
        ("hidden_dropout", hidden_dropout != 0.0, (("mlp", "mlp"), ("moe", "moe"))),
        ("moe_input_jitter_eps", moe_input_jitter_eps is not None, (("moe", "moe"),)),
    ):
        for part, module in pairs:
            if random and module in modules and (whole or part in captured):
                yield Invalid(
                    f"a graph cannot recompute {module} with random numbers ({name})",
                    "set it to 0, or leave the module out of --recompute-modules",
                    (name, "recompute_granularity"),
                )


@checks(">=0.16", see=VALIDATE_ARGS)
def graph_memory(cuda_graph_impl: str, env: Mapping[str, str]) -> Problems:
    """Memory that may move."""
    movable = "expandable_segments:True" in env.get("PYTORCH_CUDA_ALLOC_CONF", "")
    if cuda_graph_impl == "transformer_engine" and movable and env.get("NCCL_GRAPH_REGISTER", "") != "0":
        yield Invalid(
            "--cuda-graph-impl transformer_engine with PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True requires "
            "NCCL_GRAPH_REGISTER=0 in the environment",
            "",
            ("cuda_graph_impl",),
            variable="NCCL_GRAPH_REGISTER",
            export="NCCL_GRAPH_REGISTER=0",
        )


@checks(">=0.16", see=VALIDATE_ARGS, until="0.18")
def experts_in_graphs(
    cuda_graph_impl: str,
    expert_model_parallel_size: int,
    moe_pad_experts_for_cuda_graph_inference: bool | None,
    transformer_impl: str,
) -> Problems:
    """Experts of one size; those that are optimized for inference (0.17) have it."""
    if cuda_graph_impl == "local" and expert_model_parallel_size > 1 and not moe_pad_experts_for_cuda_graph_inference:
        if transformer_impl != "inference_optimized":
            yield Invalid(
                "--cuda-graph-impl local with expert parallelism needs --moe-pad-experts-for-cuda-graph-inference",
                arguments=("cuda_graph_impl", "expert_model_parallel_size"),
            )


@checks(">=0.17", see=VALIDATE_ARGS, until="0.18")
def gradients_in_graphs(
    delay_wgrad_compute: bool,
    overlap_grad_reduce: bool,
    cuda_graph_scope: list[str],
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool,
    gradient_accumulation_fusion: bool,
    add_bias_linear: bool,
    add_qkv_bias: bool,
) -> Problems:
    """Gradients of weights that come later, inside a graph."""
    if delay_wgrad_compute and overlap_grad_reduce:
        shared = moe_shared_expert_intermediate_size is not None and not moe_shared_expert_overlap
        biases = add_bias_linear or add_qkv_bias
        yield from _later_gradients("cuda_graph_scope", cuda_graph_scope, shared, gradient_accumulation_fusion, biases)


@checks(">=0.18", see=VALIDATE_ARGS)
def gradients_in_parts(
    delay_wgrad_compute: bool,
    overlap_grad_reduce: bool,
    cuda_graph_modules: list[str],
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool,
    gradient_accumulation_fusion: bool,
    add_bias_linear: bool,
    add_qkv_bias: bool,
) -> Problems:
    """The same under another name."""
    if delay_wgrad_compute and overlap_grad_reduce:
        shared = moe_shared_expert_intermediate_size is not None and not moe_shared_expert_overlap
        biases = add_bias_linear or add_qkv_bias
        name = "cuda_graph_modules"
        yield from _later_gradients(name, cuda_graph_modules, shared, gradient_accumulation_fusion, biases)


def _later_gradients(argument: str, captured: list[str], shared: bool, fused: bool, biases: bool) -> Problems:
    if "attn" not in captured and not (shared and "moe_router" in captured):
        return
    if not fused:
        yield Invalid(
            f"--delay-wgrad-compute with {flag(argument)} cannot be combined with --no-gradient-accumulation-fusion",
            arguments=("delay_wgrad_compute", argument, "gradient_accumulation_fusion"),
        )
    if "attn" in captured and biases:
        yield Invalid(
            f"--delay-wgrad-compute with {flag(argument)} attn has no biases of attention",
            "add --disable-bias-linear",
            ("delay_wgrad_compute", argument),
        )


@checks(">=0.19", see=TRANSFORMER_CONFIG)
def shared_experts_in_graphs(
    gtp_weight_remat_size: int,
    cuda_graph_impl: str,
    cuda_graph_modules: list[str],
    fp8: str | None,
    fp4: str | None,
    moe_shared_expert_intermediate_size: int | None,
    moe_shared_expert_overlap: bool,
    recompute_granularity: str | None,
    recompute_modules: list[str] | None,
) -> Problems:
    """Shared experts in shards, captured and computed again."""
    shared = moe_shared_expert_intermediate_size is not None and not moe_shared_expert_overlap
    captured = not cuda_graph_modules or not {"moe", "moe_router"}.isdisjoint(cuda_graph_modules)
    again = recompute_granularity == "selective" and "shared_experts" in (recompute_modules or ())
    if gtp_weight_remat_size > 1 and cuda_graph_impl == "local" and (fp8 or fp4) and shared and captured and again:
        yield Invalid(
            "--cuda-graph-impl local cannot recompute shared experts in FP8 or FP4 whose weights are in shards",
            "leave shared_experts out of --recompute-modules, or use --cuda-graph-impl full_iteration",
            ("recompute_modules", "tensor_parallel_num_weight_shards", "cuda_graph_impl"),
        )


@checks(">=0.18", see=VALIDATE_ARGS, read=("0.18", "0.19", "0.20"))
def graphs_of_an_iteration(
    cuda_graph_impl: str, cuda_graph_modules: list[str], check_for_nan_in_loss_and_grad: bool
) -> Problems:
    """What a graph of a whole iteration excludes."""
    if cuda_graph_impl != "full_iteration":
        return
    yield from _no_nans("--cuda-graph-impl full_iteration", check_for_nan_in_loss_and_grad)
    if cuda_graph_modules:
        yield Invalid(
            "--cuda-graph-impl full_iteration captures all modules",
            "leave out --cuda-graph-modules",
            ("cuda_graph_impl", "cuda_graph_modules"),
        )
