"""Bridge's own merging is the judge: a recipe with the overrides of `--nearest-recipe` is the run, in every field."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
import yaml

pytest.importorskip("torch")

from containers import comparable, loaded

from bridge_args.bridge import installed
from bridge_args.diff import nearest
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated
from bridge_args.training import container

try:
    container._import("training.config")
except container.BridgeMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)
BRIDGE = installed.version() or ""
if not (nearest.FOLDER / f"{BRIDGE}.json.gz").is_file():
    pytest.skip(f"no recipes of Bridge {BRIDGE} are shipped", allow_module_level=True)

PRECISION = "megatron.bridge.training.mixed_precision.MixedPrecisionConfig"
BF16 = {"_target_": "torch.bfloat16", "_call_": False}
SCRIPT = """torchrun --nproc-per-node 8 pretrain_gpt.py --num-layers 32 --hidden-size 4096 --ffn-hidden-size 14336 \\
  --num-attention-heads 32 --group-query-attention --num-query-groups 8 --seq-length 8192 --swiglu --bf16 \\
  --max-position-embeddings 8192 --position-embedding-type rope --rotary-base 500000 --normalization RMSNorm \\
  --disable-bias-linear --untie-embeddings-and-output-weights --attention-dropout 0 --hidden-dropout 0 --lr 1e-4 \\
  --micro-batch-size 1 --global-batch-size 64 --train-iters 50 --mock-data --tokenizer-type NullTokenizer \\
  --vocab-size 128256 --lr-decay-style WSD --lr-wsd-decay-iters 5 --recompute-granularity selective --profile
"""


def numbers(config: dict[str, Any]) -> None:
    """Numbers, a member of an enum, a list, a text with quotes and a dollar sign."""
    config["optimizer"]["lr"] = 7e-4
    config["train"]["global_batch_size"] = 96
    config["model"]["attention_backend"] = {
        "_target_": "megatron.core.transformer.enums.AttnBackend", "_call_": True, "_args_": [1],
    }  # fmt: skip
    config["model"].update(recompute_granularity="selective", recompute_modules=["core_attn", "mlp"])
    config["checkpoint"]["save"] = "/a b/\\${x}'\""
    config["dataset"]["split"] = "99,1,0"


def sections(config: dict[str, Any]) -> None:
    """Sections that the recipe has not, has as one word, or has and the run has not; a function."""
    config["mixed_precision"] = {"_target_": PRECISION, "bf16": True, "params_dtype": BF16, "pipeline_dtype": BF16}
    overlap = {"_target_": "megatron.bridge.training.comm_overlap.CommOverlapConfig", "tp_comm_overlap": False}
    config["comm_overlap"] = None if config.get("comm_overlap") else overlap
    config["model"]["activation_func"] = {"_target_": "torch.nn.functional.gelu", "_call_": False}
    config["checkpoint"]["load"] = None


CHANGES: tuple[Callable[[dict[str, Any]], None], ...] = (numbers, sections)
FEW = {("llama3_8b", numbers), ("deepseek_v3", sections)}
RECIPES = (
    "llama3_8b",
    "deepseek_v3",
    "nemotronh_8b",
    "qwen3_30b_a3b",
    "gemma2_9b",
    "gpt_oss_20b",
    "qwen25_7b",
    "glm45_air",
)
RUNS = [(recipe, change) for recipe in RECIPES for change in CHANGES
        if os.environ.get("BRIDGE_ARGS_RECIPES") or (recipe, change) in FEW]  # fmt: skip


@lru_cache
def held() -> dict[str, str]:
    return nearest._held(BRIDGE)[0]


def fields(made: Any) -> dict[str, Any]:
    """Every field, as it is when the number formats have been copied to where they count."""
    if isinstance(made.mixed_precision, str):
        made.mixed_precision = container._import("training.mixed_precision").get_mixed_precision_config(
            made.mixed_precision
        )
    made.tokenizer.pad_vocab_size = False  # which Bridge makes of it when it is built
    made.mixed_precision.setup(made.model, made.optimizer, made.ddp)
    values = {path: by_name(value) for path, (_, value) in comparable(made).items()}
    if values["model.expert_tensor_parallel_size"] is None:  # Megatron Core then takes the other
        values["model.expert_tensor_parallel_size"] = values["model.tensor_model_parallel_size"]
    return values


def by_name(value: Any) -> Any:
    """Bridge's merging makes names of members of an enum that are in a list."""
    return [item.name if isinstance(item, enum.Enum) else item for item in value] if isinstance(value, list) else value


def is_the_run(text: str, name: str) -> nearest.Nearest:
    run = translated(from_text(text, name), Asked(bridge=BRIDGE, world_size=8))
    assert run.errors == ()
    found = nearest.nearest(run)
    config = yaml.safe_load(held()[found.name])
    del config["train"]["exit_signal"]  # its default; Bridge 0.4 writes a signal, and refuses to read one
    recipe = container.load(config)
    merging = container._import("training.utils.omegaconf_utils").process_config_with_overrides
    merged, wanted = fields(merging(recipe, cli_overrides=list(found.overrides))), fields(loaded(run))
    assert merged.keys() == wanted.keys()
    differing = {path for path, value in wanted.items() if merged[path] != value}
    assert differing == set(found.unsaid) & differing
    return found


@pytest.mark.parametrize(("recipe", "change"), RUNS, ids=[f"{recipe} {change.__name__}" for recipe, change in RUNS])
def test_a_changed_recipe(recipe: str, change: Callable[[dict[str, Any]], None]) -> None:
    name = next(name for name in held() if f".{recipe}" in name)
    config: dict[str, Any] = yaml.safe_load(held()[name])
    change(config)
    found = is_the_run(yaml.safe_dump(config), "run.yaml")
    assert found.name == name and set(found.unsaid) <= {"model.activation_func"}


def test_a_script() -> None:
    found = is_the_run(SCRIPT, "train.sh")
    assert found.title.startswith("Llama 3 8B") and found.unsaid == ()
