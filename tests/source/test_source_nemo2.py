"""NeMo 2.0: recipes, a checkpoint's context, and what a hostile file gets."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from nemo2_recipes import (
    CALLBACKS,
    MODEL,
    as_fiddle,
    finetuning,
    recipe,
    settings,
    translated_from,
    with_callback,
    written,
)

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.source.nemo2 import defaults
from bridge_args.source.read import from_path
from bridge_args.source.source import SourceError
from bridge_args.steps import Asked, translated
from bridge_args.values import Built, Symbol, to_plain

RUN_PLUGINS = "nemo.lightning.run.plugins"


def refusal(text: str, folder: Path, name: str = "recipe.yaml") -> str:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        from_path(str(file))
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- meaning


def test_a_pretraining_recipe(tmp_path: Path) -> None:
    t = translated_from(recipe(), tmp_path)
    found = settings(t)
    wanted = {
        "train.train_iters": 100,
        "train.eval_interval": 50,
        "train.eval_iters": 4,
        "train.micro_batch_size": 1,
        "train.global_batch_size": 8,
        "logger.log_interval": 5,
        "model.num_layers": 2,
        "model.hidden_size": 2048,
        "model.seq_length": 64,
        "model.rope_scaling": True,
        "model.rope_scaling_factor": 32.0,
        "model.tensor_model_parallel_size": 2,
        "model.activation_func": Symbol("torch.nn.functional.silu"),
        "optimizer.lr": 3e-4,
        "optimizer.min_lr": 3e-5,
        "scheduler.lr_decay_style": "cosine",
        "scheduler.lr_warmup_iters": 10,
        "scheduler.lr_decay_iters": 80,
        "scheduler.start_weight_decay": 0.1,
        "scheduler.end_weight_decay": 0.1,
        "ddp.use_distributed_optimizer": True,
        "dataset.blend": [["/data/a", "/data/b"], [0.3, 0.7]],
        "dataset.split": "90,5,5",
        "dataset.random_seed": 7,
        "checkpoint.save": "/runs/small/checkpoints",
        "checkpoint.load": "/runs/small/checkpoints",
        "checkpoint.save_interval": 25,
        "tokenizer.tokenizer_type": "HuggingFaceTokenizer",
        "tokenizer.tokenizer_model": "meta-llama/Llama-3.2-1B",
    }
    assert {path: found.get(path) for path in wanted} == wanted
    precision = found["mixed_precision"]
    assert isinstance(precision, Built) and precision.kwargs["params_dtype"] == Symbol("torch.bfloat16")
    assert t.world_size == 8
    assert not t.errors and not t.number_losses
    (origin,) = [one.origin for one in t.assignments if one.path == "model.hidden_size"]
    assert str(origin) == "the default of NeMo's Llama32Config1B"


@pytest.mark.parametrize("bridge", schemas.versions())
def test_every_field_has_a_fate_in_every_version(tmp_path: Path, bridge: str) -> None:
    for made in (recipe(), finetuning(), finetuning("")):
        t = translated_from(made, tmp_path, bridge)
        assert [name for name in t.catalog.defaults if name not in t.outcomes] == []
        assert [finding.arguments for finding in t.findings if finding.kind == "no-row"] == []


def test_the_strategy_takes_the_place_of_the_models_sizes(tmp_path: Path) -> None:
    made = recipe()
    made["model"]["config"] |= {"tensor_model_parallel_size": 4, "context_parallel_size": 2}
    t = translated_from(made, tmp_path)
    assert settings(t)["model.tensor_model_parallel_size"] == 2
    assert "model.context_parallel_size" not in settings(t)  # 1, as Bridge has it
    told = [str(finding) for finding in t.findings if finding.kind == "ignored-by-megatron"]
    assert len(told) == 2 and "NeMo puts strategy.tensor_model_parallel_size = 2 in its place" in "".join(told)


def test_the_precision_plugin_takes_the_place_of_number_formats(tmp_path: Path) -> None:
    made = recipe()
    made["model"]["config"]["fp8"] = "e4m3"
    made["trainer"]["plugins"] |= {"fp8": "hybrid", "fp8_recipe": "tensorwise", "fp8_param_gather": True}
    t = translated_from(made, tmp_path)
    assert "model.fp8" not in settings(t)
    assert settings(t)["mixed_precision"].kwargs.items() >= {"fp8": "hybrid", "fp8_param_gather": True}.items()
    made["trainer"]["plugins"] = {**made["trainer"]["plugins"], "precision": "32", "fp8": None, "params_dtype": None}
    single = settings(translated_from(made, tmp_path))
    assert "mixed_precision" not in single and "model.bf16" not in single


def test_validation_has_one_number_of_batches(tmp_path: Path) -> None:
    made = recipe()
    made["trainer"] |= {"limit_val_batches": 4, "limit_test_batches": 9}
    t = translated_from(made, tmp_path)
    assert settings(t)["train.eval_iters"] == 9
    (lost,) = [one for one in t.losses if one.arguments == ("trainer.limit_val_batches",)]
    assert "the larger number, 9, is taken" in lost.message


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("val_check_interval", 0.5, "a part of an epoch"),
        ("limit_val_batches", 0.1, "a part of all batches"),
    ],
)
def test_parts_of_an_epoch_are_lost(tmp_path: Path, field: str, value: float, told: str) -> None:
    made = recipe()
    made["trainer"][field] = value
    t = translated_from(made, tmp_path)
    (lost,) = [one for one in t.number_losses if one.arguments == (f"trainer.{field}",)]
    assert told in lost.message and lost.place is not None


@pytest.mark.parametrize(("name", "told"), [("num_layers", "a number"), ("add_bias_linear", "true or false")])
def test_a_text_is_no_number(tmp_path: Path, name: str, told: str) -> None:
    made = recipe()
    made["model"]["config"][name] = "2x"
    (error,) = translated_from(made, tmp_path).errors
    assert f"model.{name} takes {told}, not '2x'" in error.message and error.place is not None


def test_user_buffers_of_layers_are_bridges(tmp_path: Path) -> None:
    module = "nemo.collections.llm.recipes.tp_overlap_configs.userbuffers"
    bulk = {"num_sm": 2, "cga_size": 2, "set_sm_margin": False}
    layer = {"_target_": f"{module}.BulkOverlapCfg", **bulk}
    buffers = {"_target_": f"{module}.TransformerLayerTPOverlapCfg", "qkv_dgrad": layer}
    overlap = f"{CALLBACKS}.megatron_comm_overlap.MegatronCommOverlapCallback"
    made = with_callback(recipe(), overlap, tp_comm_overlap=True, tp_comm_overlap_cfg=buffers)
    value = settings(translated_from(made, tmp_path))["comm_overlap.tp_comm_overlap_cfg"]
    home = "megatron.bridge.training.comm_overlap"
    theirs = {"qkv_dgrad": Built(f"{home}.BulkOverlapCfg", bulk)}
    assert value == Built(f"{home}.TransformerLayerTPOverlapCfg", theirs)


def test_what_has_no_equivalent_is_told_at_its_line(tmp_path: Path) -> None:
    made = recipe()
    made["log"]["ckpt"] |= {
        "monitor": "val_loss",
        "train_time_interval": {"_target_": "datetime.timedelta", "minutes": 5},
    }
    t = translated_from(made, tmp_path)
    lost = {one.arguments[0]: one for one in t.losses}
    assert set(lost) == {"ModelCheckpoint.save_top_k", "ModelCheckpoint.train_time_interval"}
    assert all(one.place and one.place.source.endswith("recipe.yaml") for one in lost.values())
    assert t.outcomes["ModelCheckpoint.monitor"].fate == "not_needed"


@pytest.mark.parametrize("adapters", ["LoRA", "DoRA", ""])
@pytest.mark.parametrize("bridge", ["0.3.1", "0.6.2"])
def test_fine_tuning(tmp_path: Path, adapters: str, bridge: str) -> None:
    found = settings(translated_from(finetuning(adapters), tmp_path, bridge))
    assert found["checkpoint.pretrained_checkpoint"] == "/models/llama"
    assert found["dataset.dataset_root"] == "/data/texts"
    assert found["dataset._target_"].endswith("GPTSFTDatasetConfig" if bridge == "0.6.2" else "FinetuningDatasetConfig")
    assert found.get("peft._target_", "").rpartition(".")[2] == adapters
    assert found.get("peft.dim") == (8 if adapters else None)


def test_adapters_need_a_model(tmp_path: Path) -> None:
    made = finetuning()
    del made["resume"]["restore_config"]
    (error,) = translated_from(made, tmp_path).errors
    assert "checkpoint.pretrained_checkpoint" in error.message


@pytest.mark.parametrize(
    ("target", "given", "wanted"),
    [
        (f"{CALLBACKS}.deepep.DeepEPCallback", {}, {"model.moe_token_dispatcher_type": "flex"}),
        (
            f"{CALLBACKS}.garbage_collection.GarbageCollectionCallback",
            {"gc_interval_train": 5, "gc_interval_val": 5},
            {"train.manual_gc": True, "train.manual_gc_interval": 5},
        ),
        (
            f"{CALLBACKS}.nsys.NsysCallback",
            {"start_step": 3, "end_step": 4, "ranks": [1], "gen_shape": True},
            {"profiling.use_nsys_profiler": True, "profiling.profile_step_start": 3, "profiling.record_shapes": True},
        ),
        (
            f"{CALLBACKS}.megatron_comm_overlap.MegatronCommOverlapCallback",
            {"tp_comm_overlap": True},
            {"comm_overlap.tp_comm_overlap": True},
        ),
        (f"{CALLBACKS}.preemption.PreemptionCallback", {}, {"train.exit_signal_handler": True}),
        (f"{RUN_PLUGINS}.FaultTolerancePlugin", {}, {"ft.enable_ft_package": True}),
    ],
)
def test_callbacks_are_settings(tmp_path: Path, target: str, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    found = settings(translated_from(with_callback(recipe(), target, **given), tmp_path))
    assert {path: found.get(path) for path in wanted} == wanted


def test_a_family_with_code_of_its_own_has_its_class(tmp_path: Path) -> None:
    made = recipe()
    made["model"] = {
        "_target_": "nemo.collections.llm.gpt.model.gemma2.Gemma2Model",
        "config": {"_target_": "nemo.collections.llm.gpt.model.gemma2.Gemma2Config27B"},
    }
    found = settings(translated_from(made, tmp_path, "0.6.2"))
    assert found["model._target_"].endswith(".Gemma2ModelProvider")
    assert found["model.query_pre_attn_scalar"] == 144
    t = translated_from(made, tmp_path, "0.4.2")  # whose classes were not read
    assert [one.kind for one in t.errors][:1] == ["bridge-rejects"]


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ("nemo.collections.llm.t5.model.t5.T5Config220M", "an encoder with a decoder"),
        ("nemo.collections.llm.bert.model.base.BertConfig", "an encoder"),
        ("nemo.collections.llm.gpt.model.hyena.Hyena1bConfig", "Hyena layers"),
        ("nemo.collections.llm.gpt.model.llama_embedding.Llama32EmbeddingConfig1B", "embeddings"),
        ("nemo.collections.llm.gpt.model.reranker.Llama32Reranker1BConfig", "ranks texts"),
        ("nemo.collections.vlm.llava.model.base.LlavaConfig", "no configuration of a model"),
    ],
)
def test_what_is_no_decoder_is_refused_with_the_reason(tmp_path: Path, config: str, what: str) -> None:
    made = recipe()
    made["model"]["config"] = {"_target_": config}
    assert what in refusal(yaml.safe_dump(made), tmp_path)


# ------------------------------------------------------------------------------------------------- context


def test_a_context_says_what_its_recipe_says(tmp_path: Path) -> None:
    made = recipe()
    plain = {path: to_plain(value) for path, value in settings(translated_from(made, tmp_path)).items()}
    context = tmp_path / "checkpoint" / "context"
    context.mkdir(parents=True)
    (context / "io.json").write_text(as_fiddle(made), encoding="utf-8")
    for path in (context.parent, context, context / "io.json"):
        t = translated(from_path(str(path)), Asked(bridge="0.3.1"))
        assert {one.path: to_plain(one.value) for one in t.assignments} == plain


def test_an_object_in_a_pickle_is_read_and_nothing_is_imported(tmp_path: Path) -> None:
    made = recipe()
    made["trainer"]["plugins"] = "PLUGIN"
    text = as_fiddle(made)
    name = "01234567-89ab-cdef-0123-456789abcdef"
    plugin = {
        "type": {"type": "pyref", "module": "nemo.lightning.pytorch.plugins.mixed_precision",
                 "name": "MegatronMixedPrecision"},
        "items": [["IdentityElement()", {"type": "leaf", "value": name, "paths": []}]],
        "metadata": None,
    }  # fmt: skip
    data = json.loads(text)
    data["objects"]["plugin"] = plugin
    whole = json.dumps(data).replace(
        json.dumps({"type": "leaf", "value": "PLUGIN", "paths": []}), json.dumps({"type": "ref", "key": "plugin"})
    )
    (tmp_path / "io.json").write_text(whole, encoding="utf-8")
    program = (
        "import pickle, sys, types\n"
        "module = types.ModuleType('nemo.lightning.pytorch.plugins.mixed_precision')\n"
        "sys.modules |= {'.'.join(module.__name__.split('.')[:n]): module for n in range(1, 6)}\n"
        "for name in ('MegatronMixedPrecision', 'DtypeConfig'):\n"
        "    setattr(module, name, type(name, (), {'__module__': module.__name__}))\n"
        "plugin, held = module.MegatronMixedPrecision(), module.DtypeConfig()\n"
        "held.__dict__ |= {'bf16': True, 'fp8': 'hybrid', 'fp8_param_gather': True, 'loss_scale': None}\n"
        "plugin.__dict__ |= {'dtype_config': held, 'precision': 'bf16-mixed'}\n"
        f"pickle.dump(plugin, open({str(tmp_path / name)!r}, 'wb'))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    t = translated(from_path(str(tmp_path / "io.json")), Asked(bridge="0.3.1"))
    assert settings(t)["mixed_precision"].kwargs.items() >= {"fp8": "hybrid", "fp8_param_gather": True}.items()
    assert "nemo" not in sys.modules and "fiddle" not in sys.modules


def test_defaults_that_a_context_writes_out_are_no_wishes(tmp_path: Path) -> None:
    model = defaults.find(f"{MODEL}.Llama32Config1B")
    assert model is not None
    given = {
        name: to_plain(value) for name, value in model.fields.items() if not isinstance(value, str) or "<" not in value
    }
    made = {"_target_": f"{MODEL}.LlamaModel", "config": {"_target_": model.name, **given, "num_layers": 3}}
    t = translated(from_path(written(made, tmp_path, "model.yaml")), Asked(bridge="0.6.2"))
    assert [word for word in t.words if word.startswith("num_layers")] == ["num_layers: 3"]
    assert len(t.words) == 1 and not t.losses


# ------------------------------------------------------------------------------------------------- hostile files


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "nemo.utils.os.system",
        "nemo.collections.llm.__import__",
        "megatron.core.sys.exit",
        "my_project.os.MyCallback",
        "numpy.load",
        "",
    ],
)
def test_a_target_that_no_configuration_has_is_refused(tmp_path: Path, target: str) -> None:
    told = refusal(yaml.safe_dump(with_callback(recipe(), target, x=1)), tmp_path)
    assert "nothing of the file is used" in told and "recipe.yaml:" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("_target_: nemo.collections.llm.api.pretrain\nmodel: !!python/object/apply:os.system [id]\n", "is not read"),
        ("_target_: nemo.collections.llm.api.pretrain\nmodel: " + "[" * 500 + "]" * 500, "levels"),
        ("_target_: nemo.collections.llm.api.pretrain\na: &a [1,1,1,1,1,1,1,1,1,1]\n"
         + "".join(f"{n}: &{n} [{','.join(['*' + p] * 10)}]\n" for p, n in zip("abcdefg", "bcdefgh", strict=True)),
         "more than"),
        ("_target_: nemo.collections.llm.api.pretrain\nmodel: {_factory_: llama3_8b}\n", "only NeMo can run"),
        ("_target_: nemo.collections.llm.api.pretrain\nmodel: {}\n", "describes no model"),
    ],
    ids=["tag", "deep", "aliases", "factory", "empty"],
)  # fmt: skip
def test_hostile_yaml(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(text, tmp_path)


def hostile(objects: dict[str, Any]) -> str:
    return json.dumps({"root": {"type": "ref", "key": "a"}, "objects": objects})


def _list(*keys: str) -> dict[str, Any]:
    items = [[f"Index(index={at})", {"type": "ref", "key": key}] for at, key in enumerate(keys)]
    return {"type": {"type": "pyref", "module": "builtins", "name": "list"}, "items": items, "metadata": None}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no root"),
        (hostile({"a": _list("a")}), "holds itself"),
        (hostile({"a": _list("b")}), "that it does not have"),
        (hostile({chr(97 + n): _list(*[chr(98 + n)] * 10) for n in range(8)} | {"i": _list()}), "more than"),
        (hostile({"a": {"type": {"type": "pyref", "module": "os", "name": "system"}, "items": []}}), "no class"),
        (hostile({"a": {"type": 3}}), "not as NeMo writes it"),
    ],
    ids=["cut", "deep", "no object", "circle", "lost", "many", "os.system", "odd"],
)
def test_hostile_json(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(text, tmp_path, "io.json")


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch evil",)


def test_a_hostile_pickle_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "01234567-89ab-cdef-0123-456789abcdef"
    (tmp_path / name).write_bytes(pickle.dumps(Evil()))
    kind = {
        "type": "pyref",
        "module": "nemo.lightning.pytorch.plugins.mixed_precision",
        "name": "MegatronMixedPrecision",
    }
    items = [["IdentityElement()", {"type": "leaf", "value": name}]]
    told = refusal(hostile({"a": {"type": kind, "items": items, "metadata": None}}), tmp_path, "io.json")
    assert "system" in told and not (tmp_path / "evil").exists()
    items[0][1]["value"] = "../../etc/passwd"  # no name of such a file: it is only a text
    assert "describes no object" in refusal(hostile({"a": {"type": kind, "items": items}}), tmp_path, "io.json")


# ------------------------------------------------------------------------------------------------- the command


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge_args", "migrate", "nemo2", *words], capture_output=True, text=True, cwd=cwd
    )


def test_the_command_writes_a_whole_run_config(tmp_path: Path) -> None:
    done = command(written(recipe(), tmp_path), "-o", "run_config.yaml", "--bridge", "0.3.1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load((tmp_path / "run_config.yaml").read_text(encoding="utf-8"))
    assert made["_target_"] == "megatron.bridge.training.config.ConfigContainer"
    assert made["model"]["num_layers"] == 2
    assert "save_top_k = 2 is lost" in done.stderr


def test_a_program_is_run_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "nemo_run" / "core" / "serialization").mkdir(parents=True)
    for package in ("nemo_run", "nemo_run/core", "nemo_run/core/serialization"):
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "nemo_run" / "core" / "serialization" / "yaml.py").write_text(
        "class YamlSerializer:\n    def serialize(self, made):\n        return made\n"
    )
    file = tmp_path / "mine.py"
    file.write_text(f"def run():\n    return {yaml.safe_dump(recipe())!r}\nopen('ran', 'w').close()\n")
    refused = command(str(file), cwd=tmp_path)
    assert refused.returncode == 1 and "none is run unasked" in refused.stderr and not (tmp_path / "ran").exists()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "bridge_args", "migrate", "nemo2", str(file), "--run", "run", "--bridge", "0.3.1"],
        capture_output=True, text=True, env=environment, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["train"]["train_iters"] == 100


def test_nothing_is_written_where_the_source_is_refused(tmp_path: Path) -> None:
    done = command(written(with_callback(recipe(), "os.system"), tmp_path), "-o", "out.yaml", cwd=tmp_path)
    assert done.returncode == 1 and not (tmp_path / "out.yaml").exists()
    (tmp_path / "train.sh").write_text("torchrun pretrain_gpt.py --num-layers 2\n")
    other = command("train.sh", cwd=tmp_path)
    assert other.returncode == 1 and "no configuration of NeMo 2.0" in other.stderr


def test_a_class_of_ones_own_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    made = with_callback(recipe(), "my_team.callbacks.Probe", every=3, deeper={"_target_": "my_team.Other"})
    made["model"]["config"]["init_method"] = {"_target_": "my_team.init", "_call_": False}
    made["log"]["tensorboard"] = {"_target_": "my_team.board.Logger", "save_dir": "/board"}
    t = translated_from(made, tmp_path)
    lost = {finding.arguments[0]: finding for finding in t.losses if "of your own" in finding.message}
    assert lost.keys() == {"callbacks", "model.init_method", "tensorboard"}
    assert all(finding.place and "my_team." in finding.message for finding in lost.values())
    assert settings(t).items() >= {"train.train_iters": 100, "model.num_layers": 2}.items()
    assert "my_team" not in str(bridge_args.to_run_config(t))
    file = written(made, tmp_path)
    assert command(file, "-o", "out.yaml", "--strict", "--bridge", "0.3.1", cwd=tmp_path).returncode == 1
    assert not (tmp_path / "out.yaml").exists()
    assert command(file, "-o", "out.yaml", "--bridge", "0.3.1", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("part", ["config", "model"])
def test_a_model_of_ones_own_is_refused_by_its_name(part: str, tmp_path: Path) -> None:
    made = recipe()
    holder = made["model"] if part == "config" else made
    holder[part]["_target_"] = "my_team.Mine"
    with pytest.raises(SourceError, match="my_team.Mine"):
        translated_from(made, tmp_path)


def test_weights_that_wait_for_a_checkpoint_are_not_groups_that_wait(tmp_path: Path) -> None:
    made = recipe()
    made["trainer"]["strategy"]["lazy_init"] = True
    for bridge in ("0.3.1", "0.6.2"):
        t = translated_from(made, tmp_path, bridge)
        told = [finding for finding in t.findings if finding.message.startswith("strategy.lazy_init = True has no")]
        assert [finding.kind for finding in told] == ["ignored-by-megatron"] and told[0].place
        assert not any("lazy" in path for path in settings(t))


def test_adapters_of_parts_of_a_layer_keep_their_own_table(tmp_path: Path) -> None:
    """Bridge makes ``canonical_mapping`` of the targets, and stops at an empty one that a file states."""
    made = finetuning()
    made["peft"] = {
        "_target_": "nemo.collections.llm.peft.canonical_lora.CanonicalLoRA", "target_modules": ["linear_q"],
    }  # fmt: skip
    written_as = bridge_args.to_run_config(translated_from(made, tmp_path, "0.6.2"))["peft"]
    assert written_as["target_modules"] == ["linear_q"] and "canonical_mapping" not in written_as


def test_a_run_without_data_has_all_that_the_dataset_needs(tmp_path: Path) -> None:
    made = recipe()
    del made["data"]
    t = translated_from(made, tmp_path, "0.6.2")
    assert "it says nothing of the data that the run has" in [finding.message for finding in t.findings]
    needed = [name for name, field in t.schema.classes[t.classes["dataset"]].items() if field.required]
    assert needed and set(needed) <= bridge_args.to_run_config(t)["dataset"].keys()
