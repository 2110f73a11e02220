"""What both programs do with a setting that another run has saved otherwise: facts, by kind of setting.

Verify: megatron/training/checkpointing.py load_checkpoint and check_checkpoint_args; Megatron Core's
optimizer_param_scheduler.py OptimizerParamScheduler.load_state_dict, optimizer/optimizer.py
_filter_and_reorder_param_groups; megatron/bridge/training/checkpointing.py _load_checkpoint_from_path.
``tests/resume/test_resume.py`` trains, changes a setting and goes on.
"""

from __future__ import annotations

from typing import Final, Literal

from bridge_args.records import Record
from bridge_args.versions import Versions, holds

Winner = Literal["flag", "checkpoint", "refused"]

# Kinds of settings, by what becomes of one that differs; every other setting is the run's own.
KINDS: Final[dict[str, tuple[str, ...]]] = {
    # Saved with the optimizer's schedule, and beside every group of parameters.
    "rate": ("lr", "min_lr"),
    # A rate of their own for the embedding and the head, which makes a group of parameters of them.
    "own rate": ("decoupled_lr", "decoupled_min_lr"),
    # Beside every group of parameters, where nothing that is loaded is compared.
    "update": ("adam_beta1", "adam_beta2", "adam_eps", "sgd_momentum"),
    # Saved with the schedule. Steps are counted in samples.
    "schedule": (
        *("lr_decay_style", "lr_warmup_steps", "lr_decay_steps", "start_weight_decay", "end_weight_decay"),
        *("weight_decay_incr_style", "wd_incr_steps"),
    ),
    # The states of the optimizer are of another kind, or of other tensors.
    "optimizer": ("optimizer", "use_distributed_optimizer", "bf16", "fp16", "use_precision_aware_optimizer"),
    # The tensors have other shapes, or there are more of them. Rows of a layer's queries, keys and values together.
    "shape": (
        *("num_layers", "hidden_size", "ffn_hidden_size", "attention_rows", "add_bias_linear"),
        "add_qkv_bias",
        *("swiglu", "untie_embeddings_and_output_weights", "max_position_embeddings", "num_experts", "qk_layernorm"),
        *("moe_ffn_hidden_size", "moe_shared_expert_intermediate_size", "multi_latent_attention", "q_lora_rank"),
        *("kv_lora_rank", "mtp_num_layers", "hybrid_layer_pattern", "hybrid_override_pattern", "mamba_state_dim"),
        *("mamba_head_dim", "mamba_num_groups", "mamba_num_heads", "qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim"),
        *("moe_layer_freq", "moe_latent_size", "attention_output_gate", "experimental_attention_variant"),
    ),
    # The weights fit, and were trained with another value.
    "meaning": (
        *(
            "num_attention_heads",
            "num_query_groups",
            "kv_channels",
            "normalization",
            "rotary_base",
            "rotary_percent",
            "norm_epsilon",
        ),
        "activation_func",
        *("layernorm_epsilon", "layernorm_zero_centered_gamma", "apply_residual_connection_post_layernorm"),
        *("apply_layernorm_1p", "rotary_interleaved", "use_rope_scaling", "rope_scaling_factor", "rope_type"),
        *("rotary_scaling_factor", "rotary_seq_len_interpolation_factor", "no_rope_freq", "qk_l2_norm"),
        *("window_size", "window_attn_skip_freq", "moe_router_topk", "moe_router_pre_softmax", "moe_router_num_groups"),
        *("moe_router_group_topk", "moe_apply_probs_on_input", "glu_linear_offset", "activation_func_clamp_value"),
        *("moe_router_score_function", "moe_router_topk_scaling_factor", "seq_length"),
    ),
    "positions": ("position_embedding_type",),
    "vocabulary": ("padded_vocab_size",),
    "layout": ("tensor_model_parallel_size", "pipeline_model_parallel_size"),
    "experts": ("expert_model_parallel_size", "expert_tensor_parallel_size"),
    "processes": ("world_size",),
    "seed": ("seed",),
    "counter": ("iteration", "consumed_train_samples", "random_state"),
}
KIND_OF: Final = {name: kind for kind, names in KINDS.items() for name in names}

# What a run may have less of than the checkpoint: the rest of its weights is loaded.
LEFT_OUT: Final = (
    *("add_bias_linear", "add_qkv_bias", "qk_layernorm", "untie_embeddings_and_output_weights", "mtp_num_layers"),
    "moe_shared_expert_intermediate_size",
)

# What Megatron-LM compares itself, before the weights: the run stops where they differ.
COMPARED: Final = ("num_layers", "hidden_size", "num_attention_heads", "add_position_embedding")
COMPARED_WITH_VOCABULARY: Final = ("max_position_embeddings", "make_vocab_size_divisible_by", "tokenizer_type")

# Megatron Core that saves a state of --rerun-mode for every process always, and not only when one has to run again.
SAVES_RERUNS: Final = "megatron >=0.18"  # core/rerun_state_machine.py RerunStateMachine.state_dict

# Megatron Core for which experts are divided, too, where their tensors are divided otherwise than other layers.
EXPERTS_BY_TENSORS: Final = "megatron >=0.19"  # core/tensor_parallel/layers.py use_expert_pgs

_CORE: Final = "megatron/core"
_SCHEDULER: Final = f"{_CORE}/optimizer_param_scheduler.py OptimizerParamScheduler._check_and_set"
_GROUPS: Final = f"{_CORE}/optimizer/optimizer.py _filter_and_reorder_param_groups"
_LOAD: Final = "training/checkpointing.py load_checkpoint"
_PARTS: Final = f"{_CORE}/optimizer/__init__.py _get_param_groups"
_RANDOM: Final = "training/checkpointing.py get_rng_state"


_ANEW: Final = "--no-load-optim starts optimizer and schedule anew"
_OWN_GROUPS: Final = (
    "the optimizer has groups of parameters for experts only where they are divided otherwise than other layers"
)
_FOUND_BY: Final = "the groups of parameters are found by it, and the checkpoint has none with this value"


class Verdict(Record):
    """Who wins.

    Attributes:
        winner: whose value the run has; ``refused``: it stops.
        why: a sentence without a full stop.
        see: where this can be verified.
        remedy: what to write for the value of the run to count; empty where there is nothing, or it counts.
    """

    winner: Winner
    why: str
    see: str
    remedy: str = ""


class Continued(Record):
    """How a run goes on.

    Attributes:
        program: ``megatron_lm`` or ``bridge``.
        core: version of the Megatron Core that trains.
        finetune: it starts anew from the weights.
        loads_optimizer: states of the optimizer are loaded, and the schedule.
        loads_random: states of the random generators are loaded.
        override, use_checkpoint: ``--override-opt-param-scheduler``, ``--use-checkpoint-opt-param-scheduler``.
        distributed: the optimizer is divided among ranks.
        reshardable: its states were saved so that tensor and pipeline sizes may change.
        learned_positions: positions have weights.
        vocabulary: Megatron-LM compares tokenizers too (``--vocab-file``).
        experts: in how many parts the experts were, and are.
        own_group: the optimizer had, and has, groups of parameters for experts.
        fewer: settings of ``LEFT_OUT`` by which the run has weights less.
        all_keys: weights that the run does not have stop it (``--dist-ckpt-strictness raise_all``).
        sizes: tensor and pipeline sizes are the same.
        own_rate: both have a rate of their own for the embedding and the head, or neither.
        reruns: a state of ``--rerun-mode`` was saved for each process (``SAVES_RERUNS``).
    """

    program: Literal["megatron_lm", "bridge"]
    core: str
    finetune: bool = False
    loads_optimizer: bool = True
    loads_random: bool = True
    override: bool = False
    use_checkpoint: bool = False
    distributed: bool = False
    reshardable: bool = False
    learned_positions: bool = False
    vocabulary: bool = False
    experts: tuple[int, int] = (1, 1)
    own_group: tuple[bool, bool] = (False, False)
    fewer: frozenset[str] = frozenset()
    all_keys: bool = False
    sizes: bool = True
    own_rate: bool = True
    reruns: bool = False

    @property
    def random_by_process(self) -> bool:
        """Are states of random generators kept for every process, once experts are divided?"""
        return self.program == "bridge" or holds("megatron ==0.16", Versions(self.core, "0"))


def verdict(name: str, how: Continued) -> Verdict:
    """What becomes of a setting that the checkpoint has otherwise than the run."""
    if how.program == "megatron_lm" and not how.finetune and _is_compared(name, how):
        why = "it is compared with the arguments in the checkpoint"
        return Verdict("refused", why, "megatron/training/checkpointing.py check_checkpoint_args")
    match KIND_OF.get(name):
        case "rate" | "schedule" as kind:
            return _scheduled(kind, how)
        case "own rate" | "update" as kind if how.loads_optimizer:
            return _of_groups(kind, how)
        case "optimizer" if how.loads_optimizer:
            return Verdict(
                "refused", "the states of the optimizer do not fit", _LOAD, "--no-load-optim starts them anew"
            )
        case "shape" if name in how.fewer and not how.all_keys:
            return _with_fewer(how)
        case "shape" if name != "max_position_embeddings" or how.learned_positions:
            return Verdict("refused", "the weights in the checkpoint have other shapes, or are others", _LOAD)
        case "positions" if how.learned_positions:
            return Verdict("refused", "the checkpoint has no weights of positions", _LOAD)
        case "meaning" | "positions":
            return Verdict("flag", "the weights fit, and were trained with the other value", _LOAD)
        case "vocabulary":
            why = "the embedding is loaded as far as it goes; rows that the checkpoint lacks start from random"
            return Verdict("flag", why, f"{_CORE}/tensor_parallel/layers.py allow_shape_mismatch")
        case "layout":
            return _laid_out(name, how)
        case "experts":
            return _of_experts(how)
        case "processes":
            return _processes(how)
        case "seed" if how.loads_random:
            return Verdict("flag", "for the order of the data; random generators go on as they were saved", _LOAD)
        case "counter":
            return _counted(name, how)
    return Verdict("flag", "", "")


def _is_compared(name: str, how: Continued) -> bool:
    return name in COMPARED or (how.vocabulary and name in COMPARED_WITH_VOCABULARY)


def _with_fewer(how: Continued) -> Verdict:
    """The run has not all of the weights."""
    if how.loads_optimizer and how.distributed and not how.reshardable:
        why = "the distributed optimizer was saved for all weights that there were"
        return Verdict("refused", why, _LOAD, "save with --dist-ckpt-optim-fully-reshardable, or --no-load-optim")
    return Verdict("flag", "its weights in the checkpoint are left out, without a word", _LOAD)


def _scheduled(kind: str, how: Continued) -> Verdict:
    if not how.loads_optimizer:
        return Verdict("flag", "the schedule is not loaded", _LOAD)
    if kind == "rate" and _by_rate(how):
        return Verdict("refused", _FOUND_BY, _GROUPS, _ANEW)
    if kind == "rate" and how.override:
        why = "the groups of parameters have theirs from the checkpoint, whatever the schedule says"
        return Verdict("checkpoint", why, _GROUPS, _ANEW)
    if how.override:
        return Verdict("flag", "--override-opt-param-scheduler is given", _SCHEDULER)
    if how.use_checkpoint:
        why = "--use-checkpoint-opt-param-scheduler is given"
        return Verdict("checkpoint", why, _SCHEDULER, _ANEW if kind == "rate" else "--override-opt-param-scheduler")
    remedy = _ANEW if kind == "rate" else "--override-opt-param-scheduler"
    return Verdict(
        "refused",
        "the schedule in the checkpoint has another value",
        _SCHEDULER,
        f"{remedy}; --use-checkpoint-opt-param-scheduler keeps that of the checkpoint",
    )


def _of_groups(kind: str, how: Continued) -> Verdict:
    """What stands beside every group of parameters, and not in the schedule."""
    if kind == "own rate" and not how.own_rate:
        why = "the optimizer has groups of parameters for the decoupled learning rate on one side only"
        return Verdict("refused", why, _PARTS, _ANEW)
    if kind == "own rate" and _by_rate(how):
        return Verdict("refused", _FOUND_BY, _GROUPS, _ANEW)
    why = "the groups of parameters have theirs from the checkpoint, and nothing is compared"
    return Verdict("checkpoint", why, _GROUPS, _ANEW)


def _by_rate(how: Continued) -> bool:
    """Are groups of parameters found by their rates?"""
    return holds("megatron >=0.19", Versions(how.core, "0"))


def _laid_out(name: str, how: Continued) -> Verdict:
    if how.loads_optimizer and name == "tensor_model_parallel_size" and how.own_group[0] != how.own_group[1]:
        return Verdict("refused", _OWN_GROUPS, _GROUPS, _ANEW)
    if how.loads_optimizer and how.distributed and not how.reshardable:
        why = "the distributed optimizer was saved for these sizes only"
        return Verdict("refused", why, _LOAD, "save with --dist-ckpt-optim-fully-reshardable, or --no-load-optim")
    return Verdict("flag", "the weights are divided anew; random generators start from the seed", _LOAD)


def _of_experts(how: Continued) -> Verdict:
    """Experts that are divided otherwise than other layers are groups of parameters of their own."""
    if how.finetune:
        return Verdict("flag", "the weights are divided anew", _LOAD)
    by_process = (min(how.experts) == 1 != max(how.experts)) and how.loads_random and how.random_by_process
    more = " with --no-load-rng" if by_process else ""
    if how.loads_optimizer and how.own_group[0] != how.own_group[1]:
        return Verdict("refused", _OWN_GROUPS, _GROUPS, f"--no-load-optim{more} starts it anew")
    if how.loads_optimizer and how.distributed and not how.reshardable:
        why = "the distributed optimizer was saved for this size only"
        return Verdict("refused", why, _LOAD, "save with --dist-ckpt-optim-fully-reshardable, or --no-load-optim")
    if by_process:
        why = "states of random generators are saved for every process only where experts are divided"
        return Verdict("refused", why, _RANDOM, "--no-load-rng starts the generators from --seed")
    return Verdict("flag", "the weights are divided anew", _LOAD)


def _processes(how: Continued) -> Verdict:
    if how.program == "bridge" and how.reruns and how.sizes and not how.finetune:  # Megatron-LM compares their number
        why = "the checkpoint has a state of --rerun-mode for each process, and another number of them finds none"
        remedy = "save with --rerun-mode disabled, with as many processes as before; then change their number"
        return Verdict("refused", why, _LOAD, remedy)
    if how.loads_random and min(how.experts) > 1 and how.random_by_process:
        why = "with divided experts the states of random generators are saved for every process"
        return Verdict("refused", why, _RANDOM, "--no-load-rng starts the generators from --seed")
    return Verdict("flag", "batches are divided anew", _LOAD)


def _counted(name: str, how: Continued) -> Verdict:
    if name == "random_state":
        if how.loads_random:
            return Verdict("checkpoint", "", _LOAD, "--no-load-rng starts the generators from --seed")
        return Verdict("flag", "the generators start from --seed", _LOAD)
    if how.finetune:
        return Verdict("flag", "it starts at 0", _LOAD)
    return Verdict("checkpoint", "", _LOAD, "--finetune starts at 0, without the optimizer")
