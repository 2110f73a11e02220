"""List expressions such as ``([0]*3+[1])*2``, worked out on their syntax tree; nothing is ever called."""

from __future__ import annotations

import ast
from typing import Any, Final

# A pattern longer than this is no list of layers; Megatron-LM itself sets no limit and runs out of memory.
LONGEST_PATTERN: Final = 1_000_000
_MOST_WORK: Final = 10_000_000  # items of all lists that are made on the way
_LONGEST_TEXT: Final = 200_000  # characters of an expression


def evaluated(text: str) -> Any:
    """The value of a list expression.

    Raises:
        ValueError: when the text is none, or its value would be too large.
    """
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"{text[:40]}...")
    try:
        return _Evaluation().value_of(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, LookupError, ArithmeticError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error


class _Evaluation:
    """Works one expression out, and counts the items of every list that it makes on the way."""

    def __init__(self) -> None:
        self.made = 0

    def charge(self, items: int) -> None:
        self.made += items
        if items > LONGEST_PATTERN or self.made > _MOST_WORK:
            raise MemoryError

    def value_of(self, node: ast.expr) -> Any:
        """The value of a list expression; only what the permitted characters can spell, so nothing is ever called."""
        match node:
            case ast.Constant(value):
                return value
            case ast.List(elts):
                return self._items(elts)
            case ast.Tuple(elts):
                return tuple(self._items(elts))
            case ast.UnaryOp(ast.UAdd(), operand):
                return +self.value_of(operand)
            case ast.Subscript(whole, index):
                return self.value_of(whole)[self.value_of(index)]
            case ast.BinOp():
                return self._sum_or_product(node)
        raise TypeError(f"{type(node).__name__} cannot be part of a list expression")

    def _items(self, nodes: list[ast.expr]) -> list[Any]:
        items: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                more = self.value_of(node.value)
                self.charge(len(more))
                items.extend(more)
            else:
                items.append(self.value_of(node))
        self.charge(len(items))
        return items

    def _sum_or_product(self, node: ast.BinOp) -> Any:
        # "[0]+[0]+..." nests to the left, one level for each layer: a loop, where recursion would run out of stack.
        operations: list[tuple[ast.operator, ast.expr]] = []
        left: ast.expr = node
        while isinstance(left, ast.BinOp):
            operations.append((left.op, left.right))
            left = left.left
        result = self.value_of(left)
        for operator, right in reversed(operations):
            result = self._combined(result, operator, self.value_of(right))
        return result

    def _combined(self, left: Any, operator: ast.operator, right: Any) -> Any:
        if isinstance(operator, ast.Add):
            if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
                self.charge(len(left) + len(right))
            result = left + right
        elif isinstance(operator, ast.Mult):
            for times, repeated in ((left, right), (right, left)):
                if isinstance(times, int) and isinstance(repeated, (list, tuple)):
                    self.charge(times * len(repeated))
            result = left * right
        elif isinstance(operator, ast.Pow):
            if isinstance(right, int) and right > 64:
                raise OverflowError
            result = left**right
        else:
            raise TypeError("only + and * can be part of a list expression")
        if isinstance(result, int) and result.bit_length() > 4096:
            raise OverflowError
        return result
