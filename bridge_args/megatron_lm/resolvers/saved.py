"""Arguments that a run has saved: effective values -> the command line that leads to them, and ``MegatronArgs``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.derive.registry import Derivation
from bridge_args.megatron_lm.parse import Given, parse
from bridge_args.megatron_lm.resolvers import built_in
from bridge_args.megatron_lm.resolvers.built_in import Resolved, Resolver, plan_of
from bridge_args.megatron_lm.resolvers.overlay import alike, overlay
from bridge_args.megatron_lm.run import Run

# Written for one process, or by the run itself: no flag of the next run's.
_OF_THE_PROCESS: Final = frozenset({"rank", "local_rank", "world_size"})
# Other names, which Megatron-LM sets and refuses to be given beside the first.
_SAME_AS: Final = {"encoder_num_layers": "num_layers", "encoder_seq_length": "seq_length"}
_COUNTED_FROM_SAMPLES: Final = frozenset({"train_iters", "lr_decay_iters"})
_OF_HYBRID_MODELS: Final = ("is_hybrid_model", "hybrid_layer_pattern", "hybrid_override_pattern")


def is_hybrid(values: Mapping[str, Any]) -> bool:
    """Was it a run of ``pretrain_mamba.py`` or ``pretrain_hybrid.py``?"""
    layers = str(values.get("spec"))
    return any(values.get(name) for name in _OF_HYBRID_MODELS) or "mamba" in layers or "hybrid" in layers


def resolver_of(values: Mapping[str, Any]) -> Resolver:
    """The saved values as effective arguments. A run was made with them, so nothing is left to be refused.

    Args:
        values: name to value after ``validate_args``; enum members by name.

    Returns:
        A resolver of the command line that ``given_by`` makes of them; what it says is ``given``, what Megatron-LM
        computes ``derived``.
    """

    def resolve(given: Given, run: Run) -> Resolved:
        return Resolved(given, overlay(_not_counted(values), given, run, accepted=True))

    return resolve


def given_by(values: Mapping[str, Any], run: Run) -> Given:
    """The command line that leads to saved values, parsed."""
    return parse(words_for(_not_counted(values), run), run.catalog)


def _not_counted(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without what the run itself has computed, where its length was given in samples."""
    if values.get("train_samples") is None:
        return values
    return {name: value for name, value in values.items() if name not in _COUNTED_FROM_SAMPLES}


def wrong_values(values: Mapping[str, Any], catalog: Catalog) -> list[str]:
    """What is said of values that the parser cannot have given an argument, nor ``validate_args`` made of it."""
    wrong = []
    derived = {step.name for step in plan_of(catalog) if isinstance(step, Derivation)}
    for argument in catalog.arguments:
        value = values.get(argument.dest)
        if value is None or argument.dest in derived or argument.dest in _OF_THE_PROCESS:
            continue
        several = argument.nargs not in (None, "?") or argument.action == "append"
        takes_lists = several or argument.type not in (None, "str", "int", "float") or argument.enum is not None
        kind = type(value).__name__
        if isinstance(value, (Mapping, bytes)) or (isinstance(value, (list, tuple)) and not takes_lists):
            wrong.append(f"{argument.dest} is a {kind}")
        elif argument.type in ("int", "float") and isinstance(value, str) and not several:
            wrong.append(f"{argument.dest} is a text, {value[:40]!r}")
        elif argument.type == "int" and isinstance(value, float) and not several:
            wrong.append(f"{argument.dest} is {value}, no whole number")
        elif argument.type in (None, "str") and argument.action == "store" and isinstance(value, (int, float)):
            wrong.append(f"{argument.dest} is a {kind}")
        elif any(isinstance(item, int) and item.bit_length() > 64 for item in _items(value)):
            wrong.append(f"{argument.dest} is too large a number")
    return wrong


def _items(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, (list, tuple)):
        yield from value


def words_for(values: Mapping[str, Any], run: Run) -> tuple[str, ...]:
    """A command line for these values, in the catalog's order: neither defaults nor what is derived from the others."""
    catalog, run = run.catalog, run._replace(env=None, whole_env=True)
    said: dict[str, tuple[str, ...]] = {}
    derived = {step.name for step in plan_of(catalog) if isinstance(step, Derivation)}
    for argument in catalog.arguments:
        name = argument.dest
        if name in said or name in _OF_THE_PROCESS or name not in values:
            continue
        if name in _SAME_AS and values.get(_SAME_AS[name]) is not None:
            continue
        if name == "num_query_groups" and not values.get("group_query_attention"):
            continue  # it has no effect
        default = catalog.defaults[name]
        if name not in derived and alike(
            values[name], catalog.program_defaults.get(name) if default is None else default
        ):
            continue
        words = tuple(words_of(argument, values[name]))
        if words and not (read := parse(words, catalog)).findings and _leads_to(read.values[name], values[name]):
            said[name] = words
    wanted = {name for name in said if name not in derived}
    for _ in range(3):  # one value that has to be said can change what others are derived to be
        words = tuple(word for name in said if name in wanted for word in said[name])
        args = built_in.resolve(parse(words, catalog), run).args
        missing = {name for name in said if name not in wanted and not alike(args[name], values[name])}
        if not missing:
            break
        wanted |= missing
    return tuple(word for name in said if name in wanted for word in said[name])


def _leads_to(typed: Any, saved: Any) -> bool:
    """Some lists of one value are kept as that value."""
    return alike(typed, saved) or alike(typed, [saved])


def words_of(argument: Argument, value: Any) -> Iterator[str]:
    """The words that set an argument to a value; none where there are no such words."""
    if argument.action == "BooleanOptionalAction":
        yield from (flag for flag in argument.flags[:2] if flag.startswith("--no-") is not value)
        return
    flag = argument.flags[0]
    if argument.action in ("store_true", "store_false"):
        if value is (argument.action == "store_true"):
            yield flag
    elif argument.action == "store_const":
        if alike(value, argument.const):
            yield flag
    elif argument.action == "append" and isinstance(value, (list, tuple)):
        for item in value:
            yield from _joined(flag, _text(item))
    elif argument.nargs in (None, "?"):
        if value is not None:
            yield from _joined(flag, _text(value))
    elif value is not None:
        yield from (flag, *map(_text, value if isinstance(value, (list, tuple)) else [value]))


def _joined(flag: str, text: str) -> tuple[str, ...]:
    return (f"{flag}={text}",) if text.startswith("-") else (flag, text)


def _text(value: Any) -> str:
    """As the converters read it: a list of layers has no spaces, a tuple is its numbers with commas between."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).replace(" ", "") if isinstance(value, list) else str(value)
