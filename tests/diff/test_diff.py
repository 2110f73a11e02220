"""What differs between two runs: nothing between a run and its own translation, and exactly what was changed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import golden
import pytest
import yaml

import bridge_args
from bridge_args.cli.main import main
from bridge_args.diff.compare import Compared, compare
from bridge_args.emit.argv import to_argv
from bridge_args.emit.effective import effective
from bridge_args.mapping.translation import Translation
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated
from bridge_args.versions import holds

SAMPLE = list(golden.sample("BRIDGE_ARGS_INVERSE", 15))
LINE = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --global-batch-size 8 --train-iters 50 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 99 --eval-interval 5 --eval-iters 1 --bf16"
).split()
VALIDATION = "train" if holds("bridge <0.4", chosen_versions()) else "validation"
PLANTED: dict[str, Any] = {
    "model.num_layers": 6, "model.hidden_size": 128, "model.num_attention_heads": 8, "model.num_query_groups": 2,
    "model.ffn_hidden_size": 300, "model.kv_channels": 32, "model.seq_length": 64, "model.hidden_dropout": 0.25,
    "model.attention_dropout": 0.0, "model.normalization": "RMSNorm", "model.layernorm_epsilon": 1e-6,
    "model.add_bias_linear": False, "model.add_qkv_bias": False, "model.gated_linear_unit": True,
    "model.rotary_base": 500000, "model.rotary_percent": 0.5, "model.qk_layernorm": True, "model.init_method_std": 0.01,
    "model.share_embeddings_and_output_weights": False, "model.make_vocab_size_divisible_by": 64,
    "model.tensor_model_parallel_size": 2, "model.pipeline_model_parallel_size": 2, "model.context_parallel_size": 2,
    "model.sequence_parallel": True, "model.recompute_granularity": "full", "model.apply_rope_fusion": True,
    "model.activation_func": {"_target_": "torch.nn.functional.silu", "_call_": False},
    "train.train_iters": 51, "train.micro_batch_size": 2, "train.global_batch_size": 16, "train.exit_interval": 7,
    "train.manual_gc": True, "optimizer.lr": 2e-3, "optimizer.min_lr": 1e-5, "optimizer.weight_decay": 0.1,
    "optimizer.clip_grad": 0.5, "optimizer.adam_beta1": 0.95, "optimizer.adam_beta2": 0.95, "optimizer.adam_eps": 1e-6,
    "scheduler.lr_decay_style": "cosine", "scheduler.lr_decay_iters": 40, "scheduler.lr_warmup_iters": 3,
    "ddp.overlap_grad_reduce": True, "ddp.bucket_size": 40000000, "dataset.random_seed": 1, "dataset.num_workers": 4,
    "logger.log_interval": 1, "logger.tensorboard_dir": "/tb", "checkpoint.save": "/ckpt", "checkpoint.load": "/from",
    "rng.seed": 1, "tokenizer.vocab_size": 200, f"{VALIDATION}.eval_interval": 9, "mixed_precision.fp8": "hybrid",
}  # fmt: skip
NOT_THE_NUMBERS = {
    "speed": "model.sequence_parallel model.recompute_granularity model.apply_rope_fusion train.manual_gc "
    "ddp.overlap_grad_reduce ddp.bucket_size dataset.num_workers",
    "logs": "logger.log_interval logger.tensorboard_dir checkpoint.save",
    "nothing": "model.rotary_base model.rotary_percent",  # positions are learned
}


def of(text: str, **asked: Any) -> Translation:
    return translated(from_text(text, "run_config.yaml"), Asked(**asked))


def paths(found: Compared) -> list[str]:
    return [one.path for one in found.differences]


@pytest.fixture(scope="module")
def run() -> Translation:
    return bridge_args.translate(LINE, world_size=4)


@pytest.fixture(scope="module")
def config(run: Translation) -> dict[str, Any]:
    made = bridge_args.to_run_config(run)
    if isinstance(made["mixed_precision"], str):
        section = run.schema.sections["mixed_precision"].classes[0]
        made["mixed_precision"] = {"_target_": section, **run.schema.presets[made["mixed_precision"]]}
    return made


@pytest.mark.parametrize(("version", "row"), SAMPLE, ids=[f"{version} {row['id']}" for version, row in SAMPLE])
def test_nothing_differs_from_its_own_translation(version: str, row: dict[str, Any]) -> None:
    wanted = golden.translated(version, row)
    if wanted.errors:
        pytest.skip("no configuration is written of it")
    bridge = golden.PAIRS[version]
    for text in (bridge_args.to_yaml(wanted), bridge_args.to_yaml(wanted, full=True)):
        assert paths(compare(wanted, of(text, bridge=bridge))) == []
    assert paths(compare(wanted, golden.translated(version, row, to_argv(wanted)))) == []


@pytest.mark.parametrize("path", PLANTED)
def test_a_planted_change_is_named_and_nothing_else(path: str, run: Translation, config: dict[str, Any]) -> None:
    changed = copy.deepcopy(config)
    section, _, name = path.partition(".")
    assert changed[section].get(name) != PLANTED[path]
    changed[section][name] = PLANTED[path]
    found = compare(run, of(yaml.safe_dump(changed), bridge=run.versions.bridge))
    (one,) = found.differences
    assert (one.path, one.right.value) == (path, PLANTED[path])
    assert one.right.origin.startswith(f"{name}: ") and one.right.place is not None
    wanted = next((group for group, names in NOT_THE_NUMBERS.items() if path in names.split()), "numbers")
    assert one.group == wanted and found.numbers_differ is (wanted == "numbers")


def test_fifty_are_planted() -> None:
    assert len(PLANTED) >= 50


def test_where_each_side_has_it_from(run: Translation) -> None:
    other = bridge_args.translate([*LINE, "--weight-decay", "0.3", "--swiglu"], world_size=4)
    found = {one.path: one for one in compare(run, other).differences}
    assert (found["optimizer.weight_decay"].left.origin, found["optimizer.weight_decay"].right.origin) == (
        "Bridge's default", "--weight-decay 0.3"
    )  # fmt: skip
    assert found["model.ffn_hidden_size"].right.origin == "derived from hidden_size=64, swiglu=True"


def test_a_precision_said_in_two_ways_is_the_same(run: Translation, config: dict[str, Any]) -> None:
    direct = copy.deepcopy(config)
    for path, value in effective(run).items():
        name = path.removeprefix("mixed_precision.")
        for section in ("model", "optimizer", "ddp"):
            if name != path and name in direct[section] and name != "_target_":
                direct[section][name] = value
    direct["mixed_precision"] = None
    assert paths(compare(run, of(yaml.safe_dump(direct), bridge=run.versions.bridge))) == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, other = tmp_path / "a.sh", tmp_path / "run.yaml"
    line = " ".join(["torchrun --nproc-per-node 2 pretrain_gpt.py", *LINE])
    script.write_text(f"{line}\n", encoding="utf-8")
    assert main(["translate", str(script), "--format", "run-config", "-o", str(other)]) == 0
    assert main(["diff", str(script), str(other)]) == 0
    assert "the two runs are the same in all" in capsys.readouterr().err
    assert main(["diff", str(other), "--", *LINE, "--log-interval", "3"]) == 0
    out, err = capsys.readouterr()
    assert "Logs and files (1):\n  logger.log_interval\n    A  100  " in out and "none changes the numbers" in err
    assert main(["diff", f"{line} --lr 5", str(script), "--format", "json"]) == 1
    (one,) = json.loads(capsys.readouterr().out)["differences"]
    assert (one["path"], one["changes"], one["sides"][1]["place"]) == (
        "optimizer.lr", "numbers", {"file": str(script), "line": 1}
    )  # fmt: skip
    assert main(["diff", str(script)]) == 1
    assert main(["diff", str(script), str(other), str(other)]) == 1
    assert main(["diff", str(script), "pretrain_gpt.py --num-layers two words"]) == 1
    assert "Megatron-LM refuses" in capsys.readouterr().err


def test_the_page_shows_text_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here, there = tmp_path / "a.yaml", tmp_path / "<b>.yaml"
    for file, folder in ((here, "/a"), (there, "<script>alert(1)</script>")):
        file.write_text(f"train: {{train_iters: 5}}\ncheckpoint:\n  save: {folder}\n", encoding="utf-8")
    assert main(["diff", str(here), str(there), "--format", "html"]) == 0
    page = capsys.readouterr().out
    assert "<script" not in page and "&lt;script&gt;" in page and "&lt;b&gt;.yaml" in page
    assert page.index("checkpoint.save") > page.index("Logs and files (1)")


def test_no_secret_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "a.sh"
    script.write_text(f"export WANDB_API_KEY=0123456789abcdef0123\npretrain_gpt.py {' '.join(LINE)} --save-interval 5 "
                      "--save /x/$WANDB_API_KEY\n", encoding="utf-8")  # fmt: skip
    for format in ("text", "json", "html"):
        main(["diff", str(script), "--format", format, "--", *LINE])
        out, err = capsys.readouterr()
        assert "checkpoint.save" in out and "0123456789abcdef" not in out + err


def test_configurations_of_two_bridges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {}
    for bridge in ("0.3.1", "0.6.2"):
        files[bridge] = tmp_path / f"{bridge}.yaml"
        made = bridge_args.translate(LINE, world_size=4, bridge=bridge)
        files[bridge].write_text(bridge_args.to_yaml(made, full=True), encoding="utf-8")
    main(["diff", str(files["0.3.1"]), str(files["0.6.2"]), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert found["bridge"] == "0.6.2" and found["same"] > 700
    differing = {one["path"] for one in found["differences"]}
    assert len(differing) < 15 and not differing & {"model.num_layers", "optimizer.lr", "dataset.seq_length"}
    (line,) = [one["sides"][0]["place"] for one in found["differences"] if one["path"] == "profiling.profile_ranks"]
    assert "profile_ranks" in files["0.3.1"].read_text(encoding="utf-8").splitlines()[line["line"] - 1]
    assert main(["diff", str(files["0.3.1"]), "--bridge", "0.6.2", "--", *LINE, "--lr", "5"]) == 1
    out, _ = capsys.readouterr()
    assert "optimizer.lr\n    A  0.001  " in out and "0.3.1.yaml:" in out
