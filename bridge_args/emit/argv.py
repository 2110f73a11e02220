"""The normalised Megatron-LM command line."""

from __future__ import annotations

from typing import Any

from bridge_args.mapping.translation import Translation
from bridge_args.megatron_lm.catalog import Argument
from bridge_args.megatron_lm.converters import converter_of
from bridge_args.megatron_lm.parse import Typed, parse
from bridge_args.words import Word


def to_argv(t: Translation) -> list[str]:
    """Every typed argument once, in the catalog's order, under its first spelling; parsing it gives the same values.

    The words after the program's name, without launcher and program. Words that Megatron-LM's parser refuses are
    left out.

    Raises:
        UserError: the translation is of no command line.
    """
    t.needs_program("the format argv")
    catalog = t.catalog
    unused = {name for name, outcome in t.outcomes.items() if outcome.fate in ("launcher", "not_needed")}
    words = [Word(text, unresolved=(text,) if "$" in text else ()) for text in t.words]
    given = parse(words, catalog, unused=unused)
    order = {id(argument): index for index, argument in enumerate(catalog.arguments)}
    argv: list[str] = []
    for typed in sorted(given.typed.values(), key=lambda typed: order[id(typed.argument)]):
        value = given.values[typed.dest]
        if typed.argument.action == "append":
            before = catalog.defaults[typed.dest] or ()
            assert isinstance(value, list)
            for item in value[len(before) :]:
                argv += _joined(typed.argument.flags[0], [str(item)])
        elif typed.index in given.open:  # not known, and kept as it is
            texts = [t.words[index] for index in typed.values]
            argv += texts if typed.values[0] == typed.index else [typed.argument.flags[0], *texts]
        else:
            argv += _words(typed, value, t.words)
    return argv


def _words(typed: Typed, value: Any, words: tuple[str, ...]) -> list[str]:
    argument = typed.argument
    if argument.action == "BooleanOptionalAction":
        return [next(flag for flag in argument.flags if flag.startswith("--no-") is not value)]
    flag = argument.flags[0]
    if argument.action != "store":
        return [flag]
    attached = bool(typed.values) and typed.values[0] == typed.index
    texts = [words[index] for index in typed.values]
    if attached:
        texts = [texts[0][len(typed.flag) + 1 :]]
    if argument.nargs is None or argument.nargs == "?":
        return _joined(flag, [_printed(argument, value, texts[0])] if texts else [])
    if attached:
        return [f"{flag}={texts[0]}"]
    return [flag, *(_printed(argument, item, text) for item, text in zip(value, texts, strict=True))]


def _printed(argument: Argument, value: Any, text: str) -> str:
    """The value as text; the user's own where that would not be read back the same."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return text
    printed = repr(value)
    negative = printed.startswith("-") and not printed[1:].replace(".", "", 1).isdigit()
    return printed if not negative and converter_of(argument)(printed) == value else text


def _joined(flag: str, texts: list[str]) -> list[str]:
    """Flag and value; in one word where the value alone would be read as a flag."""
    if len(texts) == 1 and texts[0].startswith("-"):
        return [f"{flag}={texts[0]}"]
    return [flag, *texts]
