"""``bridge-args resume``: two steps are trained and saved, a setting is changed, and a third step shows who wins.

Bridge and, where ``MEGATRON_LM_CHECKOUT`` names one, Megatron-LM itself are the judges: the learning rate of the third
step is that of the winner, or there is none. ``BRIDGE_ARGS_RESUME=all`` tries every change; else a few.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from saved_checkpoints import content_of, effective, pickled, zipped

import bridge_args
from bridge_args.bridge import installed
from bridge_args.checkpoint.layout import CheckpointError
from bridge_args.cli.main import main
from bridge_args.errors import UserError
from bridge_args.files import finder
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.resolvers.overlay import Unread
from bridge_args.pairs.pairs import megatron_version, usual_megatron_lm
from bridge_args.resume import compare, tell
from bridge_args.resume.rules import KIND_OF, Continued, verdict
from tests.against.stage import Ran, Stage

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
ALL = os.environ.get("BRIDGE_ARGS_RESUME") == "all"
needs_bridge = pytest.mark.skipif(importlib.util.find_spec("megatron") is None, reason="megatron.bridge is absent")
ENV = {"CUDA_DEVICE_MAX_CONNECTIONS": "1"}
BASE = {
    "--num-layers": "2", "--hidden-size": "64", "--num-attention-heads": "4", "--seq-length": "32",
    "--max-position-embeddings": "32", "--micro-batch-size": "1", "--tokenizer-type": "NullTokenizer",
    "--vocab-size": "100", "--eval-interval": "100", "--eval-iters": "0", "--transformer-impl": "local",
    "--train-iters": "8", "--lr": "1e-3", "--min-lr": "1e-4", "--lr-decay-style": "linear",
    "--global-batch-size": "2", "--seed": "1234", "--weight-decay": "0.1", "--normalization": "LayerNorm",
}  # fmt: skip
SWITCHES = ["--mock-data", "--no-persist-layer-norm", "--no-masked-softmax-fusion", "--no-gradient-accumulation-fusion"]
OVERRIDE, KEEP = "--override-opt-param-scheduler", "--use-checkpoint-opt-param-scheduler"


class Change(NamedTuple):
    """Words that the second run has otherwise, and the setting that they change."""

    words: str
    setting: str


CHANGES = [
    Change("--lr=2e-3", "lr"),
    Change(f"--lr=2e-3 {OVERRIDE}", "lr"),
    Change(f"--lr=2e-3 {KEEP}", "lr"),
    Change("--lr=2e-3 --no-load-optim", "lr"),
    Change("--lr=2e-3 --finetune", "lr"),
    Change(f"--min-lr=5e-4 {OVERRIDE}", "min_lr"),
    Change("--global-batch-size=4", "lr_decay_steps"),
    Change(f"--global-batch-size=4 {OVERRIDE}", "lr_decay_steps"),
    Change("--train-iters=16", "lr_decay_steps"),
    Change(f"--train-iters=16 {OVERRIDE}", "lr_decay_steps"),
    Change(f"--train-iters=16 {KEEP}", "lr_decay_steps"),
    Change("--train-iters=16 --lr-decay-iters=8", "wd_incr_steps"),
    Change("--lr-warmup-iters=4", "lr_warmup_steps"),
    Change("--lr-decay-style=cosine", "lr_decay_style"),
    Change("--weight-decay=0.2", "start_weight_decay"),
    Change("--seed=99", "seed"),
    Change("--num-layers=3", "num_layers"),
    Change("--num-layers=1", "num_layers"),
    Change("--hidden-size=128", "hidden_size"),
    Change("--num-attention-heads=2", "num_attention_heads"),
    Change("--seq-length=64 --max-position-embeddings=64", "max_position_embeddings"),
    Change("--swiglu", "swiglu"),
    Change("--untie-embeddings-and-output-weights", "untie_embeddings_and_output_weights"),
    Change("--normalization=RMSNorm", "normalization"),
    Change("--vocab-size=500", "padded_vocab_size"),
    Change("--position-embedding-type=rope --no-rope-fusion", "position_embedding_type"),
    Change("--squared-relu --no-bias-gelu-fusion", "activation_func"),
    Change("--bf16", "bf16"),
    Change("--adam-beta1=0.5", "adam_beta1"),
    Change("--adam-eps=1e-2", "adam_eps"),
    Change("--adam-beta1=0.5 --no-load-optim", "adam_beta1"),
    Change("--decoupled-lr=1e-2", "decoupled_lr"),
    Change("--disable-bias-linear", "add_bias_linear"),
]
SOME = (1, 6, 9, 19, 28)


def words(change: str = "", **folders: Path) -> list[str]:
    said, more = dict(BASE), [*SWITCHES]
    for word in change.split():
        flag, equals, value = word.partition("=")
        if equals:
            said[flag] = value
        else:
            more.append(word)
    given = {f"--{name}": str(folder) for name, folder in folders.items()}
    if "save" in folders:
        given["--save-interval"] = "2"
    return [*(word for pair in {**said, **given}.items() for word in pair), *more]


def translate(argv: list[str], megatron_lm: str | None = None) -> Translation:
    made = bridge_args.translate(argv, 1, megatron_lm or usual_megatron_lm(), env=ENV)
    assert not made.errors
    return made


class Trained(NamedTuple):
    """A program that has trained two steps and saved them; ``always`` are words that both of its runs have."""

    stage: Stage
    program: str
    folder: Path
    megatron_lm: str
    always: str = ""

    def go_on(self, change: str, steps: int = 1) -> Ran:
        made = translate(words(f"{self.always} {change}", load=self.folder), self.megatron_lm)
        return self.stage.run(bridge_args.to_run_config(made), made.words, 1, steps, ENV)

    def told(self, change: str) -> compare.Resumption:
        made = translate(words(f"{self.always} {change}", load=self.folder), self.megatron_lm)
        return compare.resumption(compare.read(self.folder, made.versions.bridge), made)


# Core asks a distributed optimizer for its steps before it has any, where it is not that of Transformer Engine.
DISTRIBUTED = "--transformer-impl=transformer_engine --use-distributed-optimizer"


@pytest.fixture(scope="module", params=["bridge", "megatron_lm", *(["distributed"] if ALL else [])])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    if importlib.util.find_spec("megatron") is None:
        pytest.skip("megatron.bridge is absent")
    if request.param == "megatron_lm" and not CHECKOUT:
        pytest.skip("MEGATRON_LM_CHECKOUT names no checkout")
    version = megatron_version(CHECKOUT) if request.param == "megatron_lm" else usual_megatron_lm(installed.version())
    program, always = ("bridge", DISTRIBUTED) if request.param == "distributed" else (request.param, "")
    one = Trained(Stage(program, CHECKOUT), program, tmp_path_factory.mktemp("saved"), version, always)
    made = translate(words(always, save=one.folder), version)
    first = one.stage.run(bridge_args.to_run_config(made), made.words, 1, 2, ENV)
    assert (first.steps, first.error) == (2, "")
    yield one
    one.stage.close()


def test_nothing_differs_where_nothing_is_changed(trained: Trained) -> None:
    found = trained.told("")
    assert [row.name for row in found.rows if row.name in KIND_OF] == [
        "iteration",
        "consumed_train_samples",
        "random_state",
    ]
    assert found.refused == ()
    assert trained.go_on("").iteration == 3


@pytest.mark.parametrize("change", CHANGES if ALL else [CHANGES[index] for index in SOME], ids=lambda one: one.words)
def test_who_wins(change: Change, trained: Trained) -> None:
    """The rate of the third step: with everything as it was, with the changed setting from the first step, or none."""
    if trained.always and KIND_OF[change.setting] not in ("rate", "schedule"):
        pytest.skip("the optimizer makes no difference")
    found = trained.told(change.words)
    (row,) = (row for row in found.rows if row.name == change.setting)
    told = row.bridge if trained.program == "bridge" else row.megatron_lm
    assert told is not None
    # What an update is made with shows in the step after it.
    steps = 2 if KIND_OF[change.setting] == "update" else 1
    ran = trained.go_on(change.words, steps)
    refused = [one.name for one in found.rows if (v := _of(one, trained)) is not None and v.winner == "refused"]
    assert bool(ran.error) == bool(refused), (refused, ran.error)
    if ran.error:
        assert ran.steps == 0
        return
    kept = trained.go_on("", steps)
    counted = next(_of(one, trained) for one in found.rows if one.name == "iteration")
    assert counted is not None and (ran.iteration == 2 + steps) is (counted.winner == "checkpoint")
    if KIND_OF[change.setting] in ("rate", "schedule"):
        assert (ran.rate == kept.rate) is (told.winner == "checkpoint"), (ran, kept, told)
    else:
        assert (ran.loss == kept.loss) is (told.winner == "checkpoint"), (ran, kept, told)


def _of(row: compare.Row, trained: Trained) -> Any:
    return row.bridge if trained.program == "bridge" else row.megatron_lm


MOE = (
    "--num-experts=4 --moe-router-topk=2 --moe-token-dispatcher-type=alltoall --disable-bias-linear "
    "--moe-router-load-balancing-type=none --global-batch-size=4"
)
EP2 = "--expert-model-parallel-size=2"


@pytest.mark.skipif(not ALL, reason="BRIDGE_ARGS_RESUME is not all")
@pytest.mark.parametrize("program", ["bridge", "megatron_lm"])
@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ("", [("", 2), (EP2, 2), (f"{EP2} --no-load-rng", 2), (f"{EP2} --no-load-rng --no-load-optim", 2), ("", 1)]),
        (EP2, [(EP2, 2), ("", 2), (EP2, 4), (f"{EP2} --no-load-rng", 4)]),
        (f"{EP2} --rerun-mode=disabled", [(f"{EP2} --no-load-rng", 4), (EP2, 4)]),
    ],
)
def test_experts_and_processes(program: str, before: str, changes: list[tuple[str, int]], tmp_path: Path) -> None:
    """What is told to be refused does not go on, and everything else does."""
    if importlib.util.find_spec("megatron") is None:
        pytest.skip("megatron.bridge is absent")
    if program == "megatron_lm" and not CHECKOUT:
        pytest.skip("MEGATRON_LM_CHECKOUT names no checkout")
    version = megatron_version(CHECKOUT) if program == "megatron_lm" else usual_megatron_lm(installed.version())
    stage = Stage(program, CHECKOUT)

    def run(more: str, processes: int, steps: int, **folders: Path) -> tuple[Translation, Ran]:
        argv = words(f"{MOE} {more}".strip(), **folders)
        made = bridge_args.translate(argv, processes, version, env=ENV)
        assert not made.errors
        return made, stage.run(bridge_args.to_run_config(made), made.words, processes, steps, ENV)

    try:
        assert run(before, 2, 2, save=tmp_path)[1].error == ""
        for change, processes in changes:
            made, ran = run(change, processes, 1, load=tmp_path)
            found = compare.resumption(compare.read(tmp_path, made.versions.bridge), made)
            verdicts = [row.bridge if program == "bridge" else row.megatron_lm for row in found.rows]
            refused = any(one is not None and one.winner == "refused" for one in verdicts)
            # Bridge's own checkpoints do not say how many processes have saved them.
            refused = refused or (program == "bridge" and processes != 2 and _needs_as_many(found, before, change))
            assert refused == bool(ran.error), (change, processes, ran)
    finally:
        stage.close()


def _needs_as_many(found: compare.Resumption, before: str, change: str) -> bool:
    if any("how many processes" in note for note in found.notes):
        assert "disabled" not in before
        return True
    return EP2 in before and "--no-load-rng" not in change


def test_what_use_checkpoint_args_takes_is_what_megatron_lm_trains_with(trained: Trained) -> None:
    """Megatron-LM reads its own checkpoint; Bridge gets what we have read of it, and both take the same third step."""
    if trained.program != "megatron_lm":
        pytest.skip("Bridge takes no arguments from a checkpoint")
    model = {"--num-layers", "--hidden-size", "--num-attention-heads", "--seq-length", "--max-position-embeddings"}
    pairs = {flag: value for flag, value in BASE.items() if flag not in {*model, "--normalization"}}
    argv = [*(word for pair in pairs.items() for word in pair), *SWITCHES, "--load", str(trained.folder)]
    argv += ["--use-checkpoint-args", "--attention-dropout", "0.7"]
    made = bridge_args.translate(argv, 1, trained.megatron_lm, env=ENV, find=finder())
    assert not made.errors and not made.number_losses
    config = bridge_args.to_run_config(made)
    theirs = trained.stage.run(config, made.words, 1, 1, ENV)
    bridge = Stage("bridge")
    try:
        ours = bridge.run(config, made.words, 1, 1, ENV)
    finally:
        bridge.close()
    assert (theirs.error, ours.error) == ("", "")
    assert (ours.iteration, ours.loss, ours.rate) == (
        theirs.iteration,
        theirs.loss,
        theirs.rate,
    ) and ours.iteration == 3


# ------------------------------------------------------------------- without a program to ask


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """What Megatron-LM 0.16.1 would have saved at iteration 5."""
    zipped(pickled(content_of(effective(words()))), tmp_path / "out" / "iter_0000005" / "common.pt")
    (tmp_path / "out" / "latest_checkpointed_iteration.txt").write_text("5")
    return tmp_path / "out"


def told(saved: Path, change: str, megatron_lm: str = "0.16.1", bridge: str = "0.3.1") -> dict[str, Any]:
    made = bridge_args.translate(words(change, load=saved), 1, megatron_lm, bridge, ENV)
    return tell.document(compare.resumption(compare.read(saved, bridge), made))


def winners(document: dict[str, Any], name: str) -> tuple[str, str]:
    (one,) = (one for one in document["settings"] if one["name"] == name)
    return one["megatron_lm"]["winner"], one["bridge"]["winner"]


def test_as_it_was(saved: Path) -> None:
    said = told(saved, "")
    assert said["refused"] == [] and said["checkpoint"]["iteration"] == 5
    assert [one["name"] for one in said["settings"]] == ["iteration", "consumed_train_samples", "random_state"]
    assert winners(said, "iteration") == ("checkpoint", "checkpoint")


def test_the_rate_is_a_matter_of_the_core(saved: Path) -> None:
    """Groups of parameters keep their rate whatever is overridden; since Core 0.19 no other is taken."""
    assert winners(told(saved, f"--lr=2e-3 {OVERRIDE}"), "lr") == ("checkpoint", "checkpoint")
    assert winners(told(saved, f"--lr=2e-3 {OVERRIDE}", "0.19.0", "0.6.2"), "lr") == ("refused", "refused")
    assert winners(told(saved, f"--lr=2e-3 {OVERRIDE}", "0.16.1", "0.6.2"), "lr") == ("checkpoint", "refused")


def test_what_stands_beside_the_groups_of_parameters(saved: Path) -> None:
    """Betas are compared by nothing; a rate of its own makes another group."""
    assert winners(told(saved, "--adam-beta1=0.5"), "adam_beta1") == ("checkpoint", "checkpoint")
    assert winners(told(saved, "--adam-beta1=0.5 --no-load-optim"), "adam_beta1") == ("flag", "flag")
    assert winners(told(saved, "--decoupled-lr=1e-2"), "decoupled_lr") == ("refused", "refused")
    both = Continued("bridge", "0.16.1")
    assert verdict("decoupled_lr", both).winner == "checkpoint"
    assert verdict("decoupled_lr", both._replace(core="0.19.0")).winner == "refused"


def test_each_program_has_its_own_word(saved: Path) -> None:
    assert winners(told(saved, "--num-attention-heads=2"), "num_attention_heads") == ("refused", "flag")


def test_layout_and_the_distributed_optimizer() -> None:
    def laid_out(**more: bool) -> str:
        return verdict("tensor_model_parallel_size", Continued("bridge", "0.16.1", **more)).winner

    assert laid_out() == "flag"
    assert laid_out(distributed=True) == "refused"
    assert laid_out(distributed=True, reshardable=True) == laid_out(distributed=True, loads_optimizer=False) == "flag"


def test_experts_that_are_divided_otherwise() -> None:
    def ends(program: Any, core: str, *experts: int, **more: Any) -> tuple[str, bool]:
        of_their_own = tuple(number > 1 for number in experts)
        how = Continued(program, core, experts=experts, own_group=of_their_own, **more)  # type: ignore[arg-type]
        found = verdict("expert_model_parallel_size", how)
        return found.winner, "--no-load-rng" in found.remedy

    assert ends("bridge", "0.19.0", 1, 2) == ends("megatron_lm", "0.16.1", 2, 1) == ("refused", True)
    assert ends("megatron_lm", "0.19.0", 1, 2) == ("refused", False)
    assert ends("megatron_lm", "0.19.0", 1, 2, loads_optimizer=False) == ("flag", False)
    assert ends("bridge", "0.19.0", 1, 2, loads_optimizer=False) == ("refused", True)
    assert ends("bridge", "0.19.0", 1, 2, loads_optimizer=False, loads_random=False) == ("flag", False)
    assert ends("bridge", "0.19.0", 2, 4, distributed=True) == ("refused", False)
    assert ends("bridge", "0.19.0", 2, 4, distributed=True, reshardable=True) == ("flag", False)
    assert ends("bridge", "0.19.0", 1, 2, finetune=True) == ("flag", False)


@pytest.mark.parametrize(
    ("core", "saved", "run", "winner"),
    [
        ("0.16.1", (2, 2, 1), (2, 1, 1), "flag"),
        ("0.19.0", (2, 2, 1), (2, 1, 1), "refused"),
        ("0.19.0", (2, 1, 2), (2, 1, 1), "flag"),
        ("0.19.0", (2, None, 1), (1, 1, 1), "flag"),
        ("0.19.0", (2, 1, 1), (1, 1, 1), "refused"),
        ("0.16.1", (2, 1, 2), (2, 2, 1), "refused"),
    ],
)
def test_tensors_of_experts_that_are_divided_otherwise(
    core: str, saved: tuple[Any, ...], run: tuple[Any, ...], winner: str
) -> None:
    """Tensor, expert tensor and expert size; as trainings of two processes with each of these cores have shown."""
    names = ("tensor_model_parallel_size", "expert_tensor_parallel_size", "expert_model_parallel_size")
    groups = tuple(compare._own_group(dict(zip(names, one, strict=True)).__getitem__, core) for one in (saved, run))
    how = Continued("megatron_lm", core, own_group=groups, loads_random=False)  # type: ignore[arg-type]
    assert verdict("expert_tensor_parallel_size", how).winner == winner
    assert verdict("tensor_model_parallel_size", how).winner == winner
    assert verdict("pipeline_model_parallel_size", how).winner == "flag"


@pytest.mark.parametrize(
    ("saved_with", "run_with", "name"),
    [
        ("", "--disable-bias-linear", "add_bias_linear"),
        ("--qk-layernorm", "", "qk_layernorm"),
        ("--untie-embeddings-and-output-weights", "", "untie_embeddings_and_output_weights"),
    ],
)
def test_weights_that_the_run_does_not_have_are_left_out(saved_with: str, run_with: str, name: str) -> None:
    """Unless every key is asked for; the other way round they are missing."""
    made = translate(words(saved_with), "0.16.1")
    of_bridge = compare.Saved("", "Megatron Bridge", 5, None, bridge_args.to_run_config(made))
    of_megatron = of_bridge._replace(args={one: made.args[one] for one in made.args})

    def winner(saved: compare.Saved, change: str) -> list[str]:
        (row,) = (row for row in compare.resumption(saved, translate(words(change), "0.16.1")).rows if row.name == name)
        return [one.winner for one in (row.megatron_lm, row.bridge) if one is not None]

    assert winner(of_bridge, run_with) == ["flag"] and winner(of_megatron, run_with) == ["flag", "flag"]
    strictly = f"{run_with} --dist-ckpt-strictness=raise_all"
    assert winner(of_megatron, strictly) == ["refused", "refused"]
    how = Continued("bridge", "0.16.1", fewer=frozenset((name,)), distributed=True)
    assert verdict(name, how).winner == "refused"
    assert verdict(name, how._replace(loads_optimizer=False)).winner == "flag"
    made = translate(words(run_with), "0.16.1")
    less = compare.Saved("", "Megatron Bridge", 5, None, bridge_args.to_run_config(made))
    assert winner(less, saved_with) == ["refused"]


def test_another_number_of_processes(saved: Path) -> None:
    """Megatron Core 0.18 and newer save a state for each of them, and Bridge asks for that of every one."""
    for megatron_lm, bridge, winner in (("0.16.1", "0.3.1", "flag"), ("0.19.0", "0.6.2", "refused")):
        made = bridge_args.translate(words("--global-batch-size=4", load=saved), 2, megatron_lm, bridge, ENV)
        document = tell.document(compare.resumption(compare.read(saved, bridge), made))
        assert winners(document, "world_size") == ("flag", winner)
    (remedy,) = (one["bridge"]["remedy"] for one in document["settings"] if one["name"] == "world_size")
    assert remedy.startswith("save with --rerun-mode disabled")

    def ends(program: Any, core: str, **more: Any) -> str:
        return verdict("world_size", Continued(program, core, **more)).winner

    assert ends("bridge", "0.19.0") == ends("megatron_lm", "0.16.1", reruns=True) == "flag"
    assert ends("bridge", "0.19.0", reruns=True) == ends("bridge", "0.16.1", experts=(2, 2)) == "refused"
    assert ends("bridge", "0.16.1", experts=(2, 2), loads_random=False) == "flag"


def test_every_rule_has_a_place_to_look(saved: Path) -> None:
    for name in KIND_OF:
        for how in (Continued("megatron_lm", "0.16.1"), Continued("bridge", "0.19.0", override=True)):
            found = verdict(name, how)
            assert found.winner == "flag" or found.see


def test_what_else_is_said(saved: Path) -> None:
    (note,) = told(saved, "--train-iters=5")["notes"]
    assert note == "nothing is trained: the checkpoint is of iteration 5, and the run ends at 5"
    made = bridge_args.translate(words(), 1, "0.16.1", "0.3.1", ENV)
    assert compare.resumption(compare.read(saved, "0.3.1"), made).notes == (
        "the run names no checkpoint to go on from: add --load",
    )


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        compare.read(tmp_path / "none", "0.6.2")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(CheckpointError, match="Hugging Face: nothing says"):
        compare.read(tmp_path, "0.6.2")


def test_a_configuration_of_little_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    (tmp_path / "run_config.yaml").write_text("model: {num_layers: {x: 1}, hidden_size: 64}\ntrain: 3\n")
    made = bridge_args.translate(words(load=tmp_path), 1, "0.19.0", "0.6.2", ENV)
    found = compare.resumption(compare.read(tmp_path, "0.6.2"), made)
    assert [row.name for row in found.refused] == ["num_layers"]
    assert "num_layers" in tell.as_text(found) and json.loads(tell.as_json(found))["refused"] == ["num_layers"]


def test_an_object_that_was_not_looked_at_is_no_difference(saved: Path) -> None:
    args = {**compare.read(saved, "0.3.1").args, "optimizer": Unread("some.Optimizer")}  # type: ignore[dict-item]
    found = compare.resumption(compare.read(saved, "0.3.1")._replace(args=args), translate(words(load=saved), "0.16.1"))
    assert "optimizer" not in [row.name for row in found.rows if row.megatron_lm is not None]


def test_a_member_of_an_enum_is_the_same_with_its_name(tmp_path: Path) -> None:
    """Bridge writes the name of the member beside its value."""
    made = translate(words())
    settings = bridge_args.to_run_config(made)
    settings["model"]["attention_backend"] = {**settings["model"]["attention_backend"], "_name_": "auto"}
    saved = compare.Saved("", "Megatron Bridge", 5, None, settings)
    assert "attention_backend" not in [row.name for row in compare.resumption(saved, made).rows]


@pytest.mark.parametrize(
    "text", ["model: {num_layers: &a [*a]}\n", "- 1\n", "a: !!python/object/apply:os.system [x]\n"]
)
def test_a_configuration_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "run_config.yaml").write_text(text)
    made = bridge_args.translate(words(load=tmp_path), 1, "0.19.0", "0.6.2", ENV)
    with pytest.raises(UserError):
        compare.resumption(compare.read(tmp_path, "0.6.2"), made)


def test_the_command(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["resume", str(saved), "--megatron-lm", "0.16.1", "--bridge", "0.3.1", "--world-size", "1"]
    assert main([*line, "--", *words(load=saved)]) == 0
    assert "iteration" in capsys.readouterr().out
    assert main([*line, "--format", "json", "--", *words("--lr=2e-3", load=saved)]) == 1
    assert json.loads(capsys.readouterr().out)["refused"] == ["lr"]
    assert main([*line, "--", "--no-such-flag"]) == 1
    assert "is not an argument" in capsys.readouterr().err
    assert main(["resume", "--world-size", "1", "--", *words(load=saved)]) == 1
    assert "bridge-args resume CHECKPOINT SOURCE" in capsys.readouterr().err
