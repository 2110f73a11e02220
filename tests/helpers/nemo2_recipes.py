"""Made-up recipes of NeMo 2.0, as NeMo-Run writes them, and as the library fiddle keeps them in a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from bridge_args.mapping.translation import Translation
from bridge_args.source.read import from_path
from bridge_args.steps import Asked, translated

MODEL = "nemo.collections.llm.gpt.model.llama"
CALLBACKS = "nemo.lightning.pytorch.callbacks"
DTYPE = {"_target_": "torch.bfloat16", "_call_": False}


def recipe(kind: str = "pretrain") -> dict[str, Any]:
    """A small run of Llama 3.2 with data of its own."""
    made: dict[str, Any] = {
        "_partial_": True,
        "_target_": f"nemo.collections.llm.api.{kind}",
        "model": {
            "_target_": f"{MODEL}.LlamaModel",
            "config": {"_target_": f"{MODEL}.Llama32Config1B", "num_layers": 2, "seq_length": 64},
        },
        "data": {
            "_target_": "nemo.collections.llm.gpt.data.pre_training.PreTrainingDataModule",
            "paths": ["0.3", "/data/a", "0.7", "/data/b"],
            "seq_length": 64,
            "micro_batch_size": 1,
            "global_batch_size": 8,
            "split": "90,5,5",
            "seed": 7,
        },
        "trainer": {
            "_target_": "nemo.lightning.pytorch.trainer.Trainer",
            "devices": 4,
            "num_nodes": 2,
            "max_steps": 100,
            "val_check_interval": 50,
            "limit_val_batches": 4,
            "limit_test_batches": 4,
            "log_every_n_steps": 5,
            "strategy": {
                "_target_": "nemo.lightning.pytorch.strategies.megatron_strategy.MegatronStrategy",
                "tensor_model_parallel_size": 2,
            },
            "plugins": {
                "_target_": "nemo.lightning.pytorch.plugins.mixed_precision.MegatronMixedPrecision",
                "precision": "bf16-mixed",
                "params_dtype": DTYPE,
            },
            "callbacks": [{"_target_": "nemo.utils.exp_manager.TimingCallback"}],
        },
        "optim": {
            "_target_": "nemo.lightning.pytorch.optim.megatron.MegatronOptimizerModule",
            "config": {
                "_target_": "megatron.core.optimizer.optimizer_config.OptimizerConfig",
                "lr": 3e-4,
                "weight_decay": 0.1,
                "use_distributed_optimizer": True,
            },
            "lr_scheduler": {
                "_target_": "nemo.lightning.pytorch.optim.lr_scheduler.CosineAnnealingScheduler",
                "warmup_steps": 10,
                "constant_steps": 20,
                "min_lr": 3e-5,
            },
        },
        "log": {
            "_target_": "nemo.lightning.nemo_logger.NeMoLogger",
            "log_dir": "/runs",
            "name": "small",
            "ckpt": {
                "_target_": f"{CALLBACKS}.model_checkpoint.ModelCheckpoint",
                "every_n_train_steps": 25,
                "save_top_k": 2,
            },
        },
        "resume": {
            "_target_": "nemo.lightning.resume.AutoResume",
            "resume_if_exists": True,
            "resume_ignore_no_checkpoint": True,
        },
        "tokenizer": {
            "_target_": "nemo.collections.common.tokenizers.huggingface.auto_tokenizer.AutoTokenizer",
            "pretrained_model_name": "meta-llama/Llama-3.2-1B",
        },
    }
    return made


def finetuning(adapters: str = "LoRA") -> dict[str, Any]:
    """The same, trained on texts of its own; ``adapters`` may be empty."""
    made = recipe("finetune")
    made["data"] = {
        "_target_": "nemo.collections.llm.gpt.data.fine_tuning.FineTuningDataModule",
        "dataset_root": "/data/texts",
        "seq_length": 64,
        "micro_batch_size": 1,
        "global_batch_size": 8,
    }
    made["resume"]["restore_config"] = {
        "_target_": "nemo.lightning.pytorch.strategies.utils.RestoreConfig",
        "path": "/models/llama",
    }
    if adapters:
        module = {"LoRA": "lora", "DoRA": "dora"}[adapters]
        made["peft"] = {"_target_": f"nemo.collections.llm.peft.{module}.{adapters}", "dim": 8, "alpha": 16}
    return made


def with_callback(made: dict[str, Any], target: str, **given: Any) -> dict[str, Any]:
    made["trainer"]["callbacks"].append({"_target_": target, **given})
    return made


def written(made: dict[str, Any], folder: Path, name: str = "recipe.yaml") -> str:
    file = folder / name
    file.write_text(yaml.safe_dump(made), encoding="utf-8")
    return str(file)


def translated_from(made: dict[str, Any], folder: Path, bridge: str = "0.3.1") -> Translation:
    return translated(from_path(written(made, folder)), Asked(bridge=bridge))


def settings(t: Translation) -> dict[str, Any]:
    return {one.path: one.value for one in t.assignments}


# ----------------------------------------------------------------------------------------------- io.json


def as_fiddle(made: Any) -> str:
    """The same objects as ``io.json`` has them: each by a key, with references to one another."""
    objects: dict[str, Any] = {}
    root = _entry(made, objects)
    return json.dumps({"root": root, "objects": objects, "refcounts": {}, "version": "0.0.1"})


def _entry(node: Any, objects: dict[str, Any]) -> dict[str, Any]:
    if isinstance(node, dict) and node.get("_call_") is False:
        return _named(node["_target_"])
    key = f"object_{len(objects)}"
    if isinstance(node, dict) and "_target_" in node:
        objects[key] = {}
        items = [
            [f"Attr(name='{name}')", _entry(value, objects)]
            for name, value in node.items()
            if name not in ("_target_", "_partial_")
        ]
        metadata = {
            "type": _named("fiddle._src.config.BuildableTraverserMetadata"),
            "items": [["Attr(name='fn_or_cls')", _named(node["_target_"])]],
        }
        objects[key] = {"type": _named("fiddle._src.config.Config"), "items": items, "metadata": metadata}
        return {"type": "ref", "key": key}
    if isinstance(node, (list, dict)):
        objects[key] = {}
        pairs = [(f"Index(index={at})", one) for at, one in enumerate(node)] if isinstance(node, list) else [
            (f"Key(key='{name}')", one) for name, one in node.items()
        ]  # fmt: skip
        kind = "list" if isinstance(node, list) else "dict"
        items = [[name, _entry(one, objects)] for name, one in pairs]
        objects[key] = {"type": _named(f"builtins.{kind}"), "items": items, "metadata": None}
        return {"type": "ref", "key": key}
    return {"type": "leaf", "value": node, "paths": []}


def _named(path: str) -> dict[str, Any]:
    module, _, name = path.rpartition(".")
    return {"type": "pyref", "module": module, "name": name}
