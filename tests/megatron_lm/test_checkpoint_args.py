"""``--use-checkpoint-args``: what is taken from a checkpoint, and who wins. A checkout of Megatron-LM is the judge."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from saved_checkpoints import SMALL, content_of, effective, of_core_019, pickled, zipped

import bridge_args
from bridge_args.files import finder
from bridge_args.findings import Finding
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm import checkpoint_args
from bridge_args.megatron_lm.checkpoint_args import TAKEN, Checkpoint, taken
from bridge_args.megatron_lm.resolvers import of_checkout
from bridge_args.megatron_lm.resolvers.of_checkout import version_of
from bridge_args.script.command import read_command
from bridge_args.source.source import Source
from bridge_args.steps import Asked, run_of
from bridge_args.versions import Versions, holds

CHECKOUT = os.environ.get("MEGATRON_LM_CHECKOUT", "")
needs_checkout = pytest.mark.skipif(not CHECKOUT, reason="MEGATRON_LM_CHECKOUT names no checkout")

TRAINED = [
    *SMALL,
    *"--transformer-impl local --no-persist-layer-norm --pipeline-model-parallel-size 2".split(),
    *"--group-query-attention --num-query-groups 2 --normalization RMSNorm --disable-bias-linear".split(),
    *"--position-embedding-type rope --untie-embeddings-and-output-weights --rotary-percent 0.5".split(),
    *"--attention-dropout 0.25".split(),
]
# Nothing of the model: the checkpoint says it.
CONTINUED = (
    "--micro-batch-size 1 --global-batch-size 8 --train-iters 10 --lr 1e-3 --mock-data --eval-interval 10 --bf16 "
    "--vocab-size 100 --transformer-impl local --no-persist-layer-norm --use-checkpoint-args"
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder of checkpoints with one of iteration 5."""
    zipped(pickled(content_of(effective(TRAINED, 2))), tmp_path / "base" / "iter_0000005" / "common.pt")
    (tmp_path / "base" / "latest_checkpointed_iteration.txt").write_text("5")
    return tmp_path


def translate(saved: Path, words: str, megatron_lm: str = "0.16.1", ranks: int = 2, here: bool = True) -> Translation:
    argv = f"{CONTINUED} {words}".replace("BASE", str(saved / "base")).split()
    return bridge_args.translate(argv, ranks, megatron_lm, find=finder() if here else None)


def of_kind(t: Translation, kind: str) -> list[Finding]:
    return [finding for finding in t.findings if finding.kind == kind and "use_checkpoint_args" in finding.arguments]


def test_the_model_is_that_of_the_checkpoint(saved: Path) -> None:
    made = translate(saved, "--load BASE")
    plain = bridge_args.translate([*TRAINED, "--load", "x"], 2, "0.16.1")
    assert not made.errors and not made.number_losses
    ours, theirs = (
        {one.path: one.value for one in t.assignments if one.path.startswith("model.")} for t in (made, plain)
    )
    theirs.pop("model.pipeline_model_parallel_size")
    assert {path: value for path, value in ours.items() if path in theirs} == {
        path: value for path, value in theirs.items() if path in ours
    }
    for path, value in {"model.num_layers": 2, "model.rotary_percent": 0.5, "model.attention_dropout": 0.25}.items():
        (one,) = (one for one in made.assignments if one.path == path)
        assert one.value == value and str(one.origin) == f"from the checkpoint {saved}/base/iter_0000005"
    assert len(of_kind(made, "file-read")) == 1


def test_who_wins(saved: Path) -> None:
    """What has a default is taken, and nothing else that was typed; the loser is told."""
    made = translate(saved, "--load BASE --num-layers 4 --hidden-dropout 0.3 --swiglu")
    assert (made.args["num_layers"], made.args["hidden_dropout"]) == (4, 0.1)
    (told,) = (finding for finding in made.findings if finding.arguments == ("hidden_dropout",))
    assert told.kind == "ignored-by-megatron" and "has hidden_dropout = 0.1, which wins" in told.message


def test_parallel_sizes_only_on_request(saved: Path) -> None:
    assert translate(saved, "--load BASE").args["pipeline_model_parallel_size"] == 1
    made = translate(saved, "--load BASE --use-mp-args-from-checkpoint-args --num-layers 2", ranks=2)
    assert made.args["pipeline_model_parallel_size"] == 2


@pytest.mark.parametrize(("version", "kept"), [("0.15.3", False), ("0.16.1", True)])
def test_the_tokenizer_is_the_users_where_that_is_said(saved: Path, version: str, kept: bool) -> None:
    made = translate(
        saved, "--load BASE --no-use-tokenizer-model-from-checkpoint-args --tokenizer-type TikTokenizer", version
    )
    assert (made.args["tokenizer_type"] == "TikTokenizer") is kept


def test_the_base_model_is_read_before_the_run(saved: Path) -> None:
    """Both say it: the later one wins, but where the first has filled what nobody said."""
    values = effective(TRAINED, 2) | {"num_layers": 6, "rotary_percent": 0.75}
    zipped(pickled(content_of(values)), saved / "base" / "iter_0000009" / "common.pt")
    made = translate(saved, f"--load BASE --pretrained-checkpoint {saved}/none")
    assert made.args["num_layers"] == 2
    (saved / "none" / "iter_0000009").parent.mkdir()
    (saved / "base" / "iter_0000009").rename(saved / "none" / "iter_0000009")
    (saved / "none" / "latest_checkpointed_iteration.txt").write_text("9")
    made = translate(saved, f"--load BASE --pretrained-checkpoint {saved}/none")
    assert (made.args["num_layers"], made.args["rotary_percent"]) == (6, 0.5)
    assert translate(saved, f"--load BASE --pretrained-checkpoint {saved}/none", "0.15.3").args["num_layers"] == 2


def test_an_iteration_of_ones_own(saved: Path) -> None:
    of_core_019(saved / "base" / "iter_0000003", effective(TRAINED, 2) | {"rotary_percent": 0.25})
    assert translate(saved, "--load BASE --ckpt-step 3").args["rotary_percent"] == 0.25


def test_old_names() -> None:
    catalog = catalogs.load("0.19.0")

    def of(values: dict[str, Any], version: float = 3.0, **typed: Any) -> dict[str, Any]:
        checkpoint = Checkpoint("load", values, version, "x")
        return {name: one.value for name, one in taken(typed, catalog, [checkpoint]).items() if name in want}

    want = {"add_bias_linear", "hybrid_layer_pattern", "num_layers", "tensor_model_parallel_size"}
    assert of({"disable_bias_linear": True}) == {"add_bias_linear": False}
    assert of({"hybrid_override_pattern": "M*-", "num_layers": 3}) == {"hybrid_layer_pattern": "M*-"}
    on = {"use_mp_args_from_checkpoint_args": True}
    assert of({"model_parallel_size": 4, "tensor_model_parallel_size": 2}, **on) == {"tensor_model_parallel_size": 2}
    assert of({"model_parallel_size": 4}, 2.0, **on) == {}  # there is a default, and the checkpoint does not win


def test_what_cannot_be_read_is_lost(saved: Path) -> None:
    for made in (
        translate(saved, "--load BASE", here=False),
        translate(saved, "--load BASE --ckpt-step 4", here=False),
    ):
        (lost,) = of_kind(made, "no-equivalent")
        assert lost.changes == "numbers" and "translate where it is" in lost.message
    (saved / "base" / "iter_0000005" / "common.pt").write_bytes(b"\x80\x02torn")
    (lost,) = of_kind(translate(saved, "--load BASE"), "no-equivalent")
    assert "common.pt" in lost.message


def test_where_nothing_is_the_arguments_count(saved: Path) -> None:
    """As Megatron-LM has it: no tracker, or a checkpoint without arguments."""
    for words in (f"--load {saved}", f"--load {saved}/none", f"--load {saved}/base/iter_0000005"):
        made = translate(saved, words)
        (told,) = of_kind(made, "ignored-by-megatron")
        assert "takes nothing" in told.message and not made.number_losses
    zipped(pickled({"iteration": 5}), saved / "base" / "iter_0000005" / "common.pt")
    (told,) = of_kind(translate(saved, "--load BASE"), "ignored-by-megatron")
    assert "holds no arguments" in told.message


# --------------------------------------------------------------------------------- a checkout


def calls(body: list[ast.stmt], under: str = "") -> Iterator[tuple[str, str | None, bool, str]]:
    """Every ``_set_arg`` of the function: name, old name, does it win, and the conditions around it."""
    for node in body:
        match node:
            case ast.Expr(ast.Call(func=ast.Name("_set_arg"), args=args, keywords=keywords)):
                words = [ast.literal_eval(word) for word in args]
                named = {word.arg: ast.literal_eval(word.value) for word in keywords}
                yield words[0], words[1] if len(words) > 1 else None, named.get("force", False), under
            case ast.If(test=test, body=inside, orelse=otherwise):
                yield from calls(inside, f"{under} {ast.unparse(test)}")
                yield from calls(otherwise, f"{under} not {ast.unparse(test)}")


@needs_checkout
def test_the_table_is_what_the_function_does() -> None:
    tree = ast.parse(Path(CHECKOUT, "megatron/training/checkpointing.py").read_text(encoding="utf-8"))
    function = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "load_args_from_checkpoint"
    )
    conditions = (checkpoint_args._MODEL, checkpoint_args._TOKENIZER)
    theirs = {
        (name, old, wins, next((only for only in conditions if only in under), None))
        for name, old, wins, under in calls(function.body)
    }
    versions = Versions(version_of(CHECKOUT), "0")
    ours = {
        (name, take.old_name, take.wins, take.only)
        for take in TAKEN
        if holds(take.when, versions)
        for name in take.names
    }
    assert ours == theirs


LINES = [
    "",
    "--num-layers 4 --hidden-dropout 0.3",
    "--use-mp-args-from-checkpoint-args",
    "--no-use-tokenizer-model-from-checkpoint-args --tokenizer-type NullTokenizer",
    "--num-experts 4 --moe-router-topk 1 --swiglu",
    "--hidden-size 128 --ffn-hidden-size 256 --seq-length 64 --max-position-embeddings 64",
]


@needs_checkout
def test_the_checkout_takes_the_same(saved: Path) -> None:
    """Its own ``load_args_from_checkpoint`` and ``validate_args``, on what we have read of the checkpoint."""
    pytest.importorskip("torch")
    from bridge_args.checkout import ask

    asked = Asked(megatron_lm=version_of(CHECKOUT), world_size=2, find=finder(), env={})
    cases = []
    for words in LINES:
        argv = f"{CONTINUED} --load {saved}/base {words}".split()
        run, given, findings = run_of(Source(read_command(argv), None, ()), asked)
        assert [finding.kind for finding in findings if "use_checkpoint_args" in finding.arguments] == ["file-read"]
        cases.append((given, run))
    answers = ask.effective(
        CHECKOUT,
        [
            ask.Case(tuple(word.text for word in given.words), 2, {}, saved=of_checkout._saved(given, run))
            for given, run in cases
        ],
    )
    for words, (ours, _, differing) in zip(LINES, of_checkout.compare(cases, answers), strict=True):
        assert ours.settings["rotary_base"].source == "checkpoint"
        assert [str(one) for one in differing] == [], words
