"""What a run has told of itself: its log, wandb, words in a file, an experiment of Primus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden
import pytest
import yaml

import bridge_args
from bridge_args.diff.compare import compare
from bridge_args.emit.argv import to_argv
from bridge_args.errors import UserError
from bridge_args.mapping.translation import Translation
from bridge_args.source import read
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translate_saved, translated
from bridge_args.values import Symbol

ENUMS = {"attention_backend": "AttnBackend"}
SAMPLE = list(golden.sample("BRIDGE_ARGS_INVERSE", 60))


def of(text: str, name: str = "run.log", **asked: Any) -> Translation:
    return translated(from_text(text, name), Asked(**asked))


def recorded(value: Any) -> Any:
    return float(value["$float"]) if isinstance(value, dict) and "$float" in value else value


def printed(values: dict[str, Any], before: str = "") -> str:
    """As `_print_args` of megatron/training/arguments.py prints them."""
    lines = ["------------------------ arguments ------------------------"]
    for name, value in sorted(values.items(), key=lambda one: one[0].lower()):
        text = f"{ENUMS[name]}.{value}" if name in ENUMS else value
        lines.append(f"  {name} {'.' * (48 - len(name))} {text}")
    lines.append("-------------------- end of arguments ---------------------")
    return "".join(f"{before}{line}\n" for line in lines)


@pytest.mark.parametrize(("version", "row"), SAMPLE, ids=[f"{version} {row['id']}" for version, row in SAMPLE])
@pytest.mark.parametrize("kind", ["log", "wandb"])
def test_the_arguments_of_a_run_are_those_of_its_checkpoint(kind: str, version: str, row: dict[str, Any]) -> None:
    values = {name: recorded(value) for name, value in row["result"]["args"].items()}
    bridge = golden.PAIRS[version]
    wanted = translate_saved(
        {name: Symbol(value) if str(value).startswith("torch.") else value for name, value in values.items()},
        bridge=bridge,
    )
    if kind == "log":
        text = "Loading things\n" + printed(values, "[default0]:") + "> building tokenizer\nlm loss: 1\n"
    else:
        text = yaml.safe_dump({
            "wandb_version": 1,
            "_wandb": {"desc": None, "value": {"python_version": "3.11"}},
            **{name: {"desc": None, "value": value} for name, value in values.items()},
        })  # fmt: skip
    made = of(text, "config.yaml" if kind == "wandb" else "run.log", bridge=bridge)
    assert made.versions == wanted.versions
    assert [one.path for one in compare(wanted, made).differences] == []


def test_values_as_they_are_printed() -> None:
    values = {
        "num_layers": 2, "hidden_size": 64, "lr": "3e-05", "split": "99,1", "wandb_exp_name": "7",
        "data_path": ["/a b"],
        "seed": 5, "bf16": True, "spec": None, "params_dtype": "torch.bfloat16", "attention_backend": "flash",
        "tokenizer_model": "True story", "clip_grad": "inf", "exit_signal": "<Signals.SIGTERM: 15>",
        "data_parallel_random_init": False, "some_object": "<megatron.Thing object at 0x7f>",
    }  # fmt: skip
    found = dict(from_text(printed(values), "run.log").values or {})
    assert found == {
        **{name: values[name] for name in ("num_layers", "hidden_size", "split", "data_path", "seed")},
        "wandb_exp_name": "7",
        "bf16": True, "spec": None, "lr": 3e-05, "params_dtype": Symbol("torch.bfloat16"), "attention_backend": "flash",
        "tokenizer_model": "True story", "clip_grad": float("inf"), "exit_signal": "SIGTERM",
        "data_parallel_random_init": False,
    }  # fmt: skip


def test_a_log_larger_than_a_script(tmp_path: Path) -> None:
    file = tmp_path / "run.log"
    values = {"num_layers": 2, "hidden_size": 64, "micro_batch_size": 1}
    noise = "iteration 1 | lm loss 2\n" * 40_000
    file.write_text(noise[:1000] + printed(values) + noise, encoding="utf-8")
    assert file.stat().st_size > read.MAX_SCRIPT
    assert read.from_file(str(file)).values == values
    file.write_text(noise, encoding="utf-8")
    with pytest.raises(UserError, match="no launch script"):
        read.from_file(str(file))


@pytest.mark.parametrize(
    "text",
    [
        "---------- arguments ----------\n  a .. 1\n",
        printed({}),
        printed({"num_layers": "[" * 5000}),
        printed({"num_layers": "9" * 5000, "hidden_size": "1e999999", "lr": "(" * 99}),
        printed({"num_layers": "{1: [2]}", "seq_length": "b'x'", "data_path": "[[[1]]]", "tokenizer_model": "\x1b["}),
        printed({"num_layers": "__import__('os').system('x')", "seq_length": "[__import__('os')]"}),
    ],
)
def test_a_log_that_nobody_wrote(text: str) -> None:
    try:
        bridge_args.to_yaml(of(text))
    except UserError:
        pass


def test_words_in_a_file() -> None:
    text = "# the run\n--num-layers 2 --hidden-size 64  # small\n--data-path '/a b' \\\n--bf16\n"
    source = from_text(text, "args.txt")
    assert [(word.text, word.place and word.place.line) for word in source.words] == [
        ("--num-layers", 2), ("2", 2), ("--hidden-size", 2), ("64", 2), ("--data-path", 3), ("/a b", 3), ("--bf16", 4)
    ]  # fmt: skip
    with pytest.raises(UserError, match="args.txt:2: No closing quotation"):
        from_text("--num-layers 2\n--data-path 'a\n", "args.txt")


PRIMUS = """
work_group: ${PRIMUS_TEAM:amd}
exp_name: run
modules:
  pre_trainer:
    framework: megatron
    config: pre_trainer.yaml
    model: llama3_8B.yaml
    overrides:
      num_layers: 2
      lr: 1.0e-5
      bf16: true
      micro_batch_size: ${MBS:4}
      data_path: /a
      nobody_knows: 5
"""


def test_an_experiment_of_primus() -> None:
    source = from_text(PRIMUS, "exp.yaml", {"MBS": "8"})
    assert [word.text for word in source.command.argv] == [
        "--num-layers", "2", "--lr", "1.0e-5", "--bf16", "--micro-batch-size", "8", "--data-path", "/a"
    ]  # fmt: skip
    told = [str(finding) for finding in source.findings]
    assert len(told) == 3 and told[0].startswith("exp.yaml:5: what pre_trainer.yaml of Primus sets is not known here")
    assert "exp.yaml:15: no flag of Megatron-LM" in told[2] and "nobody_knows: 5" in told[2]
    with pytest.raises(UserError, match="no module of the framework megatron"):
        from_text("modules:\n  a:\n    sub:\n      framework: megatron\n", "exp.yaml")


def test_the_words_of_a_log_lead_to_its_values() -> None:
    row = golden.lines("0.19.0")[3]
    values = {name: recorded(value) for name, value in row["result"]["args"].items()}
    made = of(printed(values), bridge="0.6.2")
    again = golden.translated("0.19.0", row, to_argv(made))
    assert [one.path for one in compare(golden.translated("0.19.0", row), again).differences] == []
