"""Triton's ``config.pbtxt``: read as protobuf's text format, whatever its fields are, and made of the spec.

protobuf's own reader needs the whole of Triton's schema, which no package has alone; its old versions cannot pass over lists.
"""

from __future__ import annotations

import json
import re
from typing import Union

from infra_validator.core.errors import SpecError
from infra_validator.serving_binaries.layouts.arrangement import LAYOUT, ServedModel
from infra_validator.specs.binaries.model_repository import TritonLayout
from infra_validator.specs.binaries.open_inference import parts_of

Value = Union[str, int, "Fields"]
#: Field -> its values, in order: a text, an identifier or a number with a fraction as text, a whole number, or the fields of a message.
Fields = dict[str, list[Value]]

_TOKEN = re.compile(
    r"""[ \t\r\n\v\f]+|\#[^\n]*
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>-?\s*(?:0[xX][0-9a-fA-F]+|[0-9]+(?!\w|\.))|-?\s*\.?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?[fF]?|-\s*(?:inf|nan)\w*)
    |(?P<word>[A-Za-z_]\w*)
    |(?P<mark>[][{}<>:;,])""",
    re.VERBOSE,
)
_CLOSES = {"{": "}", "<": ">"}
_DEEPEST = 100  # as protobuf's own limit
_NAMES = {"BYTES": "STRING"}  # the other datatypes are called alike


def read_config(text: str) -> Fields:
    """The fields of a configuration.

    Raises:
      ValueError: it is no text proto, or the fields that the server needs first are of another type; says where.
    """
    fields = _Reader(text).whole()
    for name, kind in (("name", str), ("backend", str), ("platform", str), ("max_batch_size", int)):
        values = fields.get(name, [])
        if len(values) > 1 or any(not isinstance(value, kind) for value in values):
            raise ValueError(f"the field {name} must be one {'text' if kind is str else 'whole number'}")
    return fields


class _Reader:
    """One text, read from the left."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []  # kind, token, where
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._problem(at, f"{text[at]!r} does not belong there")
            if match.lastgroup:
                self._tokens.append((match.lastgroup, match[0], at))
            at = match.end()
        self._tokens.append(("end", "", len(text)))
        self._next = 0

    def whole(self) -> Fields:
        return self._fields("", 0)

    def _fields(self, end: str, depth: int) -> Fields:
        """Fields up to ``end``, which is taken; empty: the end of the text."""
        found: Fields = {}
        if depth > _DEEPEST:
            raise self._problem(self._tokens[self._next][2], "it is nested too deeply")
        while not self._takes(end):
            _, name, at = self._take("word", "the name of a field")
            colon = self._takes(":")
            values = found.setdefault(name, [])
            if self._takes("["):
                while not self._takes("]"):
                    values.append(self._value(depth))
                    if not self._takes(","):
                        self._must("]")
                        break
            elif colon or self._tokens[self._next][1] in _CLOSES:
                values.append(self._value(depth))
            else:
                raise self._problem(at, f"after {name!r} there must be ':' or a message")
            self._takes(",") or self._takes(";")
        return found

    def _value(self, depth: int) -> Value:
        kind, token, at = self._tokens[self._next]
        if token in _CLOSES:
            self._next += 1
            return self._fields(_CLOSES[token], depth + 1)
        if kind == "text":
            parts = []
            while self._tokens[self._next][0] == "text":
                parts.append(self._tokens[self._next][1][1:-1])
                self._next += 1
            return "".join(parts)
        if kind not in ("word", "number"):
            raise self._problem(at, f"there must be a value, not {token!r}")
        self._next += 1
        try:
            return int(re.sub(r"\s", "", token), 0) if kind == "number" else token
        except ValueError:
            return token

    def _takes(self, token: str) -> bool:
        kind, there, _ = self._tokens[self._next]
        if there != token or kind == "text":
            return False
        self._next += 1
        return True

    def _must(self, token: str) -> None:
        if not self._takes(token):
            raise self._problem(self._tokens[self._next][2], f"there must be {token!r}")

    def _take(self, kind: str, what: str) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        if token[0] != kind:
            raise self._problem(token[2], f"there must be {what}, not {token[1]!r}")
        self._next += 1
        return token

    def _problem(self, at: int, what: str) -> ValueError:
        before = self._text[:at]
        return ValueError(f"line {before.count(chr(10)) + 1}, column {at - before.rfind(chr(10))}: {what}")


def make_config(layout: TritonLayout, model: ServedModel) -> str:
    """The text of a configuration for what the spec describes.

    Raises:
      SpecError: a tensor has no room for the batch's dimension.
    """
    lines = [f"name: {_quoted(model.name)}"]
    lines += [f"{name}: {_quoted(value)}" for name in ("backend", "platform") if (value := getattr(layout, name))]
    lines.append(f"max_batch_size: {layout.max_batch_size}")
    for field, part in (("inputs", "input"), ("outputs", "output")):
        for name, text in getattr(model.config, field).items():
            datatype, dims = _tensor(layout, text, f"serving_spec.open_inference.{field}.{name}")
            shape = ", ".join(map(str, dims))
            lines.append(f"{part} {{ name: {_quoted(name)} data_type: {datatype} dims: [ {shape} ] }}")
    for name, value in layout.parameters.items():
        lines.append(f"parameters {{ key: {_quoted(name)} value {{ string_value: {_quoted(value)} }} }}")
    return "\n".join(lines) + "\n"


def _tensor(layout: TritonLayout, text: str, field: str) -> tuple[str, tuple[int, ...]]:
    datatype, shape = parts_of(text, field)
    if layout.max_batch_size and shape[:1] != (-1,):
        problem = f"must begin with the batch's dimension, -1, since {LAYOUT}.triton.max_batch_size is given"
        raise SpecError(field, f"{problem}; not {text!r}")
    dims = shape[1:] if layout.max_batch_size else shape
    if not dims:
        raise SpecError(
            field, f"must have a dimension besides the batch's, since Triton knows no scalars; not {text!r}"
        )
    return f"TYPE_{_NAMES.get(datatype, datatype)}", dims


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
