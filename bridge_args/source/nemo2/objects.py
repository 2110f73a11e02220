"""What a file of NeMo 2.0 describes: objects by the names of their classes, with what each is given. Nothing is built.

A recipe (``nemo_run.Partial`` and ``nemo_run.Config``) is a tree of such objects, whether it stands in YAML, in the
JSON of a checkpoint's ``io.json`` or, for a part of it, in a pickle.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from bridge_args.errors import UserError
from bridge_args.records import Record
from bridge_args.values import Symbol
from bridge_args.words import Place


class Nemo2Problem(UserError, ValueError):
    """The file cannot be read as a configuration of NeMo 2.0; the message says where and why."""


class Given(Record):
    """One value that an object is given.

    Attributes:
        value: plain data, a ``Made``, or a list or mapping of these.
        text: how it stands in the file.
        place: the file and the line.
    """

    value: Any
    text: str
    place: Place | None = None


class Made(Record):
    """An object by the name of its class, or the result of a function by its name.

    Attributes:
        target: the class or function.
        given: keyword to value.
        place: the file and the line.
        complete: every field is given, defaults too, as a checkpoint keeps it.
    """

    target: str
    given: Mapping[str, Given] = MappingProxyType({})
    place: Place | None = None
    complete: bool = False

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.target.rpartition(".")[2]

    def value(self, name: str, default: Any = None) -> Any:
        """What it is given under a name."""
        return self.given[name].value if name in self.given else default

    def all(self) -> Iterator[Made]:
        """The object and those within it."""
        ahead: list[Any] = [self]
        while ahead:
            one = ahead.pop(0)
            if isinstance(one, Made):
                yield one
                ahead += [given.value for given in one.given.values()]
            elif isinstance(one, list):
                ahead += one
            elif isinstance(one, dict):
                ahead += one.values()


# What a configuration of NeMo is made of. None of it is imported. Another name is a class of the user's own, or says
# that the file wants something else than a configuration.
_KNOWN: Final = re.compile(
    r"nemo\.(collections|lightning|utils|core)\.[\w.]+|nemo_run\.[\w.]+|megatron\.core\.[\w.]+"
    r"|(lightning|pytorch_lightning)\.[\w.]+|transformers\.[\w.]+"
    r"|torch\.(b?float\w*|half|double|u?int\d*|short|long|bool)"
    r"|torch\.(tanh|sigmoid|relu|_C\._nn\.\w+|nn\.(functional|init)\.\w+|optim\.[\w.]+)"
    r"|datetime\.timedelta|functools\.partial|pathlib\.\w*Path|signal\.Signals"
    r"|builtins\.(dict|list|tuple|set|bool|int|float|str)"
)
_MODULES: Final = frozenset(
    "os sys subprocess builtins shutil importlib pickle ctypes socket pty runpy posix io code".split()
)


# Packages that are nobody's own: what they have and is not known above is no part of a configuration.
_OTHERS: Final = sys.stdlib_module_names | frozenset(
    "nemo nemo_run megatron lightning pytorch_lightning transformers torch numpy fiddle cloudpickle dill joblib yaml "
    "omegaconf hydra pip setuptools pkg_resources".split()
)
_OWN: Final = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+")


def is_own(target: object) -> bool:
    """Is it a class or function of the user's own: a dotted name in a package that is nobody else's?"""
    if not isinstance(target, str) or len(target) > 200 or not _OWN.fullmatch(target):
        return False
    first, *rest = target.split(".")
    return first not in _OTHERS and not _MODULES.intersection((first, *rest))


def own_in(value: Any) -> Iterator[str]:
    """The names of the user's own that a value holds."""
    if isinstance(value, (Made, Symbol)):
        target = value.target if isinstance(value, Made) else value.path
        if is_own(target):
            yield target
            return
    if isinstance(value, Made):
        value = [given.value for given in value.given.values()]
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from own_in(one)


def checked(target: Any, place: object) -> str:
    """The name of a class or function, if a configuration of NeMo may have it, or it is one of the user's own.

    Raises:
        Nemo2Problem: it is no such name.
    """
    if is_own(target):
        return str(target)
    steps = target.split(".")[1:] if isinstance(target, str) else []
    hidden = any(not step or step.startswith("__") for step in steps)
    through = set(steps[:-1]) & (_MODULES - ({"io"} if str(target).startswith("nemo.lightning.io.") else set()))
    if not isinstance(target, str) or not _KNOWN.fullmatch(target) or hidden or through:
        raise Nemo2Problem(
            f"{place}: {str(target)[:100]!r} is no class or function that a configuration of NeMo is made of; nothing "
            "of the file is used. Take it out, and say what it did in Bridge's own way"
        )
    return target


def symbol(target: str) -> Symbol:
    """A class, function or dtype that is named, and not called."""
    return Symbol(target)
