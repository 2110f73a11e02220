"""The installed Bridge is the judge of every Megatron-LM version that ``PAIRS`` has with it.

It takes what the default command of the version and the examples are translated to, strictly, and arrives at the same
configuration by overrides.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch")

from containers import comparable, loaded, untouched
from small import SMALL

import bridge_args
from bridge_args.bridge import installed
from bridge_args.emit.hydra import unsayable
from bridge_args.mapping.translation import Translation
from bridge_args.modernize import move
from bridge_args.source.read import from_file
from bridge_args.source.source import Source
from bridge_args.steps import Asked, translated
from bridge_args.training import container
from bridge_args.versions import PAIRS, number
from bridge_args.words import as_words

ROOT = Path(__file__).resolve().parents[2]
try:
    container._import("training.config")
except container.BridgeMissing as missing:
    pytest.skip(str(missing), allow_module_level=True)

BRIDGE = installed.version()
VERSIONS = [pair.versions.megatron for pair in PAIRS if pair.versions.bridge == BRIDGE]
EXAMPLES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "examples").glob("*/*")
    if path.suffix in (".sh", ".sbatch") and path.name != "make_fork.sh" or path.name == "job.yaml"
)
OLD = {"examples/08_newer_megatron_lm/train.sh": "0.16.1"}  # what an example was written for, if not for all versions
OF_A_JOB = ("SLURM_ARRAY_JOB_ID",)  # what only a job has
COMMANDS = ["default", *EXAMPLES]


@lru_cache(maxsize=None)
def source_of(name: str) -> Source:
    """An example; one of a fork without the flags that only the fork has."""
    file = ROOT / name
    source = from_file(str(file), variables=dict.fromkeys(OF_A_JOB, "1"))
    own = file.parent / "our_flags.yaml"
    rows = yaml.safe_load(own.read_text(encoding="utf-8"))["arguments"] if own.is_file() else {}
    flags = {f"--{argument.replace('_', '-')}" for argument in rows}
    words = list(source.command.argv)
    while alien := [at for at, word in enumerate(words) if word.text in flags]:
        del words[alien[0] : alien[0] + 2]
    return source._replace(command=source.command._replace(argv=tuple(words)))


def translation_of(name: str, megatron_lm: str) -> Translation:
    if name == "default":
        return bridge_args.translate(SMALL, 1, megatron_lm, BRIDGE)
    source = source_of(name)
    if name in OLD and number(megatron_lm) > number(OLD[name]):
        plan = move.of_source(source, Asked(OLD[name], BRIDGE), megatron_lm)
        source = source._replace(command=source.command._replace(argv=as_words(plan.argv)))
    return translated(source, Asked(megatron_lm, BRIDGE))


@pytest.fixture(scope="module")
def done() -> dict[str, Any]:
    """What was found for a configuration: several versions of Megatron-LM mean the same one."""
    return {}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("megatron_lm", VERSIONS)
def test_bridge_takes_it_and_arrives_there_by_overrides(megatron_lm: str, name: str, done: dict[str, Any]) -> None:
    t = translation_of(name, megatron_lm)
    assert (t.errors, t.unresolved) == ((), ())
    overrides = bridge_args.to_overrides(t)
    same = json.dumps([bridge_args.to_run_config(t), overrides, dict(t.environment), t.world_size], sort_keys=True)
    if same in done:
        assert done[same] == {}
        return
    done[same] = "Bridge stops"
    assert bridge_args.to_container(t)
    unsaid = {finding.message.partition(" = ")[0] for finding in unsayable(t)}
    merging = container._import("training.utils.omegaconf_utils").process_config_with_overrides
    merged = comparable(merging(untouched(t), cli_overrides=overrides))
    wanted = comparable(loaded(t))
    assert merged.keys() == wanted.keys()
    done[same] = {
        path: (merged[path], value) for path, value in wanted.items() if path not in unsaid and merged[path] != value
    }
    assert done[same] == {}


def test_there_are_pairs() -> None:
    assert VERSIONS or BRIDGE not in {pair.versions.bridge for pair in PAIRS}
