"""What ``bridge-args check`` sees of values: tables and builders that are wrong on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from bridge_args.bridge import schema as schemas
from bridge_args.bridge.schema import Field
from bridge_args.bridge.types import accepts
from bridge_args.mapping import check_values as check
from bridge_args.mapping import probes, table
from bridge_args.mapping.rows import Row
from bridge_args.mapping.sections.registry import BUILDERS, WRITES, Writes
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.values import Built, Member, Partial, Symbol
from bridge_args.versions import Versions

CATALOG = catalogs.load("0.16.1")
TABLE = table.load(Versions("0.16.1", "0.3.1"))
SCHEMA = schemas.load("0.3.1")
BACKEND = "megatron.core.transformer.enums.AttnBackend"


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        ("int", 1, True),
        ("int", 1.0, False),
        ("int", True, False),
        ("float", 1, True),
        ("float", "1", False),
        ("bool", 1, False),
        ("int | None", None, True),
        ("int", None, False),
        ("Literal['full', 'selective'] | None", "full", True),
        ("Literal['full', 'selective'] | None", "none", False),
        ("Literal[0, 1, 2]", True, False),
        ("list[int] | None", [1, 2], True),
        ("list[int] | None", [1, "2"], False),
        ("int | list[int]", [[1]], False),
        ("tuple[int, int] | None", [1, 0], True),
        ("tuple[int, int] | None", [1, 0, 0], False),
        ("list[tuple[list[str], list[float] | None] | None] | None", [(["/a"], None), None], True),
        ("dict[str, Any] | None", {"legacy": True}, True),
        ("torch.dtype", Symbol("torch.bfloat16"), True),
        ("torch.dtype", "bf16", False),
        ("Callable | None", Symbol("torch.nn.functional.silu"), True),
        ("Callable | None", "silu", False),
        (BACKEND, Member(BACKEND, "flash", 1), True),
        (BACKEND, "flash", False),
        ("megatron.core.transformer.spec_utils.ModuleSpec | Callable[[], int]", Partial("a.b"), True),
        ("str | pathlib.Path | None", "/a", True),
    ],
)
def test_types(kind: str, value: Any, taken: bool) -> None:
    assert accepts(Field("x", kind), value) is taken


def test_every_type_of_every_schema_is_read() -> None:
    for version in schemas.versions():
        for fields in schemas.load(version).classes.values():
            for field in fields.values():
                assert accepts(field, object()) in (True, False)


@pytest.mark.parametrize(
    ("argument", "changes", "problem"),
    [
        ("lr", {"to": ("train.train_iters",)}, "lr may be 0.5, and train.train_iters takes int | None"),
        ("swiglu", {"to": ("optimizer.lr",)}, "swiglu may be False or True, and optimizer.lr takes float | None"),
        ("no_save_optim", {"conversion": "none_when_empty"}, "no_save_optim may be None, and checkpoint.save_optim"),
        ("lr_wsd_decay_style", {"takes": ()}, "lr_wsd_decay_style may be 'minus_sqrt', and scheduler."),
        ("cp_comm_type", {"to": ("model.hidden_size",)}, "cp_comm_type may be"),
        ("position_embedding_type", {"takes": ("none",)}, "position_embedding_type may be 'relative', and model."),
        ("main_params_dtype", {"to": ("model.fp8",)}, "main_params_dtype may be torch.float16 or torch.float32"),
        ("exit_signal", {"to": ("train.exit_interval",)}, "exit_signal may be"),
    ],
)
def test_a_value_that_a_setting_does_not_take(argument: str, changes: dict[str, Any], problem: str) -> None:
    row = TABLE.rows[argument]
    assert list(check.check_types(row, CATALOG, SCHEMA)) == []
    (found,) = check.check_types(row._replace(**changes), CATALOG, SCHEMA)
    assert found.startswith(f"{row.place}: {problem}")


def test_a_choice_that_a_builder_speaks_of_is_no_surprise() -> None:
    row = TABLE.rows["tokenizer_type"]  # SFTTokenizer is lost, by the builder
    assert list(check.check_types(row, CATALOG, SCHEMA)) == []
    (found,) = check.check_types(row._replace(sections=()), CATALOG, SCHEMA)
    assert "may be 'NullMultimodalTokenizer' or 'SFTTokenizer'" in found


def test_a_type_that_another_version_has() -> None:
    """Free text goes to a choice; None to a model class that has a number there."""
    for version in ("0.4.2", "0.5.1"):
        rows = table.load(Versions("0.16.1", version)).rows
        schema = schemas.load(version)
        assert list(check.check_types(rows["tiktoken_pattern"], CATALOG, schema)) == []
        (found,) = check.check_types(rows["mtp_num_layers"]._replace(takes=()), CATALOG, schema)
        assert f"may be None, and model.mtp_num_layers takes int in Bridge {version}" in found


@pytest.mark.parametrize(
    ("argument", "problem"),
    [
        ("num_workers", "num_workers is 2 by default, and Bridge 0.3.1 has dataset.num_workers = 8, which nothing"),
        ("muon_momentum", "muon_momentum is 0.9 by default, and Bridge 0.3.1 has optimizer.muon_momentum = 0.95"),
    ],
)
def test_a_default_that_nothing_writes(argument: str, problem: str) -> None:
    row = Row(argument, "not_needed", reason="So it is.", area="x", line=3)
    found = list(check.check_default(row, CATALOG, schemas.load("0.3.1")))
    assert found[0].startswith(f"mappings/x.yaml:3: {problem}")


def test_a_default_that_only_counts_as_equal() -> None:
    fields = dict(SCHEMA.classes)
    (section,) = SCHEMA.sections["checkpoint"].classes
    fields[section] = {**fields[section], "finetune": fields[section]["finetune"]._replace(default=0)}
    row = Row("finetune", "to", to=("checkpoint.finetune",), area="x", line=3)
    assert list(check.check_default(row, CATALOG, SCHEMA)) == []
    (found,) = check.check_default(row, CATALOG, SCHEMA._replace(classes=fields))
    assert found.startswith("mappings/x.yaml:3: finetune is False by default, which counts as equal to Bridge's 0 of")


def test_a_setting_that_a_newer_bridge_has() -> None:
    row = TABLE.rows["save_retain_interval"]
    assert list(check.check_namesakes(row, schemas.load("0.4.2"))) == []
    row = row._replace(unlike=())
    assert list(check.check_namesakes(row, SCHEMA)) == []
    (found,) = check.check_namesakes(row, schemas.load("0.4.2"))
    assert found.startswith(f"{row.place}: save_retain_interval says no_equivalent, but Bridge 0.4.2 has checkpoint.")


@pytest.mark.parametrize(
    ("decided", "writes", "problem"),
    [
        ({"train.train_iters": "10"}, Writes(("train.train_iters",)), "train_iters = '10', which takes int | None in"),
        ({"train.train_iters": 10}, Writes(), "train.train_iters = 10, which it does not declare"),
        ({"train.steps": 10}, Writes((), ("train.steps",)), "train.steps = 10, which Bridge 0.3.1 does not have"),
        (
            {"mixed_precision": Built("megatron.bridge.training.mixed_precision.MixedPrecisionConfig", {"bf16": 1})},
            Writes(("mixed_precision",)),
            "in which bf16 = 1, which takes bool in Bridge 0.3.1",
        ),
        (
            {"mixed_precision": Built("megatron.bridge.training.mixed_precision.MixedPrecisionConfig", {"fp2": True})},
            Writes(("mixed_precision",)),
            "whose class has no fp2 in Bridge 0.3.1",
        ),
    ],
)
def test_a_builder_that_decides_what_is_not_so(
    monkeypatch: pytest.MonkeyPatch, decided: dict[str, Any], writes: Writes, problem: str
) -> None:
    def wrong(bf16: bool, fp16: bool) -> dict[str, Any]:
        return decided if bf16 and fp16 else {}  # only two values together show it

    monkeypatch.setitem(BUILDERS, "wrong", wrong)
    monkeypatch.setitem(WRITES, "wrong", writes)
    (found,) = check.check_decisions("wrong", CATALOG, SCHEMA)
    assert problem in found and f"test_check_values.py:{wrong.__code__.co_firstlineno}: wrong decides" in found


@pytest.mark.parametrize("version", catalogs.versions())
def test_the_runs_that_values_are_tried_in_are_accepted(version: str) -> None:
    for run in probes.runs(catalogs.load(version)):
        assert [str(finding) for finding in run.args.findings if finding.level == "error"] == []


def test_values_are_what_megatron_lm_makes_of_words() -> None:
    assert probes.values("swiglu", CATALOG) == (True, False)
    assert {"1F1B", "auto"}.isdisjoint(probes.values("lr_decay_style", CATALOG))
    assert Symbol("torch.bfloat16") in probes.values("exp_avg_dtype", CATALOG)
    assert [0, 1, 1, 1, 1, 1, 1, 1] in probes.values("moe_layer_freq", CATALOG)
    assert None not in probes.values("ffn_hidden_size", CATALOG)
