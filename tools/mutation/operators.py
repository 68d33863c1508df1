"""What is done to the code: cosmic-ray's operators that change a meaning, and four of our own for tables, names and statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import parso
from cosmic_ray.operators.operator import Example, Operator

#: Of cosmic-ray's. Its other replacements of an operator mostly end in a TypeError, which any test notices.
NAMES = (
    "AddNot",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_Mod_Mul",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_GtE_Lt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Gt_LtE",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_LtE_Gt",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Lt_GtE",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "ZeroIterationForLoop",
)

Position = tuple[tuple[int, int], tuple[int, int]]


class DropStatement(Operator):
    """``pass`` for a call, a raise, a change of an attribute or ``+=``; ``return None`` for a return of something."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if _can_be_dropped(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        instead = "return None" if node.type == "return_stmt" else "pass"
        return parso.parse(_prefix(node) + instead)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("def f():\n    close()\n", "def f():\n    pass\n"),)


class DropRow(Operator):
    """A row less in a table that stands outside of functions."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        children = list(node.children) if hasattr(node, "children") else []
        for first, last in self._rows(node):
            yield children[first].start_pos, children[last - 1].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first, last = self._rows(node)[index]
        del node.children[first : last + 1]
        return node

    @staticmethod
    def _rows(node: Any) -> list[tuple[int, int]]:
        """Where each row begins and ends among the children; of a table of one row none."""
        if node.type not in ("testlist_comp", "dictorsetmaker", "arglist") or parso_function(node):
            return []
        if node.type == "arglist" and not node.parent.get_code().strip().startswith("frozenset"):
            return []
        if any(child.type in ("comp_for", "sync_comp_for") for child in node.children):
            return []
        rows, first = [], 0
        for number, child in enumerate([*node.children, None]):
            if child is None or child == ",":
                if number > first:
                    rows.append((first, number))
                first = number + 1
        return rows if len(rows) > 1 else []

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("T = (1, 2)", "T = ( 2)"),)


class ReplaceMember(Operator):
    """Another member of an enumeration: the next one that the file names, in the order of the alphabet."""

    def __init__(self) -> None:
        self._tree: Any = None
        self._members: dict[str, list[str]] = {}

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        if self._other(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.value = self._other(node)
        return node

    def _other(self, node: Any) -> str:
        if node.type != "name" or not re.fullmatch(r"[A-Z][A-Z0-9_]+", node.value):
            return ""
        dot = node.get_previous_leaf()
        if dot is None or dot != ".":
            return ""
        owner = dot.get_previous_leaf().value
        if not re.fullmatch(r"_?[A-Z][A-Za-z]*", owner):
            return ""
        members = self._members_of(owner, node.get_root_node())
        other = members[(members.index(node.value) + 1) % len(members)]
        return "" if other == node.value else other

    def _members_of(self, owner: str, tree: Any) -> list[str]:
        if tree is not self._tree:
            self._tree, self._members = tree, {}
        if owner not in self._members:
            found = set(re.findall(rf"\b{owner}\.([A-Z][A-Z0-9_]+)\b", tree.get_code()))
            self._members[owner] = sorted(found | ({"INTERNAL_ERROR"} if owner in ("ReasonCode", "_R") else set()))
        return self._members[owner]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("x = A.ONE\ny = A.TWO", "x = A.TWO\ny = A.TWO"),)


class DropAlternative(Operator):
    """An alternative less in a regular expression, which is a raw string."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for _ in self._alternatives(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first, last = self._alternatives(node)[index]
        node.value = node.value[:first] + node.value[last:]
        return node

    @staticmethod
    def _alternatives(node: Any) -> list[tuple[int, int]]:
        """The parts of the string without which it has one alternative less: each with the ``|`` that parts it from a neighbour."""
        if node.type != "string" or not node.value.startswith(("r'", 'r"')):
            return []
        text, found = node.value, []
        groups: list[list[int]] = [[2]]  # of each open group where its alternatives begin
        position = 2
        while position < len(text):
            letter = text[position]
            if letter == "\\":
                position += 2
                continue
            if letter == "[":
                position = text.index("]", position + 2)
            elif letter == "(":
                opened = re.compile(r"\(\?(?:P<\w+>|[a-zA-Z]*:|[=!]|<[=!])|\(").match(text, position)
                assert opened is not None
                groups.append([opened.end()])
            elif letter == "|":
                groups[-1].append(position + 1)
            elif (letter == ")" and len(groups) > 1) or position == len(text) - 1:
                begins = groups.pop()
                ends = [*(begin - 1 for begin in begins[1:]), position]
                if len(begins) > 1:
                    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
                        if end > begin:
                            found.append((begin - 1, end) if number else (begin, end + 1))
            position += 1
        return found

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example('x = r"a|b"', 'x = r"b"'),)


OURS: tuple[type[Operator], ...] = (DropStatement, DropRow, ReplaceMember, DropAlternative)


def parso_function(node: Any) -> Any:
    """The function around a node; None outside of functions."""
    while node is not None and node.type not in ("funcdef", "lambdef"):
        node = node.parent
    return node


def _prefix(node: Any) -> str:
    return str(node.get_first_leaf().prefix)


def _can_be_dropped(node: Any) -> bool:
    if node.parent is None or node.parent.type != "simple_stmt" or not parso_function(node):
        return False
    if node.type == "return_stmt":
        return bool(node.children[1:]) and node.get_code().strip() != "return None"
    if node.type == "raise_stmt":
        return True
    if node.type == "expr_stmt":
        target, sign = node.children[0], node.children[1]
        return target.type in ("atom_expr", "power") or (sign.type == "operator" and sign.value.endswith("="))
    called = node.type in ("atom_expr", "power") and node.children[-1].get_code().startswith("(")
    return called and not node.get_code().strip().startswith("_LOG.")
