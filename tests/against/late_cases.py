"""Command lines that ``validate_args`` accepts and that stop when the model is built, or at the first step."""

from __future__ import annotations

from typing import Final, NamedTuple

BASE: Final = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --train-iters 10 --lr 1e-3 --eval-interval 10 --eval-iters 0 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100"
)
ENV: Final = {"CUDA_DEVICE_MAX_CONNECTIONS": "1", "NCCL_ALGO": "Ring"}
HYBRID: Final = "--spec megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec --is-hybrid-model"
BARE: Final = "--disable-bias-linear"
LOCAL: Final = "--transformer-impl local"
MLA: Final = "--multi-latent-attention --position-embedding-type rope --no-rope-fusion"
LOCAL_RMS: Final = f"{LOCAL} --normalization RMSNorm"
PRECISION: Final = "--use-distributed-optimizer --use-precision-aware-optimizer"
VIRTUAL: Final = "--num-layers 4 --pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2"
OF_THE_SCHEDULE: Final = (
    "micro_batch_size",
    "pipeline_model_parallel_size",
    "num_layers_per_virtual_pipeline_stage",
)


class Late(NamedTuple):
    """A command line, and what is to be seen of it.

    Attributes:
        words: they come behind ``BASE``, and stop.
        arguments: of the finding; the first is the one it is mostly about.
        where: beginning of the place in ``megatron`` that stops.
        remedied: the words once the remedy is followed.
        nproc: processes.
        env: variables of the run, beside ``ENV``.
        remedied_env: the same for the remedied run.
        program: what is started.
        bridge: False where only Megatron-LM gets there on a CPU, or at all.
    """

    words: str
    arguments: tuple[str, ...]
    where: str
    remedied: str
    nproc: int = 1
    env: str = ""
    remedied_env: str = ""
    program: str = "pretrain_gpt.py"
    bridge: bool = True


def experts(words: str = "") -> str:
    return f"--num-experts 4 {words}".strip()


CASES: Final[dict[str, Late]] = {
    "experts with GELU and biases": Late(
        experts(), ("num_experts",), "core/transformer/mlp.py forward", experts("--no-bias-gelu-fusion")
    ),
    "experts with SwiGLU and biases": Late(
        experts("--swiglu"),
        ("swiglu", "num_experts"),
        "core/fusions/fused_bias_swiglu.py weighted_bias_swiglu_impl",
        experts(f"--swiglu {BARE}"),
    ),
    "experts in groups with biases": Late(
        experts("--moe-grouped-gemm --swiglu"),
        ("moe_grouped_gemm", "num_experts"),
        "core/transformer/moe/experts.py __init__",
        experts("--moe-grouped-gemm --swiglu --no-bias-dropout-fusion"),
    ),
    "experts in groups with GELU and biases": Late(
        experts("--moe-grouped-gemm --no-bias-dropout-fusion"),
        ("num_experts",),
        "core/transformer/moe/experts.py bias_act_func",
        experts("--moe-grouped-gemm --no-bias-dropout-fusion --no-bias-gelu-fusion"),
    ),
    "shared experts with biases": Late(
        experts("--quick-geglu --moe-shared-expert-intermediate-size 64"),
        ("moe_shared_expert_intermediate_size",),
        "core/transformer/moe/shared_experts.py __init__",
        experts(f"--quick-geglu --moe-shared-expert-intermediate-size 64 {BARE}"),
    ),
    "more experts a token than there are": Late(
        experts(f"{BARE} --moe-router-topk 5"),
        ("moe_router_topk", "num_experts"),
        "core/transformer/moe/moe_utils.py _compute_topk",
        experts(f"{BARE} --moe-router-topk 4"),
    ),
    "more experts a token than its groups have": Late(
        experts(f"{BARE} --moe-router-topk 4 --moe-router-num-groups 2 --moe-router-group-topk 1"),
        ("moe_router_topk", "moe_router_group_topk", "moe_router_num_groups"),
        "core/transformer/moe/moe_utils.py group_limited_topk",
        experts(f"{BARE} --moe-router-topk 2 --moe-router-num-groups 2 --moe-router-group-topk 1"),
    ),
    "sinkhorn with an auxiliary loss": Late(
        experts(f"{BARE} --moe-router-load-balancing-type sinkhorn --moe-aux-loss-coeff 0.01"),
        ("moe_aux_loss_coeff", "moe_router_load_balancing_type"),
        "core/transformer/moe/router.py sinkhorn_load_balancing",
        experts(f"{BARE} --moe-router-load-balancing-type sinkhorn"),
    ),
    "probabilities on the input of two experts": Late(
        experts(f"{BARE} --moe-apply-probs-on-input"),
        ("moe_apply_probs_on_input", "moe_router_topk"),
        "core/transformer/moe/experts.py forward",
        experts(f"{BARE} --moe-apply-probs-on-input --moe-router-topk 1 --moe-router-pre-softmax"),
    ),
    "experts with tensor parallelism alone": Late(
        experts(f"{BARE} --tensor-model-parallel-size 2"),
        ("tensor_model_parallel_size", "num_experts"),
        "core/transformer/moe/moe_layer.py forward",
        experts(f"{BARE} --tensor-model-parallel-size 2 --sequence-parallel"),
        nproc=2,
    ),
    "experts that cannot be divided": Late(
        experts(f"{BARE} --tensor-model-parallel-size 2 --sequence-parallel --moe-ffn-hidden-size 65"),
        ("moe_ffn_hidden_size", "tensor_model_parallel_size"),
        "core/utils.py ensure_divisibility",
        experts(f"{BARE} --tensor-model-parallel-size 2 --sequence-parallel --moe-ffn-hidden-size 66"),
        nproc=2,
    ),
    "nobody to send tokens to": Late(
        experts(f"{BARE} --moe-token-dispatcher-type flex"),
        ("moe_token_dispatcher_type",),
        "core/transformer/moe/token_dispatcher.py __init__",
        experts(f"{BARE} --moe-token-dispatcher-type alltoall"),
        bridge=False,
    ),
    "latent experts and overlapped shared ones": Late(
        experts(
            f"{BARE} --moe-shared-expert-intermediate-size 64 --moe-shared-expert-overlap --moe-latent-size 32 "
            "--moe-token-dispatcher-type alltoall"
        ),
        ("moe_latent_size", "moe_shared_expert_overlap"),
        "core/transformer/moe/moe_layer.py preprocess",
        experts(
            f"{BARE} --moe-shared-expert-intermediate-size 64 --moe-latent-size 32 --moe-token-dispatcher-type alltoall"
        ),
    ),
    "experts in every zeroth layer": Late(
        experts(f"{BARE} --moe-layer-freq 0"),
        ("moe_layer_freq",),
        "core/models/gpt/",
        experts(f"{BARE} --moe-layer-freq 1"),
    ),
    "heads that their groups do not divide": Late(
        "--group-query-attention --num-query-groups 3",
        ("num_query_groups", "num_attention_heads"),
        "core/transformer/attention.py get_query_key_value_tensors",
        "--group-query-attention --num-query-groups 2",
    ),
    "more groups than heads": Late(
        "--group-query-attention --num-query-groups 8",
        ("num_query_groups", "num_attention_heads"),
        "core/transformer/attention.py get_query_key_value_tensors",
        "--group-query-attention --num-query-groups 4",
    ),
    "a feed-forward layer that cannot be divided": Late(
        f"{LOCAL} --tensor-model-parallel-size 2 --ffn-hidden-size 129",
        ("ffn_hidden_size", "tensor_model_parallel_size"),
        "core/utils.py ensure_divisibility",
        f"{LOCAL} --tensor-model-parallel-size 2 --ffn-hidden-size 130",
        nproc=2,
    ),
    "a sequence that cannot be divided": Late(
        "--tensor-model-parallel-size 2 --sequence-parallel --seq-length 31 --max-position-embeddings 31",
        ("seq_length", "tensor_model_parallel_size", "sequence_parallel"),
        "core/tensor_parallel/mappings.py",
        "--tensor-model-parallel-size 2 --sequence-parallel --seq-length 30 --max-position-embeddings 30",
        nproc=2,
    ),
    "local layers with a persistent RMSNorm": Late(
        LOCAL_RMS,
        ("normalization", "transformer_impl", "no_persist_layer_norm"),
        "core/transformer/torch_norm.py __new__",
        f"{LOCAL_RMS} --no-persist-layer-norm",
    ),
    "local layers with a zero-centred RMSNorm": Late(
        f"{LOCAL_RMS} --no-persist-layer-norm --apply-layernorm-1p",
        ("normalization", "transformer_impl", "layernorm_zero_centered_gamma"),
        "core/transformer/torch_norm.py __new__",
        f"{LOCAL_RMS} --no-persist-layer-norm",
    ),
    "local layers with RMSNorm and divided sequences": Late(
        f"{LOCAL_RMS} --no-persist-layer-norm --tensor-model-parallel-size 2 --sequence-parallel",
        ("normalization", "transformer_impl", "sequence_parallel"),
        "core/transformer/torch_norm.py __new__",
        f"{LOCAL_RMS} --no-persist-layer-norm --tensor-model-parallel-size 2",
        nproc=2,
    ),
    "local layers with context parallelism": Late(
        f"{LOCAL} --context-parallel-size 2",
        ("context_parallel_size", "transformer_impl"),
        "core/transformer/dot_product_attention.py __init__",
        "--context-parallel-size 2",
        nproc=2,
    ),
    "scaled queries without the variable": Late(
        "--apply-query-key-layer-scaling",
        ("apply_query_key_layer_scaling",),
        "core/extensions/transformer_engine.py __init__",
        "--apply-query-key-layer-scaling",
        remedied_env="NVTE_APPLY_QK_LAYER_SCALING=1",
    ),
    "the variable without scaled queries": Late(
        "",
        ("apply_query_key_layer_scaling",),
        "core/extensions/transformer_engine.py __init__",
        "",
        env="NVTE_APPLY_QK_LAYER_SCALING=1",
        remedied_env="NVTE_APPLY_QK_LAYER_SCALING=0",
    ),
    "a variable against the backend": Late(
        "--attention-backend flash",
        ("attention_backend",),
        "core/models/common/language_module/language_module.py",
        "--attention-backend flash",
        env="NVTE_FUSED_ATTN=1",
        remedied_env="NVTE_FLASH_ATTN=1",
    ),
    "a variable against every backend": Late(
        "",
        ("attention_backend",),
        "core/models/common/language_module/language_module.py",
        "--attention-backend fused",
        env="NVTE_FLASH_ATTN=0",
    ),
    "determinism without the variable": Late(
        "--deterministic-mode",
        ("deterministic_mode",),
        "core/extensions/transformer_engine.py __init__",
        "--deterministic-mode",
        remedied_env="NVTE_ALLOW_NONDETERMINISTIC_ALGO=0",
    ),
    "positions of pictures": Late(
        "--position-embedding-type mrope --mrope-section 2 3 3",
        ("position_embedding_type",),
        "core/models/common/embeddings/rotary_pos_embedding.py forward",
        "--position-embedding-type rope",
    ),
    "an odd head to turn": Late(
        "--kv-channels 7 --position-embedding-type rope",
        ("kv_channels", "position_embedding_type"),
        "core/models/common/embeddings/rope_utils.py",
        "--kv-channels 8 --position-embedding-type rope",
    ),
    "latent attention with L2 norms": Late(
        f"{MLA} --qk-l2-norm",
        ("qk_l2_norm", "multi_latent_attention"),
        "core/models/gpt/gpt_layer_specs.py",
        f"{MLA} --qk-layernorm",
    ),
    "latents kept while training": Late(
        f"{MLA} --cache-mla-latents",
        ("cache_mla_latents",),
        "core/transformer/multi_latent_attention.py forward",
        MLA,
    ),
    "sparse attention": Late(
        f"{MLA} --experimental-attention-variant dsa",
        ("experimental_attention_variant",),
        "core/models/gpt/experimental_attention_variant_module_specs.py get_experimental_attention_variant",
        MLA,
    ),
    "a variant of attention in local layers": Late(
        f"{MLA} --experimental-attention-variant dsa {LOCAL}",
        ("experimental_attention_variant", "transformer_impl"),
        "core/models/gpt/experimental_attention_variant_module_specs.py _get_backend_spec_provider",
        MLA,
    ),
    "clipped queries in fp32": Late(f"{LOCAL} --qk-clip", ("qk_clip",), "core/optimizer/qk_clip.py clip_qk", LOCAL),
    "prediction computed again two layers at a time": Late(
        "--mtp-num-layers 1 --position-embedding-type rope --recompute-granularity full --recompute-method uniform "
        "--recompute-num-layers 2",
        ("recompute_num_layers", "mtp_num_layers"),
        "core/transformer/multi_token_prediction.py _checkpointed_forward",
        "--mtp-num-layers 1 --position-embedding-type rope --recompute-granularity full --recompute-method uniform "
        "--recompute-num-layers 1",
    ),
    "more dropped than there is": Late(
        "--hidden-dropout 2",
        ("hidden_dropout",),
        "core/models/common/embeddings/language_model_embedding.py __init__",
        "--hidden-dropout 0.2",
    ),
    "attention that is dropped below zero": Late(
        f"{LOCAL} --attention-dropout -1",
        ("attention_dropout",),
        "core/transformer/dot_product_attention.py",
        f"{LOCAL} --attention-dropout 0.1",
    ),
    "weights spread by less than nothing": Late(
        "--init-method-std -1",
        ("init_method_std",),
        "core/tensor_parallel/layers.py _initialize_affine_weight_gpu",
        "--init-method-std 0.01",
    ),
    "sgd with divided states": Late(
        "--optimizer sgd --use-distributed-optimizer",
        ("optimizer", "use_distributed_optimizer"),
        "core/optimizer/distrib_optimizer.py __init__",
        "--optimizer sgd",
    ),
    "a first loss scale of 0": Late(
        "--fp16 --initial-loss-scale 0 --min-loss-scale 1e-9",
        ("initial_loss_scale",),
        "core/optimizer/grad_scaler.py __init__",
        "--fp16 --initial-loss-scale 4",
    ),
    "a least loss scale of 0": Late(
        "--fp16 --min-loss-scale 0", ("min_loss_scale",), "core/optimizer/grad_scaler.py __init__", "--fp16"
    ),
    "a least loss scale above the first": Late(
        "--fp16 --initial-loss-scale 1 --min-loss-scale 2",
        ("min_loss_scale", "initial_loss_scale"),
        "core/optimizer/grad_scaler.py __init__",
        "--fp16 --initial-loss-scale 2 --min-loss-scale 1",
    ),
    "a window of no losses": Late(
        "--fp16 --loss-scale-window 0",
        ("loss_scale_window",),
        "core/optimizer/grad_scaler.py __init__",
        "--fp16 --loss-scale-window 10",
    ),
    "no hysteresis": Late(
        "--fp16 --hysteresis 0", ("hysteresis",), "core/optimizer/grad_scaler.py __init__", "--fp16 --hysteresis 1"
    ),
    "a loss scale below zero": Late(
        "--fp16 --loss-scale -1", ("loss_scale",), "core/optimizer/grad_scaler.py __init__", "--fp16 --loss-scale 1"
    ),
    "averages over ranks and over tokens": Late(
        "--calculate-per-token-loss --ddp-average-in-collective",
        ("ddp_average_in_collective", "calculate_per_token_loss"),
        "core/distributed/distributed_data_parallel.py __init__",
        "--calculate-per-token-loss",
    ),
    "instances of an optimizer that is not divided": Late(
        "--num-distributed-optimizer-instances 2",
        ("num_distributed_optimizer_instances",),
        "core/distributed/distributed_data_parallel.py",
        "--num-distributed-optimizer-instances 2 --use-distributed-optimizer",
        nproc=2,
    ),
    "sums in fp32 over several instances": Late(
        "--num-distributed-optimizer-instances 2 --use-distributed-optimizer "
        "--ddp-reduce-scatter-with-fp32-accumulation",
        ("ddp_reduce_scatter_with_fp32_accumulation", "num_distributed_optimizer_instances"),
        "core/distributed/param_and_grad_buffer.py __init__",
        "--num-distributed-optimizer-instances 2 --use-distributed-optimizer",
        nproc=2,
    ),
    "fewer micro-batches than stages": Late(
        f"{VIRTUAL} --global-batch-size 1",
        ("global_batch_size", *OF_THE_SCHEDULE),
        "core/pipeline_parallel/schedules.py forward_backward_pipelining_with_interleaving",
        f"{VIRTUAL} --global-batch-size 2",
        nproc=2,
    ),
    "a rest of micro-batches": Late(
        f"{VIRTUAL} --global-batch-size 3",
        ("global_batch_size", *OF_THE_SCHEDULE),
        "core/pipeline_parallel/schedules.py forward_backward_pipelining_with_interleaving",
        f"{VIRTUAL} --global-batch-size 4",
        nproc=2,
    ),
    "groups smaller than the pipeline": Late(
        f"{VIRTUAL} --global-batch-size 4 --microbatch-group-size-per-virtual-pipeline-stage 1",
        ("microbatch_group_size_per_vp_stage", *OF_THE_SCHEDULE),
        "core/pipeline_parallel/schedules.py forward_backward_pipelining_with_interleaving",
        f"{VIRTUAL} --global-batch-size 4 --microbatch-group-size-per-virtual-pipeline-stage 2",
        nproc=2,
    ),
    "gradients in fp16 that are clipped": Late(
        f"{PRECISION} --fp16 --loss-scale 1",
        ("use_precision_aware_optimizer", "fp16"),
        "core/optimizer/clip_grads.py clip_grad_by_total_norm_fp32",
        f"{PRECISION} --fp16 --loss-scale 1 --accumulate-allreduce-grads-in-fp32",
    ),
    "a seed of 0": Late("--seed 0", ("seed",), "", "--seed 1"),
    "fewer letters than layers": Late(
        f"{HYBRID} --hybrid-override-pattern *",
        ("hybrid_override_pattern", "num_layers"),
        "core/ssm/mamba_hybrid_layer_allocation.py _allocate_override",
        f"{HYBRID} --hybrid-override-pattern *-",
        program="pretrain_mamba.py",
    ),
    "letters for no layer": Late(
        f"{HYBRID} --hybrid-override-pattern *x",
        ("hybrid_override_pattern",),
        "core/ssm/mamba_hybrid_layer_allocation.py _allocate_override",
        f"{HYBRID} --hybrid-override-pattern *-",
        program="pretrain_mamba.py",
    ),
    "shares of more than all layers": Late(
        f"{HYBRID} --hybrid-attention-ratio 0.7 --hybrid-mlp-ratio 0.7",
        ("hybrid_attention_ratio", "hybrid_mlp_ratio"),
        "core/ssm/mamba_hybrid_layer_allocation.py allocate_layers",
        f"{HYBRID} --hybrid-attention-ratio 0.5 --hybrid-mlp-ratio 0.5",
        program="pretrain_mamba.py",
    ),
}

# One of each kind: layers, rank sizes, norms, optimizer, schedule.
SOME: Final = (
    "experts with SwiGLU and biases",
    "shared experts with biases",
    "heads that their groups do not divide",
    "scaled queries without the variable",
    "sgd with divided states",
    "fewer micro-batches than stages",
)
