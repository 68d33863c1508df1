"""JSON values -> tensors, and tensors -> JSON text (contract 6.5)."""

from __future__ import annotations

import array
import base64
import binascii
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import STRING, Tensor
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument

_INT32_RANGE = (-(2**31), 2**31 - 1)
# dtype -> the range of integer tokens that are taken. Narrow types have int32's range and keep the low bits.
_INTEGER_RANGE = {
    **dict.fromkeys((tensors.INT32, tensors.INT16, tensors.INT8, tensors.UINT8), _INT32_RANGE),
    tensors.INT64: (-(2**63), 2**63 - 1),
    tensors.UINT32: (0, 2**32 - 1),
    tensors.UINT64: (0, 2**64 - 1),
}
_FLOATS = (tensors.FLOAT, tensors.DOUBLE)
_READABLE = {*_FLOATS, *_INTEGER_RANGE, tensors.BOOL, STRING}
_WRITABLE = _READABLE
_BITS = {tensors.INT16: (16, 1), tensors.INT8: (8, 1), tensors.UINT8: (8, 0)}  # width, whether signed
_HIGHEST_RANK = 254


# ------------------------------------------------------------------------------------------------ JSON -> tensors


class TensorBuilder:
    """Collects JSON values into one tensor.

    Args:
      dtype: of the tensor.
      rows: whether values are rows of a batch (each ``add`` is one), or the one value is the tensor.
    """

    def __init__(self, dtype: int, rows: bool) -> None:
        self._dtype = dtype
        self._rows = rows
        self._shape: tuple[int, ...] | None = None
        self._count = 0
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Take one value.

        Raises:
          StatusError: it is not of the dtype, ragged, or of another shape than those before.
        """
        shape = _dense_shape(value)
        leaves, kinds = _flatten(value, shape)
        if leaves is None or not self._take(leaves, kinds):
            self._explain(value, shape)
        if self._shape is not None:
            before, now = math.prod(self._shape), math.prod(shape)
            if before != now:
                raise invalid_argument(f"Expecting tensor size: {before} but got: {now}")
            if self._shape != shape:
                expected, got = tensors.shape_text(self._shape), tensors.shape_text(shape)
                raise invalid_argument(f"Expecting shape {expected} but got: {got}")
        self._shape = shape
        self._count += 1

    def add_rows(self, rows: list[Any]) -> bool:
        """Take all rows of a request at once if nothing is wrong with any of them; else nothing, and ``add`` tells what is."""
        shape = _dense_shape(rows)
        leaves, kinds = _flatten(rows, shape)
        try:
            if leaves is None or not self._take(leaves, kinds):
                return False
        except StatusError:  # a string that is not base64
            return False
        self._shape, self._count = shape[1:], len(rows)
        return True

    def _take(self, leaves: list[Any], kinds: set[type]) -> bool:
        """Append leaves, of these types, if all are of the dtype."""
        if self._dtype in _FLOATS:
            fits = kinds <= {int, float}
        elif self._dtype in _INTEGER_RANGE:
            low, high = _INTEGER_RANGE[self._dtype]
            fits = kinds <= {int} and (not leaves or (min(leaves) >= low and max(leaves) <= high))
        elif self._dtype == tensors.BOOL:
            fits = kinds <= {bool}
        else:
            fits = self._dtype == STRING and kinds <= {str}
        if fits and not self._values:
            self._values = leaves
        elif fits:
            self._values += leaves
        elif self._dtype == STRING and kinds == {dict} and (decoded := _plain_base64(leaves)) is not None:
            self._values += decoded
            fits = True
        elif self._dtype == STRING and all(isinstance(leaf, str) or is_base64(leaf) for leaf in leaves):
            self._values += [_base64(leaf) if isinstance(leaf, dict) else leaf for leaf in leaves]
            fits = True
        return fits

    def _explain(self, value: Any, shape: tuple[int, ...]) -> None:
        """Raise what the real server says of the first thing wrong, depth first."""
        rank = len(shape)
        stack = [(value, 0)]
        while stack:
            item, level = stack.pop()
            if not isinstance(item, list):
                if level != rank:
                    raise invalid_argument(
                        f"JSON Value: {rest_json.shown(item)} found at incorrect level: {level + 1} in the JSON DOM. "
                        f"Expected at level: {rank}"
                    )
                self._check_leaf(item)
                continue
            if level >= rank:
                raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {rank}")
            if len(item) != shape[level]:
                raise invalid_argument(
                    f"Encountered list at unexpected size: {len(item)} at level: {level} expected size: {shape[level]}"
                )
            stack += [(child, level + 1) for child in reversed(item)]

    def _check_leaf(self, leaf: Any) -> None:
        dtype = self._dtype
        if dtype not in _READABLE:
            raise StatusError(
                Code.UNIMPLEMENTED,
                f"Conversion of JSON Value: {rest_json.shown(leaf)} to type: {tensors.short_type_name(dtype)}",
            )
        if dtype == STRING and isinstance(leaf, dict):
            if not is_base64(leaf):
                raise invalid_argument(f"JSON Value: {rest_json.shown(leaf)} not formatted correctly for base64 data")
            _base64(leaf)
        elif not self._take([leaf], {type(leaf)}):
            raise invalid_argument(
                f"JSON Value: {rest_json.shown(leaf)} Type: {rest_json.kind(leaf)} "
                f"is not of expected type: {tensors.short_type_name(dtype)}"
            )

    def tensor(self, alias: str) -> Tensor:
        """The tensor of everything added.

        Raises:
          StatusError: it has more dimensions than a tensor can have.
        """
        shape = self._shape or ()
        if self._rows:
            shape = (self._count, *shape)
        if len(shape) > _HIGHEST_RANK:
            raise invalid_argument(f"tensor parsing error: {alias}")
        if self._dtype == STRING:
            if set(map(type, self._values)) == {str}:
                return tensors.of_strings([value.encode("utf-8", "surrogateescape") for value in self._values], shape)
            return tensors.of_strings([_bytes(value) for value in self._values], shape)
        values = self._values
        if not values:
            return Tensor.from_memory(self._dtype, shape, b"")
        if self._dtype in _BITS:
            bits, is_signed = _BITS[self._dtype]
            mask, sign = (1 << bits) - 1, is_signed << (bits - 1)
            values = [((value & mask) ^ sign) - sign for value in values]
        return tensors.from_elements(self._dtype, shape, values)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


def _dense_shape(value: Any) -> tuple[int, ...]:
    """The shape that the first element of each level gives."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _flatten(value: Any, shape: tuple[int, ...]) -> tuple[list[Any] | None, set[type]]:
    """The leaves in order, and their types; None if the lists are not of this shape throughout."""
    level = [value]
    for size in shape:
        if set(map(type, level)) - {list} or set(map(len, level)) - {size}:
            return None, set()
        level = list(itertools.chain.from_iterable(level))
    kinds = set(map(type, level))
    return (None if list in kinds else level), kinds


def is_base64(value: Any) -> bool:
    """Whether a value is an object of the form ``{"b64": "..."}``."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


_BASE64 = re.compile(r"([A-Za-z0-9+/]*)(=*)")
_BLANK = re.compile(r"[ \t\n\v\f\r]+")


def _plain_base64(values: list[dict[str, Any]]) -> list[bytes] | None:
    """The bytes of base64 objects, all at once, if every one is written as an encoder writes it; else None, and ``_base64`` tells."""
    texts: list[Any] = [value.get("b64") for value in values]
    if set(map(len, values)) != {1} or set(map(type, texts)) != {str}:
        return None
    try:
        decoded = list(map(binascii.a2b_base64, texts))
        again = b"\n".join(binascii.b2a_base64(one, newline=False) for one in decoded)
        return decoded if again == "\n".join(texts).encode("ascii") else None
    except ValueError:
        return None


def _base64(value: dict[str, str]) -> bytes:
    """The bytes of a base64 object; padding may be left out, wrong padding not."""
    text = value["b64"]
    match = _BASE64.fullmatch(text) or _BASE64.fullmatch(_BLANK.sub("", text))
    if match is not None:
        digits, padding = match.span(1)[1], match.span(2)
        missing = -digits % 4
        if missing != 3 and padding[1] - padding[0] in (0, missing):
            return binascii.a2b_base64(match[0] if padding[0] < padding[1] else match[0] + "=" * missing)
    raise invalid_argument("Unable to base64 decode")


def string_bytes(value: Any) -> bytes:
    """The bytes of a JSON string or a base64 object."""
    return _base64(value) if isinstance(value, dict) else _bytes(value)


# ------------------------------------------------------------------------------------------------ tensors -> JSON


def row_response(outputs: dict[str, Tensor]) -> bytes:
    """The answer to a request in row form: ``{"predictions": [...]}``.

    Raises:
      StatusError: the outputs are no rows, or of a type that JSON has no form for.
    """
    batch: int | None = None
    for alias, tensor in outputs.items():
        shape = tensor.shape
        if not shape:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        if batch is not None and shape[0] != batch:
            raise invalid_argument(f"Tensor name: {alias} has inconsistent batch size: {shape[0]} expecting: {batch}")
        batch = shape[0]
    columns = {alias: _rows(alias, tensor) for alias, tensor in outputs.items()}
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    else:
        members = [(rest_json.quoted(alias), column) for alias, column in columns.items()]
        rows = [_object([(key, column[i]) for key, column in members], 2) for i in range(batch or 0)]
    return _encoded(
        '{\n    "predictions": [' + ", ".join(rows) + "\n    ]\n}" if rows else '{\n    "predictions": []\n}'
    )


def columnar_response(outputs: dict[str, Tensor]) -> bytes:
    """The answer to a request in columnar form: ``{"outputs": ...}``; errors as for rows."""
    if len(outputs) == 1:
        alias, tensor = next(iter(outputs.items()))
        whole = _whole(alias, tensor, 2)
    else:
        whole = _object([(rest_json.quoted(a), _whole(a, t, 3)) for a, t in outputs.items()], 2)
    return _encoded(f'{{\n    "outputs": {whole}\n}}')


def _object(members: list[tuple[str, str]], depth: int) -> str:
    indent = "    " * depth
    inside = ",\n".join(f"{indent}{key}: {value}" for key, value in members)
    return f"{{\n{inside}\n{indent[4:]}}}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _rows(alias: str, tensor: Tensor) -> list[str]:
    """The text of each row of a tensor, on one line."""
    shape = tensor.shape
    texts = _elements(alias, tensor)
    for level in range(len(shape) - 1, 0, -1):
        size = shape[level]
        starts = range(0, math.prod(shape[:level]) * size, size) if size else [0] * math.prod(shape[:level])
        texts = ["[" + ", ".join(texts[start : start + size]) + "]" for start in starts]
    return texts


def _whole(alias: str, tensor: Tensor, depth: int) -> str:
    """The text of a tensor, every element on a line of its own."""
    shape = tensor.shape
    texts = _elements(alias, tensor)
    for level in range(len(shape) - 1, -1, -1):
        indent = "    " * (depth + level)

        def lines(items: Sequence[str], indent: str = indent) -> str:
            return "[\n" + ",\n".join(indent + item for item in items) + f"\n{indent[4:]}]" if items else "[]"

        count = math.prod(shape[:level])
        size = shape[level]
        texts = [lines(texts[i * size : (i + 1) * size]) for i in range(count)]
    return texts[0]


def _elements(alias: str, tensor: Tensor) -> list[str]:
    """The text of each element, row by row."""
    dtype = tensor.dtype
    if dtype not in _WRITABLE:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {tensors.short_type_name(dtype)}")
    if dtype == STRING:
        values = tensor.strings()
        if alias.endswith("_bytes"):
            return [f'{{\n    "b64": "{base64.b64encode(value).decode()}"\n}}' for value in values]
        return [rest_json.quoted(value.decode("utf-8", "surrogateescape")) for value in values]
    elements = tensors.elements(tensor)
    if dtype in _FLOATS:
        return float_texts(elements, "f" if dtype == tensors.FLOAT else "d")
    if dtype == tensors.BOOL:
        return ["true" if element else "false" for element in elements]
    return list(map(str, elements))


def float_texts(values: list[float], letter: str) -> list[str]:
    """Each number as the real server prints it: ``%g`` if that reads back as the same number, else all digits."""
    if not values:
        return []
    count = len(values)
    short = ("%g " * count % tuple(values)).split()
    # What the short texts read back as, in the tensor's own precision.
    if letter == "f":
        back: Sequence[float] = array.array("f", map(float, short))
        long = "%.9g"
    else:
        back, long = array.array("d", map(float, short)), "%.17g"
    return [
        _with_point(text if again == value else long % value)
        for text, again, value in zip(short, back, values, strict=True)
    ]


_NOT_FINITE = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _with_point(text: str) -> str:
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    return text if "." in text or "e" in text else text + ".0"


def float_text(value: float) -> str:
    """A float as ``_elements`` prints those of a tensor."""
    return float_texts([value], "f")[0]
