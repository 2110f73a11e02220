"""Sizes, attention, experts, recomputation and graphs."""

from __future__ import annotations

import json

from derive_cases import Accepted, Refused, errors, meaning, said, table

# words, name, value
VALUES = {
    "the old name of layers": ("--encoder-num-layers 4", "num_layers", 4, "--num-layers"),
    "layers by both names": ("", "encoder_num_layers", 8, ""),
    "the old name of the sequence": ("--encoder-seq-length 64", "seq_length", 64, "--seq-length"),
    "sequence by both names": ("", "encoder_seq_length", 128, ""),
    "feed-forward layer of 4 x hidden": ("", "ffn_hidden_size", 256, ""),
    "SwiGLU of 8/3 x hidden, in steps of 64": ("--swiglu --hidden-size 4096", "ffn_hidden_size", 10880, ""),
    "SwiGLU of an odd number of steps": ("--swiglu --hidden-size 320", "ffn_hidden_size", 832, ""),
    "feed-forward layer as typed": ("--swiglu --ffn-hidden-size 96", "ffn_hidden_size", 96, ""),
    "width of a head": ("", "kv_channels", 8, ""),
    "width of a head as typed": ("--kv-channels 24", "kv_channels", 24, ""),
    "groups without grouping": ("--num-query-groups 4", "num_query_groups", None, ""),
    "groups with grouping": ("--num-query-groups 4 --group-query-attention", "num_query_groups", 4, ""),
    "one group, when nobody says how many": ("--group-query-attention", "num_query_groups", 1, ""),
    "biases include those of attention": ("", "add_qkv_bias", True, ""),
    "no biases at all": ("--disable-bias-linear", "add_qkv_bias", False, ""),
    "biases of attention alone": ("--disable-bias-linear --add-qkv-bias", "add_qkv_bias", True, ""),
    "nothing to fuse without biases": ("--disable-bias-linear", "bias_gelu_fusion", False, ""),
    "the old switch for rope": ("--use-rotary-position-embeddings", "position_embedding_type", "rope", ""),
    "no fused positions without rope": ("", "apply_rope_fusion", False, ""),
    "fused positions with rope": ("--position-embedding-type rope", "apply_rope_fusion", True, ""),
    "scaling of queries and keys": ("--apply-query-key-layer-scaling", "attention_softmax_in_fp32", True, ""),
    "a vocabulary in steps of 128": ("", "padded_vocab_size", 128, ""),
    "a token for the end of documents": ("--vocab-size 128", "padded_vocab_size", 256, ""),
    "a vocabulary in steps of 128 x tensor": ("--tensor-model-parallel-size 4", "padded_vocab_size", 512, ""),
    "a vocabulary that files tell": (
        "--tokenizer-type GPT2BPETokenizer --vocab-file v --merge-file m",
        "padded_vocab_size",
        None,
        "--tokenizer-type",
    ),
    "offloading of layers": ("--cpu-offloading-num-layers 2", "cpu_offloading", True, ""),
    "no experts": ("--num-experts 0", "num_experts", None, ""),
    "experts as wide as feed-forward layers": (
        "--num-experts 2 --disable-bias-linear --moe-router-topk 2 --ffn-hidden-size 96",
        "moe_ffn_hidden_size",
        96,
        "",
    ),
    "no width of experts without experts": ("", "moe_ffn_hidden_size", None, ""),
    "one kind of load balancing": (
        "--moe-router-load-balancing-type sinkhorn",
        "moe_router_load_balancing_type",
        "sinkhorn",
        "",
    ),
    "two kinds of load balancing": (
        "--moe-router-load-balancing-type aux_loss seq_aux_loss --moe-aux-loss-coeff 0.1 0.2",
        "moe_router_load_balancing_type",
        ["aux_loss", "seq_aux_loss"],
        "",
    ),
    "one coefficient": ("--moe-aux-loss-coeff 0.1", "moe_aux_loss_coeff", 0.1, ""),
    "selective recomputation by its switch": ("--recompute-activations", "recompute_granularity", "selective", ""),
    "local graphs by their old switch": ("--enable-cuda-graph", "cuda_graph_impl", "local", ""),
    "Transformer Engine's graphs by their old switch": (
        "--external-cuda-graph",
        "cuda_graph_impl",
        "transformer_engine",
        "",
    ),
    "full is the whole layer": (
        "--cuda-graph-impl local --cuda-graph-scope full",
        "cuda_graph_scope",
        [],
        "",
    ),
    "graphs need a tracker of random numbers": ("--cuda-graph-impl local", "te_rng_tracker", True, ""),
    "local layers in local graphs do not": (
        "--cuda-graph-impl local --transformer-impl local",
        "te_rng_tracker",
        False,
        "",
    ),
}


@table(VALUES)
def test_values(case: tuple[str, str, object, str]) -> None:
    words, name, value, without = case
    args = meaning(words, without=without)
    assert args[name] == value
    assert errors(args) == []


MOE = "--num-experts 4 --disable-bias-linear --moe-router-topk 2 "
LAYERS_AS_JSON = {
    "hidden_act": "silu",
    "block_configs": [{"attention": {"n_heads_in_group": 2}}, {"attention": {"n_heads_in_group": None}}],
    "num_hidden_layers": 8,
    "hidden_size": 64,
    "num_attention_heads": 8,
    "tie_word_embeddings": False,
    "rope_theta": 10000,
    "rope_scaling": {"factor": 8.0},
}
LIKE_THE_JSON = (
    "--swiglu --normalization RMSNorm --group-query-attention --num-query-groups 4 --position-embedding-type rope"
    " --use-rope-scaling --use-rotary-position-embeddings --untie-embeddings-and-output-weights"
    " --heterogeneous-layers-config-encoded-json "
)


def compact(**changes: object) -> str:
    """The description of layers as one word."""
    return json.dumps({**LAYERS_AS_JSON, **changes}, separators=(",", ":"))


REFUSED = {
    "no layers": Refused("", "--num-layers is missing", without="--num-layers"),
    "no hidden size": Refused("", "--hidden-size is missing", without="--hidden-size"),
    "no heads": Refused("", "--num-attention-heads is missing", without="--num-attention-heads"),
    "no positions": Refused("", "--max-position-embeddings is missing", without="--max-position-embeddings"),
    "no sequence length": Refused("", "--seq-length is missing", without="--seq-length"),
    "layers twice": Refused("--encoder-num-layers 8", "--num-layers and --encoder-num-layers are the same"),
    "sequence twice": Refused("--encoder-seq-length 128", "--seq-length and --encoder-seq-length are the same"),
    "a sequence longer than positions": Refused(
        "--seq-length 256", "--seq-length 256 is longer than --max-position-embeddings 128"
    ),
    "a decoder's sequence longer than positions": Refused(
        "--decoder-seq-length 256", "--decoder-seq-length 256 is longer"
    ),
    "heads that do not divide the hidden size": Refused(
        "--num-attention-heads 7", "--hidden-size 64 cannot be divided among 7 attention heads"
    ),
    "heads that tensor parallelism does not divide": Refused(
        "--num-attention-heads 9 --kv-channels 8 --tensor-model-parallel-size 2",
        "--num-attention-heads 9 cannot be divided among tensor 2",
    ),
    "groups that tensor parallelism does not divide": Refused(
        "--group-query-attention --num-query-groups 3 --tensor-model-parallel-size 2",
        "--num-query-groups 3 is neither a multiple nor a divisor of tensor 2",
    ),
    "SwiGLU and squared ReLU": Refused("--swiglu --squared-relu", "exclude each other"),
    "squared ReLU fused with a bias": Refused("--squared-relu", "--squared-relu cannot be fused with a bias"),
    "an offset fused with SwiGLU": Refused(
        "--swiglu --glu-linear-offset 1.0", "--glu-linear-offset cannot be fused with this activation function"
    ),
    "Transformer Engine's activation fused": Refused(
        "--use-te-activation-func", "--use-te-activation-func cannot be fused with a bias"
    ),
    "Transformer Engine has no squared ReLU": Refused(
        "--use-te-activation-func --squared-relu --no-bias-gelu-fusion",
        "Transformer Engine does not have --squared-relu",
    ),
    "weights that no field is there for": Refused("--init-method-xavier-uniform", "cannot build a model"),
    "a hybrid model without its layers": Refused("", "needs --spec", program="pretrain_mamba.py"),
    "legacy models in the new format": Refused("--use-legacy-models", "cannot be saved with --ckpt-format torch_dist"),
    "offloading of all layers": Refused("--cpu-offloading-num-layers 8", "must be less than --num-layers 8"),
    "offloading in a pipeline": Refused(
        "--cpu-offloading-num-layers 2 --pipeline-model-parallel-size 2", "cannot be combined with"
    ),
    "offloading of unknown modules": Refused(
        "--fine-grained-activation-offloading --offload-modules router",
        "does not know router",
        env={"NVTE_CPU_OFFLOAD_V1": "1"},
    ),
    "offloading of no modules": Refused(
        "--fine-grained-activation-offloading", "needs --offload-modules", env={"NVTE_CPU_OFFLOAD_V1": "1"}
    ),
    "offloading of attention's output alone": Refused(
        "--fine-grained-activation-offloading --offload-modules attn_proj",
        "attn_proj needs core_attn",
        env={"NVTE_CPU_OFFLOAD_V1": "1"},
    ),
    "offloading without the variable": Refused(
        "--fine-grained-activation-offloading --offload-modules core_attn", "NVTE_CPU_OFFLOAD_V1=1"
    ),
    "no position embeddings, the old way": Refused("--no-position-embedding", "use --position-embedding-type none"),
    "relative positions in local layers": Refused(
        "--position-embedding-type relative --transformer-impl local", "needs Transformer Engine"
    ),
    "mrope without sections": Refused("--position-embedding-type mrope", "needs --mrope-section"),
    "several tokens with learned positions": Refused("--mtp-num-layers 1", "not learned_absolute"),
    "yarn without latent attention": Refused(
        "--rope-type yarn --position-embedding-type rope", "--rope-type yarn is there for --multi-latent-attention"
    ),
    "latent and grouped attention": Refused("--multi-latent-attention --group-query-attention", "exclude each other"),
    "latent attention with interleaved rope": Refused(
        "--multi-latent-attention --rotary-interleaved --no-rope-fusion", "cannot be combined with --rotary-interleaved"
    ),
    "latent attention with fused rope": Refused(
        "--multi-latent-attention --rope-type rope --position-embedding-type rope", "only with --rope-type yarn"
    ),
    "latent attention with an output gate": Refused(
        "--multi-latent-attention --attention-output-gate", "cannot be combined with --attention-output-gate"
    ),
    "latents cached, positions fused": Refused(
        "--multi-latent-attention --cache-mla-latents --position-embedding-type rope", "--cache-mla-latents"
    ),
    "local attention without local layers": Refused("--attention-backend local", "needs --spec local"),
    "batch-invariant without flash": Refused("--batch-invariant-mode", "needs --attention-backend flash, not auto"),
    "layers without rope that do not divide": Refused("--no-rope-freq 3", "--no-rope-freq 3 does not divide"),
    "layers without rope, too few named": Refused("--no-rope-freq [0,1]*2", "covers 4 layers"),
    "flash decoding without rope": Refused("--no-rope-freq 4 --flash-decode", "exclude each other"),
    "gated delta net without frequency": Refused(
        "--experimental-attention-variant gated_delta_net", "needs --linear-attention-freq"
    ),
    "gated delta net, heads that do not divide": Refused(
        "--experimental-attention-variant gated_delta_net --linear-attention-freq 4 --linear-num-key-heads 3"
        " --linear-num-value-heads 4",
        "--linear-num-value-heads 4 is not a multiple of --linear-num-key-heads 3",
    ),
    "gated delta net with context parallelism": Refused(
        "--experimental-attention-variant gated_delta_net --linear-attention-freq 4 --context-parallel-size 2",
        "cannot be combined with context parallelism",
    ),
    "QK-clip out of bounds": Refused("--qk-clip --qk-clip-alpha 1.5", "must be between 0 and 1, not 1.5"),
    "layers unlike their description": Refused(
        LIKE_THE_JSON + compact(num_hidden_layers=9),
        "--num-layers is 8, but the description of heterogeneous layers has 9",
    ),
    "layers of another activation": Refused(LIKE_THE_JSON + compact(hidden_act="gelu"), "silu, not gelu"),
    "layers that are no JSON": Refused(LIKE_THE_JSON + "{", "cannot be read"),
    "expert parallelism without experts": Refused(
        "--expert-model-parallel-size 2", "--expert-model-parallel-size needs experts"
    ),
    "width of experts without experts": Refused("--moe-ffn-hidden-size 64", "--moe-ffn-hidden-size needs experts"),
    "latent experts without experts": Refused("--moe-latent-size 64", "--moe-latent-size needs experts"),
    "experts that do not divide": Refused(
        MOE + "--num-experts 5 --expert-model-parallel-size 2",
        "--num-experts 5 cannot be divided among expert parallel 2",
    ),
    "minus one experts": Refused("--num-experts -1 --disable-bias-linear", "must be at least 1, not -1"),
    "latent experts of no size": Refused(MOE + "--moe-latent-size 0", "must be at least 1, not 0"),
    "latent experts, legacy kernels": Refused(
        MOE + "--moe-latent-size 8 --moe-use-legacy-grouped-gemm",
        "cannot be combined with --moe-use-legacy-grouped-gemm",
    ),
    "experts' biases with tensor parallelism": Refused(
        "--num-experts 4 --moe-router-topk 2 --tensor-model-parallel-size 2",
        "experts have biases only with --expert-tensor-parallel-size 1, not 2",
    ),
    "two kinds of balancing, one coefficient": Refused(
        MOE + "--moe-router-load-balancing-type aux_loss seq_aux_loss --moe-aux-loss-coeff 0.1",
        "--moe-router-load-balancing-type has 2 values, --moe-aux-loss-coeff 1",
    ),
    "bias of experts with softmax": Refused(
        MOE + "--moe-router-enable-expert-bias", "works with sigmoid scores, not softmax"
    ),
    "one expert a token, softmax after": Refused(MOE + "--moe-router-topk 1", "--moe-router-topk 1 gives no gradient"),
    "groups of experts, how many?": Refused(MOE + "--moe-router-group-topk 1", "needs --moe-router-num-groups"),
    "groups of experts that do not divide": Refused(
        MOE + "--moe-router-group-topk 1 --moe-router-num-groups 3", "cannot be divided into --moe-router-num-groups 3"
    ),
    "more groups a token than groups": Refused(
        MOE + "--moe-router-group-topk 3 --moe-router-num-groups 2", "is more than --moe-router-num-groups 2"
    ),
    "capacity with sinkhorn": Refused(
        MOE + "--moe-expert-capacity-factor 1 --moe-router-load-balancing-type sinkhorn", "sinkhorn"
    ),
    "padding without capacity": Refused(
        MOE + "--moe-pad-expert-input-to-capacity", "needs --moe-expert-capacity-factor"
    ),
    "padding with a negative capacity": Refused(
        MOE + "--moe-pad-expert-input-to-capacity --moe-expert-capacity-factor -1", "needs --moe-expert-capacity-factor"
    ),
    "DeepEP with another dispatcher": Refused(
        MOE + "--moe-enable-deepep --moe-token-dispatcher-type alltoall", "needs --moe-token-dispatcher-type flex"
    ),
    "DeepEP and HybridEP": Refused(
        MOE + "--moe-enable-deepep --moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep",
        "exclude each other",
    ),
    "padding with DeepEP": Refused(
        MOE + "--moe-token-dispatcher-type flex --moe-pad-expert-input-to-capacity --moe-expert-capacity-factor 1",
        "does not work with DeepEP",
    ),
    "shared experts of no size": Refused(MOE + "--moe-shared-expert-intermediate-size 0", "must be at least 1, not 0"),
    "overlapped shared experts, another dispatcher": Refused(
        MOE + "--moe-shared-expert-intermediate-size 64 --moe-shared-expert-overlap"
        " --moe-token-dispatcher-type allgather",
        "needs --moe-token-dispatcher-type alltoall, not allgather",
    ),
    "padding for formats that are not used": Refused(
        MOE + "--moe-router-padding-for-quantization", "needs --fp8-format or --fp4-format"
    ),
    "overlapped experts on one rank": Refused(
        MOE + "--overlap-moe-expert-parallel-comm", "needs --expert-model-parallel-size above 1"
    ),
    "delayed weight gradients alone": Refused("--delay-wgrad-compute", "needs --overlap-moe-expert-parallel-comm"),
    "upcycling to nowhere": Refused("--moe-use-upcycling", "--moe-use-upcycling needs --save"),
    "a pattern of experts for other layers": Refused(
        MOE + "--moe-layer-freq [0,1]*2", "--moe-layer-freq covers 4 layers"
    ),
    "full recomputation without a method": Refused(
        "--recompute-granularity full --recompute-num-layers 1", "needs --recompute-method"
    ),
    "full recomputation without a number": Refused(
        "--recompute-granularity full --recompute-method uniform", "needs --recompute-num-layers"
    ),
    "selective recomputation with a method": Refused(
        "--recompute-activations --recompute-method uniform", "--recompute-method uniform has no meaning"
    ),
    "selective recomputation with a number": Refused(
        "--recompute-granularity selective --recompute-num-layers 1", "--recompute-num-layers 1 has no meaning"
    ),
    "recomputation of unknown modules": Refused(
        "--recompute-granularity selective --recompute-modules embedding", "does not know embedding"
    ),
    "recomputation of latents without latents": Refused(
        "--recompute-granularity selective --recompute-modules mla_up_proj", "needs --multi-latent-attention"
    ),
    "recomputation of experts' activations": Refused(
        "--recompute-granularity selective --recompute-modules moe_act", "needs --moe-grouped-gemm"
    ),
    "recomputation in FP8 with delayed scaling": Refused(
        "--recompute-granularity selective --recompute-modules layernorm --fp8-format hybrid --fp8-recipe delayed",
        "does not work with --fp8-recipe delayed",
    ),
    "kept activations divided among nobody": Refused(
        "--distribute-saved-activations --recompute-granularity full --recompute-method uniform"
        " --recompute-num-layers 1",
        "--distribute-saved-activations needs tensor parallelism",
    ),
    "kept activations divided twice": Refused(
        "--distribute-saved-activations --recompute-granularity full --recompute-method uniform"
        " --recompute-num-layers 1 --tensor-model-parallel-size 2 --sequence-parallel",
        "needs no --sequence-parallel",
    ),
    "graphs chosen twice": Refused("--enable-cuda-graph --cuda-graph-impl local", "exclude each other"),
    "the whole layer and parts of it": Refused(
        "--cuda-graph-impl transformer_engine --cuda-graph-scope full attn", "full is the whole layer"
    ),
    "a whole iteration by Transformer Engine": Refused(
        "--cuda-graph-impl transformer_engine --cuda-graph-scope full_iteration --no-check-for-nan-in-loss-and-grad",
        "needs --cuda-graph-impl local",
    ),
    "a whole iteration that looks for NaNs": Refused(
        "--cuda-graph-impl local --cuda-graph-scope full_iteration", "cannot look for NaNs"
    ),
    "experts in graphs without experts": Refused(
        "--cuda-graph-impl transformer_engine --cuda-graph-scope moe_router", "need experts"
    ),
    "experts in graphs twice": Refused(
        MOE + "--cuda-graph-impl transformer_engine --cuda-graph-scope moe moe_router"
        " --moe-expert-capacity-factor 1 --moe-pad-expert-input-to-capacity",
        "keep one of them",
    ),
    "experts of many sizes in a graph": Refused(
        MOE + "--cuda-graph-impl transformer_engine --cuda-graph-scope moe", "needs experts of one size"
    ),
    "dense layers in graphs where there are none": Refused(
        MOE + "--cuda-graph-impl transformer_engine --cuda-graph-scope mlp", "needs dense layers"
    ),
    "preparation in graphs without the router": Refused(
        MOE + "--cuda-graph-impl transformer_engine --cuda-graph-scope moe_preprocess", "needs moe_router"
    ),
    "full recomputation in graphs": Refused(
        "--cuda-graph-impl local --recompute-granularity full --recompute-method uniform --recompute-num-layers 1",
        "needs graphs of a whole iteration",
    ),
    "random numbers recomputed in a graph": Refused(
        "--cuda-graph-impl transformer_engine --recompute-activations --cuda-graph-scope attn",
        "a graph cannot recompute core_attn with random numbers",
    ),
    "graphs in memory that moves": Refused(
        "--cuda-graph-impl transformer_engine",
        "NCCL_GRAPH_REGISTER=0",
        env={"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"},
    ),
    "local graphs of divided experts": Refused(
        MOE + "--cuda-graph-impl local --expert-model-parallel-size 2",
        "needs --moe-pad-experts-for-cuda-graph-inference",
    ),
}

ACCEPTED = {
    "grouped attention": Accepted("--group-query-attention --num-query-groups 2 --tensor-model-parallel-size 4"),
    "groups that would not divide, without grouping": Accepted("--num-query-groups 3 --tensor-model-parallel-size 2"),
    "squared ReLU": Accepted("--squared-relu --disable-bias-linear"),
    "SwiGLU": Accepted("--swiglu --disable-bias-linear"),
    "quick GeGLU": Accepted("--quick-geglu --glu-linear-offset 1.0"),
    "latent attention": Accepted("--multi-latent-attention --position-embedding-type rope"),
    "latent attention without fusion": Accepted(
        "--multi-latent-attention --position-embedding-type rope --rope-type rope --no-rope-fusion"
    ),
    "several tokens with rope": Accepted("--mtp-num-layers 2 --position-embedding-type rope"),
    "experts": Accepted(MOE + "--expert-model-parallel-size 4"),
    "experts with biases": Accepted("--num-experts 4 --moe-router-topk 2 --expert-model-parallel-size 2"),
    "one expert a token, sinkhorn": Accepted(MOE + "--moe-router-topk 1 --moe-router-load-balancing-type sinkhorn"),
    "sinkhorn without a limit is refused all the same, aux loss is not": Accepted(
        MOE + "--moe-expert-capacity-factor -1"
    ),
    "groups of experts": Accepted(MOE + "--moe-router-group-topk 1 --moe-router-num-groups 2"),
    "selective recomputation": Accepted("--recompute-activations"),
    "full recomputation": Accepted("--recompute-granularity full --recompute-method block --recompute-num-layers 2"),
    "graphs of attention": Accepted("--cuda-graph-impl transformer_engine --cuda-graph-scope attn"),
    "graphs of a whole iteration": Accepted(
        "--cuda-graph-impl local --cuda-graph-scope full_iteration --no-check-for-nan-in-loss-and-grad"
    ),
    "graphs where nothing is random": Accepted(
        "--cuda-graph-impl transformer_engine --recompute-activations --cuda-graph-scope attn --attention-dropout 0"
    ),
    "overlapped experts": Accepted(
        MOE + "--overlap-moe-expert-parallel-comm --expert-model-parallel-size 2 --moe-token-dispatcher-type alltoall"
    ),
    "layers as described": Accepted(LIKE_THE_JSON + compact()),
    "offloading of modules": Accepted(
        "--fine-grained-activation-offloading --offload-modules core_attn attn_proj",
        env={"NVTE_CPU_OFFLOAD_V1": "1"},
    ),
    "gated delta net": Accepted("--experimental-attention-variant gated_delta_net --linear-attention-freq 4"),
}


@table(REFUSED)
def test_refused(case: Refused) -> None:
    assert any(case.says in message for message in said(case)), said(case)


@table(ACCEPTED)
def test_accepted(case: Accepted) -> None:
    assert said(case) == []
