"""``bridge-args lint``: invented files, and what the examples translate to, which is right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import bridge_args
from bridge_args import lint
from bridge_args.bridge import schema as schemas
from bridge_args.cli.main import main
from bridge_args.source.read import from_path
from bridge_args.source.yaml.nodes import YamlProblem
from bridge_args.steps import Asked, translated
from bridge_args.versions import PAIRS

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = [
    next((ROOT / "examples" / name).glob("train.s*")) for name in ("01_one_command", "02_slurm_script", "03_moe")
]
VERSIONS = sorted({pair.versions.bridge for pair in PAIRS})


def problems(text: str, bridge: str = "0.6.2") -> list[tuple[int, str, str]]:
    return [(one.place.line, one.kind, one.path) for one in lint.lint_text(text, "x.yaml", bridge)]


@pytest.mark.parametrize("bridge", VERSIONS)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_what_we_write_is_right(example: Path, bridge: str) -> None:
    made = translated(from_path(str(example)), Asked(bridge=bridge))
    text = yaml.safe_dump(bridge_args.to_run_config(made), sort_keys=False)
    assert not made.errors and len(text.splitlines()) > 500
    assert [str(one) for one in lint.lint_text(text, "x.yaml", bridge)] == []


def test_for_another_version_it_is_wrong() -> None:
    """A file for 0.3.1 names classes and settings that 0.6.2 has elsewhere."""
    made = translated(from_path(str(EXAMPLES[0])), Asked(bridge="0.3.1"))
    found = lint.lint_text(yaml.safe_dump(bridge_args.to_run_config(made), sort_keys=False), "x.yaml", "0.6.2")
    moved = next(one for one in found if one.path == "rng._target_")
    assert moved.kind == "unknown-class" and moved.place.line == 3
    assert "which Bridge 0.2.2, 0.3.1 has" in moved.message
    assert moved.remedy == "here it is megatron.training.config.common_config.RNGConfig"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("train:\n  micro_batch_size: 2\n", []),
        ("train:\n  micro_batch_size: two\n", [(2, "wrong-value", "train.micro_batch_size")]),
        ("train:\n  manual_gc: 1\n", [(2, "wrong-value", "train.manual_gc")]),
        ("train:\n  micro_batch_size: true\n", [(2, "wrong-value", "train.micro_batch_size")]),
        ("optimizer:\n  lr: 1e-5\n", []),
        ("optimizer:\n  lr: '1e-5'\n", [(2, "wrong-value", "optimizer.lr")]),
        ("optimizer:\n  lr: ${oc.env:LR}\n", []),
        ("trains:\n  x: 1\n", [(1, "unknown-section", "trains")]),
        ("train: 3\n", [(1, "wrong-value", "train")]),
        ("ft: null\n", []),
        ("mixed_precision: bf16_mixed\n", []),
        ("train:\n  micro_batch_siz: 2\n", [(2, "unknown-setting", "train.micro_batch_siz")]),
        ("train:\n  global_batch_size: ???\n", [(2, "missing", "train.global_batch_size")]),
        (
            "model:\n  experimental_attention_variant: dsv4_hybrid\n",
            [(2, "newer-core", "model.experimental_attention_variant")],
        ),
        ("checkpoint:\n  ckpt_format: zarr3\n", [(2, "wrong-value", "checkpoint.ckpt_format")]),
        ("checkpoint:\n  save_retain_interval: 3\n", [(2, "without-effect", "checkpoint.save_retain_interval")]),
        ("checkpoint:\n  save_retain_interval: null\n", []),
        ("train:\n  rampup_batch_size: [1, 2, 3]\n", [(2, "deprecated", "train.rampup_batch_size")]),
        ("train:\n  manual_gc: true\n  manual_gc: false\n", [(3, "given-twice", "train.manual_gc")]),
        ("train:\n  _target_: megatron.bridge.training.config.CheckpointConfig\n",
         [(2, "unknown-class", "train._target_")]),
        ("train:\n  _target_: os.system\n", [(2, "refused-class", "train._target_")]),
        ("model:\n  activation_func:\n    _target_: subprocess.run\n    _call_: false\n",
         [(3, "refused-class", "model.activation_func._target_")]),
        ("model:\n  _target_: megatron.bridge.models.llama.llama_provider.Llama32ModelProvider1B\n",
         [(2, "not-checked", "model._target_")]),
        ("model:\n  attention_backend: flash\n", [(2, "wrong-value", "model.attention_backend")]),
        ("model:\n  attention_backend:\n    _target_: megatron.core.transformer.enums.AttnBackend\n    _args_: [1]\n"
         "    _call_: true\n", []),
        ("model:\n  params_dtype: {_target_: torch.bfloat16, _call_: false}\n", []),
        ("- 1\n- 2\n", [(1, "not-a-configuration", "")]),
        ("", [(1, "not-a-configuration", "")]),
    ],
)  # fmt: skip
def test_one_thing_at_a_time(text: str, found: list[tuple[int, str, str]]) -> None:
    assert problems(text) == found


def test_a_whole_section_needs_what_has_no_default() -> None:
    schema = schemas.load("0.6.2")
    required = {name for name, field in schema.classes["megatron.bridge.models.gpt_provider.GPTModelProvider"].items()
                if field.required}  # fmt: skip
    text = "model:\n  _target_: megatron.bridge.models.gpt_provider.GPTModelProvider\n  num_layers: 2\n"
    missing = {path.partition(".")[2] for _, kind, path in problems(text) if kind == "missing"}
    assert missing == required - {"num_layers"}


def test_classes_that_0_4_does_not_build() -> None:
    text = "train:\n  exit_signal: {_target_: signal.Signals, _args_: [15], _call_: true}\n"
    assert problems(text, "0.6.2") == []
    assert problems(text, "0.4.2") == [(2, "refused-class", "train.exit_signal._target_")]


CHECKPOINT = "checkpoint: {{_target_: megatron.bridge.training.config.CheckpointConfig, {}}}\n"


@pytest.mark.parametrize(
    ("settings", "bridge", "said"),
    [
        ("load: out/iter_0000010", "0.3.1", "finds no checkpoint in it and trains from random weights"),
        (
            "load: iter_0000010, pretrained_checkpoint: base",
            "0.3.1",
            "and starts from checkpoint.pretrained_checkpoint",
        ),
        ("load: out/iter_0000010", "0.4.2", ""),
        ("load: out/iter_0000010, save: out/", "0.6.2", "a restart loads it again, not what is saved later"),
        ("pretrained_checkpoint: /base/iter_0000010/", "0.3.1", "finds no checkpoint in it and trains from random"),
        ("pretrained_checkpoint: /base/iter_0000010/", "0.6.2", ""),
        ("save: out/iter_0000010", "0.6.2", "checkpoints are written to folders in it"),
        ("load: out/iter_10", "0.3.1", ""),
    ],
)
def test_a_folder_of_one_iteration(settings: str, bridge: str, said: str) -> None:
    found = lint.lint_text(CHECKPOINT.format(settings), "x.yaml", bridge)
    assert [one.kind for one in found] == (["one-iteration"] if said else [])
    assert all(said in one.message and one.level == "warning" for one in found)


@pytest.mark.parametrize(
    ("name", "setting", "bridge", "said", "remedy"),
    [
        ("release", "load", "0.3.1", "trains from random weights", "set checkpoint.load to {}"),
        ("release", "load", "0.6.2", "", ""),
        ("step-500", "load", "0.3.1", "trains from random weights", "folders like iter_0000100 in it"),
        ("step-500", "pretrained_checkpoint", "0.3.1", "trains from random weights", "the folder that has the tracker"),
        ("step-500", "save", "0.6.2", "checkpoints are written to folders in it", "set checkpoint.save to {}"),
        ("iter_0000005/mp_rank_00", "load", "0.6.2", "random weights", "to {} and checkpoint.ckpt_step to 5"),
    ],
)
def test_a_checkpoint_is_known_by_what_is_in_it(
    name: str, setting: str, bridge: str, said: str, remedy: str, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)

    def found() -> list[lint.Problem]:
        return lint.lint_text(CHECKPOINT.format(f"{setting}: {folder}"), "x.yaml", bridge)

    if not name.startswith("iter_"):
        (folder / "metadata.json").write_text("{}")
        assert found() == []  # anybody may have such a file
        (folder / ".metadata").write_bytes(b"\x80")
    assert [one.kind for one in found()] == (["one-iteration"] if said else [])
    assert all(said in one.message and remedy.format(tmp_path) in one.remedy for one in found())
    (folder / "latest_train_state.pt").write_bytes(b"")
    assert found() == []


def test_of_a_part_of_a_configuration_only_what_it_says_counts() -> None:
    assert problems("checkpoint: {async_save: true}\n") == []
    assert problems("checkpoint: {async_save: true, save: '${oc.env:OUT}'}\n") == []
    assert problems("checkpoint: {async_save: true, save: null}\n") == [(1, "together", "checkpoint.async_save")]
    assert problems(CHECKPOINT.format("async_save: true")) == [(1, "together", "checkpoint.async_save")]
    adapter = "peft: {_target_: megatron.bridge.peft.lora.LoRA, dim: 4}\n"
    assert problems(adapter) == []
    assert problems(adapter + CHECKPOINT.format("save: out")) == [(1, "together", "peft")]


def test_a_near_name_and_where_else_it_is() -> None:
    (near,) = lint.lint_text("train:\n  micro_batch_siz: 2\n", "x.yaml", "0.6.2")
    assert near.remedy == "there is train.micro_batch_size"
    (moved,) = lint.lint_text("train:\n  eval_micro_batch_size: 2\n", "x.yaml", "0.6.2")
    assert moved.remedy == "there is validation.eval_micro_batch_size"


@pytest.mark.parametrize(
    "text",
    [
        "train: !!python/object/apply:os.system [touch x]\n",
        "a: " + "[" * 200 + "]" * 200,
        "x: " + "y" * 1_000_001,
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(
            f"{one}: &{one} [{','.join([f'*{two}'] * 10)}]\n" for two, one in zip("abcdef", "bcdefg", strict=True)
        )
        + "train:\n  iterations_to_skip: *g\n",
    ],
    ids=["tag", "depth", "size", "aliases"],
)
def test_a_hostile_file_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(YamlProblem):
        lint.lint_text(text, "x.yaml", "0.6.2")
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert main(["lint", str(file)]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err and not Path("x").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "run_config.yaml"
    file.write_text("train:\n  manual_gc: 3\nlogger:\n  wandb_project: hf_abcdefghijklmnopqrstuvwxyzABCDEFGH\n")
    assert main(["lint", "--bridge", "0.6.2", str(file)]) == 1
    said = capsys.readouterr()
    assert said.out == f"{file}:2: error: train.manual_gc takes bool, not 3 [wrong-value]\n"
    assert said.err == f"{file}: 1 problem for Bridge 0.6.2\n"
    assert main(["lint", "--bridge", "0.6.2", "--format", "json", str(file)]) == 1
    data = json.loads(capsys.readouterr().out)
    (one,) = data["problems"]
    assert (one["kind"], one["level"], one["line"], one["path"]) == ("wrong-value", "error", 2, "train.manual_gc")
    file.write_text("train:\n  manual_gc: true\n")
    assert main(["lint", "--bridge", "0.6.2", str(file)]) == 0
    assert main(["lint", "--bridge", "0.6.2", str(tmp_path / "none.yaml")]) in (1, 2)


def test_every_kind_is_on_the_page() -> None:
    page = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    for kind, level in lint.LEVELS.items():
        line = next(line for line in page.splitlines() if line.startswith("|") and f"`{kind}`" in line)
        assert f"| {level} |" in line, kind


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("_target_: nemo.tron.config.ConfigContainer\ntrain_config: {train_iters: 5}\n", "migrate run-config x.yaml"),
        ("model:\n  _target_: nemo.collections.llm.gpt.model.llama.LlamaModel\n", "migrate nemo2 x.yaml"),
    ],
)
def test_a_configuration_of_nemo_is_sent_to_its_command(text: str, command: str) -> None:
    (one,) = lint.lint_text(text, "x.yaml", "0.6.2")
    assert one.kind == "not-a-configuration" and f"bridge-args {command} -o FILE" in one.remedy
