"""An answer of a model server as data: who answered, and the outputs. What can be asked of it does not depend on the protocol."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping


class UnreadableAnswer(ValueError):
    """The bytes are no answer, or say more than they bring; the text says what is wrong with them."""


@dataclasses.dataclass(frozen=True)
class ElementType:
    """What the elements of a tensor are.

    Attributes:
      name: TensorFlow's name in lower case, e.g. ``float``.
      size: octets of one element; 0 for strings.
      code: the element for ``struct`` and ``memoryview.cast``; empty where they have none (strings, bfloat16).
      parts: numbers in one element: 2 for complex types.
      is_float: whether an element can be NaN or infinite.
    """

    name: str
    size: int
    code: str
    parts: int = 1
    is_float: bool = False


STRING = 7  # DT_STRING

#: By the number of TensorFlow's DataType (types.proto); the types that a tensor in an answer can have.
ELEMENT_TYPES: dict[int, ElementType] = {
    1: ElementType("float", 4, "f", is_float=True),
    2: ElementType("double", 8, "d", is_float=True),
    3: ElementType("int32", 4, "i"),
    4: ElementType("uint8", 1, "B"),
    5: ElementType("int16", 2, "h"),
    6: ElementType("int8", 1, "b"),
    STRING: ElementType("string", 0, ""),
    8: ElementType("complex64", 8, "f", parts=2, is_float=True),
    9: ElementType("int64", 8, "q"),
    10: ElementType("bool", 1, "B"),
    11: ElementType("qint8", 1, "b"),
    12: ElementType("quint8", 1, "B"),
    13: ElementType("qint32", 4, "i"),
    14: ElementType("bfloat16", 2, "", is_float=True),
    15: ElementType("qint16", 2, "h"),
    16: ElementType("quint16", 2, "H"),
    17: ElementType("uint16", 2, "H"),
    18: ElementType("complex128", 16, "d", parts=2, is_float=True),
    19: ElementType("half", 2, "e", is_float=True),
    22: ElementType("uint32", 4, "I"),
    23: ElementType("uint64", 8, "Q"),
}


def type_name(number: int) -> str:
    """A DataType's name for people."""
    known = ELEMENT_TYPES.get(number)
    return known.name if known else f"dtype {number}"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One output.

    Attributes:
      dtype: the number of a TensorFlow DataType; one of ELEMENT_TYPES.
      shape: the sizes of its dimensions; none is negative.
      content: the elements one after the other, little-endian, as TensorFlow has them in memory; empty for strings. Its length is what
        dtype and shape say.
      strings: reads the elements of a string tensor, as often as it is called; they are not kept.
    """

    dtype: int
    shape: tuple[int, ...]
    content: memoryview = dataclasses.field(default=memoryview(b""), repr=False)
    strings: Callable[[], Iterable[bytes]] = dataclasses.field(default=tuple, repr=False, compare=False)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def element(self) -> ElementType:
        return ELEMENT_TYPES[self.dtype]

    def index(self, position: int) -> str:
        """Where the element at ``position`` stands, e.g. ``[3, 0]``; empty for a scalar."""
        if not self.shape:
            return ""
        places = []
        for size in reversed(self.shape):
            position, place = divmod(position, size)
            places.append(place)
        return str(places[::-1])


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one request.

    Attributes:
      outputs: what the model returned, by name.
      kind: ``predict``, ``classify`` or ``regress``: how the outputs were had.
      model: the model that says to have answered; empty where the answer does not say.
      version: its version; None where the answer does not say.
      signature: the signature that was asked; empty where the answer does not say.
    """

    outputs: Mapping[str, Tensor]
    kind: str = "predict"
    model: str = ""
    version: int | None = None
    signature: str = ""
