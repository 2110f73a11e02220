"""The flag guide of Megatron Bridge, row by row: we reach the setting it names, or a correction says why not.

Its facts are in tests/recorded/flag_guide.tsv.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from recorded import guide

import bridge_args
from bridge_args.bridge import schema as schemas
from bridge_args.mapping.folder import mappings_folder
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument

CORRECTIONS: dict[str, dict[str, Any]] = yaml.safe_load(
    (mappings_folder() / "notes" / "guide_corrections.yaml").read_text(encoding="utf-8")
)

MODEL = (
    "--num-layers 4 --hidden-size 64 --num-attention-heads 4 --seq-length 32 --max-position-embeddings 32 "
    "--micro-batch-size 2 --global-batch-size 8 --train-iters 10 --lr 1e-3 --eval-interval 5 --eval-iters 1 "
    "--mock-data --tokenizer-type NullTokenizer --vocab-size 100"
)

# Flags whose values cannot be made up from their type, or that say something only beside others.
EXAMPLES = {
    "--train-samples": "--train-samples 80",
    "--train-iters": "--train-iters 12",
    "--rampup-batch-size": "--rampup-batch-size 2 2 20",
    "--group-query-attention": "--group-query-attention --num-query-groups 2",
    "--num-query-groups": "--group-query-attention --num-query-groups 2",
    "--position-embedding-type": "--position-embedding-type rope",
    "--ckpt-format": "--ckpt-format fsdp_dtensor --use-megatron-fsdp",
    "--use-pytorch-profiler": "--profile --use-pytorch-profiler",
    "--logging-level": "--logging-level 10",
    "--rerun-mode": "--rerun-mode validate_results",
    "--lr-wsd-decay-iters": "--lr-decay-style WSD --lr-wsd-decay-iters 3",
    "--lr-decay-samples": "--train-samples 80 --lr-decay-samples 70",
    "--lr-warmup-samples": "--train-samples 80 --lr-warmup-samples 10",
    "--eval-interval": "--eval-interval 3",
    "--no-create-attention-mask-in-dataloader": "--no-create-attention-mask-in-dataloader",
    "--moe-router-load-balancing-type": "--moe-router-load-balancing-type sinkhorn",
}
OPENERS = {"inprocess_restart": "--inprocess-restart", "straggler": "--log-straggler", "ft": "--enable-ft-package"}

GUIDE = guide()  # flag, setting, value where the guide names one


def example(flag: str, path: str, argument: Argument) -> list[str]:
    """A command line on which the flag says something."""
    words = MODEL.split()
    opener = OPENERS.get(path.partition(".")[0])
    if opener and opener != flag:
        words.append(opener)
    if flag in EXAMPLES:
        return without_iterations(words + EXAMPLES[flag].split())
    if argument.action != "store":
        return [*words, flag]
    if argument.choices:
        return [*words, flag, str(argument.choices[-1])]
    value = {"int": "4", "float": "0.5"}.get(argument.type or "", "some/name")
    return [*words, flag, value]


def without_iterations(words: list[str]) -> list[str]:
    """A run has one length: iterations, or samples where the example says so."""
    if "--train-samples" not in words:
        return words
    at = words.index("--train-iters")
    return words[:at] + words[at + 2 :]


@pytest.mark.parametrize(("flag", "path", "value"), GUIDE, ids=[f"{flag} {path}" for flag, path, _ in GUIDE])
def test_the_setting_the_guide_names_is_reached(flag: str, path: str, value: str) -> None:
    argument = catalogs.load("0.16.1").by_flag[flag]
    correction = CORRECTIONS.get(flag)
    if correction:
        assert correction["guide"] == path
        path = correction["path"]
    translation = bridge_args.translate(example(flag, path, argument), world_size=8, bridge="0.3.1")
    if correction and path == "none":
        assert translation.outcomes[argument.dest].given
        assert correction["guide"] not in translation.outcomes[argument.dest].paths
        return
    reached = {assignment.path: assignment for assignment in translation.assignments}
    if path not in reached:  # Bridge does it without being told
        assert value == str(default_of(path)).lower()
        return
    origin = reached[path].origin
    row = translation.outcomes[argument.dest].row
    assert argument.dest in {*origin.arguments, *origin.inputs} or set(row.feeds) & set(origin.arguments)
    if value:
        assert str(reached[path].value).lower() == value


def default_of(path: str) -> Any:
    field = schemas.load("0.3.1").find(path)
    assert field is not None
    return field.default


@pytest.mark.parametrize("flag", CORRECTIONS)
def test_a_correction_is_needed_and_says_why(flag: str) -> None:
    correction = CORRECTIONS[flag]
    assert flag in {guided for guided, _, _ in GUIDE}
    assert correction["path"] != correction["guide"]
    assert correction["because"][0].isupper()
    assert correction["because"].endswith(".")
    assert correction["see"]
    if correction["path"] != "none":
        assert schemas.load("0.3.1").find(correction["path"]) is not None
