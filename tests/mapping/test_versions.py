"""Other pairs of versions than the proven one: rows that nobody wrote, and what only some versions have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from small import SMALL

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.bridge.deprecated import DEPRECATED, deprecated
from bridge_args.mapping import same_name, table
from bridge_args.mapping.same_name import SameName
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.versions import Versions

BRIDGES = [version for version in schemas.versions() if version != "0.2.2"]
PAIRS = [Versions(megatron, bridge) for megatron in catalogs.versions() for bridge in BRIDGES]


def translated(words: str, megatron: str, bridge: str, *, without: tuple[str, ...] = (), ranks: int = 1) -> Translation:
    kept = list(SMALL)
    for flag in set(without) & set(kept):
        index = kept.index(flag)
        del kept[index : index + 2]
    return bridge_args.translate([*kept, *words.split()], ranks, megatron, bridge)


def written(t: Translation) -> dict[str, object]:
    return {assignment.path: assignment.value for assignment in t.assignments}


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.megatron} to {pair.bridge}")
def test_the_default_command_writes_nothing_that_bridge_wants_to_be_rid_of(pair: Versions) -> None:
    t = translated("--bf16", *pair)
    assert t.errors == ()
    assert written(t).keys().isdisjoint(deprecated(pair.bridge))


def test_deprecated_settings_are_there() -> None:
    for path, (since, see) in DEPRECATED.items():
        having = [version for version in BRIDGES if path in deprecated(version)]
        assert having and any(schemas.load(version).class_with(path) for version in having), (path, since, see)


# Rows that nobody wrote -------------------------------------------------------------------------------------------


def generated(megatron: str, bridge: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for row in table.load(Versions(megatron, bridge)).rows.values():
        if row.area == "same_name":
            yield row.argument, row.to, row.fate


def test_a_field_of_megatron_lms_goes_to_the_setting_of_that_name() -> None:
    rows = {argument: (to, fate) for argument, to, fate in generated("0.17.1", "0.4.2")}
    assert rows["use_mup"] == (("model.use_mup",), "to")
    assert rows["flight_recorder_dump_path"] == (("dist.flight_recorder_dump_path",), "to")
    assert "moe_router_topk" not in rows  # it has a row of its own
    older = {argument: (to, fate) for argument, to, fate in generated("0.17.1", "0.3.1")}
    assert older["use_mup"] == ((), "no_equivalent")
    assert list(generated("0.16.1", "0.3.1")) == []


def test_such_a_row_says_where_it_comes_from() -> None:
    row = table.load(Versions("0.17.1", "0.3.1")).rows["flight_recorder_dump_path"]
    assert row.place.startswith("mappings/same_name.yaml:")
    assert row.changes == "logs"
    assert row.see == ("megatron.bridge.training.config.DistributedInitConfig flight_recorder_dump_path",)
    assert translated("", "0.17.1", "0.3.1").losses == ()
    lost = translated("--flight-recorder-dump-path /x", "0.17.1", "0.3.1").losses
    assert [finding.changes for finding in lost] == ["logs"]


def test_a_field_that_no_bridge_has_gets_no_row() -> None:
    pair = Versions("0.17.1", "0.4.2")
    same = SameName("TransformerConfig", "rng", "x.py", {}, "same_name", 3)
    assert list(same_name.rows([same], (), pair)) == []
    rows = list(same_name.rows([same._replace(section="model")], ("use_mup",), pair))
    assert "use_mup" not in {row.argument for row in rows} and len(rows) > 100
    assert list(same_name.rows([same._replace(section="model")], (), Versions("0.99", "0.4.2"))) == []


# What only some versions have -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("megatron", "bridge", "size"),
    [("0.16.1", "0.3.1", 101), ("0.17.1", "0.6.2", 101), ("0.18.2", "0.3.1", 100), ("0.19.0", "0.6.2", 100)],
)
def test_the_last_token_ends_documents_since_0_18(megatron: str, bridge: str, size: int) -> None:
    settings = written(translated("--vocab-size 100", megatron, bridge, without=("--vocab-size",)))
    assert settings["tokenizer.vocab_size"] == size
    assert settings["model.vocab_size"] == 128


RAMP = "--global-batch-size 16 --rampup-batch-size 4 4 24"


def test_a_ramp_stays_a_ramp_where_bridge_has_one() -> None:
    t = translated(f"{RAMP} --train-samples 96", "0.16.1", "0.4.2", without=("--train-iters", "--global-batch-size"))
    assert written(t)["train.rampup_batch_size"] == [4, 4, 24]


@pytest.mark.parametrize("bridge", ["0.5.1", "0.6.2"])
def test_a_ramp_becomes_steps_where_core_ignores_ramps(bridge: str) -> None:
    t = translated(f"{RAMP} --train-samples 96", "0.16.1", bridge, without=("--train-iters", "--global-batch-size"))
    settings = written(t)
    assert settings["train.step_batch_size_schedule"] == "0:4 8:8 16:12 24:16"
    assert "train.rampup_batch_size" not in settings
    (told,) = (
        finding for finding in t.findings if finding.kind == "needs-drop-in" and "ramp" in str(finding.arguments)
    )
    assert "goes from 4 to 16 samples" in told.message


def test_a_schedule_of_steps_is_in_samples() -> None:
    words = "--step-batch-size-schedule 0:4,0.5K:8 --train-samples 96"
    t = translated(words, "0.19.0", "0.6.2", without=("--train-iters", "--global-batch-size"))
    assert t.errors == ()
    length = t.args["seq_length"]
    assert written(t)["train.step_batch_size_schedule"] == f"0:4 {500 // length}:8"
    assert any(
        "step_batch_size_schedule" in loss.arguments
        for loss in translated(words, "0.19.0", "0.4.2", without=("--train-iters", "--global-batch-size")).losses
    )


def test_a_ramp_that_megatron_lm_ignores_is_told() -> None:
    t = translated(f"{RAMP}", "0.18.2", "0.5.1", without=("--global-batch-size",))
    assert "train.step_batch_size_schedule" not in written(t)
    assert any("ignores it since 0.18" in finding.message for finding in t.findings)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        ("--moe-token-dispatcher-type flex", {"model.moe_flex_dispatcher_num_sms": 20}),
        ("--moe-token-dispatcher-type flex --moe-deepep-num-sms 24", {"model.moe_flex_dispatcher_num_sms": 24}),
        (
            "--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend hybridep",
            {"model.moe_flex_dispatcher_num_sms": 16},
        ),
    ],
)
def test_one_number_of_multiprocessors(words: str, expected: dict[str, object]) -> None:
    """Bridge 0.6 refuses the two old ones together."""
    t = translated(f"--num-experts 4 {words}", "0.16.1", "0.6.2")
    assert {path: value for path, value in written(t).items() if "num_sms" in path} == expected


def test_a_value_that_came_later_is_lost() -> None:
    t = translated("--cuda-graph-impl full_iteration --no-check-for-nan-in-loss-and-grad", "0.19.0", "0.3.1")
    assert "model.cuda_graph_impl" not in written(t)
    assert any("it takes none, local and transformer_engine" in loss.message for loss in t.losses)


@pytest.mark.parametrize(
    ("words", "bridge", "expected"),
    [
        ("--optimizer muon --use-distributed-optimizer", "0.4.2", {"optimizer": "dist_muon"}),
        (
            "--optimizer muon --use-distributed-optimizer",
            "0.6.2",
            {"optimizer": "dist_muon", "use_layer_wise_distributed_optimizer": True},
        ),
        ("--optimizer dist_muon", "0.4.2", {"optimizer": "dist_muon"}),
        ("--optimizer muon", "0.6.2", {"optimizer": "muon"}),
    ],
)
def test_an_optimizer_that_is_divided_by_layers(words: str, bridge: str, expected: dict[str, object]) -> None:
    """Bridge asks its name, and has one switch of the distributed optimizer for both places."""
    t = translated(words, "0.18.2", bridge)
    settings = written(t)
    found = {path: value for path, value in settings.items() if path == "optimizer.optimizer" or "layer_wise" in path}
    assert found == {f"optimizer.{name}": value for name, value in expected.items()}
    assert not settings.get("optimizer.use_distributed_optimizer")
    lost = [finding for finding in t.losses if "use_layer_wise_param_layout" in finding.arguments]
    assert bool(lost) == (expected["optimizer"] == "dist_muon")
    assert translated(f"{words} --no-use-layer-wise-param-layout", "0.18.2", bridge).losses == ()


@pytest.mark.parametrize("bridge", BRIDGES)
def test_a_builder_of_later_versions_decides_nothing_in_earlier_ones(bridge: str) -> None:
    """Rows for arguments of Megatron-LM 0.18 name builders; a run of 0.16.1 has no such arguments."""
    settings = written(translated("--use-distributed-optimizer", "0.16.1", bridge))
    assert "optimizer.optimizer" not in settings
    assert None not in {settings[path] for path in settings if path.startswith(("optimizer.", "tokenizer."))}
