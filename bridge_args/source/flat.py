"""What a run of Megatron-LM has told of itself: arguments in its log or in wandb's ``config.yaml``; words in a file.

The log and wandb have effective values, after ``validate_args``, so they are treated as those in a checkpoint: what
is a default or derived from other values is no flag.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from collections.abc import Mapping as Table
from typing import Any, BinaryIO, Final

from bridge_args.findings import Finding
from bridge_args.megatron_lm import catalog as catalogs
from bridge_args.megatron_lm.catalog import Argument
from bridge_args.pairs import detect
from bridge_args.script.command import read_command
from bridge_args.source.kinds import BEGIN
from bridge_args.source.source import Source, SourceError
from bridge_args.source.yaml.config_file import words_of_settings
from bridge_args.source.yaml.nodes import Mapping, entries, item, read, text_of
from bridge_args.source.yaml.plain import Values
from bridge_args.values import Symbol
from bridge_args.words import Place, Word

_END: Final = re.compile(r"-{10,} end of (?:updated )?arguments -{10,}")
# `_print_args` of megatron/training/arguments.py: two spaces, the name, dots that make it 48 long, the value.
_ENTRY: Final = re.compile(r"(?:^|\s)([a-z_]\w*) (\.*) (.*)$")
_COLUMN: Final = 48
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf|nan")
_LONGEST: Final = 100_000  # characters of one list
_MOST: Final = 5_000  # arguments
_LINES: Final = 200_000  # of a log, in which a run prints its arguments before it trains


def block_in(file: BinaryIO) -> str:
    """The lines of the arguments in a long log; empty where there are none in its beginning."""
    block: list[str] = []
    inside = False
    for _ in range(_LINES):
        line = file.readline(_LONGEST).decode("utf-8", "replace")
        if not line or (block and not inside and len(block) > 1):
            break
        begins = BEGIN.search(line) is not None
        if begins or inside:
            block.append(line)
            inside = not (_END.search(line) or len(block) > _MOST)
    return "".join(block)


def from_log(text: str, name: str) -> Source:
    """The effective arguments that a run prints when it begins; of several times the last.

    Raises:
        SourceError: there are none behind the headline.
    """
    found: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if BEGIN.search(line) and not _END.search(line):
            inside, found = True, {}
        elif _END.search(line):
            inside = False
        elif inside and len(found) < _MOST and (match := _ENTRY.search(line)):
            if len(match[2]) == max(_COLUMN - len(match[1]), 0):
                found[match[1]] = match[3].strip()
    if not found:
        raise SourceError(f"{name} has the headline of Megatron-LM's arguments, and none behind it", 0)
    return _of_values(dict(_from_texts(found)), text, name)


def from_wandb(text: str, name: str) -> Source:
    """The effective arguments of a run that wandb has kept.

    Raises:
        SourceError: there are none.
        YamlProblem: as ``nodes.read``.
    """
    root = read(text, name)
    values: dict[str, Any] = {}
    plain = Values(name)
    for key, node in entries(root) if isinstance(root, Mapping) else ():
        if isinstance(node, Mapping) and (value := item(node, "value")) is not None and not key.text.startswith("_"):
            values[key.text] = plain.of(value)
    if "num_layers" not in values and "micro_batch_size" not in values:
        raise SourceError(f"{name} is a configuration of wandb, and not of a run of Megatron-LM", 0)
    arguments = _arguments(values)
    texts = {key: value for key, value in values.items() if isinstance(value, str)}
    values |= {key: _special(value, arguments.get(key)) for key, value in texts.items()}
    return _of_values(values, text, name)


def from_words(text: str, name: str) -> Source:
    """Flags in a file, with quotes and comments as in a shell; no variable is filled in.

    Raises:
        SourceError: a quote is not closed.
    """
    words: list[Word] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            said = shlex.split(line.removesuffix("\\"), comments=True)
        except ValueError as error:
            raise SourceError(f"{name}:{number}: {error}") from error
        words += [Word(one, Place(name, number, 1)) for one in said]
    command = read_command(tuple(words))
    return Source(command, None, (), text, name, tuple(words))


def from_primus(text: str, name: str, variables: Table[str, str]) -> Source:
    """The overrides of the module that trains, which have Megatron-LM's names.

    Raises:
        SourceError: no module is one of Megatron-LM.
        YamlProblem: as ``nodes.read``.
    """
    root = read(_filled(text, variables), name)
    modules = item(root, "modules") if isinstance(root, Mapping) else None
    for key, module in entries(modules) if isinstance(modules, Mapping) else ():
        overrides = item(module, "overrides") if isinstance(module, Mapping) else None
        if not isinstance(module, Mapping) or text_of(item(module, "framework")) != "megatron":
            continue
        settings = overrides if isinstance(overrides, Mapping) else Mapping([], key.place)
        made = words_of_settings(settings, catalogs.load(_usual()))
        files = [text_of(item(module, which)) for which in ("config", "model")]
        unread = [
            Finding("not-read", f"what {file} of Primus sets is not known here; it counts before the overrides",
                    "write its settings among the overrides", place=key.place)
            for file in files if file
        ]  # fmt: skip
        return Source(read_command(made.words), None, (*unread, *made.findings), text, name)
    raise SourceError(f"{name} has no module of the framework megatron", 0)


def _filled(text: str, variables: Table[str, str]) -> str:
    """``${NAME:default}`` of Primus's own reader: the variable, else the default."""
    return re.sub(
        r"\$\{(\w+)(?::([^}]*))?\}",
        lambda match: variables.get(match[1], match[2] if match[2] is not None else match[0]),
        text,
    )


# Texts -> values ------------------------------------------------------------------------------------------------------


def _of_values(values: Table[str, Any], text: str, name: str) -> Source:
    source = Source.of_values({key: value for key, value in values.items() if value is not _UNKNOWN}, name)
    return source._replace(text=text)


_UNKNOWN: Final = object()


def _from_texts(found: Table[str, str]) -> Iterator[tuple[str, Any]]:
    arguments = _arguments(found)
    for name, text in found.items():
        yield name, _value(text, arguments.get(name))


def _arguments(names: Table[str, Any]) -> dict[str, Argument]:
    return {one.dest: one for one in catalogs.load(detect.version_with(names).version).arguments}


def _value(text: str, argument: Argument | None) -> Any:
    """What ``str`` has made this text of."""
    if text in ("None", "True", "False"):
        return {"None": None, "True": True, "False": False}[text]
    if text[:1] in "[({" and len(text) <= _LONGEST:
        try:
            return _listed(ast.literal_eval(text))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return _UNKNOWN if argument is None or argument.type != "str" else text
    is_text = argument is not None and argument.action == "store" and argument.type in (None, "str")
    if not is_text and len(text) < 100 and _NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    return _special(text, argument)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, set)) else value


def _special(text: str, argument: Argument | None) -> Any:
    """Number formats, members of enums and objects, as ``str`` writes them."""
    if re.fullmatch(r"torch\.(b?float\w*|half|u?int\d*)", text):
        return Symbol(text)
    if re.match(r"<[\w.]+:? .*>$|<class '.*'>$|namespace\(", text):
        member = re.match(r"<\w+\.(\w+): ", text)
        return member[1] if member else _UNKNOWN
    names = (*(argument.choices or ()), *(argument.members or ())) if argument is not None else ()
    member = re.fullmatch(r"[A-Z]\w*\.(\w+)", text)
    return member[1] if member and (argument is None or argument.enum or member[1] in names) else text


def _usual() -> str:
    from bridge_args.pairs.pairs import usual_megatron_lm

    return usual_megatron_lm()
