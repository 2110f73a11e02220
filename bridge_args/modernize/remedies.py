"""What keeps a run the same where one argument has taken the place of another: by the value that would be another.

The rules themselves are in ``megatron_lm/changed_rules.py``; what is proposed here is tried before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from bridge_args.emit.releases import Value
from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.changed_rules import Rule
from bridge_args.modernize.items import Item, Proposal


def of(value: Value, items: Sequence[Item], was: Translation) -> Iterator[Proposal]:
    """Command lines that may keep a value as it was.

    Args:
        value: what is another one.
        items: the command line by now.
        was: the run that is to be kept.
    """
    if (remedy := _REMEDIES.get(value.argument)) is not None:
        yield from remedy(value, items, was)


def needed(rules: Iterable[Rule], items: Sequence[Item], was: Translation) -> Iterator[Proposal]:
    """What has to change by a rule although no effective argument shows it."""
    for rule in rules:
        if "--tokenizer-type" in rule.flags and was.args["tokenizer_type"] == "NullTokenizer":
            yield from _one_more_token(Value("padded_vocab_size", "", None, None, rule), items, was)


def _schedule(value: Value, items: Sequence[Item], was: Translation) -> Iterator[Proposal]:
    """--rampup-batch-size as --step-batch-size-schedule, which counts tokens, and excludes --global-batch-size."""
    length, steps = was.args["seq_length"], value.before
    if not isinstance(length, int) or not isinstance(steps, list) or len(steps) < 2:
        return
    words = ("--step-batch-size-schedule", ",".join(f"{samples * length}:{batch}" for samples, batch in steps))
    why = value.rule.says if value.rule else ""
    last = [item.dest for item in items].count("rampup_batch_size")
    made: list[Item] = []
    for item in items:
        if item.dest == "rampup_batch_size":
            last -= 1
            item = item.becomes(() if last else words, why)
        elif item.dest == "global_batch_size":
            item = item.becomes((), "the schedule says every batch size, and excludes --global-batch-size")
        made.append(item)
    said = ("rampup_batch_size", "global_batch_size", "step_batch_size_schedule")
    yield Proposal(tuple(made), frozenset(said))


def _in_the_background(value: Value, items: Sequence[Item], was: Translation) -> Iterator[Proposal]:
    """--async-save with the worker that it needs."""
    if value.before:
        why = value.rule.says if value.rule else ""
        worker = Item(("--use-persistent-ckpt-worker",), (), (), "use_persistent_ckpt_worker", why)
        yield Proposal((*items, worker), frozenset(("use_persistent_ckpt_worker",)))


def _divided_by_layers(value: Value, items: Sequence[Item], was: Translation) -> Iterator[Proposal]:
    """dist_muon is still taken, and made muon that is divided."""
    if (value.before, value.after) == ("dist_muon", "muon"):
        yield Proposal(tuple(items), frozenset(("optimizer",)))


def _of_the_other_backend(value: Value, items: Sequence[Item], was: Translation) -> Iterator[Proposal]:
    """Each backend had a number of its own; what the other one would take says nothing."""
    backend = was.args["moe_flex_dispatcher_backend"] if "moe_flex_dispatcher_backend" in was.args else None
    if backend in _NUMBER_OF.values() and backend != _NUMBER_OF[value.argument]:
        yield Proposal(tuple(items), frozenset((value.argument,)))


_NUMBER_OF: Final = {"moe_deepep_num_sms": "deepep", "moe_hybridep_num_sms": "hybridep"}


def _one_more_token(value: Value, items: Sequence[Item], was: Translation) -> Iterator[Proposal]:
    """A NullTokenizer that has one token less for the same --vocab-size."""
    made: list[Item] = []
    for item in items:
        if item.dest == "vocab_size" and (size := _size(item.words)) is not None:
            new = tuple(word.replace(str(size), str(size + 1)) for word in item.words)
            item = item.becomes(new, value.rule.says if value.rule else "")
        made.append(item)
    yield Proposal(tuple(made), frozenset(("vocab_size",)))


def _size(words: Sequence[str]) -> int | None:
    text = words[-1].rpartition("=")[2] if words else ""
    return int(text) if text.isdecimal() else None


_REMEDIES: Final[dict[str, Callable[[Value, Sequence[Item], Translation], Iterator[Proposal]]]] = {
    "batch_size_steps": _schedule,
    "num_microbatches": _schedule,
    "train_iters_from_samples": _schedule,
    "async_save": _in_the_background,
    "optimizer": _divided_by_layers,
    "moe_deepep_num_sms": _of_the_other_backend,
    "moe_hybridep_num_sms": _of_the_other_backend,
}
