"""Values that were typed and are not what the run has: replaced by Megatron-LM, or read by nothing in this run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from bridge_args.findings import Finding
from bridge_args.mapping.convert import shown
from bridge_args.mapping.rows import Row
from bridge_args.megatron_lm import readers
from bridge_args.megatron_lm.catalog import Catalog
from bridge_args.megatron_lm.parse import Given
from bridge_args.megatron_lm.resolvers.built_in import MegatronArgs
from bridge_args.values import to_plain
from bridge_args.wording import listed


def replaced(args: MegatronArgs, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Arguments that were typed and have another value after Megatron-LM has looked at them, with what became of them.

    Args:
        words: the command line that the arguments were typed in.
    """
    for name, setting in args.settings.items():
        typed = setting.typed
        if setting.source != "derived" or typed is None:
            continue
        if setting.step is not None and not setting.inputs:
            continue  # nothing else had a say: the same in another form, bf16 as torch.bfloat16
        texts = [words[index] for index in sorted({typed.index, *typed.values})]
        if _is_as_typed(to_plain(setting.value), texts[1:]):
            continue
        inputs = ", ".join(f"{key}={shown(value)}" for key, value in setting.inputs.items())
        because = f", because of {inputs}" if inputs else ""
        yield name, f"{' '.join(texts)} becomes {shown(setting.value)}{because}"


def told(
    args: MegatronArgs, given: Given, rows: Mapping[str, Row], catalog: Catalog, program: str
) -> tuple[tuple[Finding, ...], frozenset[str]]:
    """What is to be said of such values, and the arguments that nothing reads in this run.

    Arguments with one reason are told together. What a typed value cannot change because it is Megatron-LM's default
    is not told.
    """
    refused = [finding for finding in (*given.findings, *args.findings) if finding.level == "error"]
    doubtful = frozenset(name for finding in refused for name in finding.arguments)
    unread: dict[tuple[str, str], list[str]] = {}
    for name in given.typed:
        if name not in args or name in doubtful or not _differs(name, given, catalog):
            continue
        condition = unmet(name, args, program, doubtful)
        row = rows.get(name)
        if condition:
            unread.setdefault(("ignored-by-megatron", condition), []).append(name)
        elif row is not None and row.tell and not row.needed_for(args.is_on):
            kind = "ignored-by-megatron" if row.tell == "warning" else "no-effect"
            unread.setdefault((kind, row.reason), []).append(name)
    findings = [_unread(kind, why, names, given, catalog) for (kind, why), names in unread.items()]
    names_unread = frozenset(name for names in unread.values() for name in names)
    for name, message in replaced(args, [word.text for word in given.words]):
        if name not in names_unread:
            findings.append(_about("ignored-by-megatron", message, (name,), given))
    return tuple(findings), names_unread


def told_by_rows(given: Given, rows: Mapping[str, Row], catalog: Catalog) -> Iterator[Finding]:
    """What rows with ``tell`` say of the settings of a file; nothing of what is the default of its program."""
    for name, value in given.values.items():
        row = rows.get(name)
        if row is not None and row.tell and _differs(name, given, catalog):
            kind = "ignored-by-megatron" if row.tell == "warning" else "no-effect"
            yield _about(kind, f"{name} = {shown(value)} has no effect: {row.reason}", (name,), given)


def _differs(name: str, given: Given, catalog: Catalog) -> bool:
    default = catalog.defaults.get(name)
    if default is None:
        default = catalog.program_defaults.get(name)
    value = to_plain(given.values[name])
    return bool(value != to_plain(default)) and value != [default]


def unmet(name: str, args: MegatronArgs, program: str, doubtful: Collection[str] = ()) -> str:
    """The condition because of which nothing reads the argument in this run; empty where something may.

    Args:
        doubtful: arguments whose value is not known.
    """
    values = {"program": program}
    return readers.unmet(
        name,
        lambda other: values[other] if other in values else args[other],
        lambda other: other in values or (other in args and other not in doubtful),
    )


def _unread(kind: str, why: str, names: Sequence[str], given: Given, catalog: Catalog) -> Finding:
    flags = [given.text(name) for name in names]
    verb, them = ("has", "it") if len(flags) == 1 else ("have", "them")
    if why in {condition for name in names for condition in readers.conditions_of().get(name, ())}:
        why = f"Megatron-LM reads {them} only with {readers.said(why, catalog)}"
    return _about(kind, f"{listed(flags)} {verb} no effect: {why}", tuple(names), given)


def _about(kind: str, message: str, names: tuple[str, ...], given: Given) -> Finding:
    excerpt = given.excerpt(names[0]) if len(names) == 1 else None
    return Finding(kind, message, arguments=names, place=given.place(names[0]), excerpt=excerpt)


def _is_as_typed(value: object, texts: Sequence[str]) -> bool:
    """Is the value the very words or numbers that were typed? ``1e-2`` is, for 0.01 and for [0.01]."""
    values: Iterable[object] = value if isinstance(value, (list, tuple)) else [value]
    said = [str(item) for item in values]
    if said == list(texts):
        return True
    try:
        return [float(text) for text in texts] == [float(text) for text in said]
    except ValueError:
        return False
