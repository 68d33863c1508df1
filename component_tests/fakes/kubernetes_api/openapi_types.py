"""Strict decoding: an object against the OpenAPI types that the official client carries. It refuses what a real decoder refuses.

Assumed (recorded in test_kubernetes_fake.py): a value of the wrong JSON type is 400 with the field's path; an unknown field is 400 under
``fieldValidation=Strict`` and dropped with a warning otherwise (Kubernetes documentation, "Server Side Field Validation").
"""

from __future__ import annotations

import re
from typing import Any

import kubernetes.client

#: Fields that are newer than the oldest client that the tests run with: type -> field -> (type, first minor version).
NEWER: dict[str, dict[str, tuple[str, int]]] = {
    "V1Volume": {"image": ("V1ImageVolumeSource", 31)},
    "V1ImageVolumeSource": {"reference": ("str", 31), "pullPolicy": ("str", 31)},
    "V1Container": {"restartPolicy": ("str", 28)},
    "V1ResourceClaim": {"request": ("str", 31)},
    "V1PodSpec": {"resources": ("V1ResourceRequirements", 32)},
}

#: Go's names of the types in its decoder's messages.
_GO = {"str": "string", "int": "int64", "bool": "bool", "float": "float64", "datetime": "v1.Time"}
_JSON_NAMES = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_QUANTITIES = ("limits", "requests", "sizeLimit", "overhead")


class WrongType(Exception):
    """A value of the wrong JSON type."""


class Decoder:
    """Decodes one object; collects unknown fields.

    Args:
      minor: the server's minor version: newer fields are unknown to it.
    """

    def __init__(self, minor: int) -> None:
        self._minor = minor
        self.unknown: list[str] = []

    def decode(self, value: Any, kind: str, path: str = "") -> Any:
        """``value`` without its unknown fields and nulls.

        Raises:
          WrongType: names the field as Go's decoder does.
        """
        if value is None:
            return None
        listed = re.fullmatch(r"[Ll]ist\[(.+)\]", kind)
        if listed:
            self._want(value, list, path, f"[]v1.{listed[1].removeprefix('V1')}")
            return [self.decode(item, listed[1], f"{path}[{index}]") for index, item in enumerate(value)]
        mapped = re.fullmatch(r"[Dd]ict[(\[]str, ?(.+)[)\]]", kind)
        if mapped:
            self._want(value, dict, path, f"map[string]{_GO.get(mapped[1], mapped[1])}")
            return {key: self.decode(item, mapped[1], f"{path}.{key}") for key, item in value.items()}
        if kind == "object":
            return value
        if kind in _GO:
            return self._scalar(value, kind, path)
        return self._object(value, kind, path)

    def _scalar(self, value: Any, kind: str, path: str) -> Any:
        name = path.rpartition(".")[2]
        parent = path.rpartition(".")[0].rpartition(".")[2]
        if kind == "str" and isinstance(value, (int, float)) and (name in _QUANTITIES or parent in _QUANTITIES):
            return str(value)  # a resource.Quantity may be a number
        right = {"str": str, "datetime": str, "int": int, "bool": bool, "float": (int, float)}[kind]
        fits = isinstance(value, right) and (kind == "bool" or not isinstance(value, bool))  # type: ignore[arg-type]
        if not fits:
            raise WrongType(self._words(value, path, _GO[kind]))
        return value

    def _object(self, value: Any, kind: str, path: str) -> dict[str, Any]:
        model = getattr(kubernetes.client, kind, None)
        self._want(value, dict, path, f"v1.{kind.removeprefix('V1')}")
        names = {model.attribute_map[one]: of for one, of in model.openapi_types.items()} if model is not None else {}
        for field, (of, since) in NEWER.get(kind, {}).items():
            if self._minor >= since:
                names.setdefault(field, of)
            else:
                names.pop(field, None)
        decoded = {}
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            if key not in names:
                self.unknown.append(where)
            elif item is not None:
                decoded[key] = self.decode(item, names[key], where)
        return decoded

    def _want(self, value: Any, kind: type, path: str, go: str) -> None:
        if not isinstance(value, kind):
            raise WrongType(self._words(value, path, go))

    @staticmethod
    def _words(value: Any, path: str, go: str) -> str:
        plain = re.sub(r"\[\d+\]", "", path)
        return f"json: cannot unmarshal {_JSON_NAMES[type(value)]} into Go struct field .{plain} of type {go}"
