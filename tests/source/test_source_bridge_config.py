"""A configuration of Bridge as a source: what is read back of it is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden
import pytest

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.emit.effective import effective
from bridge_args.errors import UserError
from bridge_args.lint import lint_text
from bridge_args.mapping.translation import Translation
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated

SAMPLE = list(golden.sample("BRIDGE_ARGS_INVERSE", 12))
LINE = [
    "--num-layers", "2", "--hidden-size", "64", "--num-attention-heads", "4", "--seq-length", "32",
    "--max-position-embeddings", "32", "--micro-batch-size", "1", "--global-batch-size", "8", "--train-iters", "5",
    "--lr", "1e-3", "--mock-data", "--tokenizer-type", "NullTokenizer", "--vocab-size", "99", "--eval-interval", "5",
]  # fmt: skip


def of(text: str, name: str = "run_config.yaml", **asked: Any) -> Translation:
    return translated(from_text(text, name), Asked(**asked))


def own(*more: str, **asked: Any) -> Translation:
    return bridge_args.translate([*LINE, *more], world_size=2, env={"CUDA_DEVICE_MAX_CONNECTIONS": "1"}, **asked)


@pytest.mark.parametrize(("version", "row"), SAMPLE, ids=[f"{version} {row['id']}" for version, row in SAMPLE])
def test_what_was_written_is_read_back(version: str, row: dict[str, Any]) -> None:
    wanted = golden.translated(version, row)
    if wanted.errors:
        pytest.skip("no configuration is written of it")
    for full in (True, False):
        read = of(bridge_args.to_yaml(wanted, full=full), bridge=golden.PAIRS[version])
        assert effective(read) == effective(wanted)
        assert [str(loss) for loss in read.losses if loss.kind != "accepted-without-effect"] == []


def test_every_setting_has_its_line() -> None:
    text = "train:\n  train_iters: 20\n  global_batch_size: 8\nmodel:\n  num_layers: 2\n  bf16: maybe\n"
    (layers,) = [one for one in of(text).assignments if one.path == "model.num_layers"]
    assert (layers.origin.kind, layers.origin.text, layers.origin.arguments) == (
        "flag", "num_layers: 2", ("model.num_layers",)
    )  # fmt: skip


def test_the_version_is_that_which_has_the_names() -> None:
    for bridge in ("0.3.1", "0.6.2"):
        read = of(bridge_args.to_yaml(own(bridge=bridge), full=True))
        assert read.schema.version == bridge and read.world_size == 1
    old = "model:\n  num_layers: 2\n  share_embeddings_and_output_weights: true\n"
    assert of(f"{old}validation:\n  eval_iters: 2\n").schema.version >= "0.4"


def test_a_setting_that_bridge_does_not_have_is_told() -> None:
    read = of("train:\n  train_iterations: 20\nmodel:\n  num_layers: 2\n")
    (loss,) = read.losses
    assert str(loss).startswith("run_config.yaml:2: train.train_iterations = 20 is lost: Bridge ")


def test_texts_and_variables() -> None:
    text = 'checkpoint:\n  save: ${oc.env:HOME_OF_RUNS}/a\n  load: "\\\\${b}/c"\nmodel:\n  num_layers: 2\n'
    read = of(text)
    assert read.unresolved == ("HOME_OF_RUNS",)
    values = {one.path: one.value for one in read.assignments}
    assert values["checkpoint.load"] == "${b}/c"
    assert "save: ${oc.env:HOME_OF_RUNS}/a" in bridge_args.to_yaml(read)
    filled = of(text, variables={"HOME_OF_RUNS": "/runs"})
    assert {one.path: one.value for one in filled.assignments}["checkpoint.save"] == "/runs/a"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("activation_func: {_target_: os.system, _args_: [ls]}", "run_config.yaml:3: model.activation_func names os"),
        ("activation_func: {_target_: megatron.core.os.system, _call_: false}", "names megatron.core.os.system"),
        ("activation_func: {_target_: torch.hub.load, repo: x}", "names torch.hub.load"),
        ("init_method: [{a: {_target_: builtins.eval}}]", "names builtins.eval"),
        ("init_method: {_target_: [a]}", r"names \['a'\]"),
        ("seq_length: ${train.global_batch_size}", "worked out from other settings"),
        ("seq_length: ${oc.env:A,7}", "worked out from other settings"),
        ("seq_length: !!python/object/apply:os.system [ls]", "tag"),
        ("seq_length: " + "[" * 200 + "]" * 200, "levels"),
        ("? [a]\n  : 1", "a key is a word"),
        ("seq_length: 1\n--- {}", "a second document"),
    ],
)
def test_what_no_configuration_says_is_refused_at_its_line(line: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        of(f"train: {{}}\nmodel:\n  {line}\n")


def test_aliases_are_not_multiplied() -> None:
    rows = "\n".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9))
    with pytest.raises(UserError, match="more than 200000 values"):
        of(f"train: {{}}\nmodel:\n  a0: &a0 [1, 1]\n{rows}\n")


@pytest.mark.parametrize("version", schemas.versions())
def test_nonsense_ends_in_a_finding_or_a_refusal(version: str) -> None:
    for text in ("train: 3\nmodel: [1]\n", "train: null\nmodel: ~\n", "train: {_target_: 3}\nmodel: {}\n",
                 "train: {_target_: megatron.nothing}\nmodel: {}\n", "model: {num_layers: {}}\ntrain: {'': 1}\n",
                 "_target_: megatron.bridge.training.config.ConfigContainer\n"):  # fmt: skip
        try:
            read = of(text, bridge=version)
            bridge_args.to_yaml(read), bridge_args.to_run_config(read)
        except UserError:
            pass


def test_the_file_is_a_source_of_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from bridge_args.cli.main import main

    file = tmp_path / "run_config.yaml"
    file.write_text(bridge_args.to_yaml(own(), full=True), encoding="utf-8")
    assert main(["translate", str(file), "--world-size", "2"]) == 0
    assert "train_iters: 5" in capsys.readouterr().out
    assert main(["report", str(file), "--format", "html", "-o", str(tmp_path / "report.html")]) == 0
    assert main(["translate", str(file), "--", "x"]) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["launch", "FILE", "--dry-run"], "launch starts a command line of Megatron-LM, and this source is none"),
        (["translate", "FILE", "--mappings", "x.yaml"], "--mappings has rows for arguments of Megatron-LM"),
    ],
)
def test_what_needs_a_command_line_says_so(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bridge_args.cli.main import main

    file = tmp_path / "run_config.yaml"
    file.write_text(bridge_args.to_yaml(own(), full=True), encoding="utf-8")
    assert main([str(file) if word == "FILE" else word for word in words]) in (1, 2)
    assert told in capsys.readouterr().err


def test_a_class_of_a_model_by_name_is_kept_with_its_own_settings() -> None:
    text = """model:
  _target_: megatron.bridge.models.gemma.gemma2_provider.Gemma2ModelProvider9B
  attn_logit_softcapping: 40.0
ddp: {_target_: megatron.core.distributed.distributed_data_parallel_config.DistributedDataParallelConfig}
train: {train_iters: 5}
"""
    t = translated(from_text(text, "run.yaml"), Asked(bridge="0.3.1"))
    assert t.losses == ()
    made = bridge_args.to_run_config(t)
    assert made["model"]["_target_"].endswith(".Gemma2ModelProvider9B")
    assert (made["model"]["attn_logit_softcapping"], made["model"]["final_logit_softcapping"]) == (40.0, 30.0)
    assert made["ddp"]["_target_"] == "megatron.bridge.training.config.DistributedDataParallelConfig"


@pytest.mark.parametrize(("bridge", "is_number"), [("0.3.1", False), ("0.4.2", True), ("0.5.1", False)])
def test_a_signal_is_written_as_the_version_reads_one(bridge: str, is_number: bool) -> None:
    """Bridge 0.4 writes a signal by the name of its class, and refuses to read it."""
    text = "train: {train_iters: 5, exit_signal: {_target_: signal.Signals, _call_: true, _args_: [10]}}\n"
    made = translated(from_text(f"{text}model: {{num_layers: 2}}\n", "run.yaml"), Asked(bridge=bridge))
    signal = bridge_args.to_run_config(made)["train"]["exit_signal"]
    assert signal == (10 if is_number else {"_target_": "signal.Signals", "_call_": True, "_args_": [10]})


@pytest.mark.parametrize("bridge", ["0.3.1", "0.6.2"])
@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("checkpoint.ckpt_format: zarr", "checkpoint.ckpt_format takes torch_dist"),
        ("checkpoint.ckpt_format: torch-dist", "did you mean torch_dist?"),
        ("checkpoint.dist_ckpt_strictness: Log_all", "did you mean log_all?"),
        ("scheduler.lr_decay_style: Cosine", "did you mean cosine?"),
    ],
)
def test_a_value_that_bridge_stops_at_sooner_or_later(line: str, why: str, bridge: str) -> None:
    """lint, with the file's own words, and a translation say the same."""
    path, _, value = line.partition(": ")
    section, _, name = path.partition(".")
    text = f"model:\n  num_layers: 2\n{section}:\n  {name}: {value}\n"
    (error,) = of(text, bridge=bridge).errors
    assert error.kind == "bridge-rejects" and why in str(error) and str(error).startswith("run_config.yaml:4: ")
    assert [problem for problem in lint_text(text, "run_config.yaml", bridge) if problem.path == path]
    assert not of(text.replace(value, "${oc.env:VALUE}"), bridge=bridge).errors
