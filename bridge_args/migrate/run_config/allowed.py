"""Which classes and functions a file that we write may name: fewer than any Bridge allows.

Bridge 0.3 builds whatever a file names, and later versions whatever lies below a few packages (``bridge/targets.py``).
A file that comes from elsewhere is not to reach that point through us: it is refused before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from bridge_args.bridge.names import ROLES
from bridge_args.records import Record

# Packages whose classes and functions configure a run.
_PACKAGES: Final = (
    "megatron.bridge.", "megatron.core.", "megatron.training.", "megatron.energon.", "torch.nn.", "torch._C._nn.",
)  # fmt: skip
# What a file of NeMo's may name besides; none of it comes into a file that we write.
NEMO: Final = ("nemo.tron.", "nemo.collections.llm.", "nemo.collections.vlm.", "nemo.collections.common.")
_ONE_BY_ONE: Final = frozenset(("signal.Signals", "functools.partial"))
_DTYPE: Final = re.compile(r"torch\.(bfloat16|half|float|double|float\d+(_\w+)?|u?int\d+|bool)")
# Plain data of Hugging Face's: configurations, and what makes one of a mapping.
_HUGGING_FACE: Final = re.compile(r"transformers\.[\w.]*Config(\.from_dict)?|transformers_modules\.[\w.]*Config")
# What changes the lists of later versions.
_NEVER: Final = re.compile(r"(.*\.)?(instantiate_utils|_\w+|subprocess|os|sys|builtins|importlib)(\..*)?")
_FUNCTIONS: Final = "torch._C._nn."  # where gelu is, which no file can call by another name
_ROLES: Final = frozenset(name.path for names in ROLES.values() for name in names)


class Named(Record):
    """A class or function that a file names.

    Attributes:
        path: where: ``model.activation_func``.
        target: its dotted name; of something else than a text what it is.
        called: building the file calls it.
    """

    path: str
    target: Any
    called: bool


def named_in(value: Any, path: str = "") -> Iterator[Named]:
    """Every class and function that plain data names, wherever it stands."""
    if isinstance(value, dict):
        if "_target_" in value:
            called = value.get("_call_") is not False and value.get("_partial_") is not True
            yield Named(path, value["_target_"], called)
        for key, item in value.items():
            yield from named_in(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from named_in(item, f"{path}[{index}]")


def is_allowed(named: Named, more: tuple[str, ...] = ()) -> bool:
    """May a file name it there?

    Args:
        more: packages, beyond those of Bridge, of which a file may name anything.
    """
    target = named.target
    if not isinstance(target, str) or not re.fullmatch(r"\w+(\.\w+)+", target):
        return False
    if target.startswith(more or ("?",)):
        return True
    if _NEVER.fullmatch(target) and not target.startswith(_FUNCTIONS):
        return False
    if target in _ONE_BY_ONE or target in _ROLES or _DTYPE.fullmatch(target) or _HUGGING_FACE.fullmatch(target):
        return True
    if not target.startswith(_PACKAGES):
        return False
    return not named.called or target.rpartition(".")[2][:1].isupper()
