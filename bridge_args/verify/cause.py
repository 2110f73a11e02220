"""Naming the cause of a difference, by experiment: settings are put right until Bridge does what Megatron-LM did.

A difference in settings is only a suspect. Bridge's side is run again with suspects put right, just far enough to see
whether the step that differed still does; the smallest set of settings that mends it is the cause.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from bridge_args.mapping.goes_to import settings_of
from bridge_args.mapping.translation import Translation
from bridge_args.verify.compare import Comparison, Difference, shown

RunConfig = dict[str, Any]
Mends = Callable[[RunConfig], bool]  # is Bridge's run with this run config the same, as far as needed?

ABSENT: Final = object()
RUNS: Final = 30  # experiments at most; halving finds one cause among a thousand settings in twenty


class Suspect(NamedTuple):
    """A setting that may be the cause.

    Attributes:
        path: in Bridge's run config.
        right: what it is by Megatron-LM; ``ABSENT`` where it should not be there.
        wrong: what Bridge ran with.
        argument: Megatron-LM's argument that says it; empty where none does.
    """

    path: str
    right: Any
    wrong: Any
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.path} is {_plain(self.wrong)}, and by Megatron-LM {_plain(self.right)}"


class Cause(NamedTuple):
    """The outcome of the search.

    Attributes:
        settings: put right, they make the runs the same; together, if several. Empty when none was found.
        suspects: settings that differ.
        runs: how many experiments it took.
    """

    settings: tuple[Suspect, ...]
    suspects: tuple[Suspect, ...]
    runs: int


def find(suspects: Sequence[Suspect], run_config: Mapping[str, Any], mends: Mends) -> Cause:
    """The smallest set of suspects that, put right, mends the run.

    Args:
        suspects: the likeliest first.
        run_config: what Bridge ran with.
        mends: runs Bridge with a run config; whether the difference is gone.
    """
    tried = 0

    def works(chosen: Sequence[Suspect]) -> bool:
        nonlocal tried
        if tried >= RUNS:
            return False  # what is left in doubt stays named
        tried += 1
        return mends(corrected(run_config, chosen))

    def done(settings: Sequence[Suspect]) -> Cause:
        return Cause(tuple(settings), tuple(suspects), tried)

    for suspect in suspects[:2]:  # most often it is the likeliest one
        if works([suspect]):
            return done([suspect])
    if len(suspects) < 2 or not works(suspects):
        return done([])
    return done(_needed([], False, list(suspects), works))


def _needed(
    right: list[Suspect], changed: bool, doubtful: list[Suspect], works: Callable[[list[Suspect]], bool]
) -> list[Suspect]:
    """The smallest part of ``doubtful`` that, put right along with ``right``, mends the run (QuickXplain, Junker 2004).

    Args:
        changed: ``right`` has grown since it was last tried, so it may be enough by now.
    """
    if changed and works(right):
        return []
    if len(doubtful) == 1:
        return doubtful
    half = len(doubtful) // 2
    likelier, others = doubtful[:half], doubtful[half:]
    of_others = _needed([*right, *likelier], bool(likelier), others, works)
    return _needed([*right, *of_others], bool(of_others), likelier, works) + of_others


def corrected(run_config: Mapping[str, Any], chosen: Sequence[Suspect]) -> RunConfig:
    """A copy of the run config with the chosen settings put right."""
    config = copy.deepcopy(dict(run_config))
    for suspect in chosen:
        *sections, leaf = suspect.path.split(".")
        holder = config
        for section in sections:
            holder = holder.setdefault(section, {})
        if suspect.right is ABSENT:
            holder.pop(leaf, None)
        else:
            holder[leaf] = suspect.right
    return config


# ---------------------------------------------------------------------------------- suspects


def suspects(
    comparison: Comparison, run_config: Mapping[str, Any], translated: Mapping[str, Any], t: Translation
) -> tuple[Suspect, ...]:
    """Settings that differ, the likeliest cause first.

    Two sources: the translation, where Bridge ran with another run config than that; and the objects of Megatron
    Core that the two programs have built, where they differ and a setting of Bridge says so.

    Args:
        run_config: what Bridge ran with.
        translated: what the translation says, with the same places for files.
        t: the translation; it knows which argument goes where.
    """
    found: dict[str, Suspect] = {}
    arguments = _arguments(t)
    for path, right, wrong in differing(translated, run_config):
        found[path] = Suspect(path, right, wrong, arguments.get(path, ""))
    for path, right in _from_objects(comparison, run_config, t.versions.bridge):
        wrong = _at(run_config, path)
        if path not in found and wrong != right:
            found[path] = Suspect(path, right, wrong, arguments.get(path, ""))
    order = _order(comparison)
    placed = {path: index for index, path in enumerate(found)}
    return tuple(sorted(found.values(), key=lambda suspect: (_rank(suspect.path, order), placed[suspect.path])))


def differing(right: Any, wrong: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Paths at which two run configs differ, with both values."""
    whole = not (isinstance(right, dict) and isinstance(wrong, dict))
    if whole or right.get("_target_") != wrong.get("_target_") or "_args_" in right:
        if right != wrong:
            yield path, right, wrong
        return
    for key in [*right, *(key for key in wrong if key not in right)]:
        below = f"{path}.{key}" if path else key
        yield from differing(right.get(key, ABSENT), wrong.get(key, ABSENT), below)


# What the two programs have built and no setting says, by what differs first; the likeliest first.
_BUILT: Final = {
    "weights": ("layers", "model", "parallel"),
    "batches": ("dataset", "samples", "batch"),
    "figures": ("layers", "parameters", "parameter groups", "optimizer", "scheduler", "ddp", "batch", "model"),
}


def built_otherwise(comparison: Comparison) -> str:
    """What the two programs have built, or started from, that is not the same, in words; empty where all is."""
    kind = "weights" if comparison.weights else "batches" if comparison.batches else "figures"
    for section in _BUILT[kind]:
        found = [
            difference
            for difference in comparison.settings
            if difference.name.startswith(f"{section}.")
            and (difference.megatron_lm or difference.bridge)  # None, False
        ]
        if found:
            more = f", and {len(found) - 1} more of {section}" if len(found) > 1 else ""
            return f"{parted(found[0])}{more}"
    started = comparison.weights or comparison.batches
    return f"{kind}: {started[0].name}" if started else ""


def parted(difference: Difference) -> str:
    """A difference; of two mappings only the keys that are not the same."""
    mine, yours = difference.megatron_lm, difference.bridge
    if isinstance(mine, Mapping) and isinstance(yours, Mapping):
        keys = [key for key in {**mine, **yours} if mine.get(key) != yours.get(key)]
        mine, yours = ({key: side.get(key) for key in keys} for side in (mine, yours))
    return str(difference._replace(megatron_lm=mine, bridge=yours))


def _arguments(t: Translation) -> dict[str, str]:
    return {path: outcome.argument for outcome in t.outcomes.values() for path in outcome.paths}


# Where a field of an object of Megatron Core comes from, when it is not ``section.field`` in Bridge as well: the
# argument that goes to its setting. What ``loop`` and ``batch`` have is called like the argument.
_ELSEWHERE: Final = {
    "model.max_sequence_length": "seq_length",
    "dataset.vocab_size": "vocab_size",
    "scheduler.max_lr": "lr",
    "scheduler.min_lr": "min_lr",
    "scheduler.init_lr": "lr_warmup_init",
    "scheduler.start_wd": "start_weight_decay",
    "scheduler.end_wd": "end_weight_decay",
    "scheduler.wd_incr_style": "weight_decay_incr_style",
}
# The scheduler counts samples where the settings count iterations.
_IN_SAMPLES: Final = {
    "scheduler.lr_warmup_steps": "lr_warmup_iters",
    "scheduler.lr_decay_steps": "lr_decay_iters",
    "scheduler.wsd_decay_steps": "lr_wsd_decay_iters",
}


def _setting_of(name: str, bridge: str) -> str:
    """The setting that an object's field comes from."""
    part, _, field = name.partition(".")
    argument = (_ELSEWHERE | _IN_SAMPLES).get(name, field if part in ("loop", "batch") else "")
    return next(iter(settings_of(argument, bridge)), "") if argument else name.replace("parallel.", "model.", 1)


def _from_objects(comparison: Comparison, run_config: Mapping[str, Any], bridge: str) -> Iterator[tuple[str, Any]]:
    samples = _at(run_config, "train.global_batch_size")
    for difference in comparison.settings:
        name, right = difference.name, difference.megatron_lm
        if name in _IN_SAMPLES:
            if isinstance(right, int) and isinstance(samples, int) and right % samples == 0:
                yield _setting_of(name, bridge), right // samples
            continue
        path = _setting_of(name, bridge)
        if _at(run_config, path) is ABSENT:
            continue
        if isinstance(right, str) and right.startswith("torch."):
            yield path, {"_target_": right, "_call_": False}
        elif right is None or isinstance(right, (bool, int, float, str)):
            if not isinstance(_at(run_config, path), (dict, list)):
                yield path, right


def _at(run_config: Mapping[str, Any], path: str) -> Any:
    value: Any = run_config
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value


# Which sections decide what differs first.
_DATA: Final = ("dataset", "tokenizer", "rng", "train", "model.seq_length")
_MODEL: Final = ("model", "mixed_precision", "rng", "checkpoint", "tokenizer")
_DECIDING: Final[dict[str, tuple[str, ...]]] = {
    "learning_rate": ("scheduler", "optimizer", "train"),
    "global_batch_size": ("train",),
    "consumed_samples": ("train",),
    "skipped": ("mixed_precision", "optimizer"),
    "loss_scale": ("mixed_precision", "optimizer"),
    "lm_loss": ("model", "mixed_precision", "optimizer", "scheduler", "ddp"),
    "grad_norm": ("model", "mixed_precision", "ddp", "optimizer"),
    "steps": ("train",),
}


def _order(comparison: Comparison) -> tuple[str, ...]:
    """Sections and settings, the likeliest first, by the earliest thing that differs."""
    if comparison.weights:
        return _MODEL
    if comparison.batches:
        return _DATA
    if comparison.step == 1 or comparison.figure not in ("lm_loss", "grad_norm"):
        return _DECIDING.get(comparison.figure, ())
    return ("optimizer", "scheduler", "ddp", "mixed_precision", "model")  # the first step was the same: the update


def _rank(path: str, order: tuple[str, ...]) -> int:
    for index, start in enumerate(order):
        if path == start or path.startswith(f"{start}."):
            return index
    return len(order)


def _plain(value: Any) -> str:
    if value is ABSENT:
        return "what Bridge has without it"
    if isinstance(value, Mapping) and "_target_" in value:
        arguments = ", ".join(map(str, value.get("_args_", ())))
        return f"{value['_target_']}({arguments})" if arguments else str(value["_target_"])
    return shown(value)
