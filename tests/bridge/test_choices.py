"""What a setting takes where Bridge does not check it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import bridge_args
from bridge_args.bridge import choices, installed
from bridge_args.bridge import schema as schemas
from bridge_args.mapping import table as tables
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.source.read import from_path
from bridge_args.steps import Asked, translated
from bridge_args.training import container
from bridge_args.versions import PAIRS, Versions, holds

SMALL = (
    "pretrain_gpt.py --num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 64 "
    "--max-position-embeddings 64 --micro-batch-size 1 --train-iters 10 --lr 1e-3 --mock-data "
    "--tokenizer-type NullTokenizer --vocab-size 100 --save out --save-interval 5"
).split()
EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*/train.s*"))
FORMAT = "checkpoint.ckpt_format"  # of which Megatron-LM has more
BRIDGES = sorted({pair.versions.bridge for pair in PAIRS})
PROVEN = [pair.versions for pair in PAIRS if pair.versions.megatron in ("0.16.1", "0.19.0")]


@pytest.mark.parametrize("path", choices.CHOICES)
@pytest.mark.parametrize("bridge", BRIDGES)
def test_the_setting_and_its_default_are_there(path: str, bridge: str) -> None:
    if not holds(choices.CHOICES[path].when, Versions("0", bridge)):
        return
    field = schemas.load(bridge).find(path)
    assert field is not None
    assert choices.is_taken(path, field, field.default, bridge)
    assert not choices.is_taken(path, field, "nonsense", bridge)


@pytest.mark.parametrize("versions", PROVEN, ids=str)
@pytest.mark.parametrize("path", [path for path in choices.CHOICES if path != FORMAT])
def test_megatron_lm_offers_no_more(path: str, versions: Versions) -> None:
    name = path.partition(".")[2]
    offered = {one.dest: one.choices for one in catalogs.load(versions.megatron).arguments}
    if holds(choices.CHOICES[path].when, versions) and name in offered and path in tables.load(versions).rows[name].to:
        assert set(offered[name] or ()) <= set(choices.CHOICES[path].values)


@pytest.mark.parametrize("bridge", BRIDGES)
def test_what_we_write_is_taken(bridge: str) -> None:
    assert EXAMPLES
    for example in EXAMPLES:
        made = translated(from_path(str(example)), Asked(bridge=bridge))
        assert list(choices.wrong(bridge_args.to_run_config(made), made.schema)) == []


@pytest.mark.parametrize(
    ("bridge", "section", "name", "value", "said"),
    [
        ("0.3.1", "checkpoint", "ckpt_format", "zarr", "takes torch_dist, fsdp_dtensor, not 'zarr'"),
        ("0.6.2", "checkpoint", "ckpt_format", "torch", "takes torch_dist, fsdp_dtensor, not 'torch'"),
        ("0.6.2", "checkpoint", "ckpt_format", "fsdp_dtensor", None),
        ("0.3.1", "checkpoint", "dist_ckpt_strictness", "log_al", "not 'log_al'; did you mean log_all?"),
        ("0.3.1", "checkpoint", "dist_ckpt_strictness", "ignore_all", None),
        ("0.6.2", "checkpoint", "async_strategy", "nvrxx", "not 'nvrxx'; did you mean nvrx?"),
        ("0.6.2", "ddp", "outer_dp_sharding_strategy", "optimizer", "takes no_shard, optim, not 'optimizer'"),
        ("0.6.2", "checkpoint", "ckpt_format", "${oc.env:FORMAT}", None),
        ("0.6.2", "checkpoint", "no_such_setting", "torch", None),
        ("0.6.2", "no_such_section", "name", "torch", None),
    ],
)
def test_a_text_that_is_no_choice(bridge: str, section: str, name: str, value: str, said: str | None) -> None:
    found = list(choices.wrong({section: {name: value}}, schemas.load(bridge)))
    assert [path for path, _ in found] == ([f"{section}.{name}"] if said else [])
    assert all(said is not None and said in message for _, message in found)


def test_a_class_of_the_users_own_is_left_alone() -> None:
    assert not list(choices.wrong({"checkpoint": {"_target_": "own.Checkpoints", "ckpt_format": "x"}}, SCHEMA))


SCHEMA = schemas.load("0.3.1")


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="Bridge is not installed")
def test_bridge_itself_lets_them_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is refused here: by ``validate``, ``rehearse``, ``verify``, ``launch`` and the drop-in alike."""
    made = bridge_args.translate(SMALL, world_size=1, bridge=installed.version())
    for name, value in (("ckpt_format", "torch_dsit"), ("dist_ckpt_strictness", "log_al")):
        config: dict[str, Any] = bridge_args.to_run_config(made)
        config["checkpoint"][name] = value
        with pytest.raises(container.BridgeRejects, match=f"checkpoint.{name} takes .*did you mean"):
            container.load(config)
        with monkeypatch.context() as without:
            without.setattr(choices, "wrong", lambda *_: ())
            assert getattr(container.build(config, 1, {}).checkpoint, name) == value


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="Bridge is not installed")
def test_a_bridge_that_is_not_known(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is compared with the nearest that is, which is said once."""
    config = bridge_args.to_run_config(bridge_args.translate(SMALL, world_size=1, bridge=installed.version()))
    config["checkpoint"]["dist_ckpt_strictness"] = "log_al"
    newer = f"{installed.version()}00"
    monkeypatch.setattr(installed, "version", lambda *_: newer)
    for _ in range(2):
        with pytest.raises(container.BridgeRejects, match=r"did you mean log_all\?"):
            container.load(config)
    (said,) = (record.getMessage() for record in caplog.records if "not known here" in record.getMessage())
    assert newer in said
