"""A large model's run config, scaled down until a CPU can train it; every other choice is kept.

Sizes shrink (layers, widths, heads, experts, sequence, batch, vocabulary, parallel sizes), kinds stay (activation,
normalization, position embedding, grouping of heads, gating of experts, optimizer, schedule, precision). Files of
the real run are not touched: no checkpoints, no loggers, and mock data where the data is not on this machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.emulation.adapt import Change, Editor
from bridge_args.versions import PROVEN

LAYERS: Final = 2
HEADS: Final = 4
CHANNELS: Final = 16  # per attention head
SEQUENCE: Final = 64  # tokens
EXPERTS: Final = 8
VOCABULARY: Final = 1024  # tokens, where the data is mock data
MICROBATCHES: Final = 4  # per step and data-parallel rank
LATENT: Final = 32  # ranks of multi-latent attention's projections

_SIZE = "smaller model"
_PARALLEL = "fits the processes of the rehearsal"
_FILES = "the rehearsal does not touch files of the real run"


def shrink(
    run_config: Mapping[str, Any],
    nproc: int = 1,
    exists: Callable[[str], bool] = lambda path: Path(path).exists(),
    bridge: str = PROVEN.bridge,
    vocabulary: int = VOCABULARY,
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """The run config scaled down for ``nproc`` processes, and everything that changed.

    Args:
        run_config: complete run config; not changed.
        nproc: processes of the rehearsal; parallel sizes are reduced to what fits.
        exists: whether a file is there; data and tokenizer files that are not are replaced by mock data.
        bridge: the version that the run config is for.
        vocabulary: tokens, where the data is mock data.
    """
    edit = Editor(run_config, bridge)
    old_data_parallel_samples = edit.get("global_batch_size", 1)
    _parallel_sizes(edit, nproc)
    _model(edit)
    _experts(edit)
    _sequence(edit)
    _data(edit, exists, vocabulary)
    _batch(edit, nproc, old_data_parallel_samples)
    _files(edit)
    return edit.config, tuple(edit.changes)


def _smaller(edit: Editor, name: str, limit: int, why: str = _SIZE) -> None:
    value = edit.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value > limit:
        edit.set(name, limit, why)


def _parallel_sizes(edit: Editor, nproc: int) -> None:
    """Tensor first, then pipeline, then context: each as large as asked and as still divides the processes."""
    free = nproc
    for kind in ("tensor_model", "pipeline_model", "context"):
        name = f"{kind}_parallel_size"
        size = math.gcd(edit.get(name, 1), free)
        edit.set(name, size, _PARALLEL)
        free //= size
    tensor: int = edit.get("tensor_model_parallel_size", 1)
    pipeline = edit.get("pipeline_model_parallel_size", 1)
    expert = math.gcd(edit.get("expert_model_parallel_size", 1), nproc // pipeline)
    edit.set("expert_model_parallel_size", expert, _PARALLEL)
    if edit.get("expert_tensor_parallel_size", 1) > 1:
        size = math.gcd(edit.get("expert_tensor_parallel_size"), nproc // pipeline // expert)
        edit.set("expert_tensor_parallel_size", size, _PARALLEL)
    if tensor == 1:
        edit.set("sequence_parallel", False, "goes with tensor parallelism")
    if edit.get("context_parallel_size", 1) == 1:
        edit.set("hierarchical_context_parallel_sizes", None, _PARALLEL)
    stages = edit.get("model.virtual_pipeline_model_parallel_size", 1) if pipeline > 1 else 1
    if pipeline == 1:
        edit.set("model.virtual_pipeline_model_parallel_size", None, "goes with pipeline parallelism")
        edit.set("microbatch_group_size_per_vp_stage", None, "goes with pipeline parallelism")
        edit.set("comm_overlap.overlap_p2p_comm", None, "goes with pipeline parallelism")
        edit.set("model.overlap_p2p_comm", False, "goes with pipeline parallelism")
    if expert == 1:
        edit.set("overlap_moe_expert_parallel_comm", False, "goes with expert parallelism")
        edit.set("comm_overlap.overlap_moe_expert_parallel_comm", False, "goes with expert parallelism")
        edit.set("model.delay_wgrad_compute", False, "goes with expert parallelism")
        edit.set("comm_overlap.delay_wgrad_compute", False, "goes with expert parallelism")
    for end in ("first", "last"):
        edit.set(f"model.num_layers_in_{end}_pipeline_stage", None, "layers are spread evenly")
    edit.set("pipeline_model_parallel_layout", None, "layers are spread evenly")
    for name in ("account_for_embedding_in_pipeline_split", "account_for_loss_in_pipeline_split"):
        edit.set(f"model.{name}", False, "layers are spread evenly")
    edit.set("num_distributed_optimizer_instances", 1, _PARALLEL)
    edit.set("use_tp_pp_dp_mapping", False, _PARALLEL)
    _layers(edit, LAYERS * pipeline * stages)


def _layers(edit: Editor, layers: int) -> None:
    """Fewer layers; a pattern of dense and MoE layers keeps its first and its last kinds."""
    for path in ("model.hybrid_layer_pattern", "model.hybrid_override_pattern"):
        if isinstance(pattern := edit.get(path), str):
            return _pattern(edit, path, pattern)
    frequency = edit.get("moe_layer_freq")
    if isinstance(frequency, int) and edit.get("num_experts"):
        layers = max(layers, frequency)  # every so-manyth layer is one of experts
    before = edit.get("num_layers", layers)
    _smaller(edit, "num_layers", layers)
    if isinstance(frequency, list) and before > layers:
        half = layers // 2
        edit.set("moe_layer_freq", frequency[: layers - half] + frequency[len(frequency) - half :], _SIZE)
    _with_layers(edit, layers)


def _pattern(edit: Editor, path: str, pattern: str) -> None:
    """The layers of a hybrid model by letters: one of each kind in each stage; one layer that predicts is enough."""
    layers, _, predicted = pattern.partition("/")
    kinds, stages = _kinds(layers), edit.get("pipeline_model_parallel_size", 1)
    small = ("|" if "|" in layers else "").join([kinds] * stages)
    if predicted:
        small += "/" + _kinds(predicted)
    edit.set(path, small, "one layer of each kind")
    edit.set("num_layers", len(kinds) * stages, "one layer of each kind")
    _with_layers(edit, len(kinds) * stages)


def _kinds(pattern: str) -> str:
    return "".join(dict.fromkeys(symbol for symbol in pattern if symbol not in "|/"))


def _with_layers(edit: Editor, layers: int) -> None:
    """What must not be more than the layers there are."""
    per_stage = max(1, layers // edit.get("pipeline_model_parallel_size", 1))
    for name in ("recompute_num_layers", "cpu_offloading_num_layers"):
        _smaller(edit, f"model.{name}", per_stage)
    for name in ("mtp_num_layers", "num_layers_at_start_in_bf16", "num_layers_at_end_in_bf16"):
        _smaller(edit, f"model.{name}", 1)


def _model(edit: Editor) -> None:
    """Widths, in their proportions: heads to groups, feed-forward to hidden."""
    tensor: int = edit.get("tensor_model_parallel_size", 1)
    heads, groups = edit.get("num_attention_heads", HEADS), edit.get("num_query_groups")
    new_heads = min(heads, max(HEADS, 2 * tensor))
    if heads % new_heads:
        new_heads = math.gcd(heads, new_heads)
    if groups:
        edit.set("num_query_groups", _groups(groups, heads, new_heads, tensor), _SIZE)
    old_hidden: int = edit.get("hidden_size", 1)
    new_hidden: int = min(old_hidden, new_heads * CHANNELS)
    edit.set("num_attention_heads", new_heads, _SIZE)
    edit.set("hidden_size", new_hidden, _SIZE)
    _smaller(edit, "kv_channels", CHANNELS)
    step = 16 * tensor

    def scaled(width: int) -> int:
        return max(step, round(width * new_hidden / old_hidden / step) * step)

    for name in ("ffn_hidden_size", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size", "moe_latent_size"):
        if width := edit.get(f"model.{name}"):
            edit.set(f"model.{name}", min(width, scaled(width)), _SIZE)
    for name in ("q_lora_rank", "kv_lora_rank"):
        _smaller(edit, f"model.{name}", LATENT)
    for name in ("qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim"):
        _smaller(edit, f"model.{name}", CHANNELS)
    # every model has these settings
    if edit.get("model._target_", "").endswith(("MambaModelProvider", "HybridModelProvider")):
        for name in ("mamba_head_dim", "mamba_state_dim"):
            _smaller(edit, f"model.{name}", CHANNELS)
        _smaller(edit, "mamba_num_heads", 2 * new_hidden // CHANNELS)
        _smaller(edit, "mamba_num_groups", tensor)


def _groups(groups: int, heads: int, new_heads: int, tensor: int) -> int:
    """One per head and one for all stay that; in between, two, or as many as tensor parallelism divides."""
    if groups == heads:
        return new_heads
    if groups == 1 or new_heads <= 2:
        return 1
    return max(tensor, 2)


def _experts(edit: Editor) -> None:
    if not edit.get("num_experts"):
        return
    _smaller(edit, "num_experts", max(EXPERTS, 2 * edit.get("expert_model_parallel_size", 1)))
    experts = edit.get("num_experts")
    _smaller(edit, "moe_router_num_groups", 2)
    _smaller(edit, "moe_router_group_topk", 1)
    _smaller(edit, "model.moe_router_topk_limited_devices", edit.get("expert_model_parallel_size", 1))
    _smaller(edit, "moe_router_topk", max(1, experts // 4))


def _sequence(edit: Editor) -> None:
    length = SEQUENCE * edit.get("context_parallel_size", 1)
    for path in ("model.seq_length", "dataset.seq_length", "dataset.sequence_length", "model.max_position_embeddings"):
        _smaller(edit, path, length, "shorter sequences")
    window = edit.get("window_size")
    if isinstance(window, (list, tuple)) and window and window[0] > length // 2:
        edit.set("window_size", [length // 2, *window[1:]], "shorter sequences")


# --------------------------------------------------------------------------- data, batch, files


def _data(edit: Editor, exists: Callable[[str], bool], vocabulary: int) -> None:
    """Real data if all of it is here, else mock data; then the vocabulary can be small, too."""
    missing = [prefix for prefix in _prefixes(edit) if not (exists(f"{prefix}.bin") and exists(f"{prefix}.idx"))]
    named = edit.get("dataset.blend") or edit.get("dataset.blend_per_split")
    if missing:
        why = f"{missing[0]}.bin is not on this machine"
        for name in ("blend", "blend_per_split"):
            edit.set(f"dataset.{name}", None, why)
        if edit.get("split") is None:
            edit.set("split", "969, 30, 1", "mock data is split")
    tokenizer = [edit.get(f"tokenizer.{name}") for name in ("tokenizer_model", "vocab_file", "merge_file")]
    files = [name for name in tokenizer if isinstance(name, str)]
    absent = [name for name in files if not exists(name)]
    if named and not missing and not absent:
        return  # the data decides the vocabulary
    why = f"{absent[0]} is not on this machine" if absent else "a small vocabulary for mock data"
    edit.set("tokenizer_type", "NullTokenizer", why)
    for name in ("tokenizer_model", "vocab_file", "merge_file"):
        edit.set(f"tokenizer.{name}", None, why)
    edit.set("tokenizer.vocab_size", vocabulary, why)
    if edit.get("padded_vocab_size"):
        edit.set("padded_vocab_size", vocabulary, why)
        edit.set("model.should_pad_vocab", True, why)


def _prefixes(edit: Editor) -> list[str]:
    """Data prefixes of a blend ``[prefixes, weights]``, or of one blend per split."""
    blends = [edit.get("dataset.blend"), *edit.get("dataset.blend_per_split", [])]
    return [prefix for blend in blends if blend for prefix in blend[0]]


def _batch(edit: Editor, nproc: int, old_samples: int) -> None:
    """A few micro-batches per step; a schedule counted in samples keeps its number of steps."""
    pipeline = edit.get("pipeline_model_parallel_size", 1)
    ranks = edit.get("tensor_model_parallel_size", 1) * pipeline * edit.get("context_parallel_size", 1)
    data_parallel = max(1, nproc // ranks)
    _smaller(edit, "micro_batch_size", 2, "smaller batches")
    micro_batch = edit.get("micro_batch_size", 1)
    most = micro_batch * data_parallel * max(MICROBATCHES, 2 * pipeline)
    samples = min(most, max(1, old_samples // (micro_batch * data_parallel)) * micro_batch * data_parallel)
    edit.set("global_batch_size", samples, "smaller batches")
    for schedule in ("rampup_batch_size", "step_batch_size_schedule"):
        edit.set(schedule, None, "the batch is already small")
    _smaller(edit, "eval_iters", 2, "shorter evaluation")
    for path in ("train.train_samples", *(f"scheduler.lr_{part}_samples" for part in ("decay", "warmup", "wsd_decay"))):
        if count := edit.get(path):
            edit.set(path, max(1, count * samples // old_samples), "the same number of steps")


_PLACES: Final = (
    "save",
    "load",
    "pretrained_checkpoint",
    "non_persistent_global_ckpt_dir",
    "non_persistent_local_ckpt_dir",
    "non_persistent_save_interval",
    "ckpt_convert_format",
    "ckpt_convert_save",
    "tensorboard_dir",
    "wandb_project",
    "wandb_exp_name",
    "wandb_save_dir",
    "logger.mlflow_experiment",
    "logger.save_config_filepath",
    "data_cache_path",
    "object_storage_cache_path",
)


def _files(edit: Editor) -> None:
    for path in _PLACES:
        if edit.get(path):  # an empty name is none
            edit.set(path, None, _FILES)
    for path in ("async_save", "exit_on_missing_checkpoint", "finetune"):
        edit.set(path, False, _FILES)
    if edit.get("profiling.use_pytorch_profiler"):
        edit.set("profiling.use_pytorch_profiler", False, _FILES)
