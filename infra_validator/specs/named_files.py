"""The files that specs name: what a verdict depends on besides the model and the specs' own text."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator


def named_files(**specs: object) -> dict[str, str]:
    """Field -> path of every file of this machine that the specs name: those of fields declared with ``file=``, and arguments of the
    form ``--flag=/path``.

    Args:
      specs: how messages call a spec -> the spec, or None.
    """
    return {field: path for name, spec in specs.items() for field, path in _found(name, spec) if os.path.isfile(path)}


def _found(where: str, value: object, kind: str = "") -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            if field.metadata.get("group"):  # each name is a field itself
                for name, config in getattr(value, field.name).items():
                    yield from _found(f"{where}.{name}", config)
                continue
            below = field.metadata.get("file", "") or ("arguments" if field.name == "extra_args" else "")
            yield from _found(f"{where}.{field.name}", getattr(value, field.name), below)
    elif isinstance(value, (list, tuple)):
        if kind == "program":
            value = value[:1]
        for index, item in enumerate(value):
            yield from _found(f"{where}[{index}]", item, kind)
    elif isinstance(value, str) and value and kind:
        path = _path(value, kind)
        if path:
            yield where, path


def _path(value: str, kind: str) -> str:
    if kind == "program" and "/" not in value:
        return shutil.which(value) or ""
    if kind == "arguments":
        value = value.partition("=")[2]
        return value if value.startswith("/") else ""
    inside = [os.path.join(value, name) for name in ("saved_model.pb", "saved_model.pbtxt", "verdict.json")]
    return next((file for file in inside if os.path.isfile(file)), value)
