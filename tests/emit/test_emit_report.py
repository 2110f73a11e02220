"""report: the same content in four formats, and nothing a user typed breaks one of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from by_hand import translation
from hypothesis import given, settings
from report_cases import HOSTILE, example, hostile, in_a_script, outcome

from bridge_args import emit, translate
from bridge_args.emit.report import Format, report
from bridge_args.emit.report_data import step_of
from bridge_args.mapping.convert import shown
from bridge_args.mapping.rows import FATES
from bridge_args.mapping.unread import replaced
from bridge_args.megatron_lm.resolvers.built_in import Setting
from bridge_args.values import Built, Member, Partial, Symbol


def test_text() -> None:
    assert (
        report(example())
        == """\
Fix (1): Megatron-LM or Bridge would stop with this command line.
  --num-layerz is not an argument of Megatron-LM 0.16.1; did you mean --num-layers?
      --distributed-backend nccl --num-layerz 3
                                 ^^^^^^^^^^^^

Decide (1): Bridge cannot do this; decide whether the run needs it.
  --lr = 1e-05 is lost: Bridge has no rate; leave it out

Check (2): Takes effect differently than the flag suggests.
  a.sh:3: $X is not set
      --a $X
          ^^
  8 is assumed

What becomes of the arguments
  --num-layers 4              model.num_layers = 4
  --global-batch-size 8       train.global_batch_size = 16  derived
  --lr 1e-5                   no equivalent
  --lr-warmup-init 0.1        used only to compute max_lr
  --no-load-rng               unknown
  --distributed-backend nccl  for the launcher

Set although not on the command line: defaults differ
  model.params_dtype = torch.bfloat16  derived from bf16=True
  train.eval_iters = 50                Megatron-LM's default

For your information (2)
  --num-layers: Counts every layer.
  --distributed-backend: Say it to torchrun.

6 arguments given, 4 settings written; 1 to fix, 1 to decide, 2 to check, 2 notes (Megatron-LM 0.16.1 to Megatron \
Bridge 0.3.1, pretrain_gpt.py, 8 GPUs)
"""
    )


def test_text_names_the_line_of_every_flag() -> None:
    said = report(in_a_script()[0])
    assert "  train.sh:3: --lr is lost\n" in said  # the finding has no place of its own
    assert "  train.sh:2  --num-layers 4  model.num_layers = 4\n" in said
    assert "  train.sh:3  --no-load-rng   unknown\n" in said


def test_markdown_names_the_line_of_every_flag() -> None:
    assert "| `train.sh:2` | `--num-layers 4` | `model.num_layers = 4` |" in report(in_a_script()[0], "markdown")


def test_notes_are_one_line_unless_asked_for() -> None:
    short, full = report(example(), verbose=False), report(example())
    assert "\n2 notes: --verbose shows them\n" in short and "Counts every layer" not in short
    kept = [line for line in short.splitlines() if "--verbose" not in line]
    assert [line for line in kept if line and line not in full.splitlines()] == []
    t = example()
    one = t._replace(outcomes={**t.outcomes, **dict([outcome("distributed_backend", "to")])})
    assert "\n1 note: --verbose shows it\n" in report(one, verbose=False)
    assert "note" not in report(translation(), verbose=False).replace("0 notes", "")
    others = ("json", "markdown", "html")
    assert all(report(t, format, verbose=False) == report(t, format) for format in others)


def test_colours_are_asked_for() -> None:
    plain, coloured = report(example()), report(example(), colour=True)
    assert "\033" not in plain
    assert "\033[1;31mFix (1)\033[0m" in coloured
    assert re.sub("\033\\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize(("typed", "value"), [("1e-2", 0.01), ("2", [2.0])])
def test_the_same_number_in_other_digits_is_no_surprise(typed: str, value: Any) -> None:
    t = translation(words=["--moe-aux-loss-coeff", typed], derived={"moe_aux_loss_coeff": Setting(value, "derived")})
    assert not list(replaced(t.args, t.words))


def test_json() -> None:
    data = json.loads(report(example(), "json"))
    assert data["schema"] == 1
    assert data["counts"] == {"arguments": 6, "settings": 4, "fix": 1, "decide": 1, "check": 2, "note": 2}
    assert data["versions"] == {"megatron_lm": "0.16.1", "bridge": "0.3.1"}
    assert data["arguments"][0] == {
        "argument": "num_layers",
        "flag": "--num-layers",
        "words": ["--num-layers", "4"],
        "place": None,
        "value": 4,
        "fate": "to",
        "short": "",
        "paths": ["model.num_layers"],
        "reason": "",
        "row": "mappings/x.yaml:0",
    }
    assert data["settings"][2]["value"] == {"_target_": "torch.bfloat16", "_call_": False}
    assert data["settings"][2]["shown"] == "torch.bfloat16"
    assert data["settings"][2]["origin"]["inputs"] == {"bf16": True}
    assert data["findings"][2]["place"] == {"source": "a.sh", "line": 3, "column": 1}


def test_a_derived_setting_names_the_step_that_derives_it() -> None:
    words = (
        "--num-layers 4 --hidden-size 256 --num-attention-heads 8 --seq-length 128 --max-position-embeddings 128 "
        "--micro-batch-size 1 --train-iters 10 --lr 1e-4 --eval-interval 10 --mock-data --sequence-parallel "
        "--tokenizer-type NullTokenizer --vocab-size 1000 --bf16"
    )
    t = translate(words.split(), world_size=8, megatron_lm="0.16.1", bridge="0.3.1")
    settings = {setting["path"]: setting for setting in json.loads(report(t, "json"))["settings"]}
    validate_args = "megatron/training/arguments.py validate_args"
    assert settings["model.sequence_parallel"]["origin"]["step"] == {
        "function": "derive/parallelism.py sequence_parallel",
        "see": [validate_args],
    }
    assert settings["train.micro_batch_size"]["origin"]["step"] is None
    assert step_of(settings["train.micro_batch_size"]) == ""
    said = f"computed by derive/parallelism.py sequence_parallel; Megatron-LM: {validate_args}"
    assert step_of(settings["model.sequence_parallel"]) == said
    page = report(t, "html")
    assert page.count(said) == 2  # where one points at the setting, and in the table
    assert "computed by" not in report(t, "text") + report(t, "markdown")


def test_json_has_no_numbers_json_does_not_know() -> None:
    t = translation({"optimizer.lr": float("inf"), "optimizer.min_lr": float("nan"), "model.x": Member("a.B", "c", 1)})
    data = json.loads(report(t, "json"), parse_constant=lambda text: pytest.fail(text))
    assert [setting["value"] for setting in data["settings"][:2]] == ["inf", "nan"]


@pytest.mark.parametrize("format", get_args(Format))
def test_every_format_says_everything(format: Format) -> None:
    text = report(example(), format).replace("\\_", "_").replace("\\$", "$")
    for said in ["num-layerz", "Bridge has no rate", "$X is not set", "8 is assumed", "Counts every layer", "torchrun"]:
        assert said in text
    assert all(path in text for path in ["model.num_layers", "train.eval_iters", "model.params_dtype"])


@pytest.mark.parametrize("format", get_args(Format))
def test_nothing_given(format: Format) -> None:
    assert report(translation(), format)


@pytest.mark.parametrize("format", ["TEXT", "", "yaml", None])
def test_another_format_is_refused(format: Any) -> None:
    with pytest.raises(ValueError, match="text, json, markdown, html"):
        report(translation(), format)


@settings(deadline=None)
@given(HOSTILE)
def test_nothing_typed_reaches_the_terminal_as_a_control(text: str) -> None:
    written = report(hostile(text))
    assert all(char.isprintable() or char == "\n" for char in written)


@settings(deadline=None)
@given(HOSTILE)
def test_every_row_of_a_markdown_table_has_its_cells(text: str) -> None:
    cells = 0
    for line in report(hostile(text), "markdown").split("\n"):
        bars = line.replace("\\\\", "").replace("\\|", "").count("|")
        if line.startswith("|"):
            cells = cells or bars
            assert bars == cells, line
        else:
            cells = 0


@settings(deadline=None)
@given(HOSTILE)
def test_json_keeps_what_was_typed(text: str) -> None:
    data = json.loads(report(hostile(text), "json"))
    assert data["settings"][0]["value"] == text
    assert data["environment"] == {"A": text}


def strict(schema: Any) -> Any:
    """The schema with no room for keys that it does not name."""
    if isinstance(schema, dict):
        more = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
        return {**{key: strict(value) for key, value in schema.items()}, **more}
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


def test_json_is_as_its_schema_says() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = strict(json.loads((Path(emit.__file__).parent / "report_schema.json").read_text()))
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    words = "torchrun --nproc-per-node 8 pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 --bf16"
    more = "--moe-router-topkk 2 --num-experts 8 --adlr-autoresume --seq-length 8 --max-position-embeddings 8"
    real = translate([*words.split(), *more.split()], env={"A": "b"})
    for t in (example(), translation(), in_a_script()[0], hostile("<x>"), real):
        judge.validate(json.loads(report(t, "json")))
    wrong = json.loads(report(example(), "json"))
    wrong["findings"][0]["group"] = "error"
    assert not judge.is_valid(wrong)


@pytest.mark.parametrize(
    "value",
    [Symbol("torch.bfloat16"), Member("a.Kind", "one", 1), Partial("f.g", {"eps": 1}), Built("a.B", {"n": None})],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_said_the_same_alone_and_in_a_list(value: object) -> None:
    """No name of a class of ours reaches a reader, however deep the value lies."""
    assert shown(value) == str(value)
    assert shown([value]) == f"[{value}]"
    assert type(value).__name__ not in shown({"k": (value, [value])})


def test_every_fate_can_be_said() -> None:
    names = ["num_layers", "hidden_size", "seq_length", "lr", "seed", "save", "load"]
    words = [word for name in names for word in ("--" + name.replace("_", "-"), "1")]
    t = translation(words=words, outcomes=dict(outcome(n, f, "Because.") for n, f in zip(names, FATES, strict=True)))
    for format in get_args(Format):
        assert report(t, format)
    assert {entry["fate"] for entry in json.loads(report(t, "json"))["arguments"]} == set(FATES)
