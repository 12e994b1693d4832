"""An expression being worked out: which operations are steps of its own, and what each leaves over.

``7*6=42`` evaluates as stated and is yet no step of ``2+7*5+3-4*6``. An operation belongs to an expression
where its operands stand in it as the operands of one sum, product or power. Its result then takes their
place, so that every expression reached this way has the value of the first.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from arkloom.steps.operations import plain, value

_MOST = 64  # expressions kept: more than any trace has operations
_IMPLIED = re.compile(r"(?<=[\d)])\(")  # 2(3+4)
_TIMES = re.compile(r"(?<=[\d)])\s*[xX]\s*(?=[\d(])")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3})")


@dataclass(frozen=True, slots=True)
class _Node:
    """A sum or product of any number of parts in a fixed order, a power, or the inverse of its one part."""

    kind: Literal["+", "*", "^", "/"]
    parts: tuple[_Tree, ...]


_Tree = _Node | Fraction


class Reduction:
    """The expressions that a problem has become so far.

    Args:
        question: The problem, an expression; of one that cannot be read no operation is a step.
    """

    def __init__(self, question: str) -> None:
        tree = _parse(question)
        self._states = [] if tree is None else [tree]

    def takes(self, operation: str, result: str | None) -> bool:
        """Whether an operation that evaluates as stated is a step; its result is used from then on.

        Args:
            operation: As ``steps.operations.Equation`` has it.
            result: The number that is stated; None: its exact value.
        """
        done, amount = _parse(operation), value(operation) if result is None else Fraction(result)
        if not isinstance(done, _Node) or amount is None:
            return False
        for state in reversed(self._states):
            left = _replaced(state, done, amount)
            if left == state and isinstance(turned := _negated(done), _Node):
                left = _replaced(state, turned, -amount)
            if left != state:
                if left not in self._states and len(self._states) < _MOST:
                    self._states.append(left)
                return True
        return False


def _parse(text: str) -> _Tree | None:
    """The tree of an expression that ``value`` can read, which bounds its size; None of any other."""
    if value(text) is None:
        return None
    text = _THOUSANDS.sub("", _IMPLIED.sub("*(", _TIMES.sub("*", plain(text)))).replace("^", "**")
    try:
        return _tree(ast.parse(text.strip(), mode="eval").body, text.strip())
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _tree(node: ast.expr, text: str) -> _Tree:
    match node:
        case ast.Constant():
            return Fraction(ast.get_source_segment(text, node) or "")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _negated(_tree(operand, text))
        case ast.BinOp(left=left, op=sign, right=right):
            return _joined(_tree(left, text), sign, _tree(right, text))
    raise ValueError("no arithmetic")


def _joined(left: _Tree, sign: ast.operator, right: _Tree) -> _Tree:
    match sign:
        case ast.Add():
            return _sum((left, right))
        case ast.Sub():
            return _sum((left, _negated(right)))
        case ast.Mult():
            return _product((left, right))
        case ast.Div():
            return _product((left, _inverse(right)))
        case ast.Pow():
            return _Node("^", (left, right))
    raise ValueError("no arithmetic")


def _replaced(tree: _Tree, done: _Node, result: Fraction) -> _Tree:
    """The tree with ``result`` wherever the operation stands in it."""
    if not isinstance(tree, _Node):
        return tree
    if tree == done:
        return result
    parts: list[_Tree] = [_replaced(part, done, result) for part in tree.parts]
    if tree.kind == done.kind and tree.kind in "+*" and not Counter(done.parts) - Counter(tree.parts):
        left = Counter(tree.parts) - Counter(done.parts)
        parts = [*left.elements(), result]
    return _made(tree.kind, tuple(parts))


def _made(kind: str, parts: tuple[_Tree, ...]) -> _Tree:
    if kind == "+":
        return _sum(parts)
    if kind == "*":
        return _product(parts)
    return _inverse(parts[0]) if kind == "/" else _Node("^", parts)


def _sum(parts: tuple[_Tree, ...]) -> _Tree:
    flat = [each for part in parts for each in _flat(part, "+")]
    return flat[0] if len(flat) == 1 else _Node("+", _ordered(flat))


def _product(parts: tuple[_Tree, ...]) -> _Tree:
    """Factors without their signs, and -1 where one is left; two factors at least."""
    flat = [each for part in parts for each in _flat(part, "*")]
    minus = sum(isinstance(each, Fraction) and each < 0 for each in flat) % 2
    size = [abs(each) if isinstance(each, Fraction) else each for each in flat if each != -1]
    if len(size) < 2:
        only = size[0] if size else Fraction(1)
        return _negated(only) if minus else only
    return _Node("*", _ordered([*size, *[Fraction(-1)] * minus]))


def _negated(tree: _Tree) -> _Tree:
    if isinstance(tree, Fraction):
        return -tree
    if tree.kind == "+":
        return _sum(tuple(map(_negated, tree.parts)))
    if tree.kind == "*":
        return _product((*tree.parts, Fraction(-1)))
    return _Node("*", (tree, Fraction(-1)))


def _inverse(tree: _Tree) -> _Tree:
    return 1 / tree if isinstance(tree, Fraction) else _Node("/", (tree,))


def _flat(tree: _Tree, kind: str) -> tuple[_Tree, ...]:
    return tree.parts if isinstance(tree, _Node) and tree.kind == kind else (tree,)


def _ordered(parts: list[_Tree]) -> tuple[_Tree, ...]:
    return tuple(sorted(parts, key=repr))
