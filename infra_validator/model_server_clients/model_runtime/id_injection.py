"""Puts a model's id into an encoded request, as model-mesh does, without knowing the request's type.

A path is a list of field numbers: all but the last name messages, the last one a string. The first occurrence of each
field counts; what is missing is appended. A repeated message on the way gets the id in its first element only.
"""

from __future__ import annotations

from collections.abc import Sequence

from infra_validator.core import wire


class NotInjectable(ValueError):
    """The request is no protobuf message, or has something else at the path."""


def inject(request: bytes, path: Sequence[int], model_id: str) -> bytes:
    """Write the model's id into a request, as model-mesh does for methods with an ``idInjectionPath``.

    Args:
      request: the serialized request.
      path: field numbers, from the request inwards; the last one is a string field. Empty: nothing is written.
      model_id: the id.

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
    return message[:begin] + wire.length_field(path[0], inner) + message[end:]


def _find(message: bytes, number: int) -> tuple[int, int, int] | None:
    """(start of the tag, start of the content, end) of the first field ``number``."""
    begin = 0
    try:
        for found, kind, start, end in wire.fields(message):
            if found == number and kind != wire.LENGTH:
                raise NotInjectable(f"field {number} is neither a string nor a message")
            if found == number:
                return begin, start, end
            begin = end
    except wire.WireError as error:
        raise NotInjectable(str(error)) from error
    return None
