"""The real Bridge of both versions judges a migration: it loads strictly, and is the same run.

A handful of the recorded command lines by default; ``BRIDGE_ARGS_MIGRATE=all`` takes all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch")

from bridge_dumps import Judge, interpreter
from recorded import command_lines

import bridge_args
from bridge_args.bridge import installed
from bridge_args.emit.run_config import to_run_config
from bridge_args.migrate.run_config import moved

SAMPLES = sorted((Path(__file__).parents[2] / ".." / "shared" / "nemo_tron").glob("*.yaml"))
MEGATRON_LM = {"0.3.1": "0.16.1", "0.6.2": "0.19.0"}
HERE = installed.version() or ""
THERE = next((version for version in MEGATRON_LM if version != HERE), "")
# What the other version cannot do, and says so.
REFUSED = {
    "core_v0.19.0/gpt/gpt3_mcore_te_tp2_zp_z3_resume_fsdp_dtensor_1node": "async_save is only supported with",
    "core_v0.19.0/gpt/gpt3_mcore_te_tp2_zp_z3_resume_fsdp_dtensor": "async_save is only supported with",
    "core_v0.19.0/moe/gpt3_mcore_tp2_cp2_pp2_ep2_te_4experts2parallel_dp_last": "Flash attention can not be used",
}
# What the validation of the other version sets itself, whatever the file says.
ITS_OWN = {"ddp.fsdp_manual_registration"}
LAYOUT = "pipeline_model_parallel_layout"


def accepted() -> list[dict[str, Any]]:
    rows = [row for row in command_lines(MEGATRON_LM.get(HERE, "")) if row["result"]["accepted"]]
    return rows if os.environ.get("BRIDGE_ARGS_MIGRATE") == "all" else rows[7:60:40]


@pytest.fixture(scope="module")
def judges() -> Iterator[tuple[Judge, Judge]]:
    if HERE not in MEGATRON_LM or not all(interpreter(version) for version in (HERE, THERE)):
        pytest.skip("there are no environments for two versions of Bridge")
    both = Judge(HERE), Judge(THERE)
    yield both
    for judge in both:
        judge.close()


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """``section.setting`` to its value; Bridge 0.6 writes the names of members of enums, too."""
    found = {}
    for section, body in config.items():
        for name, value in body.items() if isinstance(body, dict) else (("", body),):
            if name != "_target_":
                found[f"{section}.{name}".rstrip(".")] = without_names(value)
    return found


def without_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_names(item) for key, item in value.items() if key != "_name_"}
    return [without_names(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("row", accepted(), ids=lambda row: str(row["id"]))
def test_the_same_run_in_the_other_version(row: dict[str, Any], judges: tuple[Judge, Judge]) -> None:
    case = row["case"]
    t = bridge_args.translate(
        case["argv"],
        world_size=case["world_size"],
        env=case.get("env") or {},
        program=case.get("entry") or "pretrain_gpt.py",
        megatron_lm=MEGATRON_LM[HERE],
        bridge=HERE,
    )
    if t.errors:
        pytest.skip(t.errors[0].message)
    run, env = to_run_config(t, t.run_environment), dict(t.run_environment)
    before = judges[0].built(run, t.world_size, env)
    assert not before["error"]
    old = before["config"]
    if isinstance(old["model"].get(LAYOUT), dict):  # Bridge writes an object without what it was made from
        old["model"][LAYOUT] = run["model"][LAYOUT]
    done = moved(old, THERE)
    assert done.writer.name == HERE and not done.refused
    after = judges[1].built(done.config, t.world_size, env)
    if row["id"] in REFUSED:
        assert REFUSED[row["id"]] in after["error"]
        return
    assert not after["error"], after["error"]
    elsewhere = [change for change in done.changes if change.old != change.new]
    gone = {path for change in elsewhere for path in (change.old, change.new)} | {f"model.{LAYOUT}", *ITS_OWN}
    one, other = settings(old), settings(after["config"])
    wrong = {path: (one[path], other[path]) for path in one.keys() & other.keys() - gone if one[path] != other[path]}
    assert wrong == {}
    for change in done.changes:
        if change.fate in ("renamed", "changed", "set") and change.new in other and change.new != f"model.{LAYOUT}":
            assert other[change.new] == without_names(change.after), change.new


@pytest.mark.skipif(not SAMPLES, reason="the samples are not beside the repository")
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_files_of_nemo_tron_load_strictly_with_every_value(sample: Path) -> None:
    if HERE not in MEGATRON_LM:
        pytest.skip("no Megatron Bridge is installed that this can be asked")
    from bridge_args.training import container

    done = moved(yaml.safe_load(sample.read_text(encoding="utf-8")), HERE)
    assert not done.refused
    made = container.load(done.config)
    for change in done.changes:
        section, _, name = change.new.partition(".")
        if not name or isinstance(change.after, dict) or change.fate not in ("renamed", "changed", "set"):
            continue
        there = getattr(getattr(made, section), name)
        if section == "dataset" and name == "split_matrix" or change.after is None:
            continue  # worked out when the object is made
        same = list(there) if isinstance(there, tuple) else there
        assert same == change.after or name in ("split", "blend"), change.new
