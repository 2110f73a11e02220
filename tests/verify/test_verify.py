"""Comparing two runs, looking for a cause, and what is said of it; the runs here are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import bridge_args
from bridge_args.emulation.adapt import Change
from bridge_args.mapping.translation import Translation
from bridge_args.verify import cause, page
from bridge_args.verify import reduce as reducing
from bridge_args.verify.cause import ABSENT, Suspect, corrected, differing, find, suspects
from bridge_args.verify.changed import ChangeError, change
from bridge_args.verify.compare import BF16, compare
from bridge_args.verify.reduce import NotReducible, reduce, rewritten
from bridge_args.verify.sides import Rank, Seen, Setup, words_for
from bridge_args.verify.verify import Verification

WORDS = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --train-iters 10 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer --vocab-size 100"
).split()


def step(iteration: int, loss: float = 7.0, **figures: Any) -> dict[str, Any]:
    plain = {"grad_norm": 1.0, "learning_rate": 1e-3, "global_batch_size": 8, "consumed_samples": 8 * iteration}
    return {"iteration": iteration, "lm_loss": loss, **plain, "loss_scale": 1.0, "skipped": 0, **figures}


def seen(steps: Sequence[dict[str, Any]], **rank: Any) -> Seen:
    ranks = (Rank(rank.get("settings", {}), rank.get("weights", {}), rank.get("batches", ())),)
    return Seen(tuple(steps), rank.get("evaluations", ()), ranks, error=rank.get("error", ""))


def translation(words: Sequence[str] = WORDS, world_size: int = 1) -> Translation:
    return bridge_args.translate(list(words), world_size=world_size)


# --------------------------------------------------------------------------------- comparing


def test_equal_bits_are_identical() -> None:
    run = seen([step(1), step(2, 6.5)])
    result = compare(run, run, rounding=False)
    assert (result.verdict, result.step, result.steps) == ("identical", None, 2)


@pytest.mark.parametrize(
    ("other", "figure"),
    [
        ({"loss": 6.999999}, "lm_loss"),
        ({"grad_norm": 1.1}, "grad_norm"),
        ({"learning_rate": 2e-3}, "learning_rate"),
        ({"global_batch_size": 16}, "global_batch_size"),
        ({"skipped": 1}, "skipped"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_first_step_that_differs(other: dict[str, Any], figure: str) -> None:
    result = compare(seen([step(1), step(2), step(3)]), seen([step(1), step(2, **other), step(3, 5.0)]), rounding=False)
    assert (result.verdict, result.step, result.figure) == ("differs", 2, figure)


def test_the_schedule_is_named_before_the_loss_it_changes() -> None:
    result = compare(seen([step(1)]), seen([step(1, 6.0, learning_rate=5.0)]), rounding=False)
    assert result.figure == "learning_rate"


def test_a_side_that_stops_earlier_differs_there() -> None:
    result = compare(seen([step(1), step(2)]), seen([step(1)], error="out of memory"), rounding=False)
    assert (result.verdict, result.step, result.figure) == ("differs", 2, "steps")


def test_an_error_behind_equal_steps_is_a_difference() -> None:
    result = compare(seen([step(1)]), seen([step(1)], error="could not save"), rounding=False)
    assert (result.verdict, result.figure) == ("differs", "error")


def test_rounding_is_forgiven_where_it_is_asked_for() -> None:
    a, b = seen([step(1, 7.0)]), seen([step(1, 7.0 * (1 + BF16 / 2))])
    assert compare(a, b, rounding=False).verdict == "differs"
    result = compare(a, b, rounding=True)
    assert result.verdict == "equal within bf16 rounding"
    assert 0 < result.relative["lm_loss"] < BF16


def test_more_than_rounding_is_a_difference() -> None:
    result = compare(seen([step(1), step(2)]), seen([step(1, 7.001), step(2, 7.1)]), rounding=True)
    assert (result.verdict, result.step) == ("differs", 2)


def test_rounding_never_excuses_a_learning_rate() -> None:
    result = compare(seen([step(1)]), seen([step(1, learning_rate=1.0000001e-3)]), rounding=True)
    assert (result.verdict, result.figure) == ("differs", "learning_rate")


def test_rounding_never_excuses_other_weights_or_data() -> None:
    near = [step(1, 7.0001)]
    for what in ({"weights": {"w": [[2], "torch.bfloat16", "b" * 64]}}, {"batches": ({"tokens": [[2], "t", "b"]},)}):
        plain = {"weights": {"w": [[2], "torch.bfloat16", "a" * 64]}, "batches": ({"tokens": [[2], "t", "a"]},)}
        mine = seen([step(1)], **{name: plain[name] for name in what})
        assert compare(mine, seen(near, **what), rounding=True).verdict == "differs"


def test_settings_that_both_have_are_compared_but_not_those_that_compute_nothing() -> None:
    a = seen([step(1)], settings={"optimizer": {"lr": 1.0, "only_here": 1}, "model": {"timers": "x"}})
    b = seen([step(1)], settings={"optimizer": {"lr": 2.0}, "model": {"timers": "y"}})
    result = compare(a, b, rounding=False)
    assert [str(difference) for difference in result.settings] == ["optimizer.lr: 1.0 in Megatron-LM, 2.0 in Bridge"]
    assert result.verdict == "identical"  # the steps are what counts


def test_evaluations_are_told_and_do_not_count() -> None:
    evaluation = {"split": "valid", "iteration": 1, "lm_loss": 7.0}
    a = seen([step(1)], evaluations=(evaluation,))
    b = seen([step(1)], evaluations=({**evaluation, "lm_loss": 7.5},))
    result = compare(a, b, rounding=False)
    assert result.verdict == "identical"
    assert str(result.evaluations[0]) == "valid loss after step 1: 7.0 in Megatron-LM, 7.5 in Bridge"


def test_where_nothing_is_trained_the_test_loss_counts() -> None:
    evaluation = {"split": "test", "iteration": 0, "lm_loss": 7.0}
    a, b = seen([], evaluations=(evaluation,)), seen([], evaluations=({**evaluation, "lm_loss": 7.5},))
    assert compare(a, a, rounding=False).verdict == "identical"
    assert (compare(a, b, rounding=False).verdict, compare(a, b, rounding=False).figure) == ("differs", "evaluation")


# ------------------------------------------------------------------------------ finding causes


def of(*paths: str) -> list[Suspect]:
    return [Suspect(path, "right", "wrong") for path in paths]


@pytest.mark.parametrize("number", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("needed", [(0,), (-1,), (0, -1), (0, 1, -1)], ids=str)
def test_the_smallest_set_that_mends(number: int, needed: tuple[int, ...]) -> None:
    names = [f"model.s{index}" for index in range(number)]
    guilty = {names[index] for index in needed if -number <= index < number}

    def mends(config: cause.RunConfig) -> bool:
        return all(config["model"][name.partition(".")[2]] == "right" for name in guilty)

    config = {"model": {f"s{index}": "wrong" for index in range(number)}}
    result = find(of(*names), config, mends)
    assert {suspect.path for suspect in result.settings} == guilty
    assert result.runs <= cause.RUNS
    assert set(config["model"].values()) == {"wrong"}  # what Bridge ran with is left alone


def test_no_cause_where_nothing_mends() -> None:
    result = find(of("a.b", "a.c", "a.d"), {"a": {}}, lambda config: False)
    assert result.settings == ()
    assert len(result.suspects) == 3


def test_a_setting_that_should_not_be_there_is_taken_away() -> None:
    assert corrected({"a": {"b": 1}}, [Suspect("a.b", ABSENT, 1)]) == {"a": {}}


def test_differing_paths() -> None:
    right = {"a": {"x": 1, "y": {"_target_": "T", "_args_": [1]}}, "b": None}
    wrong = {"a": {"x": 1, "y": {"_target_": "T", "_args_": [2]}, "z": 3}, "b": {"_target_": "C"}}
    assert list(differing(right, wrong)) == [
        ("a.y", right["a"]["y"], wrong["a"]["y"]),
        ("a.z", ABSENT, 3),
        ("b", None, {"_target_": "C"}),
    ]


def test_suspects_come_from_what_the_programs_built() -> None:
    """The translation itself is wrong: only the objects say so."""
    t = translation()
    config = bridge_args.to_run_config(t)
    batch, groups = {"global_batch_size": 8}, {"lr_warmup_steps": 80, "max_lr": 2e-3}
    a = seen([step(1)], settings={"scheduler": groups, "batch": batch})
    b = seen([step(1, learning_rate=5.0)], settings={"scheduler": {"lr_warmup_steps": 0, "max_lr": 1e-3}})
    config["train"]["global_batch_size"] = 8
    found = suspects(compare(a, b, rounding=False), config, config, t)
    assert {suspect.path: suspect.right for suspect in found} == {
        "optimizer.lr": 2e-3,
        "scheduler.lr_warmup_iters": 10,
    }
    assert {suspect.argument for suspect in found} >= {"lr"}


def test_the_likeliest_suspect_is_first() -> None:
    t = translation()
    config = bridge_args.to_run_config(t)
    broken = json.loads(json.dumps(config))
    broken["model"]["hidden_dropout"] = 0.5
    broken["dataset"]["split"] = "50,30,20"
    broken["optimizer"]["min_lr"] = 0.5

    def first(a: Seen, b: Seen) -> str:
        return suspects(compare(a, b, rounding=False), broken, config, t)[0].path

    start, later = [step(1)], [step(1), step(2, 6.0)]
    assert first(seen(start), seen([step(1, learning_rate=9.0)])) == "optimizer.min_lr"
    assert first(seen(start), seen([step(1, 6.0)])) == "model.hidden_dropout"
    batches = [({"tokens": [[1], "torch.int64", letter]},) for letter in "ab"]
    assert first(seen(start, batches=batches[0]), seen([step(1, 6.0)], batches=batches[1])) == "dataset.split"
    assert first(seen([step(1), step(2)]), seen(later)) == "optimizer.min_lr"


# ---------------------------------------------------------------------------------- what is said


def verification(a: Seen, b: Seen, found: cause.Cause | None = None, **options: Any) -> Verification:
    setup = Setup(translation([*WORDS, "--min-lr", "1e-4"]), "pretrain_gpt.py", 1, None, True, Path("work"))
    changes = (Change("model.num_layers", 4, 2, "smaller model"),)
    return Verification(setup, changes, a, b, compare(a, b, rounding=False), found, options.get("losses", ()))


def test_the_verdict_names_step_and_cause() -> None:
    guilty = Suspect("optimizer.min_lr", 1e-4, 0.5, "min_lr")
    result = verification(
        seen([step(1), step(2)]), seen([step(1), step(2, learning_rate=0.5)]), cause.Cause((guilty,), (guilty,), 1)
    )
    assert page.verdict(result) == (
        "differs from step 2, first cause optimizer.min_lr is 0.5, and by Megatron-LM 0.0001 (--min-lr 1e-4)"
    )
    text = page.text_of(result)
    assert "learning rate at step 2: 0.001 in Megatron-LM, 0.5 in Bridge" in text
    assert "with this setting corrected, the runs match (1 more run of Bridge)" in text


def test_without_a_cause_the_losses_of_the_translation_are_told() -> None:
    result = verification(
        seen([step(1)]), seen([step(1, 6.0)]), cause.Cause((), (), 0), losses=("--x has no equivalent",)
    )
    assert page.verdict(result) == "differs from step 1, first cause not found among the settings"
    assert "the translation says: --x has no equivalent" in page.text_of(result)


def test_a_bridge_that_does_not_start_is_its_own_cause() -> None:
    result = verification(seen([step(1)]), seen([], error="training stopped: bad"), cause.Cause((), (), 0))
    assert page.verdict(result) == "differs from step 1, first cause Bridge: training stopped: bad"


def test_a_megatron_lm_that_stops_is_the_cause() -> None:
    result = verification(seen([step(1)], error="training stopped: disk full"), seen([step(1)]))
    assert page.verdict(result) == "differs, first cause Megatron-LM: training stopped: disk full"


def test_a_long_table_shows_the_difference() -> None:
    a = [step(iteration) for iteration in range(1, 101)]
    b = [step(iteration, 7.0 if iteration < 50 else 6.0) for iteration in range(1, 101)]
    rows = [line.split()[0] for line in page.text_of(verification(seen(a), seen(b))).splitlines()[1:] if line.strip()]
    shown = rows[: rows.index("differs")]
    assert shown == [*"1234", "…", "49", "50", "51", "52", "…", "97", "98", "99", "100"]


def test_json_has_every_figure() -> None:
    guilty = Suspect("mixed_precision.grad_reduce_in_fp32", ABSENT, False)
    a, b = seen([step(1)]), seen([step(1, 6.0)], weights={"w": [[2], "torch.float32", "a" * 64]})
    document = json.loads(page.json_of(verification(a, b, cause.Cause((guilty,), (guilty,), 1))))
    assert document["verdict"] == "differs"
    assert document["megatron_lm"]["steps"] == [step(1)]
    assert document["bridge"]["steps"] == [step(1, 6.0)]
    assert document["cause"] == [{"path": guilty.path, "argument": None, "wrong": False}]
    assert document["weights"] == [
        {"name": "w", "megatron_lm": None, "bridge": [[2], "torch.float32", "a" * 64], "rank": 0}
    ]
    assert document["ran"]["changes"] == ["model.num_layers: 4 -> 2 (smaller model)"]


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page.save_png(verification(seen([step(1), step(2)]), seen([step(1), step(2, 6.0)])), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


# -------------------------------------------------------------------------------- what is run


def test_words_are_replaced_and_the_others_stay() -> None:
    t = translation([*WORDS, "--save", "a", "--bf16", "--save", "b"])
    edits = {"save": "c", "bf16": False, "moe_layer_freq": [0, 1], "swiglu": True}
    words = rewritten(t.words, t.catalog, edits)
    assert words == (*WORDS, "--save", "c", "--moe-layer-freq", "[0, 1]", "--swiglu")


@pytest.mark.parametrize("source", ["--load ckpt --ckpt-step 5", "--pretrained-checkpoint ckpt"])
def test_a_small_model_takes_no_arguments_from_the_checkpoint_of_a_large_one(source: str) -> None:
    t = translation([*WORDS, *source.split(), "--use-checkpoint-args"])
    assert not t.errors
    result = reduce(t, translation, nproc=1, small=True, emulate=True)
    assert not result.translation.errors
    assert "checkpoint.load" in {change.path for change in result.changes} or "--load" not in source
    assert not {"--use-checkpoint-args", "--load", "--pretrained-checkpoint", "--ckpt-step"} & set(result.words)


def test_what_is_built_otherwise_is_named_where_no_setting_says_it() -> None:
    norm = "decoder.layers.0.self_attention.q_layernorm.bias"
    a = seen([step(1)], settings={"parameters": {norm: {"wd_mult": 1.0, "lr": 1}}, "parallel": {"size": 1}})
    b = seen([step(1, 7.5)], settings={"parameters": {norm: {"wd_mult": 0.0, "lr": 1}}, "parallel": {"size": 2}})
    said = cause.built_otherwise(compare(a, b, rounding=False))
    assert said == f"parameters.{norm}: {{'wd_mult': 1.0}} in Megatron-LM, {{'wd_mult': 0.0}} in Bridge"
    unsaid, off = ({"model": {"use_cpu_initialization": value}} for value in (None, False))
    same = compare(seen([step(1)], settings=unsaid), seen([step(1, 7.5)], settings=off), rounding=False)
    assert len(same.settings) == 1
    assert cause.built_otherwise(same) == ""


def test_a_command_line_for_many_gpus_is_reduced_in_its_own_words() -> None:
    words = (
        "--num-layers 64 --hidden-size 7168 --num-attention-heads 128 --seq-length 4096 --max-position-embeddings 4096 "
        "--micro-batch-size 1 --global-batch-size 512 --train-samples 1000000 --lr 1e-3 --bf16 --num-experts 256 "
        "--moe-router-topk 8 --moe-layer-freq ([0]*3+[1]*61) --expert-model-parallel-size 8 "
        "--pipeline-model-parallel-size 4 --num-virtual-stages-per-pipeline-rank 2 --data-path /nowhere/text "
        "--tokenizer-type HuggingFaceTokenizer --tokenizer-model /nowhere/tokenizer --save /nowhere --save-interval 9"
    ).split()
    t = translation(words, 32)
    assert not t.errors, t.errors
    result = reduce(t, lambda new: translation(new), nproc=1, small=True, emulate=True, exists=lambda path: False)
    assert not result.translation.errors
    args = result.translation.args
    assert args["num_layers"] == 2
    assert args["moe_layer_freq"] == [0, 1]
    assert args["num_experts"] == 8
    assert args["mock_data"] is True
    assert args["pipeline_model_parallel_size"] == 1
    assert args["bf16"] is True  # choices stay
    assert "--save" not in result.words
    assert {change.path for change in result.changes} >= {"model.num_layers", "dataset.blend", "checkpoint.save"}


@pytest.mark.parametrize(
    ("pattern", "small"),
    [
        ("--hybrid-layer-pattern *-*-*E|*-*-*E/*-/*- --pipeline-model-parallel-size 2", "*-E/*-"),
        ("--hybrid-override-pattern *E*E*E*E", "*E"),
    ],
)
def test_a_pattern_of_layers_is_reduced_in_its_own_words(pattern: str, small: str) -> None:
    words = (
        "--hidden-size 4096 --num-attention-heads 32 --seq-length 4096 --max-position-embeddings 4096 --bf16 --lr 1e-3 "
        "--micro-batch-size 1 --global-batch-size 512 --train-iters 100 --eval-interval 100 --num-experts 64 "
        "--position-embedding-type rope --disable-bias-linear --tokenizer-type NullTokenizer --vocab-size 100000 "
        "--mock-data"
    ).split()

    def again(new: Sequence[str], world_size: int = 1) -> bridge_args.Translation:
        return bridge_args.translate(
            list(new), world_size, "0.19.0", "0.6.2", {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, "pretrain_hybrid.py"
        )

    t = again([*words, *pattern.split()], 2)
    assert not t.errors, t.errors
    result = reduce(t, again, nproc=1, small=True, emulate=True)
    args = result.translation.args
    assert not result.translation.errors
    assert args["hybrid_layer_pattern"] == small and args["num_layers"] == small.index("/") if "/" in small else 2
    assert args["mtp_num_layers"] == (1 if "/" in small else None)


def test_what_no_argument_says_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that the words do not bring about would be made on neither side, unsaid."""
    still = Change("model.hidden_size", 64, 32, "smaller model")
    monkeypatch.setattr(reducing, "_wanted", lambda *words, **named: (still,))
    monkeypatch.setattr(reducing, "_arguments_for", lambda change, t: {})
    with pytest.raises(NotReducible, match="model.hidden_size"):
        reduce(translation(), translation, nproc=1, small=True, emulate=True)


def test_each_side_writes_in_a_folder_of_its_own(tmp_path: Path) -> None:
    t = translation([*WORDS, "--save", "ckpt", "--load", "ckpt", "--tensorboard-dir", "tb", "--save-interval", "5"])
    setup = Setup(t, "pretrain_gpt.py", 1, None, True, tmp_path)
    saved = tmp_path / "bridge" / "checkpoints" / "ckpt"
    words = words_for("bridge", setup)
    assert words[words.index("--save") + 1] == str(saved)
    assert words[words.index("--load") + 1] == "ckpt"  # the user's, where there is no other
    assert "--tensorboard-dir" not in words
    (saved / "iter_0000005").mkdir(parents=True)
    words = words_for("bridge", setup)
    assert words[words.index("--load") + 1] == str(saved)
    assert words_for("megatron_lm", setup)[-1] == "ckpt"


# ----------------------------------------------------------------------- a run config of one's own


def test_nothing_of_ones_own_is_no_change() -> None:
    assert change(None, "", ()) is None


def test_an_override_is_read_by_hydra() -> None:
    changed = change(None, "", ["train.global_batch_size=16", "dataset.split='50,30,20'", "model.fp8=null"])
    assert changed is not None
    config = changed(bridge_args.to_run_config(translation()))
    assert (config["train"]["global_batch_size"], config["dataset"]["split"]) == (16, "50,30,20")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.nothing.there=1", "Bridge has no setting train.nothing.there"),
        ("nothing=1", "Bridge has no setting nothing"),
        ("~train.seed", "only PATH=VALUE is understood here"),
        ("train.seed=1,2", "only PATH=VALUE is understood here"),
        ("train.seed=[", "is no override"),
    ],
)
def test_an_override_that_cannot_be_used(override: str, said: str) -> None:
    with pytest.raises(ChangeError) as problem:
        changed = change(None, "", [override])
        assert changed is not None
        changed(bridge_args.to_run_config(translation()))
    assert said in str(problem.value)


def test_a_run_config_from_a_file() -> None:
    config = bridge_args.to_run_config(translation())
    config["optimizer"]["lr"] = 0.5
    changed = change(json.dumps(config), "own.yaml", ())
    assert changed is not None
    assert changed(bridge_args.to_run_config(translation()))["optimizer"]["lr"] == 0.5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "own.yaml is not YAML"),
        ("- 1", "own.yaml is not a run config of Bridge"),
        ("model: {_target_: os.system, _args_: [x]}", "model._target_ names os.system"),
        ("model: {a: [{_target_: subprocess.run}]}", "model.a[0]._target_ names subprocess.run"),
        ("model: {_target_: megatron.bridge.x, f: {_target_: torch.load}}", "model.f._target_ names torch.load"),
        ("model: !!python/object/apply:os.system [x]", "own.yaml is not YAML"),
    ],
)
def test_a_file_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(ChangeError) as problem:
        change(text, "own.yaml", ())
    assert said in str(problem.value)
