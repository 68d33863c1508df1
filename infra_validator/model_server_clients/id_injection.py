"""Puts a model's id into an encoded request, as model-mesh does, without knowing the request's type.

A path is a list of field numbers: all but the last name messages, the last one a string. The first occurrence of each
field counts; what is missing is appended. A repeated message on the way gets the id in its first element only.
"""

from __future__ import annotations

from collections.abc import Sequence

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 are groups, which nobody uses any more


class NotInjectable(ValueError):
    """The request is no protobuf message, or has something else at the path."""


def inject(request: bytes, path: Sequence[int], model_id: str) -> bytes:
    """``request`` with ``model_id`` at ``path``; unchanged for an empty path.

    Raises:
      NotInjectable: the request cannot be read along the path.
    """
    if not path:
        return request
    return _replaced(request, path, model_id.encode())


def extract(request: bytes, path: Sequence[int]) -> str | None:
    """The id at ``path``; None when there is none.

    Raises:
      NotInjectable: the request cannot be read along the path.
    """
    value = request
    for number in path:
        found = _find(value, number)
        if found is None:
            return None
        _, start, end = found
        value = value[start:end]
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise NotInjectable("the model's id in the request is not UTF-8") from error


def _replaced(message: bytes, path: Sequence[int], text: bytes) -> bytes:
    found = _find(message, path[0])
    begin, start, end = found if found is not None else (len(message), len(message), len(message))
    inner = text if len(path) == 1 else _replaced(message[start:end], path[1:], text)
    return message[:begin] + _varint(path[0] << 3 | _BYTES) + _varint(len(inner)) + inner + message[end:]


def _find(message: bytes, number: int) -> tuple[int, int, int] | None:
    """(start of the tag, start of the content, end) of the first field ``number``."""
    position = 0
    while position < len(message):
        begin = position
        tag, position = _read_varint(message, position)
        end, start = _end_of(message, tag & 7, position)
        if tag >> 3 == number:
            if tag & 7 != _BYTES:
                raise NotInjectable(f"field {number} is neither a string nor a message")
            return begin, start, end
        position = end
    return None


def _end_of(message: bytes, wire_type: int, position: int) -> tuple[int, int]:
    """(end of the field, start of its content)."""
    start = position
    if wire_type == _VARINT:
        _, end = _read_varint(message, position)
    elif wire_type == _FIXED64:
        end = position + 8
    elif wire_type == _FIXED32:
        end = position + 4
    elif wire_type == _BYTES:
        length, start = _read_varint(message, position)
        end = start + length
    else:
        raise NotInjectable(f"the request holds the wire type {wire_type}")
    if end > len(message):
        raise NotInjectable("the request ends in the middle of a field")
    return end, start


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise NotInjectable("the request holds a broken number")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
