"""The flag guide of Megatron Bridge, row by row: we reach the setting it names, or a correction says why not.

The facts of the guide are kept here; where its text is at hand, it is read again and compared.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.mapping.folder import mappings_folder
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument

SEED = Path(__file__).resolve().parents[2] / ".." / "shared" / "seeds" / "004_88a973e1d8ccc33d.txt"
CORRECTIONS: dict[str, dict[str, Any]] = yaml.safe_load(
    (mappings_folder() / "notes" / "guide_corrections.yaml").read_text(encoding="utf-8")
)

MODEL = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 2 --global-batch-size 8 --train-iters 10 --lr 1e-3 --eval-interval 5 --eval-iters 1 "
    "--mock-data --tokenizer-type NullTokenizer --vocab-size 100"
)

# Flags whose values cannot be made up from their type, or that say something only beside others.
EXAMPLES = {
    "--train-samples": "--train-samples 80",
    "--train-iters": "--train-iters 12",
    "--rampup-batch-size": "--rampup-batch-size 2 2 20",
    "--group-query-attention": "--group-query-attention --num-query-groups 2",
    "--num-query-groups": "--group-query-attention --num-query-groups 2",
    "--position-embedding-type": "--position-embedding-type rope",
    "--ckpt-format": "--ckpt-format fsdp_dtensor --use-megatron-fsdp",
    "--use-pytorch-profiler": "--profile --use-pytorch-profiler",
    "--logging-level": "--logging-level 10",
    "--rerun-mode": "--rerun-mode validate_results",
    "--lr-wsd-decay-iters": "--lr-decay-style WSD --lr-wsd-decay-iters 3",
    "--lr-decay-samples": "--train-samples 80 --lr-decay-samples 70",
    "--lr-warmup-samples": "--train-samples 80 --lr-warmup-samples 10",
    "--eval-interval": "--eval-interval 3",
    "--no-create-attention-mask-in-dataloader": "--no-create-attention-mask-in-dataloader",
    "--moe-router-load-balancing-type": "--moe-router-load-balancing-type sinkhorn",
}
OPENERS = {"inprocess_restart": "--inprocess-restart", "straggler": "--log-straggler", "ft": "--enable-ft-package"}

# (flag, setting, value where the guide names one)
GUIDE: tuple[tuple[str, str, str], ...] = (
    ("--tensor-model-parallel-size", "model.tensor_model_parallel_size", ""),
    ("--pipeline-model-parallel-size", "model.pipeline_model_parallel_size", ""),
    ("--context-parallel-size", "model.context_parallel_size", ""),
    ("--expert-model-parallel-size", "model.expert_model_parallel_size", ""),
    ("--expert-tensor-parallel-size", "model.expert_tensor_parallel_size", ""),
    ("--sequence-parallel", "model.sequence_parallel", ""),
    ("--account-for-embedding-in-pipeline-split", "model.account_for_embedding_in_pipeline_split", ""),
    ("--account-for-loss-in-pipeline-split", "model.account_for_loss_in_pipeline_split", ""),
    ("--untie-embeddings-and-output-weights", "model.share_embeddings_and_output_weights", "false"),
    ("--position-embedding-type", "model.position_embedding_type", ""),
    ("--rotary-percent", "model.rotary_percent", ""),
    ("--rotary-base", "model.rotary_base", ""),
    ("--rotary-seq-len-interpolation-factor", "model.seq_len_interpolation_factor", ""),
    ("--normalization", "model.normalization", ""),
    ("--swiglu", "model.gated_linear_unit", "true"),
    ("--norm-epsilon", "model.layernorm_epsilon", ""),
    ("--num-layers", "model.num_layers", ""),
    ("--hidden-size", "model.hidden_size", ""),
    ("--ffn-hidden-size", "model.ffn_hidden_size", ""),
    ("--num-attention-heads", "model.num_attention_heads", ""),
    ("--kv-channels", "model.kv_channels", ""),
    ("--group-query-attention", "model.num_query_groups", ""),
    ("--num-query-groups", "model.num_query_groups", ""),
    ("--qk-layernorm", "model.qk_layernorm", ""),
    ("--seq-length", "model.seq_length", ""),
    ("--max-position-embeddings", "model.seq_length", ""),
    ("--make-vocab-size-divisible-by", "model.make_vocab_size_divisible_by", ""),
    ("--disable-bias-linear", "model.add_bias_linear", "false"),
    ("--use-flash-attn", "model.attention_backend", "flash"),
    ("--init-method-std", "model.init_method_std", ""),
    ("--attention-dropout", "model.attention_dropout", ""),
    ("--hidden-dropout", "model.hidden_dropout", ""),
    ("--num-experts", "model.num_moe_experts", ""),
    ("--moe-ffn-hidden-size", "model.moe_ffn_hidden_size", ""),
    ("--moe-router-load-balancing-type", "model.moe_router_load_balancing_type", ""),
    ("--moe-router-topk", "model.moe_router_topk", ""),
    ("--moe-router-pre-softmax", "model.moe_router_pre_softmax", ""),
    ("--moe-grouped-gemm", "model.moe_grouped_gemm", ""),
    ("--moe-aux-loss-coeff", "model.moe_aux_loss_coeff", ""),
    ("--moe-token-dispatcher-type", "model.moe_token_dispatcher_type", ""),
    ("--moe-enable-deepep", "model.moe_enable_deepep", ""),
    ("--moe-permute-fusion", "model.moe_permute_fusion", ""),
    ("--moe-router-fusion", "model.moe_router_fusion", ""),
    ("--moe-router-dtype", "model.moe_router_dtype", ""),
    ("--bf16", "mixed_precision", ""),
    ("--micro-batch-size", "train.micro_batch_size", ""),
    ("--global-batch-size", "train.global_batch_size", ""),
    ("--train-samples", "train.train_samples", ""),
    ("--rampup-batch-size", "train.rampup_batch_size", ""),
    ("--decrease-batch-size-if-needed", "train.decrease_batch_size_if_needed", ""),
    ("--empty-unused-memory-level", "train.empty_unused_memory_level", ""),
    ("--check-weight-hash-across-dp-replicas-interval", "train.check_weight_hash_across_dp_replicas_interval", ""),
    ("--train-iters", "train.train_iters", ""),
    ("--exit-interval", "train.exit_interval", ""),
    ("--exit-duration-in-mins", "train.exit_duration_in_mins", ""),
    ("--exit-signal-handler", "train.exit_signal_handler", ""),
    ("--manual-gc", "train.manual_gc", ""),
    ("--manual-gc-interval", "train.manual_gc_interval", ""),
    ("--no-manual-gc-eval", "train.manual_gc_eval", "false"),
    ("--eval-iters", "train.eval_iters", ""),
    ("--eval-interval", "train.eval_interval", ""),
    ("--skip-train", "train.skip_train", ""),
    ("--lr-decay-style", "scheduler.lr_decay_style", ""),
    ("--lr-decay-iters", "scheduler.lr_decay_iters", ""),
    ("--lr-wsd-decay-style", "scheduler.lr_wsd_decay_style", ""),
    ("--lr-wsd-decay-iters", "scheduler.lr_wsd_decay_iters", ""),
    ("--lr-warmup-fraction", "scheduler.lr_warmup_fraction", ""),
    ("--lr-warmup-iters", "scheduler.lr_warmup_iters", ""),
    ("--lr-warmup-init", "scheduler.lr_warmup_init", ""),
    ("--lr-decay-samples", "scheduler.lr_decay_samples", ""),
    ("--lr-warmup-samples", "scheduler.lr_warmup_samples", ""),
    ("--lr", "optimizer.lr", ""),
    ("--min-lr", "optimizer.min_lr", ""),
    ("--clip-grad", "optimizer.clip_grad", ""),
    ("--weight-decay", "optimizer.weight_decay", ""),
    ("--adam-beta1", "optimizer.adam_beta1", ""),
    ("--adam-beta2", "optimizer.adam_beta2", ""),
    ("--override-opt_param-scheduler", "scheduler.override_opt_param_scheduler", ""),
    ("--use-checkpoint-opt_param-scheduler", "scheduler.use_checkpoint_opt_param_scheduler", ""),
    ("--start-weight-decay", "scheduler.start_weight_decay", ""),
    ("--end-weight-decay", "scheduler.end_weight_decay", ""),
    ("--weight-decay-incr-style", "scheduler.weight_decay_incr_style", ""),
    ("--save", "checkpoint.save", ""),
    ("--save-interval", "checkpoint.save_interval", ""),
    ("--no-save-optim", "checkpoint.save_optim", "false"),
    ("--no-save-rng", "checkpoint.save_rng", "false"),
    ("--load", "checkpoint.load", ""),
    ("--no-load-optim", "checkpoint.load_optim", "false"),
    ("--load-main-params-from-ckpt", "checkpoint.load_main_params_from_ckpt", ""),
    ("--no-load-rng", "checkpoint.load_rng", "false"),
    ("--non-persistent-save-interval", "checkpoint.non_persistent_save_interval", ""),
    ("--non-persistent-ckpt-type", "checkpoint.non_persistent_ckpt_type", ""),
    ("--non-persistent-global-ckpt-dir", "checkpoint.non_persistent_global_ckpt_dir", ""),
    ("--non-persistent-local-ckpt-dir", "checkpoint.non_persistent_local_ckpt_dir", ""),
    ("--non-persistent-local-ckpt-algo", "checkpoint.non_persistent_local_ckpt_algo", ""),
    ("--finetune", "checkpoint.finetune", ""),
    ("--pretrained-checkpoint", "checkpoint.pretrained_checkpoint", ""),
    ("--ckpt-step", "checkpoint.ckpt_step", ""),
    ("--use-checkpoint-args", "checkpoint.use_checkpoint_args", ""),
    ("--exit-on-missing-checkpoint", "checkpoint.exit_on_missing_checkpoint", ""),
    ("--ckpt-format", "checkpoint.ckpt_format", ""),
    ("--ckpt-convert-format", "checkpoint.ckpt_convert_format", ""),
    ("--ckpt-convert-save", "checkpoint.ckpt_convert_save", ""),
    ("--no-ckpt-fully-parallel-save", "checkpoint.fully_parallel_save", "false"),
    ("--async-save", "checkpoint.async_save", ""),
    ("--use-persistent-ckpt-worker", "checkpoint.use_persistent_ckpt_worker", ""),
    ("--ckpt-fully-parallel-load", "checkpoint.fully_parallel_load", ""),
    ("--ckpt-assume-constant-structure", "checkpoint.ckpt_assume_constant_structure", ""),
    ("--dist-ckpt-strictness", "checkpoint.dist_ckpt_strictness", ""),
    ("--auto-detect-ckpt-format", "checkpoint.auto_detect_ckpt_format", ""),
    ("--replication", "checkpoint.replication", ""),
    ("--replication-jump", "checkpoint.replication_jump", ""),
    ("--replication-factor", "checkpoint.replication_factor", ""),
    ("--no-strict-fsdp-dtensor-load", "checkpoint.strict_fsdp_dtensor_load", "false"),
    ("--log-interval", "logger.log_interval", ""),
    ("--log-params-norm", "logger.log_params_norm", ""),
    ("--log-throughput", "logger.log_throughput", ""),
    ("--log-progress", "logger.log_progress", ""),
    ("--timing-log-level", "logger.timing_log_level", ""),
    ("--timing-log-option", "logger.timing_log_option", ""),
    ("--tensorboard-dir", "logger.tensorboard_dir", ""),
    ("--tensorboard-log-interval", "logger.tensorboard_log_interval", ""),
    ("--tensorboard-queue-size", "logger.tensorboard_queue_size", ""),
    ("--log-timers-to-tensorboard", "logger.log_timers_to_tensorboard", ""),
    ("--no-log-loss-scale-to-tensorboard", "logger.log_loss_scale_to_tensorboard", "false"),
    ("--log-validation-ppl-to-tensorboard", "logger.log_validation_ppl_to_tensorboard", ""),
    ("--log-memory-to-tensorboard", "logger.log_memory_to_tensorboard", ""),
    ("--log-world-size-to-tensorboard", "logger.log_world_size_to_tensorboard", ""),
    ("--wandb-project", "logger.wandb_project", ""),
    ("--wandb-entity", "logger.wandb_entity", ""),
    ("--wandb-exp-name", "logger.wandb_exp_name", ""),
    ("--wandb-save-dir", "logger.wandb_save_dir", ""),
    ("--logging-level", "logger.logging_level", ""),
    ("--log-energy", "logger.log_energy", ""),
    ("--seed", "rng.seed", ""),
    ("--data-parallel-random-init", "rng.data_parallel_random_init", ""),
    ("--te-rng-tracker", "rng.te_rng_tracker", ""),
    ("--inference-rng-tracker", "rng.inference_rng_tracker", ""),
    ("--distributed-backend", "dist.distributed_backend", ""),
    ("--distributed-timeout-minutes", "dist.distributed_timeout_minutes", ""),
    ("--no-align-grad-reduce", "dist.align_grad_reduce", "false"),
    ("--disable-gloo-process-groups", "dist.use_gloo_process_groups", "false"),
    ("--use-sharp", "dist.use_sharp", ""),
    ("--sharp-enabled-group", "dist.sharp_enabled_group", ""),
    ("--high-priority-stream-groups", "dist.high_priority_stream_groups", ""),
    ("--use-tp-pp-dp-mapping", "dist.use_tp_pp_dp_mapping", ""),
    ("--use-distributed-optimizer", "ddp.use_distributed_optimizer", ""),
    ("--use-distributed-optimizer", "optimizer.use_distributed_optimizer", ""),
    ("--overlap-grad-reduce", "ddp.overlap_grad_reduce", ""),
    ("--overlap-param-gather", "ddp.overlap_param_gather", ""),
    ("--profile", "profiling.use_nsys_profiler", ""),
    ("--use-pytorch-profiler", "profiling.use_pytorch_profiler", ""),
    ("--profile-step-start", "profiling.profile_step_start", ""),
    ("--profile-step-end", "profiling.profile_step_end", ""),
    ("--profile-ranks", "profiling.profile_ranks", ""),
    ("--record-memory-history", "profiling.record_memory_history", ""),
    ("--memory-snapshot-path", "profiling.memory_snapshot_path", ""),
    ("--inprocess-restart", "inprocess_restart.enabled", ""),
    ("--inprocess-max-iterations", "inprocess_restart.max_iterations", ""),
    ("--inprocess-monitor-thread-interval", "inprocess_restart.monitor_thread_interval", ""),
    ("--inprocess-monitor-process-interval", "inprocess_restart.monitor_process_interval", ""),
    ("--inprocess-progress-watchdog-interval", "inprocess_restart.progress_watchdog_interval", ""),
    ("--inprocess-heartbeat-interval", "inprocess_restart.heartbeat_interval", ""),
    ("--inprocess-soft-timeout", "inprocess_restart.soft_timeout", ""),
    ("--inprocess-hard-timeout", "inprocess_restart.hard_timeout", ""),
    ("--inprocess-heartbeat-timeout", "inprocess_restart.heartbeat_timeout", ""),
    ("--inprocess-barrier-timeout", "inprocess_restart.barrier_timeout", ""),
    ("--inprocess-completion-timeout", "inprocess_restart.completion_timeout", ""),
    ("--inprocess-last-call-wait", "inprocess_restart.last_call_wait", ""),
    ("--inprocess-termination-grace-time", "inprocess_restart.termination_grace_time", ""),
    ("--inprocess-granularity", "inprocess_restart.granularity", ""),
    ("--inprocess-active-world-size", "inprocess_restart.active_world_size", ""),
    ("--inprocess-empty-cuda-cache", "inprocess_restart.empty_cuda_cache", ""),
    ("--log-straggler", "straggler.log_straggler", ""),
    ("--disable-straggler-on-startup", "straggler.disable_straggler_on_startup", ""),
    ("--straggler-ctrlr-port", "straggler.straggler_ctrlr_port", ""),
    ("--straggler-minmax-count", "straggler.straggler_minmax_count", ""),
    ("--error-injection-rate", "rerun_state_machine.error_injection_rate", ""),
    ("--error-injection-type", "rerun_state_machine.error_injection_type", ""),
    ("--rerun-mode", "rerun_state_machine.rerun_mode", ""),
    ("--tokenizer-type", "tokenizer.tokenizer_type", ""),
    ("--tokenizer-model", "tokenizer.tokenizer_model", ""),
    ("--num-workers", "dataset.num_workers", ""),
    ("--no-create-attention-mask-in-dataloader", "dataset.skip_getting_attention_mask_from_dataset", "true"),
)


def example(flag: str, path: str, argument: Argument) -> list[str]:
    """A command line on which the flag says something."""
    words = MODEL.split()
    opener = OPENERS.get(path.partition(".")[0])
    if opener and opener != flag:
        words.append(opener)
    if flag in EXAMPLES:
        return without_iterations(words + EXAMPLES[flag].split())
    if argument.action != "store":
        return [*words, flag]
    if argument.choices:
        return [*words, flag, str(argument.choices[-1])]
    value = {"int": "4", "float": "0.5"}.get(argument.type or "", "some/name")
    return [*words, flag, value]


def without_iterations(words: list[str]) -> list[str]:
    """A run has one length: iterations, or samples where the example says so."""
    if "--train-samples" not in words:
        return words
    at = words.index("--train-iters")
    return words[:at] + words[at + 2 :]


@pytest.mark.parametrize(("flag", "path", "value"), GUIDE, ids=[f"{flag} {path}" for flag, path, _ in GUIDE])
def test_the_setting_the_guide_names_is_reached(flag: str, path: str, value: str) -> None:
    argument = catalogs.load("0.16.1").by_flag[flag]
    correction = CORRECTIONS.get(flag)
    if correction:
        assert correction["guide"] == path
        path = correction["path"]
    translation = bridge_args.translate(example(flag, path, argument), world_size=8, bridge="0.3.1")
    if correction and path == "none":
        assert translation.outcomes[argument.dest].given
        assert correction["guide"] not in translation.outcomes[argument.dest].paths
        return
    reached = {assignment.path: assignment for assignment in translation.assignments}
    if path not in reached:  # Bridge does it without being told
        assert value == str(default_of(path)).lower()
        return
    origin = reached[path].origin
    row = translation.outcomes[argument.dest].row
    assert argument.dest in {*origin.arguments, *origin.inputs} or set(row.feeds) & set(origin.arguments)
    if value:
        assert str(reached[path].value).lower() == value


def default_of(path: str) -> Any:
    field = schemas.load("0.3.1").find(path)
    assert field is not None
    return field.default


@pytest.mark.parametrize("flag", CORRECTIONS)
def test_a_correction_is_needed_and_says_why(flag: str) -> None:
    correction = CORRECTIONS[flag]
    assert flag in {guided for guided, _, _ in GUIDE}
    assert correction["path"] != correction["guide"]
    assert correction["because"][0].isupper()
    assert correction["because"].endswith(".")
    assert correction["see"]
    if correction["path"] != "none":
        assert schemas.load("0.3.1").find(correction["path"]) is not None


@pytest.mark.skipif(not SEED.is_file(), reason="the guide itself is not at hand")
def test_the_facts_kept_here_are_the_guides() -> None:
    facts = []
    for line in SEED.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or not cells[0].startswith("`--"):
            continue
        flag = cells[0].strip("`")
        for name in re.findall(r"`([^`]+)`", cells[1]):
            path, _, value = name.partition("=")
            if flag != "--bf16" or path == "mixed_precision":
                facts.append((flag, path, value))
    assert tuple(facts) == GUIDE
