"""``--to-hybrid``: the pattern that a GPT model becomes, judged by the newer parser's rules; and what is refused."""

from __future__ import annotations

import pytest

from bridge_args.modernize import hybrid, move, page
from bridge_args.modernize.plan import Plan
from bridge_args.source.read import from_argv
from bridge_args.steps import Asked

SMALL = (
    "torchrun --nproc-per-node 8 pretrain_gpt.py --hidden-size 64 --num-attention-heads 4 --seq-length 128 "
    "--max-position-embeddings 128 --micro-batch-size 1 --mock-data --tokenizer-type NullTokenizer --vocab-size 128 "
    "--lr 1e-4 --train-iters 10 --disable-bias-linear --position-embedding-type rope"
)
MOE = "--num-experts 4 --moe-grouped-gemm"


def moved(words: str, version: str = "0.19.0") -> Plan:
    small = SMALL.replace("--mock-data", "--data-path x --split 1,0,0") if "--fim-data" in words else SMALL
    source = from_argv([*small.split(), *words.split()])
    return move.of_source(source, Asked(megatron_lm=version, env={"CUDA_DEVICE_MAX_CONNECTIONS": "1"}), "0.19.0", True)


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        ("--num-layers 3", "*-*-*-"),
        (f"--num-layers 2 {MOE}", "*E*E"),
        (f"--num-layers 4 {MOE} --moe-layer-freq 2", "*E*-*E*-"),
        (f"--num-layers 3 {MOE} --moe-layer-freq [0,1,1]", "*-*E*E"),
        ("--num-layers 2 --mtp-num-layers 2", "*-*-/*-/*-"),
        (f"--num-layers 2 {MOE} --moe-layer-freq [0,1] --mtp-num-layers 1", "*-*E/*E"),
        ("--num-layers 2 --multi-latent-attention", "+-+-"),
        ("--num-layers 4 --pipeline-model-parallel-size 2", "*-*-|*-*-"),
        ("--num-layers 4 --pipeline-model-parallel-size 2 --num-layers-per-virtual-pipeline-stage 1", "*-|*-|*-|*-"),
        ("--num-layers 4 --pipeline-model-parallel-size 2 --num-virtual-stages-per-pipeline-rank 2", "*-|*-|*-|*-"),
        ("--num-layers 3 --pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Et|ttL", "*-|*-*-"),
        (
            "--num-layers 4 --pipeline-model-parallel-size 2 --decoder-first-pipeline-num-layers 1 "
            "--decoder-last-pipeline-num-layers 3",
            "*-|*-*-*-",
        ),
        (
            "--num-layers 7 --pipeline-model-parallel-size 4 --decoder-first-pipeline-num-layers 1",
            "*-|*-*-|*-*-|*-*-",
        ),
    ],
)
def test_layers_become_letters(words: str, pattern: str) -> None:
    plan = moved(words)
    assert plan.is_same_run, (plan.left, plan.refused)
    assert plan.argv[plan.argv.index("--hybrid-layer-pattern") + 1] == pattern
    assert [item.words[0] for item in plan.front if item.is_changed] == ["pretrain_hybrid.py"]
    assert not {"--num-layers", "--moe-layer-freq", "--mtp-num-layers"} & set(plan.argv)


def test_what_is_said_of_each_layer_is_said_of_each_letter() -> None:
    plan = moved(
        "--num-layers 4 --no-rope-freq 2 --recompute-granularity full "
        "--recompute-method uniform --recompute-num-layers 1"
    )
    assert plan.is_same_run, (plan.left, plan.refused)
    said = dict(zip(plan.argv, plan.argv[1:], strict=False))
    assert (said["--no-rope-freq"], said["--recompute-num-layers"]) == ("[0,0,1,0,0,0,1,0]", "2")


def test_an_old_flag_and_the_pattern_at_once() -> None:
    plan = moved("--num-layers 2 --moe-extended-tp", "0.16.1")
    assert plan.is_same_run and "--moe-extended-tp" not in plan.argv and "*-*-" in plan.argv


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--num-experts 4", "train with --moe-grouped-gemm first"),
        ("--fim-data", "--fim-data"),
        ("--spec a.b c", "--spec"),
        ("--transformer-impl local", "--transformer-impl local"),
        ("--account-for-loss-in-pipeline-split", "--account-for-loss-in-pipeline-split"),
        ("--account-for-embedding-in-pipeline-split", "--account-for-embedding-in-pipeline-split"),
        ("--pipeline-model-parallel-size 2 --pipeline-model-parallel-layout Ett|L", "a stage of a pattern has layers"),
    ],
)
def test_what_would_train_other_numbers_is_refused(words: str, why: str) -> None:
    with pytest.raises(hybrid.NotHybrid, match=why.replace("[", r"\[")):
        moved(f"--num-layers 2 {words}")


def test_every_reason_is_told() -> None:
    with pytest.raises(hybrid.NotHybrid) as told:
        moved("--num-layers 2 --num-experts 4 --transformer-impl local")
    assert "experts of a pattern" in str(told.value) and "--transformer-impl local" in str(told.value)


def test_weights_by_their_new_names() -> None:
    assert [
        hybrid.weight_of(name)
        for name in (
            "decoder.layers.1.self_attention.linear_qkv.weight",
            "decoder.layers.1.mlp.linear_fc1.weight",
            "decoder.layers.0.pre_mlp_layernorm.weight",
            "decoder.final_layernorm.weight",
            "embedding.word_embeddings.weight",
        )
    ] == [
        "decoder.layers.2.self_attention.linear_qkv.weight",
        "decoder.layers.3.mlp.linear_fc1.weight",
        "decoder.layers.1.pre_mlp_layernorm.weight",
        "decoder.final_norm.weight",
        "embedding.word_embeddings.weight",
    ]


def test_only_the_program_is_renamed_and_where_none_is_named_that_is_told() -> None:
    source = from_argv(["nsys", "profile", "-o", "pretrain_gpt_log", *SMALL.split(), "--num-layers", "2"])
    plan = move.of_source(source, Asked(megatron_lm="0.19.0"), "0.19.0", True)
    assert [item.words[0] for item in plan.front if item.is_changed] == ["pretrain_hybrid.py"] and not plan.to_start
    words = SMALL.partition("pretrain_gpt.py ")[2].split()
    bare = move.of_source(from_argv([*words, "--num-layers", "2"]), Asked(megatron_lm="0.19.0"), "0.19.0", True)
    assert bare.to_start == "pretrain_hybrid.py"
    assert any(line.startswith("start it with pretrain_hybrid.py") for line in page.lines(bare))


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("decoder.layers.3.self_attention.q.weight", "decoder.layers.6.self_attention.q.weight"),
        ("decoder.layers.3.input_layernorm.weight", "decoder.layers.6.input_layernorm.weight"),
        ("decoder.layers.3.pre_mlp_layernorm.weight", "decoder.layers.7.pre_mlp_layernorm.weight"),
        ("optimizer.state.exp_avg.decoder.layers.0.mlp.w", "optimizer.state.exp_avg.decoder.layers.1.mlp.w"),
        ("decoder.final_layernorm.bias", "decoder.final_norm.bias"),
        ("mtp.layers.1.transformer_layer.mlp.w", "mtp.layers.1.mtp_model_layer.layers.1.mlp.w"),
        ("mtp.layers.0.mtp_model_layer.input_layernorm.w", "mtp.layers.0.mtp_model_layer.layers.0.input_layernorm.w"),
        ("mtp.layers.0.final_layernorm.weight", "mtp.layers.0.final_layernorm.weight"),
        ("output_layer.weight", "output_layer.weight"),
    ],
)
def test_names_of_weights(name: str, becomes: str) -> None:
    assert hybrid.weight_of(name) == becomes


@pytest.mark.parametrize(
    ("pattern", "loads"),
    [("*-*-", True), ("*E|*E", True), ("*-*E", False), ("*-*-/*-", False), ("+-+-", False), ("*-|*-", True)],
)
def test_which_checkpoints_megatron_lm_converts_itself(pattern: str, loads: bool) -> None:
    assert hybrid.loads_gpt(pattern) is loads
