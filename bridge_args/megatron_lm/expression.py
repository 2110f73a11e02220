"""List expressions such as ``([0]*3+[1])*2``, worked out on their syntax tree; nothing is ever called."""

from __future__ import annotations

import ast
from typing import Any, Final

# A pattern longer than this is no list of layers; Megatron-LM itself sets no limit and runs out of memory.
LONGEST_PATTERN: Final = 1_000_000


def evaluated(text: str) -> Any:
    """The value of a list expression.

    Raises:
        ValueError: when the text is none, or its value would be too large.
    """
    try:
        return value_of(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError, LookupError, ArithmeticError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error


def value_of(node: ast.expr) -> Any:
    """The value of a list expression; only what the permitted characters can spell, so nothing is ever called."""
    match node:
        case ast.Constant(value):
            return value
        case ast.List(elts):
            return _items(elts)
        case ast.Tuple(elts):
            return tuple(_items(elts))
        case ast.UnaryOp(ast.UAdd(), operand):
            return +value_of(operand)
        case ast.Subscript(whole, index):
            return value_of(whole)[value_of(index)]
        case ast.BinOp():
            return _sum_or_product(node)
    raise TypeError(f"{type(node).__name__} cannot be part of a list expression")


def _items(nodes: list[ast.expr]) -> list[Any]:
    items: list[Any] = []
    for node in nodes:
        if isinstance(node, ast.Starred):
            items.extend(value_of(node.value))
        else:
            items.append(value_of(node))
    return items


def _sum_or_product(node: ast.BinOp) -> Any:
    # "[0]+[0]+..." nests to the left, one level for each layer: a loop, where recursion would run out of stack.
    operations: list[tuple[ast.operator, ast.expr]] = []
    left: ast.expr = node
    while isinstance(left, ast.BinOp):
        operations.append((left.op, left.right))
        left = left.left
    result = value_of(left)
    for operator, right in reversed(operations):
        result = _combined(result, operator, value_of(right))
    return result


def _combined(left: Any, operator: ast.operator, right: Any) -> Any:
    if isinstance(operator, ast.Add):
        result = left + right
    elif isinstance(operator, ast.Mult):
        for times, repeated in ((left, right), (right, left)):
            if (
                isinstance(times, int)
                and isinstance(repeated, (list, tuple))
                and times * len(repeated) > LONGEST_PATTERN
            ):
                raise MemoryError
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
