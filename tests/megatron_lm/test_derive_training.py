"""Batches, schedules, formats, optimizers, data and checkpoints."""

from __future__ import annotations

import pytest
from derive_cases import Accepted, Refused, errors, meaning, said, table
from small import SMALL

import bridge_args
from bridge_args.megatron_lm.derive.scheduler import train_iters_from_samples
from bridge_args.values import Symbol

SAMPLES = "--train-samples 1000"
NO_ITERS = "--train-iters"
FP32 = Symbol("torch.float32")

# words, base's flags to leave out, name, value
VALUES = {
    "a step of one micro-batch a copy": ("--micro-batch-size 2", "--global-batch-size", "global_batch_size", 16),
    "micro-batches of a step": ("--micro-batch-size 2", "--global-batch-size", "num_microbatches", 1),
    "micro-batches of a large step": ("--global-batch-size 64", "", "num_microbatches", 8),
    "micro-batches of a step made smaller": (
        "--global-batch-size 20 --decrease-batch-size-if-needed",
        "",
        "num_microbatches",
        2,
    ),
    "micro-batches at the start of a ramp": (
        SAMPLES + " --rampup-batch-size 8 8 100 --global-batch-size 32",
        NO_ITERS,
        "num_microbatches",
        1,
    ),
    "iterations of samples": (SAMPLES, NO_ITERS, "train_iters_from_samples", 62),
    "iterations as typed": ("", "", "train_iters_from_samples", None),
    "decay over the whole run": ("", "", "lr_decay_iters", 10),
    "decay as typed": ("--lr-decay-iters 7", "", "lr_decay_iters", 7),
    "decay over all samples": (SAMPLES, NO_ITERS, "lr_decay_samples", 1000),
    "no decay without training": ("--skip-train", "", "lr_decay_iters", None),
    "constant weight decay, start": ("--weight-decay 0.1", "", "start_weight_decay", 0.1),
    "constant weight decay, end": ("", "", "end_weight_decay", 0.01),
    "growing weight decay": (
        "--weight-decay-incr-style linear --start-weight-decay 0.1 --end-weight-decay 0.2",
        "",
        "end_weight_decay",
        0.2,
    ),
    "parameters in bf16": ("", "", "params_dtype", Symbol("torch.bfloat16")),
    "parameters in fp16": ("--fp16", "--bf16", "params_dtype", Symbol("torch.float16")),
    "parameters in fp32": ("", "--bf16", "params_dtype", FP32),
    "gradients in the optimizer": ("", "", "main_grads_dtype", FP32),
    "parameters in the optimizer": ("", "", "main_params_dtype", FP32),
    "first moment in fp8": (
        "--exp-avg-dtype fp8 --use-precision-aware-optimizer --use-distributed-optimizer",
        "",
        "exp_avg_dtype",
        Symbol("torch.uint8"),
    ),
    "second moment in fp16": (
        "--exp-avg-sq-dtype fp16 --use-precision-aware-optimizer --use-distributed-optimizer",
        "",
        "exp_avg_sq_dtype",
        Symbol("torch.float16"),
    ),
    "gradients summed in fp32 with bf16": ("", "", "accumulate_allreduce_grads_in_fp32", True),
    "gradients summed as they are in fp32": ("", "--bf16", "accumulate_allreduce_grads_in_fp32", False),
    "gradients reduced in bf16": ("--grad-reduce-in-bf16", "", "accumulate_allreduce_grads_in_fp32", False),
    "gradients kept in bf16": (
        "--main-grads-dtype bf16 --use-precision-aware-optimizer --use-distributed-optimizer",
        "",
        "accumulate_allreduce_grads_in_fp32",
        False,
    ),
    "no search for NaNs with dynamic scaling": ("--fp16", "--bf16", "check_for_nan_in_loss_and_grad", False),
    "search for NaNs with a constant scale": (
        "--fp16 --loss-scale 1024",
        "--bf16",
        "check_for_nan_in_loss_and_grad",
        True,
    ),
    "no groups in a fake one": ("--fake-process-group", "", "enable_gloo_process_groups", False),
    "the old way to decay layer norms": (
        "--no-weight-decay-cond-type apply_wd_to_qk_layernorm",
        "",
        "apply_wd_to_qk_layernorm",
        True,
    ),
    "the old way is used up": (
        "--no-weight-decay-cond-type apply_wd_to_qk_layernorm",
        "",
        "no_weight_decay_cond_type",
        None,
    ),
    "an old default split": ("--data-path a", "", "split", "969, 30, 1"),
    "no split of mock data": ("--mock-data", "", "split", None),
    "samples in order": ("", "", "dataloader_type", "single"),
    "samples as typed": ("--dataloader-type cyclic", "", "dataloader_type", "cyclic"),
    "one length of sequences": ("", "", "variable_seq_lengths", False),
    "phases in order": (
        SAMPLES + " --phase-transition-iterations 8,2,4",
        NO_ITERS,
        "phase_transition_iterations",
        [2, 4, 8],
    ),
    "special tokens by their old name": (
        "--tiktoken-special-tokens <s> </s>",
        "",
        "tokenizer_special_tokens",
        ["<s>", "</s>"],
    ),
    "the program's tokenizer": (
        "--vocab-file v --merge-file m",
        "--tokenizer-type --vocab-size",
        "tokenizer_type",
        "GPT2BPETokenizer",
    ),
    "distributed checkpoints": ("", "", "use_dist_ckpt", True),
    "one file a rank": ("--ckpt-format torch", "", "use_dist_ckpt", False),
    "asynchronous saving without its worker": ("--async-save", "", "async_save", False),
    "asynchronous saving with its worker": ("--async-save --use-persistent-ckpt-worker", "", "async_save", True),
    "no optimizer to load without training": ("--skip-train", "", "no_load_optim", True),
    "no random state to load after upcycling": (
        "--moe-use-upcycling --save s --save-interval 1",
        "",
        "no_load_rng",
        True,
    ),
    "conversion needs a checkpoint": (
        "--ckpt-convert-format torch_dist --ckpt-convert-save s --load l",
        "",
        "exit_on_missing_checkpoint",
        True,
    ),
    "a distance of copies that are not made": ("--replication-jump 2", "", "replication_jump", None),
    "samples generated at a time": (
        "--perform-rl-step --grpo-prompts-per-step 8 --grpo-group-size 4",
        "",
        "grpo_samples_per_iteration",
        32,
    ),
}


@table(VALUES)
def test_values(case: tuple[str, str, str, object]) -> None:
    words, without, name, value = case
    args = meaning(words, without=without)
    assert args[name] == value
    assert errors(args) == []


def counted(train_samples: int, first: int, increment: int, ramp_samples: int, last: int) -> int:
    """Iterations, step by step: the batch size grows with the samples seen."""
    each = ramp_samples / ((last - first) // increment)
    seen = iterations = 0
    while seen <= ramp_samples and seen <= train_samples:
        seen += first + int(seen / each) * increment
        iterations += 1
    return iterations + max(0, train_samples - seen) // last


RAMPS = {
    "a ramp of five steps": (10000, 16, 16, 1000, 96),
    "a ramp longer than training": (500, 8, 8, 1000, 32),
    "a ramp shorter than its first batch": (10000, 64, 64, 10, 128),
    "a ramp that ends with training": (1000, 8, 8, 1000, 16),
    "a ramp of one step": (4096, 8, 8, 64, 16),
    "a ramp of thirds": (5000, 7, 3, 1000, 16),
    "the ramp of a large model": (366210937, 32, 32, 65104166, 1536),
}


@table(RAMPS)
def test_iterations_with_a_ramp(case: tuple[int, int, int, int, int]) -> None:
    train_samples, first, increment, ramp_samples, last = case
    found = train_iters_from_samples(train_samples, None, last, [first, increment, ramp_samples])
    assert found == counted(*case)


@pytest.mark.parametrize("first", range(1, 12))
@pytest.mark.parametrize("steps", (1, 2, 3, 7))
def test_iterations_with_many_ramps(first: int, steps: int) -> None:
    for samples in (1, 10, 99, 100, 101, 333):
        for total in (1, 50, 100, 1000):
            last = first + steps * 3
            assert train_iters_from_samples(total, None, last, [first, 3, samples]) == counted(
                total, first, 3, samples, last
            )


FIM = "--fim-data --data-path d --split 1,1,1 "

REFUSED = {
    "no micro-batch": Refused("", "--micro-batch-size is missing", without="--micro-batch-size"),
    "an empty micro-batch": Refused("--micro-batch-size 0", "--micro-batch-size must be at least 1, not 0"),
    "an empty step": Refused("--global-batch-size 0", "--global-batch-size must be at least 1, not 0"),
    "a step that does not divide": Refused(
        "--global-batch-size 20", "--global-batch-size 20 cannot be divided: micro-batch 1 x data parallel 8 = 8"
    ),
    "a step smaller than the copies need": Refused(
        "--global-batch-size 4 --decrease-batch-size-if-needed", "is less than micro-batch 1 x data parallel 8 = 8"
    ),
    "a ramp whose steps do not fit": Refused(
        SAMPLES + " --rampup-batch-size 8 3 100", "the increment 3 does not divide 16 - 8 = 8", without=NO_ITERS
    ),
    "a ramp from above": Refused(
        SAMPLES + " --rampup-batch-size 32 8 100", "must begin below --global-batch-size 16", without=NO_ITERS
    ),
    "a ramp of no samples": Refused(
        SAMPLES + " --rampup-batch-size 8 8 0", "each of the numbers must be at least 1", without=NO_ITERS
    ),
    "a ramp of batches that do not divide": Refused(
        SAMPLES + " --rampup-batch-size 8 4 100", "cannot all be divided", without=NO_ITERS
    ),
    "a ramp of iterations": Refused("--rampup-batch-size 8 8 100", "--rampup-batch-size counts in samples"),
    "no length": Refused("", "the length of training is missing", without=NO_ITERS),
    "two lengths": Refused(SAMPLES, "--train-samples counts in samples, but the run is given by --train-iters 10"),
    "warmup in the other unit": Refused(
        SAMPLES + " --lr-warmup-iters 2", "--lr-warmup-iters counts in iterations", without=NO_ITERS
    ),
    "two warmups": Refused("--lr-warmup-iters 2 --lr-warmup-fraction 0.1", "both set the warm-up length"),
    "a warmup as long as the decay": Refused(
        "--lr-warmup-iters 10", "--lr-warmup-iters 10 is not shorter than --lr-decay-iters 10"
    ),
    "a warmup of everything": Refused("--lr-warmup-fraction 1.0", "--lr-warmup-fraction must be below 1, not 1.0"),
    "a decay of no length": Refused("--lr-decay-iters 0", "--lr-decay-iters must be at least 1, not 0"),
    "annealing of no length": Refused("--lr-decay-style WSD", "needs --lr-wsd-decay-iters"),
    "no learning rate": Refused("", "--lr is missing", without="--lr"),
    "a lowest rate above the highest": Refused("--min-lr 0.1", "--min-lr 0.1 is above --lr 0.001"),
    "a first rate above the highest": Refused("--lr-warmup-init 0.1", "--lr-warmup-init 0.1 is above --lr 0.001"),
    "a negative lowest rate": Refused("--min-lr -1", "--min-lr must be at least 0"),
    "growing weight decay without bounds": Refused(
        "--weight-decay-incr-style cosine", "--weight-decay-incr-style cosine needs --start-weight-decay"
    ),
    "constant weight decay with bounds": Refused("--end-weight-decay 0.1", "has no meaning with a constant"),
    "weight decay that shrinks": Refused(
        "--weight-decay-incr-style linear --start-weight-decay 0.2 --end-weight-decay 0.1", "is below"
    ),
    "negative weight decay": Refused("--weight-decay -0.1", "--weight-decay must be at least 0, not -0.1"),
    "two schedules": Refused(
        "--override-opt_param-scheduler --use-checkpoint-opt_param-scheduler", "exclude each other"
    ),
    "fp16 and bf16": Refused("--fp16", "--fp16 and --bf16 exclude each other"),
    "gradients in bf16, summed in fp32": Refused(
        "--main-grads-dtype bf16 --accumulate-allreduce-grads-in-fp32 --use-precision-aware-optimizer"
        " --use-distributed-optimizer",
        "keeps gradients in fp32",
    ),
    "gradients in bf16 in an ordinary optimizer": Refused(
        "--main-grads-dtype bf16", "--main-grads-dtype other than fp32 needs --use-precision-aware-optimizer"
    ),
    "FP8 and FP4": Refused("--fp8-format hybrid --fp4-format e2m1", "exclude each other"),
    "FP4 parameters without FP4": Refused("--fp4-param-gather", "--fp4-param-gather needs --fp4-format"),
    "FP8 parameters without FP8": Refused(
        "--fp8-param-gather --use-distributed-optimizer", "--fp8-param-gather needs --fp8-format"
    ),
    "FP8 parameters, not sharded": Refused("--fp8-param-gather --fp8-format hybrid", "needs sharded parameters"),
    "a buffer shared with parameters that are elsewhere": Refused(
        "--reuse-grad-buf-for-mxfp8-param-ag", "needs --fp8-param-gather"
    ),
    "a recipe of one's own, but which?": Refused(
        "--fp8-format hybrid --fp8-recipe custom", "needs --fp8-quantizer-factory"
    ),
    "layers in bf16 with delayed scaling": Refused(
        "--fp8-format hybrid --first-last-layers-bf16", "does not work with --fp8-recipe delayed"
    ),
    "more layers in bf16 than there are": Refused(
        "--fp8-format hybrid --fp8-recipe tensorwise --first-last-layers-bf16 --num-layers-at-start-in-bf16 9",
        "must be from 0 to 8",
    ),
    "fp16 cross entropy without fp16": Refused("--fp16-lm-cross-entropy", "needs --fp16"),
    "fp32 residuals in fp32": Refused("--fp32-residual-connection", "needs --bf16 or --fp16", without="--bf16"),
    "a precision-aware SGD": Refused(
        "--optimizer sgd --use-precision-aware-optimizer --use-distributed-optimizer", "works with adam, not sgd"
    ),
    "a precision-aware optimizer, not distributed": Refused(
        "--use-precision-aware-optimizer", "needs --use-distributed-optimizer"
    ),
    "an offloaded ordinary optimizer": Refused("--optimizer-cpu-offload", "needs --use-precision-aware-optimizer"),
    "Muon with overlap": Refused("--optimizer muon --overlap-grad-reduce", "does not work with --overlap-grad-reduce"),
    "gathers behind computation, not distributed": Refused(
        "--overlap-param-gather --overlap-grad-reduce", "needs --use-distributed-optimizer or --use-megatron-fsdp"
    ),
    "gathers behind computation, reductions not": Refused(
        "--overlap-param-gather --use-distributed-optimizer", "needs --overlap-grad-reduce"
    ),
    "gathers behind the optimizer, one stage": Refused(
        "--overlap-param-gather-with-optimizer-step --overlap-param-gather --overlap-grad-reduce"
        " --use-distributed-optimizer --ckpt-format torch",
        "needs virtual pipeline stages",
    ),
    "tensor-parallel overlap on one rank": Refused(
        "--tp-comm-overlap --sequence-parallel", "needs --sequence-parallel"
    ),
    "buckets by number and size": Refused("--ddp-num-buckets 2 --ddp-bucket-size 100", "exclude each other"),
    "no buckets": Refused("--ddp-num-buckets 0", "must be at least 1, not 0"),
    "known buffers in memory that moves": Refused(
        "--use-nccl-ub --use-distributed-optimizer",
        "does not work with PYTORCH_CUDA_ALLOC_CONF",
        env={"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"},
    ),
    "saving, but when?": Refused("--save s", "--save needs --save-interval"),
    "saving at every zeroth step": Refused("--save s --save-interval 0", "must be at least 1, not 0"),
    "keeping what is not saved": Refused(
        "--save s --save-interval 5 --save-retain-interval 7", "is not a multiple of --save-interval 5"
    ),
    "memory logged between logs": Refused("--log-memory-interval 15 --log-interval 10", "is not a multiple of"),
    "checkpoints in memory": Refused("--non-persistent-ckpt-type in_memory", "is not there yet"),
    "copies of checkpoints, how far?": Refused("--replication", "--replication needs --replication-jump"),
    "a distributed optimizer without Gloo": Refused(
        "--disable-gloo-process-groups --use-distributed-optimizer --ckpt-format torch", "use --ckpt-format torch_dist"
    ),
    "parameters from a checkpoint, and the optimizer": Refused("--load-main-params-from-ckpt", "needs --no-load-optim"),
    "arguments of which checkpoint?": Refused("--use-checkpoint-args", "needs --load"),
    "conversion to nowhere": Refused("--ckpt-convert-format torch_dist --load l", "needs --ckpt-convert-save"),
    "two sources of data": Refused("--mock-data --data-path a", "different sources of data"),
    "a path and a file of paths": Refused(
        "--data-path a --data-args-path f", "names a file with what --data-path says"
    ),
    "a split of splits": Refused("--train-data-path a --split 90,5,5", "--split 90,5,5 has no meaning"),
    "four shares": Refused("--data-path a --split 1,1,1,1", "has more than three shares"),
    "no threads": Refused("--num-dataset-builder-threads 0", "must be at least 1, not 0"),
    "a fast cache without a cache": Refused("--dataloader-fast-cache-load", "needs --data-cache-path"),
    "a fast cache of one path": Refused(
        "--dataloader-fast-cache-load --data-cache-path c --data-path a", "does not work with --data-path"
    ),
    "filling in nowhere": Refused(FIM + "--fim-rate 0", "--fim-data needs --fim-rate"),
    "phases and a ramp": Refused(
        SAMPLES + " --phase-transition-iterations 2,4 --rampup-batch-size 8 8 100",
        "--phase-transition-iterations does not work with --rampup-batch-size",
        without=NO_ITERS,
    ),
    "phases of iterations": Refused("--phase-transition-iterations 2,4", "use --train-samples"),
    "phases that are no numbers": Refused("--phase-transition-iterations a,b", "expects whole numbers"),
    "determinism with flash attention": Refused(
        "--deterministic-mode --use-flash-attn", "does not work with --use-flash-attn", env={"NCCL_ALGO": "Ring"}
    ),
    "determinism in any order": Refused("--deterministic-mode", "NCCL_ALGO"),
    "determinism in a wrong order": Refused("--deterministic-mode", "not PAT", env={"NCCL_ALGO": "PAT"}),
    "a project of nameless runs": Refused("--wandb-project p --wandb-exp-name=", "needs --wandb-exp-name"),
    "batches of inference without a pipeline": Refused(
        "--inference-batch-times-seqlen-threshold 8", "needs pipeline parallelism"
    ),
    "blocks of inference": Refused(
        "--inference-dynamic-batching --inference-dynamic-batching-block-size 100", "must be a multiple of 256"
    ),
    "layers for inference with another norm": Refused(
        "--transformer-impl inference_optimized --disable-bias-linear", "needs --normalization RMSNorm"
    ),
    "fused inference of ordinary layers": Refused(
        "--inference-fuse-tp-communication", "needs --transformer-impl inference_optimized"
    ),
    "generation that batches do not divide": Refused(
        "--perform-rl-step --grpo-prompts-per-step 3 --grpo-group-size 1", "cannot be divided by --global-batch-size 16"
    ),
    "saving between generations": Refused(
        "--perform-rl-step --grpo-prompts-per-step 32 --grpo-group-size 2 --save s --save-interval 3",
        "--save-interval 3 is not a multiple of 8",
    ),
    "a cache that is removed and kept": Refused(
        "--perform-rl-step --rl-remove-kv-cache-during-training --rl-partial-rollouts", "exclude each other"
    ),
    "the old batch size": Refused("--batch-size 4", "use --micro-batch-size"),
    "the old warmup": Refused("--warmup 4", "use --lr-warmup-fraction"),
    "the old tensor parallelism": Refused("--model-parallel-size 4", "use --tensor-model-parallel-size"),
    "the old recomputation": Refused("--checkpoint-activations", "use --recompute-activations"),
}

ACCEPTED = {
    "samples": Accepted(SAMPLES + " --lr-warmup-samples 10", without=NO_ITERS),
    "a ramp": Accepted(SAMPLES + " --rampup-batch-size 8 8 100", without=NO_ITERS),
    "a warmup just short enough": Accepted("--lr-warmup-iters 9"),
    "annealing": Accepted("--lr-decay-style WSD --lr-wsd-decay-iters 2"),
    "no training at all": Accepted("--skip-train", without="--lr --eval-interval"),
    "filling in the middle": Accepted(FIM),
    "growing weight decay": Accepted(
        "--weight-decay-incr-style linear --start-weight-decay 0.1 --end-weight-decay 0.1"
    ),
    "FP8 parameters": Accepted("--fp8-param-gather --fp8-format hybrid --use-distributed-optimizer"),
    "everything behind computation": Accepted(
        "--overlap-param-gather --overlap-grad-reduce --use-distributed-optimizer"
    ),
    "an offloaded optimizer": Accepted(
        "--optimizer-cpu-offload --use-precision-aware-optimizer --use-distributed-optimizer"
    ),
    "Muon": Accepted("--optimizer muon"),
    "saving": Accepted("--save s --save-interval 5 --save-retain-interval 10"),
    "data of each split": Accepted("--train-data-path a --valid-data-path b --test-data-path c"),
    "a fast cache": Accepted("--dataloader-fast-cache-load --data-cache-path c --train-data-path a"),
    "determinism": Accepted("--deterministic-mode", env={"NCCL_ALGO": "Ring"}),
    "phases": Accepted(SAMPLES + " --phase-transition-iterations 2,4", without=NO_ITERS),
    "reinforcement learning": Accepted("--perform-rl-step --grpo-prompts-per-step 8 --grpo-group-size 2"),
}


@table(REFUSED)
def test_refused(case: Refused) -> None:
    assert any(case.says in message for message in said(case)), said(case)


@table(ACCEPTED)
def test_accepted(case: Accepted) -> None:
    assert said(case) == []


@pytest.mark.parametrize(
    ("words", "stops"),
    [
        ("--fp16", True),
        ("--fp16 --main-params-dtype fp16 --fp8-format hybrid --fp8-recipe tensorwise", True),
        ("--fp16 --clip-grad 0", False),
        ("--fp16 --accumulate-allreduce-grads-in-fp32", False),
        ("--fp16 --fp8-format hybrid --fp8-recipe tensorwise", False),
        ("--bf16 --main-grads-dtype bf16", False),
        ("", False),
    ],
)
def test_gradients_that_are_clipped_in_half_precision(words: str, stops: bool) -> None:
    precision = "--use-distributed-optimizer --use-precision-aware-optimizer"
    t = bridge_args.translate([*SMALL, *precision.split(), *words.split()], 1)
    found = [one for one in t.findings if "clipping takes fp32 or bf16" in one.message]
    assert [one.kind for one in found] == ["stops-later"] * stops, t.errors
