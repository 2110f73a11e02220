"""NeMo 2.0 against the two programs: Bridge loads and validates what is made, NeMo's own objects hold the same.

By default the recipe of examples/07_nemo2 and made-up ones. ``BRIDGE_ARGS_NEMO2=all`` takes every real recipe that lies
beside the repository in ``../shared/nemo2``, ``BRIDGE_ARGS_NEMO2=llama3,gemma`` those named. NeMo's own objects are
made where nemo-toolkit is installed, by this Python or by that of ``BRIDGE_ARGS_NEMO2_PYTHON``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from nemo2_oracle import plain
from nemo2_recipes import finetuning, recipe, settings, translated_from, written

from bridge_args.bridge import installed
from bridge_args.mapping.translation import Translation
from bridge_args.pairs.pairs import chosen_versions
from bridge_args.source.read import from_path
from bridge_args.source.source import SourceError
from bridge_args.steps import Asked, translated
from bridge_args.values import to_plain
from bridge_args.versions import holds

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "nemo2"
EXAMPLE = ROOT / "examples" / "07_nemo2" / "recipe.yaml"
ASKED = os.environ.get("BRIDGE_ARGS_NEMO2", "")
PYTHON = os.environ.get("BRIDGE_ARGS_NEMO2_PYTHON") or (sys.executable if importlib.util.find_spec("nemo") else "")
HERE = chosen_versions()

REAL = sorted((SHARED / "recipes").glob("*.yaml"))
CHOSEN = [
    file for file in REAL if ASKED == "all" or any(file.name.startswith(name) for name in ASKED.split(",") if name)
]
# No decoders of text; and families that a version of Bridge has no class for.
REFUSED = ("t5_", "hyena_", "llama_embedding", "llama_reranker")
WITHOUT_CLASS = {"bridge >=0.4": ("llama4_",)}

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or bool(installed.missing(HERE.bridge)), reason="needs Megatron Bridge"
)


def is_refused(file: Path) -> bool:
    return file.name.startswith(REFUSED)


def has_class(file: Path) -> bool:
    return not any(holds(versions, HERE) and file.name.startswith(names) for versions, names in WITHOUT_CLASS.items())


def validated(t: Translation, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real container; the checkpoint that the run starts from is there, as Bridge asks."""
    from bridge_args.training.container import to_container

    monkeypatch.chdir(folder)
    start = settings(t).get("checkpoint.pretrained_checkpoint")
    if start and not start.startswith("/"):
        Path(start).mkdir(parents=True, exist_ok=True)
    return to_container(t)


@pytest.mark.parametrize(
    "made", [recipe(), finetuning(), finetuning("DoRA"), finetuning("")], ids=["pretrain", "LoRA", "DoRA", "SFT"]
)
def test_bridge_validates_made_up_recipes(
    made: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "restore_config" in made["resume"]:
        made["resume"]["restore_config"]["path"] = "model"
    config = validated(translated_from(made, tmp_path, HERE.bridge), tmp_path, monkeypatch)
    assert (config.model.num_layers, config.model.hidden_size, config.train.train_iters) == (2, 2048, 100)
    assert config.model.bf16 and config.ddp.use_distributed_optimizer
    assert (config.peft is not None) == ("peft" in made)


@pytest.mark.parametrize("file", [EXAMPLE, *CHOSEN], ids=lambda file: file.stem)
def test_bridge_loads_and_validates_a_recipe(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_refused(file):
        with pytest.raises(SourceError, match="only decoders of text are translated"):
            from_path(str(file))
        return
    t = translated(from_path(str(file)), Asked(bridge=HERE.bridge))
    assert [name for name in t.catalog.defaults if name not in t.outcomes] == []
    assert [finding.arguments for finding in t.findings if finding.kind == "no-row"] == []
    if not has_class(file):
        assert [error.kind for error in t.errors][:1] == ["bridge-rejects"]
        return
    assert t.errors == ()
    validated(t, tmp_path, monkeypatch)


@pytest.mark.skipif(not REAL, reason="no real context is here")
def test_the_real_context_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``io.json`` says what a recipe with the same settings says; NeMo's precision plugin is in the pickle beside."""
    t = translated(from_path(str(SHARED / "context")), Asked(bridge=HERE.bridge))
    made = recipe("train")
    del made["data"], made["log"], made["resume"], made["tokenizer"]
    made["trainer"] |= {
        "devices": 1, "num_nodes": 1, "max_steps": 1000, "limit_val_batches": 50, "val_check_interval": 100,
        "log_every_n_steps": 10, "callbacks": [], "accelerator": "cpu",
    }  # fmt: skip
    del made["trainer"]["limit_test_batches"], made["trainer"]["plugins"]["params_dtype"]
    made["trainer"]["strategy"] |= {"tensor_model_parallel_size": 2, "sequence_parallel": True}
    made["model"]["config"] = {"_target_": made["model"]["config"]["_target_"]}
    del made["optim"]["config"]["weight_decay"]  # 0.01 is NeMo's own
    made["optim"]["config"] |= {"bf16": True}
    made["optim"]["lr_scheduler"] |= {"warmup_steps": 2000, "constant_steps": 0, "min_lr": 3e-5}
    same = translated_from(made, tmp_path, HERE.bridge)
    assert {path: to_plain(one) for path, one in settings(t).items()} == {
        path: to_plain(one) for path, one in settings(same).items()
    }
    only = translated(from_path(str(SHARED / "context" / "context" / "model.yaml")), Asked(bridge=HERE.bridge))
    sizes = {path: value for path, value in settings(only).items() if path.startswith("model.")}
    for path in ("model.num_layers", "model.hidden_size", "model.rope_scaling_factor", "model.activation_func"):
        assert sizes[path] == settings(t)[path]


# ------------------------------------------------------------------------------------------------ NeMo itself


@cache
def nemo_has(files: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """What NeMo's own objects hold, by file."""
    program = ROOT / "tests" / "helpers" / "nemo2_oracle.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([PYTHON, program, *files], capture_output=True, text=True, env=environment, timeout=1200)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(files), done.stderr[-2000:]
    return {one["file"]: one for one in told}


# What NeMo refuses on this machine or everywhere, by what it says.
NOT_MADE = (
    "When bias_activation_fusion is True",  # of gpt-oss: Megatron Core has quick_gelu twice, and NeMo names the other
    "Cannot use sequence parallelism without tensor parallelism",
)
SAME = {"openai_gelu": "fast_gelu", "ModuleSpec": "get_default_mamba_stack_spec", "<lambda>": "squared_relu"}
OTHERWISE = {
    ("model", "seq_length"),  # as long as the data's, in Bridge
    ("model", "gradient_accumulation_fusion"),  # what is installed on the machine decides
    ("optim", "min_lr"),  # the schedule's
    ("model", "transformer_layer_spec"),  # each has a function of its own, and both make Transformer Engine's layers
    ("model", "mamba_stack_spec"),
}
# What the callback sets while training starts, in NeMo; in Bridge, validation.
OVERLAP = {
    "bucket_size", "delay_wgrad_compute", "overlap_grad_reduce", "overlap_param_gather", "batch_p2p_comm",
    "tp_comm_overlap", "tp_comm_bootstrap_backend", "wgrad_deferral_limit", "align_param_gather", "overlap_p2p_comm",
    "defer_embedding_wgrad_compute", "overlap_param_gather_with_optimizer_step",
}  # fmt: skip


@pytest.mark.skipif(not PYTHON, reason="needs nemo-toolkit, here or at BRIDGE_ARGS_NEMO2_PYTHON")
@pytest.mark.skipif(HERE.bridge != "0.3.1", reason="NeMo 2.7 and Bridge 0.3.1 have one Megatron Core")
def test_model_optimizer_and_ddp_are_those_of_nemo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [Path(written(recipe(), tmp_path)), *(file for file in [EXAMPLE, *CHOSEN] if not is_refused(file))]
    told = nemo_has(tuple(map(str, files)))
    compared, different = 0, []
    for file in files:
        nemo = told[str(file)]
        if "error" in nemo:
            assert any(known in nemo["error"] for known in NOT_MADE), (file.name, nemo["error"])
            continue
        t = translated(from_path(str(file)), Asked(bridge=HERE.bridge))
        config = validated(t, tmp_path, monkeypatch)
        with_overlap = "comm_overlap" in t.classes
        for section, ours in (("model", config.model), ("optim", config.optimizer), ("ddp", config.ddp)):
            for name, theirs in nemo[section].items():
                if (section, name) in OTHERWISE or not hasattr(ours, name) or with_overlap and name in OVERLAP:
                    continue
                mine = plain(getattr(ours, name))
                if name == "heterogeneous_layers_config_encoded_json":
                    mine, theirs = json.loads(mine), json.loads(theirs)
                theirs = SAME.get(theirs, theirs) if isinstance(theirs, str) else theirs
                different += [] if mine == theirs else [f"{file.name} {section}.{name}: {theirs} in NeMo, {mine} here"]
                compared += 1
    assert not different, "\n".join(different)
    assert compared > 200 * len(files) / 2
