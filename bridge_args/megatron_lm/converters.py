"""The converters Megatron-LM's parser applies to a value: text in, value out, ``ValueError`` for what it refuses.

Which argument has which converter is in the catalogs; what each accepts is checked against Megatron-LM's own
functions (``megatron/training/arguments.py``) by ``tests/against/test_parse_live.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from bridge_args.megatron_lm.catalog import Argument

# Enums that have several names for a member (``signal.Signals`` on Linux).
_SAME_MEMBER: Final = {"SIGCLD": "SIGCHLD", "SIGIOT": "SIGABRT", "SIGPOLL": "SIGIO"}

# Words that the converters of the CUDA graph arguments let through as text beside the enum's members.
_FULL: Final = ("full",)
_FULL_SCOPES: Final = ("full", "full_iteration", "full_iteration_inference")


def converter_of(argument: Argument) -> Callable[[str], Any]:
    """The function that turns a typed word into the argument's value.

    Enum members stay text: the member's name. The functions raise ``ValueError`` for every value on which
    Megatron-LM's parser stops, with an error of its own or with an exception of the converter.
    """
    name = argument.type
    if name is None:
        return str
    known = _CONVERTERS.get(name)
    if known is not None:
        return known
    names = words_of(argument)
    assert names is not None, argument

    def member(text: str) -> str:
        text = _SAME_MEMBER.get(text, text)
        if text not in names:
            raise ValueError(text)
        return text

    return member


def converts(argument: Argument) -> bool:
    """Is the argument's converter one of those here? A fork may have its own."""
    return argument.type is None or argument.type in _CONVERTERS or words_of(argument) is not None


def words_of(argument: Argument) -> tuple[Any, ...] | None:
    """The values an argument accepts, where they can be listed."""
    if argument.members is None:
        return argument.choices
    if argument.type == "_parse_cuda_graph_modules_arg":
        return argument.members + _FULL_SCOPES
    if argument.enum is not None and argument.enum.endswith(".CudaGraphScope"):
        return argument.members + _FULL
    return argument.members


def expectation(argument: Argument) -> str:
    """What one value of the argument must be, as the end of "--flag expects ..."."""
    words = words_of(argument)
    if words is not None:
        return "one of " + ", ".join(str(word) for word in words)
    return _EXPECTATIONS.get(argument.type or "str", "a value")


def layer_frequency(text: str) -> Any:
    """An integer ("2"), or a Python list expression made of digits and ``, [ ] ( ) + *`` ("([0]*3+[1])*2")."""
    if "[" not in text:
        return int(text)
    if re.search(r"[^,\d\[\]()+*]", text):
        raise ValueError(text)
    from bridge_args.megatron_lm.expression import evaluated  # few command lines need it

    return evaluated(text)


def int_tuple(text: str) -> tuple[int, ...]:
    """Integers with commas between them, in parentheses or not: "1024,0" or "(1024,0)"."""
    return tuple(int(part) for part in text.strip("()").split(","))


_CONVERTERS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "moe_freq_type": layer_frequency,
    "no_rope_freq_type": layer_frequency,
    "la_freq_type": layer_frequency,
    "tuple_type": int_tuple,
}

_PATTERN: Final = 'a whole number or a list such as "([0]*3+[1]*27)"'

_EXPECTATIONS: Final = {
    "int": "a whole number",
    "float": "a number",
    "moe_freq_type": _PATTERN,
    "no_rope_freq_type": _PATTERN,
    "la_freq_type": _PATTERN,
    "tuple_type": 'whole numbers with commas between them, such as "1024,0"',
}
