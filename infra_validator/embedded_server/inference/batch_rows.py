"""Tensors joined into a batch along their 0th dimension, filled up, and cut out of it again (contract 3.9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import STRING, Tensor
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument

_PLAIN = {*range(1, 20), 22, 23, 24, 25} - {STRING}  # the dtypes whose memory is their elements and nothing else
_HIGHEST_PADDED_RANK = 6

Content = TypeVar("Content", bytes, "list[bytes]")


class Rows(Tensor):
    """A tensor in Python's memory: some rows of another one, or of several. A graph is fed what ``in_tensorflow`` returns.

    Args:
      content: its elements: bytes in host byte order, or strings.
    """

    __slots__ = ("_content", "_dtype", "_shape")

    def __init__(self, dtype: int, shape: tuple[int, ...], content: bytes | memoryview | list[bytes]) -> None:
        self._dtype = dtype
        self._shape = shape
        self._content = content

    def __del__(self) -> None:
        """There is nothing of TensorFlow's to free."""

    @property
    def dtype(self) -> int:
        return self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def memory(self) -> memoryview:
        assert not isinstance(self._content, list), "strings have no memory to look at"
        return memoryview(self._content)

    def strings(self) -> list[bytes]:
        assert isinstance(self._content, list), "only strings are strings"
        return self._content

    def in_tensorflow(self) -> Tensor:
        """The same in TensorFlow's memory."""
        if isinstance(self._content, list):
            return tensors.of_strings(self._content, self._shape)
        return Tensor.from_memory(self._dtype, self._shape, bytes(self._content))  # bytes of bytes are no copy


def batch_size(shapes: Sequence[tuple[int, ...]]) -> int:
    """The rows of a request whose inputs have these shapes.

    Raises:
      StatusError: INVALID_ARGUMENT if there is no such number.
    """
    if not shapes:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    for shape in shapes:
        if not shape:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        if shape[0] != shapes[0][0]:
            raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return shapes[0][0]


def joined(name: str, parts: Sequence[Tensor], size: int, pads: bool) -> Tensor:
    """The tensor of all parts' rows.

    Args:
      name: what the graph calls it.
      parts: not empty, of one dtype.
      size: the rows wanted; the first row of the last part that has any is repeated.
      pads: whether parts of different shapes are filled up.

    Raises:
      StatusError: shapes differ and ``pads`` is off, or they cannot be filled up.
    """
    first, shapes = parts[0], [part.shape for part in parts]
    missing = size - sum(shape[0] for shape in shapes)
    if len(parts) == 1 and not missing:
        return first
    target = _common_shape(name, shapes, pads)
    shape, dtype = (size, *target), first.dtype
    if dtype == STRING:
        cells = [_filled(part.strings(), part.shape, (part.shape[0], *target), []) for part in parts]
        repeated = _first_row(cells, shapes, []) * missing
        return Rows(dtype, shape, [cell for part in [*cells, repeated] for cell in part])
    if dtype not in _PLAIN:
        raise StatusError(Code.UNIMPLEMENTED, f"Tensors of type {tensors.type_name(dtype)} cannot be batched")
    if not missing and all(shape[1:] == target for shape in shapes):
        return Rows(dtype, shape, b"".join([part.memory() for part in parts]))
    contents = [_filled(bytes(part.memory()), part.shape, (part.shape[0], *target), b"") for part in parts]
    return Rows(dtype, shape, b"".join([*contents, _first_row(contents, shapes, b"") * missing]))


def _common_shape(name: str, shapes: Sequence[tuple[int, ...]], pads: bool) -> tuple[int, ...]:
    """The dimensions after the 0th that all parts get."""
    if all(shape[1:] == shapes[0][1:] for shape in shapes):
        return shapes[0][1:]
    if not pads:
        raise StatusError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. Set "
            "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions "
            "starting with the first dim.",
        )
    if len({len(shape) for shape in shapes}) > 1:
        text = f"Tensor concat operation failed: tensors with name '{name}' from different tasks have different ranks"
        raise StatusError(Code.INTERNAL, text)
    if len(shapes[0]) > _HIGHEST_PADDED_RANK:
        raise invalid_argument("Only tensors with rank from 1 to 6 can be padded.")
    if any(0 in shape for shape in shapes):
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    return tuple(map(max, *(shape[1:] for shape in shapes)))


def _filled(content: Content, shape: tuple[int, ...], target: tuple[int, ...], none: Content) -> Content:
    """``content`` of ``shape`` as the start of every dimension of ``target``; the rest is its first element."""
    if shape == target:
        return content
    element = content[: len(content) // math.prod(shape)]
    return _filled_with(element, content, shape, target, none)


def _filled_with(
    element: Content, content: Content, shape: tuple[int, ...], target: tuple[int, ...], none: Content
) -> Content:
    if shape[1:] != target[1:]:
        step, whole = len(content) // shape[0], none
        for start in range(0, len(content), step):
            whole += _filled_with(element, content[start : start + step], shape[1:], target[1:], none)
        content = whole
    return content + element * ((target[0] - shape[0]) * math.prod(target[1:]))


def _first_row(contents: Sequence[Content], shapes: Sequence[tuple[int, ...]], none: Content) -> Content:
    """The first row of the last part that has rows."""
    for content, shape in zip(reversed(contents), reversed(shapes), strict=True):
        if shape[0]:
            return content[: len(content) // shape[0]]
    return none


def split(outputs: Sequence[Tensor], sizes: Sequence[int], size: int) -> list[list[Tensor]]:
    """The outputs of a run for each of the requests that had ``sizes`` rows.

    Args:
      size: the rows that ran, repeated ones included.

    Raises:
      StatusError: FAILED_PRECONDITION if an output is not as long as the batch.
    """
    for output in outputs:
        shape = output.shape
        if not shape:
            raise StatusError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if shape[0] != size:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    if len(sizes) == 1 and sizes[0] == size:
        return [list(outputs)]
    columns, bounds, start = [_Column(output) for output in outputs], list[tuple[int, int]](), 0
    for rows in sizes:
        bounds.append((start, start + rows))
        start += rows
    return [[column.rows(start, stop) for column in columns] for start, stop in bounds]


class _Column:
    """A tensor to be cut into rows without copying them."""

    def __init__(self, tensor: Tensor) -> None:
        self._dtype, self._shape = tensor.dtype, tensor.shape
        self._content = tensor.strings() if self._dtype == STRING else tensor.memory()
        self._step = len(self._content) // (self._shape[0] or 1)

    def rows(self, start: int, stop: int) -> Rows:
        content = self._content[start * self._step : stop * self._step]
        return Rows(self._dtype, (stop - start, *self._shape[1:]), content)


def cut(values: Sequence[Tensor], start: int, stop: int) -> Sequence[Tensor]:
    return [_Column(value).rows(start, stop) for value in values]


def put_together(parts: Sequence[Tensor]) -> Tensor:
    """One output of a request that was split, from those of its pieces."""
    dtype, shapes = parts[0].dtype, [part.shape for part in parts]
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        text = "Tensor concat operation failed: the pieces of a request were answered in different shapes"
        raise StatusError(Code.INTERNAL, text)
    shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    if dtype == STRING:
        return Rows(dtype, shape, [cell for part in parts for cell in part.strings()])
    return Rows(dtype, shape, b"".join([part.memory() for part in parts]))
