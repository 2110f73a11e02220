"""Scaling down: sizes change, kinds stay, and every change is listed with a reason."""

from __future__ import annotations

from typing import Any

import pytest

import bridge_args
from bridge_args.emulation import adapt
from bridge_args.rehearse.shrink import shrink

# DeepSeek-like: grouped experts, latent attention, layers of two kinds, a schedule in samples
LARGE = [
    "--num-layers", "61", "--hidden-size", "7168", "--ffn-hidden-size", "18432", "--num-attention-heads", "128",
    "--seq-length", "4096", "--max-position-embeddings", "4096", "--position-embedding-type", "rope",
    "--normalization", "RMSNorm", "--swiglu", "--disable-bias-linear", "--bf16", "--micro-batch-size", "1",
    "--global-batch-size", "2048", "--train-samples", "2048000", "--lr", "3e-4", "--lr-decay-style", "cosine",
    "--lr-warmup-samples", "204800", "--num-experts", "256", "--moe-router-topk", "8", "--moe-ffn-hidden-size", "2048",
    "--moe-layer-freq", "[0]*3+[1]*58", "--expert-model-parallel-size", "8", "--tensor-model-parallel-size", "8",
    "--sequence-parallel", "--pipeline-model-parallel-size", "2", "--use-distributed-optimizer",
    "--data-path", "/nowhere/text_document", "--tokenizer-type", "HuggingFaceTokenizer",
    "--tokenizer-model", "/nowhere/tokenizer",
    "--save", "/nowhere/checkpoints", "--save-interval", "100", "--tensorboard-dir", "/nowhere/tb",
    "--eval-interval", "100", "--split", "99,1,0", "--decoder-first-pipeline-num-layers", "31",
]  # fmt: skip


def large(*more: str) -> dict[str, Any]:
    translation = bridge_args.translate([*LARGE, *more], world_size=128)
    assert not translation.errors, translation.errors
    return bridge_args.to_run_config(translation)


def test_sizes_change_and_kinds_stay() -> None:
    before = large()
    after, changes = shrink(before, exists=lambda path: False)
    model = after["model"]
    assert (model["num_layers"], model["hidden_size"], model["num_attention_heads"]) == (2, 64, 4)
    assert model["ffn_hidden_size"] == 160  # 18432 / 7168 of 64, to a multiple of 16
    assert model["moe_layer_freq"] == [0, 1]  # one dense layer, one of experts
    assert (model["num_moe_experts"], model["moe_router_topk"]) == (8, 2)
    for kind in ("normalization", "gated_linear_unit", "position_embedding_type", "activation_func", "add_bias_linear"):
        assert model.get(kind) == before["model"].get(kind)
    for section in ("optimizer", "mixed_precision", "rng"):
        assert after[section] == before[section]
    assert all(change.why for change in changes)


@pytest.mark.parametrize(
    ("pattern", "pipeline", "nproc", "small"),
    [
        ("M-M*ME|M-M*ME/*E/*E", 2, 2, "M-*E|M-*E/*E"),
        ("M-M*ME|M-M*ME/*E/*E", 2, 1, "M-*E/*E"),
        ("M-M*M-M*", 2, 2, "M-*M-*"),
    ],
)
def test_a_pattern_keeps_its_kinds_of_layers(pattern: str, pipeline: int, nproc: int, small: str) -> None:
    words = [*LARGE[2:-2], "--hybrid-layer-pattern", pattern, "--pipeline-model-parallel-size", str(pipeline)]
    words += ["--tensor-model-parallel-size", "1"]
    frequency = words.index("--moe-layer-freq")
    del words[frequency : frequency + 2]
    translation = bridge_args.translate(words, 128, "0.19.0", "0.6.2", program="pretrain_hybrid.py")
    assert not translation.errors, translation.errors
    model = shrink(bridge_args.to_run_config(translation), nproc, lambda path: False, "0.6.2")[0]["model"]
    assert model["hybrid_layer_pattern"] == small
    assert model["num_layers"] == len(small.partition("/")[0].replace("|", ""))
    assert model["mtp_num_layers"] == (1 if "/" in small else None)
    assert model["mamba_head_dim"] == 16 and model["mamba_state_dim"] == 16


def test_everything_that_changed_is_listed() -> None:
    before = large()
    after, changes = shrink(before, exists=lambda path: False)
    listed = {change.path for change in changes}
    different = {
        f"{section}.{name}"
        for section, fields in before.items()
        if isinstance(fields, dict)
        for name, value in fields.items()
        if after[section][name] != value
    }
    assert different == listed


@pytest.mark.parametrize(
    ("nproc", "tensor", "pipeline", "expert", "sequence_parallel"),
    [(1, 1, 1, 1, False), (2, 2, 1, 2, True), (4, 4, 1, 4, True), (16, 8, 2, 8, True)],
)
def test_parallel_sizes_fit(nproc: int, tensor: int, pipeline: int, expert: int, sequence_parallel: bool) -> None:
    model = shrink(large(), nproc)[0]["model"]
    assert model["tensor_model_parallel_size"] == tensor
    assert model["pipeline_model_parallel_size"] == pipeline
    assert model["expert_model_parallel_size"] == expert
    assert model["sequence_parallel"] is sequence_parallel
    assert model["num_attention_heads"] % tensor == 0
    assert model["num_layers"] % pipeline == 0
    assert model["num_moe_experts"] % expert == 0


def test_a_schedule_in_samples_keeps_its_steps() -> None:
    after, _ = shrink(large())
    train, scheduler = after["train"], after["scheduler"]
    assert train["train_samples"] // train["global_batch_size"] == 2048000 // 2048
    assert scheduler["lr_warmup_samples"] // train["global_batch_size"] == 204800 // 2048


def test_data_that_is_there_stays() -> None:
    before = large()
    after, _ = shrink(before, exists=lambda path: True)
    assert after["dataset"]["blend"] == before["dataset"]["blend"]
    assert after["tokenizer"] == before["tokenizer"]


def test_data_that_is_missing_becomes_mock_data() -> None:
    after, changes = shrink(large(), exists=lambda path: False)
    assert after["dataset"]["blend"] is None
    assert after["tokenizer"]["tokenizer_type"] == "NullTokenizer"
    assert "/nowhere/text_document.bin is not on this machine" in [change.why for change in changes]


def test_files_of_the_real_run_are_left_alone() -> None:
    after, _ = shrink(large())
    assert after["checkpoint"]["save"] is None
    assert after["logger"]["tensorboard_dir"] is None


@pytest.mark.parametrize(
    ("groups", "smaller"), [(8, 2), (1, 1), (128, 4)], ids=["some groups", "one group", "a group per head"]
)
def test_grouping_of_heads(groups: int, smaller: int) -> None:
    model = {"num_attention_heads": 128, "hidden_size": 8192, "num_query_groups": groups}
    assert shrink({"model": model})[0]["model"]["num_query_groups"] == smaller


# -------------------------------------------------------------------- what a CPU cannot do


def test_fp8_is_switched_off_and_said() -> None:
    config, changes = adapt.adapt(large("--fp8-format", "hybrid", "--transformer-impl", "transformer_engine"))
    assert config["mixed_precision"]["fp8"] is None
    assert "no fp8 and no fp4 on a CPU" in [change.why for change in changes]


def test_a_recipe_by_name() -> None:
    config, _ = adapt.adapt({"model": {}, "mixed_precision": "bf16_with_fp8_hybrid"})
    assert config["mixed_precision"] == "bf16_mixed"


def test_nothing_to_change() -> None:
    config = large("--transformer-impl", "local", "--no-rope-fusion", "--no-persist-layer-norm")
    assert adapt.adapt(config) == (config, ())


@pytest.mark.parametrize(
    ("words", "transformer_engine", "apex"),
    [
        (["--transformer-impl", "local", "--no-persist-layer-norm"], False, False),
        (["--transformer-impl", "local", "--normalization", "LayerNorm"], False, True),
        ([], True, False),
    ],
    ids=["local layers", "local layers with the persistent layer norm", "Transformer Engine"],
)
def test_stand_ins(words: list[str], transformer_engine: bool, apex: bool) -> None:
    packages = adapt.stand_ins(large(*words, "--no-rope-fusion"))
    assert packages == adapt.StandIns(transformer_engine, apex)
