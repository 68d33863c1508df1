"""The mutants of a file."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import pickle
from collections.abc import Iterator
from typing import Any

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import MutationVisitor
from cosmic_ray.operators.operator import Operator

from tools.mutation.operators import NAMES, OURS


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A file with one fault in it.

    Attributes:
      file: relative to the repository.
      line: where the fault is, from 1.
      operator: what was done.
      source: the whole file with the fault.
      was, becomes: the lines that differ, joined by spaces, without their indentation.
    """

    file: str
    line: int
    operator: str
    source: str
    was: str
    becomes: str


def operators() -> Iterator[Operator]:
    """Every operator that is used, cosmic-ray's and ours."""
    for name in NAMES:
        yield cosmic_ray.plugins.get_operator(f"core/{name}")()
    for operator in OURS:
        yield operator()


def mutants_of(file: str, root: pathlib.Path) -> list[Mutant]:
    """Every mutant of a file that differs from it and can be compiled, each once, in the order of lines."""
    source = (root / file).read_text()
    silent = _left_alone(source)
    tree, seen, found = get_ast(source), {ast.dump(ast.parse(source))}, []
    parsed = pickle.dumps(tree)  # each mutant changes a copy: to parse it again costs many times as much
    for operator in operators():
        positions = [(start, node) for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        for occurrence, ((line, column), node) in enumerate(positions):
            if _parts_parameters(node) or any(first <= (line, column) < last for first, last in silent):
                continue
            mutated = MutationVisitor(occurrence, operator).walk(pickle.loads(parsed)).get_code()
            try:
                meaning = ast.dump(ast.parse(mutated))
                compile(mutated, file, "exec")
            except SyntaxError:
                continue
            if meaning not in seen:
                seen.add(meaning)
                was, becomes = _difference(source, mutated)
                found.append(Mutant(file, line, type(operator).__name__, mutated, was, becomes))
    return sorted(found, key=lambda mutant: mutant.line)


def _parts_parameters(node: Any) -> bool:
    """Whether it is the ``*`` after which parameters have to be named: mypy holds the calls against it."""
    return node.type == "operator" and node.parent.type in ("parameters", "lambdef")


def _left_alone(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where types stand (annotations, aliases) and what decorators are given (``frozen=True``): mypy looks after both."""
    parts: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts.append(node.returns)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and _names_a_type(node.value.value):
            parts.append(node.value)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            parts += [
                argument for call in node.decorator_list if isinstance(call, ast.Call) for argument in _given(call)
            ]
    return [
        ((part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)) for part in parts if part
    ]


def _names_a_type(subscripted: ast.expr) -> bool:
    return isinstance(subscripted, ast.Name) and subscripted.id[:1].isupper() and not subscripted.id.isupper()


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _difference(source: str, mutated: str) -> tuple[str, str]:
    was, becomes = source.splitlines(), mutated.splitlines()
    while was and becomes and was[0] == becomes[0]:
        del was[0], becomes[0]
    while was and becomes and was[-1] == becomes[-1]:
        del was[-1], becomes[-1]
    return " ".join(map(str.strip, was)), " ".join(map(str.strip, becomes))
