"""NVIDIA's guide from NeMo 2.0 to Megatron Bridge, row by row; and the table of rows itself.

The facts of its seven tables are in tests/recorded/nemo2_guide.tsv: NeMo's name, and Bridge's setting.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from nemo2_recipes import CALLBACKS, finetuning, recipe, translated_from, with_callback

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.families import schema_with
from bridge_args.mapping.check import _check_path, _is_sentence
from bridge_args.mapping.folder import mappings_folder
from bridge_args.source.nemo2 import defaults
from bridge_args.source.nemo2.meaning.rows import table_for
from bridge_args.values import to_plain
from bridge_args.versions import Versions, holds

HERE = Path(__file__).resolve().parent
GUIDE = [
    tuple(line.split("\t"))[1:]
    for line in (HERE.parent / "recorded" / "nemo2_guide.tsv").read_text(encoding="utf-8").splitlines()[1:]
]
CORRECTIONS: dict[str, dict[str, Any]] = yaml.safe_load(
    (mappings_folder() / "notes" / "nemo2_corrections.yaml").read_text(encoding="utf-8")
)

# What a setting is given, where it cannot be made up from its type, and what stands beside it.
VALUES: dict[str, Any] = {
    "trainer.limit_val_batches": 7,
    "trainer.limit_test_batches": 7,
    "strategy.pipeline_model_parallel_layout": "Et|tL",
    "strategy.pipeline_model_parallel_comm_backend": "ucc",
    "strategy.pipeline_dtype": {"_target_": "torch.bfloat16", "_call_": False},
    "strategy.nccl_communicator_config_path": "/nccl.yaml",
    "strategy.save_ckpt_format": "fsdp_dtensor",
    "strategy.ckpt_load_strictness": "raise_all",
    "strategy.ckpt_parallel_load": False,
    "ModelCheckpoint.dirpath": "/elsewhere",
    "AutoResume.resume_from_directory": "/before",
    "AutoResume.resume_if_exists": True,
    "AutoResume.resume_ignore_no_checkpoint": False,
    "trainer.ckpt_path": "/before",
    "MegatronCommOverlapCallback.overlap_grad_reduce": True,
    "MegatronTokenDropCallback.moe_expert_capacity_factor": 1.5,
    "strategy.encoder_tensor_model_parallel_size": 2,
    "strategy.encoder_pipeline_model_parallel_size": 2,
}
BESIDE = {
    "GarbageCollectionCallback": {"gc_interval_train": 5, "gc_interval_val": 5},
    "NsysPlugin": {"start_step": 1, "end_step": 2},
    "MegatronCommOverlapCallback": {"tp_comm_overlap": False},
}
MODULES = {
    "DdpParityChecker": "ddp_parity_checker",
    "DeepEPCallback": "deepep",
    "MegatronTokenDropCallback": "moe_token_drop",
    "GarbageCollectionCallback": "garbage_collection",
    "MegatronCommOverlapCallback": "megatron_comm_overlap",
    "MegatronEnableExperimentalCallback": "megatron_enable_experimental_callback",
    "MemoryProfileCallback": "memory_profiler",
    "PreemptionCallback": "preemption",
}
PLACES = {
    "trainer": lambda made: made["trainer"],
    "strategy": lambda made: made["trainer"]["strategy"],
    "ModelCheckpoint": lambda made: made["log"]["ckpt"],
    "AutoResume": lambda made: made["resume"],
}


def value_for(role: str, name: str) -> Any:
    """Another value than NeMo's default."""
    if f"{role}.{name}" in VALUES:
        return VALUES[f"{role}.{name}"]
    targets = {
        "trainer": "nemo.lightning.pytorch.trainer.Trainer",
        "strategy": "nemo.lightning.pytorch.strategies.megatron_strategy.MegatronStrategy",
        "ModelCheckpoint": f"{CALLBACKS}.model_checkpoint.ModelCheckpoint",
    }
    known = defaults.find(targets.get(role, ""))
    default = known.fields.get(name) if known else None
    return not default if isinstance(default, bool) else 3


def with_setting(name: str) -> dict[str, Any]:
    made = recipe()
    role, _, field = name.partition(".")
    if role in PLACES:
        PLACES[role](made)[field] = value_for(role, field)
        return made
    module = f"{CALLBACKS}.{MODULES[role]}" if role in MODULES else "nemo.lightning.run.plugins"
    given = {field: value_for(role, field)} if field else {}
    return with_callback(made, f"{module}.{role}", **BESIDE.get(role, {}), **given)


@pytest.mark.parametrize(("name", "path"), GUIDE, ids=[f"{name} {path}" for name, path in GUIDE])
def test_the_setting_the_guide_names_is_reached(name: str, path: str, tmp_path: Path) -> None:
    if name == "most_recent_k":  # Bridge's own; NeMo has nothing like it
        return
    role, _, field = name.partition(".")
    setting = name if field else f"{name}._target_"
    t = translated_from(with_setting(name), tmp_path)
    outcome = t.outcomes[setting]
    if correction := CORRECTIONS.get(name):
        assert correction["guide"] == path
        path = correction["path"]
    if path in ("none", "always"):
        assert outcome.fate in ("no_equivalent", "not_needed", "feeds") and outcome.paths == ()
        return
    reached = {one.path: one for one in t.assignments}
    if path not in reached:  # Bridge does it without being told, or another setting has the same name in NeMo
        known = t.schema.find(path, t.classes)
        assert known is not None
        value = value_for(role, field) if field else True
        inverse = path.endswith((".exit_on_missing_checkpoint", ".save_optim")) and role != "strategy"
        assert known.default == (not value if inverse else value)
        return
    origin = reached[path].origin
    assert setting in {*origin.arguments, *origin.inputs} or set(outcome.row.feeds) & set(origin.arguments)


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_correction_is_needed_and_says_why(name: str) -> None:
    correction = CORRECTIONS[name]
    assert (name, correction["guide"]) in GUIDE and correction["path"] != correction["guide"]
    assert _is_sentence(correction["because"]) and correction["see"]


def test_the_seed_has_these_rows() -> None:
    guide = HERE.parents[2] / "shared" / "seeds"
    found = sorted(guide.glob("001_*.txt"))
    if not found:
        pytest.skip("the guide is not here")
    text = found[0].read_text(encoding="utf-8")
    ours = {step.lower() for name, _ in GUIDE for step in name.split(".")}
    tables = text[text.index("### Training Configuration Migration") :]
    names = re.findall(r"\| `(?:[\w.]*\.)?(\w+)` (?:callback )?\|", tables)
    names += re.findall(r"\| `\w+\((\w+)=\.\.\.\)` \|", tables)
    assert len(names) >= 55 and {name.lower() for name in names} - ours == set()


# ------------------------------------------------------------------------------------------------ the table


@pytest.mark.parametrize("bridge", schemas.versions())
def test_rows_go_to_settings_that_there_are(bridge: str) -> None:
    table, schema = table_for(bridge), schema_with(bridge)
    problems = [
        problem for row in table.rows.values() for path in row.to for problem in _check_path(row, path, table, schema)
    ]
    assert problems == []


def test_rows_say_why_and_where() -> None:
    for row in table_for("0.6.2").rows.values():
        if row.fate in ("launcher", "not_needed", "no_equivalent", "not_yet"):
            assert _is_sentence(row.reason), row.place
        if row.fate == "no_equivalent":
            assert row.see, row.place
        if row.fate == "to" and "." in row.argument and not any(map(row.is_called_like, row.to)):
            names = {path.rpartition(".")[2] for path in row.to}
            assert row.see or row.argument.rpartition(".")[2] in names, row.place


@pytest.mark.parametrize(
    "target",
    [
        "nemo.lightning.pytorch.trainer.Trainer",
        "nemo.lightning.pytorch.strategies.megatron_strategy.MegatronStrategy",
        "nemo.lightning.pytorch.plugins.mixed_precision.MegatronMixedPrecision",
        f"{CALLBACKS}.model_checkpoint.ModelCheckpoint",
        "nemo.lightning.resume.AutoResume",
        "nemo.lightning.nemo_logger.NeMoLogger",
        "nemo.collections.llm.gpt.data.pre_training.PreTrainingDataModule",
        "nemo.collections.llm.gpt.data.fine_tuning.FineTuningDataModule",
        "nemo.collections.llm.gpt.data.mock.MockDataModule",
        "nemo.collections.llm.peft.lora.LoRA",
        "nemo.collections.llm.peft.dora.DoRA",
        *(f"{CALLBACKS}.{module}.{name}" for name, module in MODULES.items()),
    ],
)
def test_every_field_of_a_class_has_a_row(target: str) -> None:
    from bridge_args.source.nemo2.flatten import _PARTS, _ROLES

    known = defaults.find(target)
    assert known is not None
    role = next((role for parent, role in _ROLES.items() if known.is_a(parent)), target.rpartition(".")[2])
    rows = table_for("0.6.2").rows
    missing = [name for name in known.fields if f"{role}.{name}" not in rows and name not in _PARTS]
    assert missing == []


def test_a_choice_of_versions_is_a_fact_of_the_table(tmp_path: Path) -> None:
    for bridge in schemas.versions():
        found = {one.path: to_plain(one.value) for one in translated_from(finetuning(), tmp_path, bridge).assignments}
        section = "train" if holds("bridge <0.4", Versions("0", bridge)) else "validation"
        assert found[f"{section}.eval_iters"] == 4
