"""Other values for arguments that a file of ``torch.save`` holds, and nothing else of it changed; nothing of it is run.

A pickle builds the namespace of the arguments and then gives it its values. Behind that place it is told to give it a
few more, in codes that ``torch.load`` takes with ``weights_only`` too.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bridge_args.checkpoint.unpickle import Refused, Thing, plain, structure_of

_KINDS: Final = (type(None), bool, int, float, str)
_NAMESPACE: Final = "argparse.Namespace"
_FRAME: Final = pickle.FRAME[0]


def amended(content: bytes, values: Mapping[str, Any], path: Path) -> bytes:
    """The file with other values of ``args``.

    Args:
        content: what ``torch.save`` has written of a mapping with the arguments under ``args``, or of a list that
            begins with one.
        values: plain ones, and lists of them, by the argument's name.
        path: where the content is from.

    Raises:
        Refused: it is no such file.
    """
    structure, held, ends = structure_of(content, path)
    args = _arguments(held)
    end = ends.get(id(args))
    if end is None or structure[end - 1 : end] != pickle.BUILD or structure[2] == _FRAME:
        raise Refused("its arguments are not kept as torch.save keeps them")
    new = structure[:end] + _state(values) + structure[end:]
    made = _replaced(content, new)
    _, again, _ = structure_of(made, path)
    if plain(_arguments(again)) != {**plain(args), **values}:
        raise Refused("its arguments do not take other values")
    return made


def _arguments(held: Any) -> Thing:
    held = held[0] if isinstance(held, list) and held else held
    args = held.get("args") if isinstance(held, dict) else None
    if not isinstance(args, Thing) or args.path != _NAMESPACE or not isinstance(args.state, dict):
        raise Refused("it holds no arguments of Megatron-LM")
    return args


def _state(values: Mapping[str, Any]) -> bytes:
    """Codes that give more values to what was made last.

    No number of the memo is used: those belong to what follows.
    """
    for name, value in values.items():
        if not all(isinstance(one, _KINDS) for one in (value if isinstance(value, list) else [value])):
            raise TypeError(f"{name} is no plain value: {value!r}")
    codes = bytearray()
    for name, value in values.items():
        codes += _plain(name) + _plain(value) + pickle.SETITEM
    return pickle.EMPTY_DICT + bytes(codes) + pickle.BUILD


def _plain(value: Any) -> bytes:
    if isinstance(value, list):
        return pickle.EMPTY_LIST + b"".join(_plain(one) + pickle.APPEND for one in value)
    code = pickletools.optimize(pickle.dumps(value, protocol=2))
    return code[2:-1]  # between the protocol and the stop


def _replaced(content: bytes, structure: bytes) -> bytes:
    """The archive with another pickle, its members in their order and as long as before."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise Refused("it is compressed, which torch.save does not do")
            inside = structure if f"/{entry.filename}".endswith("/data.pkl") else old.read(entry)
            new.writestr(zipfile.ZipInfo(entry.filename), inside)
    return out.getvalue()
