"""Does anybody wait for this import to fail?

``try: import triton`` with ``except ImportError`` decides which code Megatron Core takes, and must fail where triton is
not there. ``import triton`` alone would end the program. The source of every module that is being imported tells the
two apart.
"""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache
from types import FrameType
from typing import Final

_IMPORTING: Final = ("importlib.", "bridge_args.emulation.placeholders")  # what stands between two modules
_CAUGHT: Final = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


def is_awaited(frame: FrameType | None) -> bool:
    """Is one of the statements that have led to this frame in a ``try`` that catches a failing import?

    Looks at the modules of Megatron Core and Bridge that import one another, up to the first that is neither: what
    catches an error there does not look for a missing package.
    """
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("megatron."):
            if any(first <= frame.f_lineno <= last for first, last in _waiting(frame.f_code.co_filename)):
                return True
        elif not name.startswith(_IMPORTING):
            return False
        frame = frame.f_back
    return False


@lru_cache(maxsize=None)
def _waiting(file: str) -> tuple[tuple[int, int], ...]:
    """The lines of a source file in which a failing import is caught: first and last of each ``try`` body."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ()
    return tuple(
        (node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any(map(_catches, node.handlers))
    )


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(one, ast.Name) and one.id in _CAUGHT for one in types)
