"""Which arguments are read only together with others: where nothing asks for them, a typed value has no effect.

A condition is written as text, and said of effective values: ``num_experts`` (it is on, or not zero), ``optimizer =
adam muon`` (it is one of these; of a list, one of them is), and several with ``|`` between them, of which one is
enough. A condition about an argument that a version does not have is never told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.records import Record


class Readers(Record):
    """Arguments, and what must be on for anything to read them; ``see`` is where that can be verified."""

    condition: str
    see: str
    arguments: tuple[str, ...]


def _only(condition: str, see: str, arguments: str) -> Readers:
    return Readers(condition, see, tuple(arguments.split()))


# Of several conditions of an argument, the first one that does not hold is told.
READ_ONLY_WITH: Final = (
    # checkpoints
    _only(
        "use_checkpoint_args",
        "megatron/training/checkpointing.py load_args_from_checkpoint",
        "use_mp_args_from_checkpoint_args use_tokenizer_model_from_checkpoint_args",
    ),
    # mixture of experts
    _only(
        "num_experts",
        "megatron/core/transformer/moe/moe_layer.py MoELayer",
        "moe_router_topk moe_ffn_hidden_size moe_shared_expert_intermediate_size moe_shared_expert_overlap "
        "moe_shared_expert_gate moe_layer_freq moe_router_num_groups moe_router_group_topk moe_router_pre_softmax "
        "moe_router_topk_scaling_factor moe_router_score_function moe_router_dtype moe_router_enable_expert_bias "
        "moe_router_bias_update_rate moe_router_force_load_balancing moe_grouped_gemm moe_use_legacy_grouped_gemm "
        "moe_z_loss_coeff moe_input_jitter_eps moe_token_dispatcher_type moe_enable_deepep "
        "moe_flex_dispatcher_backend moe_per_layer_logging moe_expert_capacity_factor "
        "moe_pad_expert_input_to_capacity moe_token_drop_policy moe_permute_fusion moe_router_fusion "
        "moe_apply_probs_on_input moe_latent_size moe_deepep_num_sms moe_hybridep_num_sms "
        "moe_router_load_balancing_type moe_aux_loss_coeff moe_router_padding_for_fp8 "
        "moe_router_padding_for_quantization moe_layer_recompute",
    ),
    _only(
        "moe_router_load_balancing_type = aux_loss seq_aux_loss global_aux_loss",
        "megatron/core/transformer/moe/router.py TopKRouter.get_aux_loss_coeff",
        "moe_aux_loss_coeff",
    ),
    _only(
        "moe_expert_capacity_factor",
        "megatron/core/transformer/moe/router.py TopKRouter.routing",
        "moe_token_drop_policy",
    ),
    _only(
        "moe_router_enable_expert_bias",
        "megatron/core/distributed/finalize_model_grads.py _update_router_expert_bias",
        "moe_router_bias_update_rate",
    ),
    _only(
        "moe_shared_expert_intermediate_size",
        "megatron/core/transformer/moe/moe_layer.py MoELayer",
        "moe_shared_expert_overlap moe_shared_expert_gate",
    ),
    _only(
        "moe_token_dispatcher_type = flex",
        "megatron/core/transformer/moe/token_dispatcher.py MoEFlexTokenDispatcher",
        "moe_deepep_num_sms moe_hybridep_num_sms moe_flex_dispatcher_backend",
    ),
    _only(
        "moe_use_upcycling",
        "megatron/training/training.py setup_model_and_optimizer",
        "moe_upcycling_granularity",
    ),
    # attention and positions
    _only(
        "multi_latent_attention",
        "megatron/training/arguments.py core_transformer_config_from_args",
        "q_lora_rank kv_lora_rank qk_head_dim qk_pos_emb_head_dim v_head_dim rotary_scaling_factor mscale "
        "mscale_all_dim cache_mla_latents",
    ),
    _only(
        "position_embedding_type = rope yarn mrope | multi_latent_attention",
        "megatron/core/models/gpt/gpt_model.py GPTModel.__init__",
        "rotary_base rotary_percent rotary_interleaved use_rope_scaling no_rope_freq",
    ),
    _only("position_embedding_type = mrope", "megatron/core/models/gpt/gpt_model.py GPTModel", "mrope_section"),
    _only("window_size", "megatron/core/transformer/utils.py is_layer_window_attention", "window_attn_skip_freq"),
    _only("qk_clip", "megatron/core/transformer/multi_latent_attention.py clip_qk", "qk_clip_alpha qk_clip_threshold"),
    _only(
        "experimental_attention_variant = dsa",
        "megatron/core/transformer/experimental_attention_variant/dsa.py",
        "dsa_indexer_n_heads dsa_indexer_head_dim dsa_indexer_topk dsa_indexer_loss_coeff dsa_indexer_use_sparse_loss",
    ),
    _only(
        "experimental_attention_variant = gated_delta_net gdn gdn2",
        "megatron/core/ssm/gated_delta_net.py GatedDeltaNet",
        "linear_conv_kernel_dim linear_key_head_dim linear_value_head_dim linear_num_key_heads linear_num_value_heads",
    ),
    # the model
    _only("mtp_num_layers", "megatron/core/models/gpt/gpt_model.py GPTModel", "mtp_loss_scaling_factor"),
    _only(
        "swiglu | quick_geglu",
        "megatron/core/transformer/mlp.py MLP.forward",
        "glu_linear_offset activation_func_clamp_value",
    ),
    _only("squared_relu", "megatron/core/transformer/moe/experts.py TEGroupedMLP", "use_fused_weighted_squared_relu"),
    _only(
        "program = pretrain_mamba.py pretrain_hybrid.py",
        "megatron/core/models/mamba/mamba_model.py MambaModel",
        "hybrid_attention_ratio hybrid_mlp_ratio hybrid_override_pattern mamba_state_dim mamba_head_dim "
        "mamba_num_groups mamba_num_heads use_mamba_mem_eff_path",
    ),
    _only(
        "program = pretrain_gpt.py",
        "pretrain_gpt.py core_gpt_dataset_config_from_args",
        "fim_data",
    ),
    _only("program = pretrain_gpt.py", "gpt_builders.py gpt_builder", "use_rope_scaling"),
    _only(
        "fim_data",
        "pretrain_gpt.py core_gpt_dataset_config_from_args",
        "fim_rate fim_spm_rate fim_split_sample "
        "fim_fragment_rate fim_no_prefix fim_prefix_token fim_middle_token fim_suffix_token fim_pad_token "
        "fim_eod_token",
    ),
    _only(
        "tokenizer_type = TikTokenizer",
        "megatron/training/tokenizer/tokenizer.py build_tokenizer",
        "tiktoken_pattern tiktoken_num_special_tokens tiktoken_special_tokens",
    ),
    # precision
    _only(
        "fp16",
        "megatron/core/optimizer/__init__.py _get_megatron_optimizer_based_on_param_groups",
        "initial_loss_scale min_loss_scale loss_scale_window hysteresis",
    ),
    _only(
        "fp8",
        "megatron/core/fp8_utils.py get_fp8_context",
        "fp8_recipe fp8_margin fp8_interval fp8_amax_history_len fp8_amax_compute_algo fp8_wgrad",
    ),
    _only(
        "fp8_recipe = delayed",
        "megatron/core/fp8_utils.py get_fp8_context",
        "fp8_margin fp8_interval fp8_amax_history_len fp8_amax_compute_algo fp8_wgrad",
    ),
    _only("fp4", "megatron/core/fp4_utils.py get_fp4_context", "fp4_recipe"),
    _only("fp8 | fp4", "megatron/core/fp8_utils.py is_first_last_bf16_layer", "first_last_layers_bf16"),
    _only(
        "first_last_layers_bf16",
        "megatron/core/fp8_utils.py is_first_last_bf16_layer",
        "num_layers_at_start_in_bf16 num_layers_at_end_in_bf16",
    ),
    # the optimizer and its schedule
    _only(
        "optimizer = adam muon dist_muon adaptive_muon lion soap",
        "megatron/core/optimizer/__init__.py _get_megatron_optimizer_based_on_param_groups",
        "adam_beta1 adam_beta2 adam_eps",
    ),
    _only(
        "optimizer = sgd",
        "megatron/core/optimizer/__init__.py _get_megatron_optimizer_based_on_param_groups",
        "sgd_momentum",
    ),
    _only(
        "optimizer = muon dist_muon adaptive_muon soap",
        "megatron/core/optimizer/muon.py get_megatron_muon_optimizer",
        "muon_momentum muon_split_qkv muon_use_nesterov muon_scale_mode muon_fp32_matmul_prec muon_num_ns_steps "
        "muon_tp_mode muon_extra_scale_factor",
    ),
    _only(
        "optimizer_cpu_offload",
        "megatron/core/optimizer/__init__.py _get_megatron_optimizer_based_on_param_groups",
        "optimizer_offload_fraction use_torch_optimizer_for_cpu_offload overlap_cpu_optimizer_d2h_h2d pin_cpu_grads "
        "pin_cpu_params",
    ),
    _only(
        "lr_decay_style = WSD",
        "megatron/core/optimizer_param_scheduler.py OptimizerParamScheduler.get_lr",
        "lr_wsd_decay_style lr_wsd_decay_iters lr_wsd_decay_samples",
    ),
    _only("decoupled_lr", "megatron/core/optimizer/__init__.py get_standard_config_overrides", "decoupled_min_lr"),
    # memory and communication
    _only(
        "use_megatron_fsdp",
        "megatron/core/distributed/fsdp/mcore_fsdp_adapter.py FullyShardedDataParallel",
        "data_parallel_sharding_strategy outer_dp_sharding_strategy fsdp_double_buffer "
        "suggested_communication_unit_size keep_fp8_transpose_cache",
    ),
    _only("use_torch_fsdp2", "megatron/training/training.py get_model", "torch_fsdp2_reshard_after_forward"),
    _only(
        "recompute_granularity = full",
        "megatron/core/transformer/transformer_block.py TransformerBlock.forward",
        "recompute_method recompute_num_layers",
    ),
    _only(
        "recompute_granularity = selective",
        "megatron/core/transformer/transformer_config.py TransformerConfig.__post_init__",
        "recompute_modules",
    ),
    _only(
        "fine_grained_activation_offloading",
        "megatron/core/pipeline_parallel/fine_grained_activation_offload.py",
        "offload_modules min_offloaded_tensor_size",
    ),
    _only(
        "cuda_graph_impl = local transformer_engine full_iteration",
        "megatron/core/transformer/cuda_graphs.py CudaGraphManager",
        "cuda_graph_warmup_steps",
    ),
    _only(
        "cross_entropy_loss_fusion",
        "megatron/core/models/common/language_module/language_module.py LanguageModule",
        "cross_entropy_fusion_impl",
    ),
    _only(
        "defer_embedding_wgrad_compute",
        "megatron/core/tensor_parallel/layers.py",
        "wgrad_deferral_limit",
    ),
    _only(
        "tp_comm_overlap",
        "megatron/core/extensions/transformer_engine.py TELinear",
        "tp_comm_bulk_wgrad tp_comm_bulk_dgrad tp_comm_overlap_ag tp_comm_overlap_rs tp_comm_overlap_rs_dgrad "
        "tp_comm_split_ag tp_comm_split_rs tp_comm_bootstrap_backend tp_comm_overlap_cfg",
    ),
    _only("use_sharp", "megatron/core/parallel_state.py initialize_model_parallel", "sharp_enabled_group"),
    _only(
        "nccl_ub",
        "megatron/core/distributed/param_and_grad_buffer.py _ParamAndGradBuffer",
        "disable_symmetric_registration",
    ),
    _only(
        "tokenizer_type = HuggingFaceTokenizer GPT2BPETokenizer BertWordPieceLowerCase BertWordPieceCase",
        "megatron/core/tokenizers/text/utils/build_tokenizer.py build_tokenizer",
        "tokenizer_hf_use_fast tokenizer_hf_include_special_tokens tokenizer_hf_no_use_fast "
        "tokenizer_hf_no_include_special_tokens",
    ),
    # checkpoints, logs and watching
    _only("save", "megatron/training/training.py checkpoint_and_decide_exit", "save_interval async_save"),
    _only("async_save", "megatron/training/checkpointing.py save_checkpoint", "use_persistent_ckpt_worker"),
    _only(
        "load | pretrained_checkpoint",
        "megatron/training/training.py setup_model_and_optimizer",
        "no_load_optim no_load_rng exit_on_missing_checkpoint dist_ckpt_strictness",
    ),
    _only(
        "profile",
        "megatron/training/training.py train",
        "profile_step_start profile_step_end profile_ranks use_pytorch_profiler",
    ),
    _only("record_memory_history", "megatron/training/training.py training_log", "memory_snapshot_path"),
    _only("manual_gc", "megatron/training/training.py train", "manual_gc_interval manual_gc_eval"),
    _only("exit_signal_handler", "megatron/training/global_vars.py set_global_variables", "exit_signal"),
    _only(
        "tensorboard_dir | wandb_project",
        "megatron/training/global_vars.py _set_tensorboard_writer",
        "tensorboard_log_interval tensorboard_queue_size log_timers_to_tensorboard log_validation_ppl_to_tensorboard "
        "log_memory_to_tensorboard log_world_size_to_tensorboard",
    ),
    _only(
        "wandb_project",
        "megatron/training/global_vars.py _set_wandb_writer",
        "wandb_exp_name wandb_save_dir wandb_entity",
    ),
    _only("adlr_autoresume", "megatron/training/training.py checkpoint_and_decide_exit", "adlr_autoresume_interval"),
    _only("error_injection_rate", "megatron/core/rerun_state_machine.py RerunErrorInjector", "error_injection_type"),
)


class Alternative(Record):
    """One of the things that are enough: an argument, and the values it must have; on, where there are none."""

    argument: str
    values: tuple[str, ...]


@cache
def alternatives(condition: str) -> tuple[Alternative, ...]:
    """A condition, taken apart."""
    found = []
    for part in condition.split("|"):
        name, _, values = part.partition("=")
        found.append(Alternative(name.strip(), tuple(values.split())))
    return tuple(found)


@cache
def conditions_of() -> Mapping[str, tuple[str, ...]]:
    """Argument to the conditions that all must hold for it to be read."""
    found: dict[str, tuple[str, ...]] = {}
    for readers in READ_ONLY_WITH:
        for name in readers.arguments:
            found[name] = (*found.get(name, ()), readers.condition)
    return found


def unmet(name: str, value_of: Callable[[str], Any], exists: Callable[[str], bool]) -> str:
    """The condition because of which nothing reads an argument; empty where something may.

    Args:
        value_of: an argument's effective value, or ``program``.
        exists: is there such an argument?
    """
    for condition in conditions_of().get(name, ()):
        parts = alternatives(condition)
        if all(exists(part.argument) for part in parts) and not any(_holds(part, value_of) for part in parts):
            return condition
    return ""


def said(condition: str, catalog: Catalog) -> str:
    """A condition for people: ``--optimizer muon or dist_muon``; of values, those that this Megatron-LM has."""
    return " or ".join(_said(part, catalog) for part in alternatives(condition))


def _said(part: Alternative, catalog: Catalog) -> str:
    if part.argument == "program":
        return " or ".join(part.values)
    flag, choices = part.argument, None
    for argument in catalog.arguments:
        if argument.dest == part.argument:
            flag, choices = argument.flags[0], argument.choices or argument.members
            break
    there = [value for value in part.values if choices is None or value in choices]
    *others, last = there or [""]
    return f"{flag} {', '.join(others)} or {last}" if others else f"{flag} {last}".rstrip()


def _holds(part: Alternative, value_of: Callable[[str], Any]) -> bool:
    value = value_of(part.argument)
    if not part.values:
        return bool(value)
    return any(str(item) in part.values for item in (value if isinstance(value, (list, tuple)) else [value]))


def all_conditions() -> Iterator[tuple[str, str]]:
    """Every argument with each of its conditions."""
    for name, conditions in conditions_of().items():
        for condition in conditions:
            yield name, condition
