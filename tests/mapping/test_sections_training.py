"""Settings chosen as a whole: the run's length, data, tokenizer, checkpoints, profiling. Arguments in, settings out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Schema
from bridge_args.mapping.sections.checkpointing import (
    async_format,
    async_saving,
    checkpoint_format,
    checkpoint_load,
    resharding,
)
from bridge_args.mapping.sections.data import attention_mask, blend, data_source, fill_in_the_middle, workers
from bridge_args.mapping.sections.initialization import initialization
from bridge_args.mapping.sections.observing import logging_level, profiler, rerun
from bridge_args.mapping.sections.registry import WRITES, Lost, NeedsDropIn, Rejected
from bridge_args.mapping.sections.run_length import evaluation, iterations, run_length, schedule_length
from bridge_args.mapping.sections.started import buckets, predicted_loss, weight_decay_of_norms
from bridge_args.mapping.sections.tokenizer import tokenizer
from bridge_args.values import Symbol
from bridge_args.versions import Versions, holds

SCHEMA = schemas.load("0.3.1")


def paths(decided: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in decided.items() if not isinstance(value, Lost | NeedsDropIn | Rejected)}


def lost(decided: dict[str, Any]) -> set[str]:
    return {key for key, value in decided.items() if isinstance(value, Lost)}


def for_the_drop_in(decided: dict[str, Any]) -> set[str]:
    return {key for key, value in decided.items() if isinstance(value, NeedsDropIn)}


def rejected(decided: dict[str, Any]) -> set[str]:
    return {key for key, value in decided.items() if isinstance(value, Rejected)}


def source(**given: Any) -> dict[str, Any]:
    names = (
        "data_path", "train_data_path", "valid_data_path", "test_data_path", "data_args_path",
        "per_split_data_args_path", "per_dataset_sequences_path",
    )  # fmt: skip
    return data_source(**{**dict.fromkeys(names), "mock_data": False, "read": no_file, **given})


def no_file(name: str) -> str:
    raise OSError(f"{name} was not read")


def tokens(schema: Schema = SCHEMA, **given: Any) -> dict[str, Any]:
    arguments = {
        "tokenizer_type": "GPT2BPETokenizer", "vocab_size": None, "legacy_tokenizer": False,
        "tokenizer_special_tokens": None, "tiktoken_special_tokens": None, "tokenizer_sentencepiece_legacy": False,
        "tokenizer_hf_use_fast": False, "tokenizer_hf_include_special_tokens": False,
        "tokenizer_hf_no_use_fast": False, "tokenizer_hf_no_include_special_tokens": False, "trust_remote_code": False,
    }  # fmt: skip
    return tokenizer(**{**arguments, **given}, schema=schema)


# What Megatron Core's get_blend_from_list makes of the words after --data-path.
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["a"], [["a"], None], id="one prefix"),
        pytest.param(["30", "a", "70", "b"], [["a", "b"], [30.0, 70.0]], id="weights and prefixes"),
        pytest.param(["a", "b"], [["a", "b"], None], id="two prefixes"),
        pytest.param(["1", "a", "2"], [["1", "a", "2"], None], id="an odd number of words has no weights"),
        pytest.param([" a "], [["a"], None], id="blanks are cut"),
        pytest.param([], None, id="none"),
    ],
)
def test_blend(words: list[str], expected: Any) -> None:
    assert blend(words) == expected


@pytest.mark.parametrize(
    ("given", "expected", "losses"),
    [
        pytest.param({"data_path": ["a"]}, {"dataset.blend": [["a"], None]}, set(), id="a blend"),
        pytest.param(
            {"train_data_path": ["1", "a", "3", "b"], "valid_data_path": ["c"]},
            {"dataset.blend_per_split": [[["a", "b"], [1.0, 3.0]], [["c"], None], None]},
            set(),
            id="a blend per split, none for the test split",
        ),
        pytest.param({"mock_data": True}, {}, set(), id="made-up data is the absence of a blend"),
        pytest.param({"data_args_path": "words.txt"}, {}, {"data_args_path"}, id="a file of words"),
        pytest.param({"per_split_data_args_path": "s.json"}, {}, {"per_split_data_args_path"}, id="a file of splits"),
        pytest.param(
            {"data_path": ["a"], "per_dataset_sequences_path": "n.json"},
            {"dataset.blend": [["a"], None]},
            {"per_dataset_sequences_path"},
            id="a file of sequence counts",
        ),
    ],
)
def test_data_source(given: dict[str, Any], expected: dict[str, Any], losses: set[str]) -> None:
    decided = source(**given)
    assert paths(decided) == expected
    assert lost(decided) == losses


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param('["1", "a"]', [["a"], [1.0]], id="a list"),
        pytest.param('"1 a 2 b"', [["a", "b"], [1.0, 2.0]], id="a text"),
        pytest.param("null", None, id="a split without data"),
    ],
)
def test_a_file_of_splits(held: str, expected: Any) -> None:
    decided = source(
        per_split_data_args_path="s.json", read=lambda _: f'{{"train": "t", "valid": "v", "test": {held}}}'
    )
    assert decided["dataset.blend_per_split"] == [[["t"], None], [["v"], None], expected]


def test_the_mask_that_is_made_is_used() -> None:
    skip = "dataset.skip_getting_attention_mask_from_dataset"
    assert attention_mask(create_attention_mask_in_dataloader=True) == {skip: False}
    assert attention_mask(create_attention_mask_in_dataloader=False) == {skip: True}


def test_workers_stay_where_there_are_any() -> None:
    assert workers(num_workers=2) == {"dataset.persistent_workers": True}
    assert workers(num_workers=0) == {"dataset.persistent_workers": False}


FIM = {
    "fim_rate": 0.5, "fim_spm_rate": 0.25, "fim_split_sample": None, "fim_fragment_rate": None, "fim_no_prefix": None,
    "fim_prefix_token": "<p>", "fim_middle_token": "<m>", "fim_suffix_token": "<s>", "fim_pad_token": "<pad>",
    "fim_eod_token": "<eod>",
}  # fmt: skip


def test_fill_in_the_middle_is_another_class() -> None:
    decided = fill_in_the_middle(fim_data=True, schema=SCHEMA, program="pretrain_gpt.py", **FIM)
    classes = {"dataset": decided["dataset._target_"]}
    assert decided["dataset.fim_spm_rate"] == 0.25
    assert decided["dataset.fim_extra_tokens"]["middle"] == "<m>"
    assert all(SCHEMA.find(path, classes) for path in decided)


def test_fill_in_the_middle_is_silent_until_wanted() -> None:
    assert fill_in_the_middle(fim_data=False, schema=SCHEMA, program="pretrain_gpt.py", **FIM) == {}


def test_fill_in_the_middle_is_lost_where_bridge_lacks_it() -> None:
    assert lost(fill_in_the_middle(fim_data=True, schema=schemas.load("0.2.2"), program="pretrain_gpt.py", **FIM)) == {
        "fim_data"
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            {"tokenizer_type": "NullTokenizer", "vocab_size": 100}, {"tokenizer.vocab_size": 101}, id="the EOD counts"
        ),
        pytest.param({"vocab_size": 100}, {"tokenizer.hf_tokenizer_kwargs": {}}, id="a size nobody reads"),
        pytest.param(
            {"tokenizer_type": "TikTokenizer", "vocab_size": 100}, {"tokenizer.vocab_size": 100}, id="tiktoken's size"
        ),
        pytest.param(
            {"tokenizer_type": "HuggingFaceTokenizer", "tokenizer_hf_use_fast": True, "trust_remote_code": True},
            {"tokenizer.hf_tokenizer_kwargs": {"trust_remote_code": True, "use_fast": True}},
            id="switches of Hugging Face",
        ),
        pytest.param(
            {"tokenizer_type": "HuggingFaceTokenizer", "legacy_tokenizer": True, "tokenizer_hf_use_fast": True},
            {"tokenizer.hf_tokenizer_kwargs": {}},
            id="the old tokenizers do not read them",
        ),
        pytest.param(
            {"tokenizer_type": "Llama2Tokenizer", "tokenizer_sentencepiece_legacy": True},
            {"tokenizer.sp_tokenizer_kwargs": {"legacy": True}},
            id="a switch of SentencePiece",
        ),
    ],
)
def test_tokenizer(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert tokens(**given) == {"tokenizer.special_tokens": None, **expected}


def test_special_tokens_under_their_old_name() -> None:
    assert tokens(tiktoken_special_tokens=["<s>"])["tokenizer.special_tokens"] == ["<s>"]
    both = tokens(tiktoken_special_tokens=["<s>"], tokenizer_special_tokens=["<t>"])
    assert both["tokenizer.special_tokens"] == ["<t>"]


@pytest.mark.parametrize("kind", ["GPT2BPETokenizer", "BertWordPieceLowerCase", "BertWordPieceCase"])
def test_an_old_tokenizer_that_bridge_cannot_build(kind: str) -> None:
    refused = tokens(tokenizer_type=kind, legacy_tokenizer=True)["legacy_tokenizer"]
    assert isinstance(refused, Rejected) and "leave out --legacy-tokenizer" in refused.reason
    assert "legacy_tokenizer" not in tokens(tokenizer_type=kind)


def test_a_tokenizer_bridge_does_not_have() -> None:
    assert lost(tokens(tokenizer_type="SFTTokenizer")) == {"tokenizer_type"}


def length(**given: Any) -> dict[str, Any]:
    arguments = {
        "train_samples": None, "rampup_batch_size": None,
        "step_batch_size_schedule": None, "train_iters_from_samples": None, "global_batch_size": 8,
    }  # fmt: skip
    return run_length(**{**arguments, **given})


def schedule(**given: Any) -> dict[str, Any]:
    arguments = {
        "train_samples": None, "rampup_batch_size": None,
        "step_batch_size_schedule": None, "global_batch_size": 8, "train_iters_from_samples": None,
        "lr_decay_samples": None, "lr_warmup_fraction": None, "lr_warmup_samples": 0, "lr_wsd_decay_iters": None,
        "lr_wsd_decay_samples": None, "start_weight_decay": 0.01, "end_weight_decay": 0.01,
    }  # fmt: skip
    return schedule_length(**{**arguments, **given})


RAMP = {"train_samples": 96, "rampup_batch_size": [4, 2, 24]}  # 14 iterations: see the curve of such a run


@pytest.mark.parametrize(
    ("given", "expected", "beside"),
    [
        pytest.param({}, {}, set(), id="iterations are a row of their own"),
        pytest.param(
            {"train_samples": 80, "train_iters_from_samples": 10}, {"train.train_samples": 80}, set(), id="samples"
        ),
        pytest.param(
            {**RAMP, "train_iters_from_samples": 14}, {"train.train_iters": 14}, {"train_samples"}, id="with a ramp"
        ),
        pytest.param(
            {**RAMP, "train_iters_from_samples": 12}, {"train.train_iters": 12}, set(), id="a ramp that skips nothing"
        ),
    ],
)
def test_run_length(given: dict[str, Any], expected: dict[str, Any], beside: set[str]) -> None:
    decided = length(**given)
    assert paths(decided) == expected
    assert for_the_drop_in(decided) == beside
    assert lost(decided) == set()


@pytest.mark.parametrize(
    ("given", "unit", "expected", "beside"),
    [
        pytest.param(
            {"train_samples": 96, "lr_decay_samples": 90, "lr_warmup_samples": 3, "lr_wsd_decay_samples": 9},
            "samples",
            (90, 3, 9),
            set(),
            id="samples",
        ),
        pytest.param(
            {**RAMP, "lr_decay_samples": 96, "lr_warmup_samples": 16}, "iters", (12, 2, None), set(), id="whole batches"
        ),
        pytest.param(
            {**RAMP, "lr_decay_samples": 95, "lr_warmup_samples": 3},
            "iters",
            (11.875, 0.375, None),
            set(),
            id="parts of batches are parts of iterations",
        ),
        pytest.param(RAMP, "iters", (12, 0, None), set(), id="decay takes the whole run"),
        pytest.param(
            {**RAMP, "lr_decay_samples": 80, "lr_warmup_fraction": 0.1}, "iters", (10, 0, None), set(), id="a fraction"
        ),
        pytest.param(
            {**RAMP, "start_weight_decay": 0.0, "train_iters_from_samples": 14},
            "iters",
            (12, 0, None),
            {"end_weight_decay"},
            id="weight decay that rises",
        ),
    ],
)
def test_schedule_length(
    given: dict[str, Any], unit: str, expected: tuple[float | None, ...], beside: set[str]
) -> None:
    decided = schedule(**given)
    names = [f"scheduler.{phase}_{unit}" for phase in ("lr_decay", "lr_warmup", "lr_wsd_decay")]
    assert paths(decided) == dict(zip(names, expected, strict=True))
    assert for_the_drop_in(decided) == beside
    assert lost(decided) == set()


def test_parts_of_iterations_are_as_near_as_numbers_are() -> None:
    """Bridge multiplies them with the batch size again; nine of ten products are the whole number."""
    tried = [(samples, batch) for batch in range(1, 200, 3) for samples in range(1, 4000, 37)]
    products = [(iterations(samples, batch) * batch, samples) for samples, batch in tried]
    assert sum(product == samples for product, samples in products) > 0.9 * len(tried)
    assert all(product == pytest.approx(samples, rel=1e-15) for product, samples in products)


@pytest.mark.parametrize(
    ("decided", "beside"),
    [
        pytest.param(predicted_loss(1, True), {"eod_mask_loss"}, id="predicted tokens and a mask"),
        pytest.param(predicted_loss(1, False), set(), id="predicted tokens"),
        pytest.param(predicted_loss(None, True), set(), id="a mask"),
        pytest.param(weight_decay_of_norms(True, True, "LayerNorm", SCHEMA), {"apply_wd_to_qk_layernorm"}, id="biases"),
        pytest.param(weight_decay_of_norms(True, True, "RMSNorm", SCHEMA), set(), id="norms without biases"),
        pytest.param(weight_decay_of_norms(True, False, "LayerNorm", SCHEMA), set(), id="no such norms"),
        pytest.param(buckets(4, True), {"ddp_num_buckets"}, id="buckets by number"),
        pytest.param(buckets(4, False), set(), id="one bucket, whatever is said"),
        pytest.param(buckets(None, True), set(), id="buckets by size"),
    ],
)
def test_what_no_configuration_says(decided: dict[str, Any], beside: set[str]) -> None:
    assert for_the_drop_in(decided) == beside
    assert lost(decided) == set()


def test_the_last_phase_is_counted_like_the_run() -> None:
    both = {"lr_wsd_decay_iters": 5, "lr_wsd_decay_samples": 40}
    assert schedule(**both) == {"scheduler.lr_wsd_decay_iters": 5}
    assert schedule(**both, train_samples=80)["scheduler.lr_wsd_decay_samples"] == 40


def test_evaluation() -> None:
    assert evaluation(5, False, False, SCHEMA) == {"train.eval_interval": 5}
    assert evaluation(5, False, False, schemas.load("0.4.2")) == {"validation.eval_interval": 5}
    assert evaluation(None, False, False, SCHEMA) == {}
    assert lost(evaluation(5, True, True, SCHEMA)) == {"full_validation", "multiple_validation_sets"}


@pytest.mark.parametrize("written", ["torch_dist", "fsdp_dtensor"])
def test_a_format_bridge_writes(written: str) -> None:
    assert checkpoint_format(written) == {"checkpoint.ckpt_format": written}


@pytest.mark.parametrize("other", ["torch", "torch_dcp"])
def test_a_format_bridge_does_not_write(other: str) -> None:
    decided = checkpoint_format(other)
    assert paths(decided) == {}
    assert lost(decided) == {"ckpt_format"}


@pytest.mark.parametrize(
    ("asynchronous", "written", "bridge", "refused"),
    [
        pytest.param(True, "fsdp_dtensor", "0.4.2", True, id="before Bridge 0.5"),
        pytest.param(True, "fsdp_dtensor", "0.5.1", False, id="since Bridge 0.5"),
        pytest.param(True, "torch_dist", "0.4.2", False, id="the other format"),
        pytest.param(False, "fsdp_dtensor", "0.4.2", False, id="training waits"),
    ],
)
def test_what_is_saved_while_training_goes_on(asynchronous: bool, written: str, bridge: str, refused: bool) -> None:
    asked = holds("bridge <0.5", Versions("0.16.1", bridge))
    assert WRITES["async_format"].holds(Versions("0.16.1", bridge)) == asked
    assert (asked and rejected(async_format(asynchronous, written)) == {"async_save"}) == refused


@pytest.mark.parametrize(
    ("asynchronous", "worker", "save", "refused"),
    [
        pytest.param(True, True, "out", False, id="all that it needs"),
        pytest.param(True, False, "out", True, id="no worker"),
        pytest.param(True, True, None, True, id="nothing saved"),
        pytest.param(None, False, None, False, id="training waits"),
    ],
)
def test_what_saving_in_the_background_needs(
    asynchronous: bool | None, worker: bool, save: str | None, refused: bool
) -> None:
    assert rejected(async_saving(asynchronous, worker, save)) == ({"async_save"} if refused else set())


def test_what_bridge_does_not_do_with_a_checkpoint() -> None:
    assert checkpoint_load(None, "/load", None) == {}
    assert rejected(checkpoint_load(100, None, None)) == {"ckpt_step"}
    assert lost(checkpoint_load(None, "/load", "torch")) == {"ckpt_convert_format"}


def test_resharding_two_ways_is_refused() -> None:
    assert resharding(True, False) == {}
    assert rejected(resharding(True, True)) == {"distrib_optim_fully_reshardable_mem_efficient"}


def test_profiler() -> None:
    shapes = {"profiling.record_shapes": True}
    assert profiler(False, True, False, None) == {}
    assert profiler(True, False, False, None) == {"profiling.use_nsys_profiler": True, **shapes}
    assert profiler(True, True, False, "/tb") == {"profiling.use_pytorch_profiler": True, **shapes}


def test_memory_history() -> None:
    assert rejected(profiler(False, False, True, None)) == {"record_memory_history"}
    assert lost(profiler(False, False, True, "/tb")) == {"record_memory_history"}


def test_log_level() -> None:
    assert logging_level(None) == {}
    assert logging_level(10) == {"logger.logging_level": 10}


def test_rerun_mode() -> None:
    assert rerun("disabled") == {"rerun_state_machine.rerun_mode": "disabled"}
    assert rerun("report_stats") == {"rerun_state_machine.rerun_mode": "report_determinism_stats"}


def test_xavier() -> None:
    assert initialization(False) == {}
    assert initialization(True)["model.init_method"] == Symbol("torch.nn.init.xavier_uniform_")


@pytest.mark.parametrize("version", schemas.versions())
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda schema: source(data_path=["a"]), id="data_source"),
        pytest.param(lambda schema: source(train_data_path=["a"]), id="data_source per split"),
        pytest.param(lambda schema: attention_mask(True), id="attention_mask"),
        pytest.param(lambda schema: workers(2), id="workers"),
        pytest.param(
            lambda schema: tokens(schema, tokenizer_type="Llama2Tokenizer", tokenizer_sentencepiece_legacy=True),
            id="tokenizer",
        ),
        pytest.param(lambda schema: tokens(schema, trust_remote_code=True), id="tokenizer of Hugging Face"),
        pytest.param(lambda schema: length(train_samples=80), id="run_length"),
        pytest.param(lambda schema: schedule(lr_wsd_decay_iters=5), id="schedule_length"),
        pytest.param(lambda schema: schedule(train_samples=80), id="schedule_length in samples"),
        pytest.param(lambda schema: evaluation(5, False, False, schema), id="evaluation"),
        pytest.param(lambda schema: checkpoint_format("torch_dist"), id="checkpoint_format"),
        pytest.param(lambda schema: profiler(True, True, False, "/tb"), id="profiler"),
        pytest.param(lambda schema: logging_level(10), id="logging_level"),
        pytest.param(lambda schema: rerun("disabled"), id="rerun"),
        pytest.param(lambda schema: initialization(True), id="initialization"),
    ],
)
def test_every_bridge_has_the_settings(build: Callable[[Schema], dict[str, Any]], version: str) -> None:
    schema = schemas.load(version)
    missing = [path for path in paths(build(schema)) if schema.find(path) is None]
    assert missing == []
