"""What settings of checkpoints mean before a job runs: Bridge is the judge, row by row, of what we refuse and what not.

A row changes a configuration that Bridge accepts. Its own validation is asked without any check of ours; then ``lint``
is, and ``container.build``, which ``validate``, ``rehearse`` and ``launch`` go through. They agree, or ours is stricter
for a reason that the row gives and a training of Bridge's shows (``LATE``).
"""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import bridge_args
from bridge_args import lint
from bridge_args.bridge import checkpoint_rules, choices, installed
from bridge_args.bridge import schema as schemas
from bridge_args.checkpoint import layout
from bridge_args.checkpoint.layout import MEGATRON_TRACKER, TRACKER
from bridge_args.drop_in import main as drop_in
from bridge_args.pretrain_gpt import main
from bridge_args.versions import Versions, holds
from tests.against.stage import Stage

pytest.importorskip("torch")
if importlib.util.find_spec("megatron") is None:
    pytest.skip("megatron.bridge is absent", allow_module_level=True)

from bridge_args.training import container

SMALL = (
    "--num-layers 2 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 1 --global-batch-size 1 --train-iters 4 --lr 1e-3 --mock-data --tokenizer-type NullTokenizer "
    "--vocab-size 100 --eval-iters 0"
).split()
ENV = {"CUDA_DEVICE_MAX_CONNECTIONS": "8"}
BRIDGE = installed.version() or ""
LORA = {"_target_": "megatron.bridge.peft.lora.LoRA", "dim": 4}
STRICTNESS = (
    *("assume_ok_unexpected", "log_unexpected", "log_all", "raise_unexpected", "raise_all"),
    *("return_unexpected", "return_all", "ignore_all"),
)
RETURN = ("return_unexpected", "return_all")
RETURNED = "a run stops when it loads a checkpoint"
FSDP = "ddp.use_megatron_fsdp=true"
FSDP2 = "dist.use_torch_fsdp2=true"
DISTRIBUTED = "optimizer.use_distributed_optimizer=true ddp.use_distributed_optimizer=true"
SAVE = "checkpoint.save=out"
UNKNOWN_FORMAT = (
    "a run cannot go on from its own checkpoint: before 0.6 the first save stops, since then the first load"
)
UNKNOWN_TEXT = "Bridge looks at it when it loads"
IN_BETWEEN = "Bridge looks at it when it saves in between"


class Row(NamedTuple):
    """A change of settings.

    Attributes:
        settings: ``path=value``, with spaces between; values as YAML has them, ``FOLDER`` for one that exists.
        stricter: why ours refuses what Bridge's validation accepts; empty where they are to agree.
        when: for which versions the row is.
    """

    settings: str
    stricter: str = ""
    when: str = "bridge >=0.2"


def matrix() -> Iterator[Row]:
    """Formats by who shards; and each in the background."""
    for kind in ("torch_dist", "zarr", "fsdp_dtensor", "nonsense"):
        why = UNKNOWN_FORMAT if kind in ("zarr", "nonsense") else ""
        form = f"{SAVE} checkpoint.ckpt_format={kind}"
        for shards in ("", DISTRIBUTED, FSDP, f"{FSDP2} {DISTRIBUTED}"):
            yield Row(f"{form} {shards}".strip(), why)
        yield Row(f"{form} checkpoint.async_save=true", why)
    yield Row(f"{SAVE} checkpoint.ckpt_format=fsdp_dtensor checkpoint.async_save=true {FSDP}")
    yield Row(f"{FSDP} {FSDP2} {SAVE} checkpoint.ckpt_format=fsdp_dtensor")
    yield Row(f"checkpoint.ckpt_format=fsdp_dtensor {FSDP} dist.use_gloo_process_groups=false {DISTRIBUTED} {SAVE}")
    yield Row("checkpoint.ckpt_format=fsdp_dtensor")  # neither saved nor loaded


ROWS = [
    *matrix(),
    *(Row(f"checkpoint.dist_ckpt_strictness={value}") for value in STRICTNESS),
    Row("checkpoint.dist_ckpt_strictness=log_al", UNKNOWN_TEXT),
    *(
        Row(f"checkpoint.load=none checkpoint.dist_ckpt_strictness={value}", RETURNED if value in RETURN else "")
        for value in STRICTNESS
    ),
    Row("checkpoint.ckpt_step=5"),
    Row("checkpoint.ckpt_step=0"),
    Row("checkpoint.ckpt_step=5 checkpoint.load=none"),
    Row("checkpoint.ckpt_step=5 checkpoint.pretrained_checkpoint=FOLDER"),
    Row("peft=lora"),
    Row("peft=lora checkpoint.pretrained_checkpoint=FOLDER"),
    Row("peft=lora checkpoint.pretrained_checkpoint=FOLDER checkpoint.load=none checkpoint.ckpt_step=5"),
    Row("peft=lora checkpoint.pretrained_checkpoint=FOLDER checkpoint.ckpt_step=5"),
    Row("checkpoint.async_save=true"),
    Row(f"checkpoint.async_save=true {SAVE}"),
    Row(f"checkpoint.async_save=true {SAVE} checkpoint.use_persistent_ckpt_worker=false"),
    Row("checkpoint.load_main_params_from_ckpt=true"),
    Row("checkpoint.load_main_params_from_ckpt=true checkpoint.load_optim=false"),
    Row("checkpoint.dist_ckpt_optim_fully_reshardable=true"),
    Row("checkpoint.distrib_optim_fully_reshardable_mem_efficient=true"),
    Row(
        "checkpoint.dist_ckpt_optim_fully_reshardable=true "
        "checkpoint.distrib_optim_fully_reshardable_mem_efficient=true"
    ),
    Row(f"{SAVE} checkpoint.non_persistent_save_interval=2", IN_BETWEEN),
    Row(f"{SAVE} checkpoint.non_persistent_save_interval=2 checkpoint.non_persistent_ckpt_type=global"),
    Row(f"{SAVE} checkpoint.non_persistent_ckpt_type=in_memory", IN_BETWEEN),
    Row(f"{SAVE} checkpoint.non_persistent_ckpt_type=local", "Bridge makes a path of it when it starts"),
    Row(f"{SAVE} checkpoint.non_persistent_ckpt_type=local checkpoint.non_persistent_local_ckpt_dir=here"),
    Row(
        f"{SAVE} checkpoint.non_persistent_ckpt_type=local checkpoint.non_persistent_local_ckpt_dir=here "
        "checkpoint.replication=true",
        "the resiliency extension counts with it when Bridge starts",
    ),
    Row(
        f"{SAVE} checkpoint.also_save_hf_checkpoint=true checkpoint.hf_source_path=x "
        f"checkpoint.ckpt_format=fsdp_dtensor {FSDP}",
        when="bridge >=0.6",
    ),
    Row(f"{SAVE} checkpoint.also_save_hf_checkpoint=true checkpoint.hf_source_path=x", when="bridge >=0.6"),
]
HERE = [row for row in ROWS if holds(row.when, Versions("0", BRIDGE))]


@pytest.fixture(scope="module")
def accepted() -> dict[str, Any]:
    return bridge_args.to_run_config(bridge_args.translate(SMALL, world_size=1))


def changed(config: dict[str, Any], settings: str) -> dict[str, Any]:
    config = copy.deepcopy(config)
    for setting in settings.split():
        path, _, text = setting.partition("=")
        section, _, name = path.partition(".")
        if not name:
            config[section] = dict(LORA)
        elif name in config[section] or schemas.load(BRIDGE).find(path) is not None:
            config[section][name] = yaml.safe_load(text.replace("FOLDER", str(Path(__file__).parent)))
    return config


def refused(config: dict[str, Any]) -> str:
    """What is said of a configuration; empty where it is accepted."""
    try:
        container.build(config, 1, ENV)
    except container.BridgeRejects as rejection:
        return rejection.message
    return ""


def wrong(config: dict[str, Any]) -> list[str]:
    text = yaml.safe_dump(config, sort_keys=False)
    return [str(one) for one in lint.lint_text(text, "run_config.yaml", BRIDGE) if one.level == "error"]


@pytest.mark.parametrize("row", HERE, ids=lambda row: row.settings.replace("checkpoint.", ""))
def test_before_the_job(row: Row, accepted: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = changed(accepted, row.settings)
    ours, linted = refused(config), wrong(config)
    monkeypatch.setattr(choices, "wrong", lambda *_: ())
    monkeypatch.setattr(checkpoint_rules, "broken", lambda *_: ())
    bridges = refused(config)
    assert bool(ours) == bool(linted), (ours, linted)
    assert bool(ours) == bool(bridges or row.stricter), (ours, bridges)
    # Reasons are for what Bridge alone lets pass; by another rule it may refuse it as well.
    assert not (row.stricter and bridges) or "ckpt_format" in row.settings


def test_what_is_accepted_is_accepted(accepted: dict[str, Any]) -> None:
    assert (refused(accepted), wrong(accepted)) == ("", [])


# ------------------------------------------------------------------------- shown by a training

LATE = [
    pytest.param(
        f"{SAVE} checkpoint.save_interval=4 checkpoint.non_persistent_save_interval=1", id="in between, of no kind"
    ),
    pytest.param(
        f"{SAVE} checkpoint.save_interval=4 checkpoint.non_persistent_save_interval=1 "
        "checkpoint.non_persistent_ckpt_type=in_memory",
        id="in between, in memory",
    ),
    pytest.param(f"{SAVE} checkpoint.save_interval=4 checkpoint.non_persistent_ckpt_type=local", id="local, nowhere"),
]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    bridge = Stage("bridge")
    yield bridge
    bridge.close()


@pytest.mark.parametrize("settings", LATE)
def test_bridge_finds_out_later(settings: str, accepted: dict[str, Any], stage: Stage) -> None:
    config = changed(accepted, settings)
    assert refused(config)
    ran = stage.run(config, (), steps=2, env=ENV, unchecked=True)
    assert ran.error and "AssertionError" not in ran.error and ran.where.startswith("bridge/training/"), ran


def test_what_is_saved_as_zarr_is_not_loaded(accepted: dict[str, Any], stage: Stage, tmp_path: Path) -> None:
    zarr = f"checkpoint.ckpt_format=zarr checkpoint.save={tmp_path}"
    saved = stage.run(changed(accepted, f"{zarr} checkpoint.save_interval=1"), (), env=ENV, unchecked=True)
    assert saved.steps == 1
    if not saved.error:
        loaded = stage.run(changed(accepted, f"{zarr} checkpoint.load={tmp_path}"), (), env=ENV, unchecked=True)
        assert loaded.steps == 0 and "'zarr' is not supported" in loaded.error


def test_what_is_written_and_how_strictly_it_is_read(accepted: dict[str, Any], stage: Stage, tmp_path: Path) -> None:
    """A misspelt strictness is found when a checkpoint is loaded, which ours says before."""
    saved = stage.run(changed(accepted, f"checkpoint.save={tmp_path} checkpoint.save_interval=1"), (), env=ENV)
    assert (saved.steps, saved.error) == (1, "")
    names = {path.name for path in (tmp_path / "iter_0000001").iterdir()}
    assert {"metadata.json", ".metadata", "run_config.yaml", "train_state.pt"} <= names
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} >= {TRACKER, MEGATRON_TRACKER}
    assert layout.is_whole(tmp_path / "iter_0000001") and layout.place_of(tmp_path).iteration == 1
    load = f"checkpoint.load={tmp_path} checkpoint.dist_ckpt_strictness"
    for value in STRICTNESS if os.environ.get("BRIDGE_ARGS_STOPS") == "all" else ("raise_all", "return_all"):
        ran = stage.run(changed(accepted, f"{load}={value}"), (), env=ENV, unchecked=True)
        assert bool(ran.error) is (value in RETURN) and ran.iteration == (0 if ran.error else 2), value
    ran = stage.run(changed(accepted, f"{load}=log_al"), (), env=ENV, unchecked=True)
    assert ran.steps == 0 and "log_al" in ran.error


def test_what_bridge_never_finds_out(accepted: dict[str, Any], stage: Stage, tmp_path: Path) -> None:
    """No checkpoint, no tracker beside one: it trains on from random weights, whatever step is asked for."""
    (tmp_path / "iter_0000005").mkdir()
    random = stage.run(accepted, (), steps=1, env=ENV)
    for load in (tmp_path / "none", tmp_path):
        ran = stage.run(changed(accepted, f"checkpoint.load={load} checkpoint.ckpt_step=5"), (), steps=1, env=ENV)
        assert (ran.steps, ran.error, ran.loss) == (1, "", random.loss)


# ------------------------------------------------------------------------------ command lines

LINES = [
    "--ckpt-format zarr",
    "--ckpt-format fsdp_dtensor",
    "--ckpt-format torch_dist --use-megatron-fsdp",
    "--ckpt-format fsdp_dtensor --use-megatron-fsdp --async-save --use-persistent-ckpt-worker",
    "--async-save --use-persistent-ckpt-worker",
    "--dist-ckpt-strictness log_al",
    *(f"--dist-ckpt-strictness {value}" for value in STRICTNESS),
    "--ckpt-step 5",
    "--load-main-params-from-ckpt",
    "--load-main-params-from-ckpt --no-load-optim",
    "--dist-ckpt-optim-fully-reshardable --distrib-optim-fully-reshardable-mem-efficient",
    "--non-persistent-ckpt-type local",
    "--non-persistent-ckpt-type in_memory --non-persistent-save-interval 2",
    "--replication",
]


@pytest.mark.parametrize("words", LINES)
def test_command_lines(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What a translation leaves, Bridge accepts; what it refuses, the drop-in refuses with the same words."""
    monkeypatch.setattr(drop_in, "_PATIENCE", 0)
    argv = [*SMALL, "--save", str(tmp_path), "--save-interval", "2", *words.split()]
    made = bridge_args.translate(argv, world_size=1, env=ENV)
    rank = {**ENV, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    if made.errors:
        assert main(argv, rank) == 1
        assert str(made.errors[0]) in capsys.readouterr().err
        return
    config = bridge_args.to_run_config(made)
    assert (refused(config), wrong(config)) == ("", [])


@pytest.mark.skipif(not holds("bridge >=0.4", Versions("0", BRIDGE)), reason="Bridge asks for it since 0.4")
def test_a_base_model_that_is_not_there(
    accepted: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bridge's validation refuses it whatever there is to load; the drop-in says so before."""
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("4")
    settings = f"checkpoint.load={tmp_path} checkpoint.pretrained_checkpoint={tmp_path}/none"
    assert "does not exist" in refused(changed(accepted, settings))
    rank = {**ENV, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    assert main([*SMALL, "--load", str(tmp_path), "--pretrained-checkpoint", f"{tmp_path}/none"], rank) == 1
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--ckpt-step 5", "--exit-on-missing-checkpoint"])
@pytest.mark.parametrize("tracked", [False, True])
def test_the_drop_in_looks_for_the_checkpoint(
    words: str, tracked: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if tracked:
        (tmp_path / "latest_checkpointed_iteration.txt").write_text("4")
    rank = {**ENV, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    assert main([*SMALL, "--load", str(tmp_path), *words.split()], rank) == 1
    found = "no checkpoint" in capsys.readouterr().err
    assert found is not (tracked and "exit" in words)
