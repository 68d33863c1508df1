"""From what people hand in (a proto, a dict, JSON or YAML text, a file) to a checked, frozen dataclass.

One rule for all specs, those of other packages included: fields are described where they are declared (:func:`spec_field`), read by
their snake_case or camelCase name, and everything that is wrong is a SpecError that names the field's path.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import json
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from infra_validator.core.errors import SpecError, UsageError, did_you_mean
from infra_validator.specs.extensions import Offer, find, offers

T = TypeVar("T")

#: A check of one value: returns what is wrong with it, e.g. "must be above 0", or None.
Check = Callable[[Any], "str | None"]


def spec_field(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    check: Check | None = None,
    file: str = "",
    unset_at_zero: bool = False,
    alias: str = "",
    part: str = "",
) -> Any:
    """A dataclass field of a spec.

    Args:
      default: its value where none is given.
      doc: what it means, one sentence; docs/specs.md is made of these.
      unit: the unit of a number, e.g. ``s``.
      check: what a given value must fulfil.
      file: set if it names a file on whose content a verdict depends (specs/named_files.py): ``path``, or ``program`` for one that
        may be looked for on the PATH.
      unset_at_zero: whether 0 or an empty text in JSON means that it is not given, as for every field of a proto of TFX's.
      alias: another name that it is read by.
      part: ``module:Class`` of a part that is imported where a spec has it: nobody waits for platforms that are not meant.
    """
    metadata = {"doc": doc, "unit": unit, "check": check, "file": file, "unset_at_zero": unset_at_zero}
    metadata |= {"alias": alias, "part": part}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def extensions_field(group: str, doc: str) -> Any:
    """A field with what other packages offer in a group of entry points: name -> its config. In a spec each name is a field itself."""
    return dataclasses.field(default_factory=dict, metadata={"doc": doc, "unit": "", "group": group})


def above_zero(value: float) -> str | None:
    """A Check: a number above 0."""
    return None if value > 0 else f"must be above 0, not {value}"


def not_negative(value: float) -> str | None:
    """A Check: a number that is 0 or more."""
    return None if value >= 0 else f"must be 0 or more, not {value}"


def port(value: int) -> str | None:
    """A Check: a port number; 0 stands for any."""
    return None if 0 <= value <= 65535 else f"must be a port number from 0 to 65535, not {value}"


def not_empty(value: str) -> str | None:
    """A Check: a text that is not empty."""
    return None if value.strip() else "must not be empty"


def one_of(*known: str) -> Check:
    """The Check of a text that must be one of these; what it says of another names the nearest."""

    def check(value: str) -> str | None:
        if value in known:
            return None
        hint = did_you_mean(value, known)
        return f"must be one of {', '.join(known)}, not {value!r}.{hint}"

    return check


def read(kind: type[T], given: object, path: str) -> T:
    """Make a ``kind`` (a spec dataclass) of what was given.

    Args:
      kind: the dataclass.
      given: an instance of it, a protobuf message with the same field names, a mapping, JSON or YAML text, or the path of a
        JSON or YAML file.
      path: how messages call the whole, e.g. ``serving_spec``.

    Raises:
      SpecError: names the field and, for an unknown one, the nearest known one; or it is another message.
    """
    if isinstance(given, kind):
        return given
    if hasattr(given, "DESCRIPTOR") and hasattr(given, "SerializeToString"):
        from google.protobuf import json_format, message

        if given.DESCRIPTOR.name != kind.__name__:
            raise SpecError(path, f"must be a {kind.__name__}, not a message of the type {given.DESCRIPTOR.full_name}")
        given = json_format.MessageToDict(typing.cast(message.Message, given), preserving_proto_field_name=True)
    elif isinstance(given, (str, os.PathLike)):
        given = _parse_text_or_file(kind, given, path)
    if given is None:
        given = {}
    return typing.cast(T, _read_dataclass(kind, given, path))


def to_dict(spec: Any) -> dict[str, Any]:
    """A spec as plain JSON data, without the fields that have their default; :func:`read` reads it back."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        default = field.default if field.default is not dataclasses.MISSING else None
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if field.metadata.get("group"):
            result |= {name: _plain(config) for name, config in value.items()}
        elif value != default:
            result[field.name] = _plain(value)
    return result


def to_json(spec: Any) -> str:
    """A spec as one line of JSON, equal for equal specs, that template engines leave alone; :func:`read` reads it back.

    Airflow renders the strings that it hands to a task with Jinja. The openings of its templates can only stand inside
    JSON's strings, where their first brace can be written as an escape.
    """
    text = json.dumps(to_dict(spec), sort_keys=True, ensure_ascii=True)
    return re.sub(r"\{(?=[{%#])", r"\\u007b", text)


def plain(spec: Any) -> dict[str, Any]:
    """A spec as plain JSON data with all of its fields, those that have their default included."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(spec):
        value = _plain(getattr(spec, field.name))
        result |= value if field.metadata.get("group") else {field.name: value}
    return result


def documented(kind: type, path: str, level: int = 2) -> list[str]:
    """The fields of a spec as a table of Markdown, and those of its parts after it: the lines.

    Args:
      kind: the dataclass.
      path: how the headline calls it.
      level: of the headline.
    """
    lines = [f"{'#' * level} {path}", "", (kind.__doc__ or "").strip().replace("\n    ", "\n"), ""]
    lines += ["| field | default | unit | meaning |", "|---|---|---|---|"]
    hints = _types_of(kind, {field.name for field in dataclasses.fields(kind)})
    inside = []
    for field in dataclasses.fields(kind):
        meaning = field.metadata["doc"].replace("|", "\\|")
        also = field.metadata.get("alias")
        name = "(a name)" if field.metadata.get("group") else f"`{field.name}`" + (f" (also `{also}`)" if also else "")
        lines.append(f"| {name} | {_default_told(field)} | {field.metadata['unit']} | {meaning} |")
        below = next(
            (h for h in (hints[field.name], *typing.get_args(hints[field.name])) if dataclasses.is_dataclass(h)), None
        )
        if below is not None:
            inside.append((typing.cast(type, below), f"{path}.{field.name}"))
    lines.append("")
    for below, name in inside:
        lines += documented(below, name, level + 1)
    return lines


def _default_told(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        value = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
    if value is None:
        return "unset"
    value = getattr(value, "value", value)
    if isinstance(value, (tuple, dict)) and not value:
        return "none"
    if dataclasses.is_dataclass(value):
        return "as below"
    return f"`{value}`" if value != "" else "empty"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _parse_text_or_file(kind: type, given: str | os.PathLike[str], path: str) -> Any:
    text = os.fspath(given)
    source = path
    looks_like_text = "{" in text or "\n" in text or ": " in text or not text.strip()
    if not looks_like_text or os.path.isfile(text):
        source = f"{path} ({text})"
        try:
            with open(text, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SpecError(path, f"cannot read the file {text!r}: {reason}") from error
    try:
        return _without_zeros(kind, json.loads(text))
    except RecursionError as error:
        raise SpecError(source, "is nested too deeply") from error
    except ValueError:
        pass
    import yaml  # costs as much as the rest of the specs, and most specs are JSON

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError(source, f"is neither JSON nor YAML: {' '.join(str(error).split())}") from error


def _without_zeros(kind: type, given: object) -> object:
    """JSON data without the fields that are unset at zero and are zero: a proto's JSON may write them out."""
    if not isinstance(given, Mapping):
        return given
    hints = _types_of(kind, given)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    result = {}
    for key, value in given.items():
        name = key if key in fields else _snake_case(key)
        if name in fields:
            if fields[name].metadata.get("unset_at_zero") and value in (0, "", "0") and value is not False:
                continue
            part = next((hint for hint in typing.get_args(hints[name]) if dataclasses.is_dataclass(hint)), None)
            value = _without_zeros(part, value) if isinstance(part, type) else value
        result[key] = value
    return result


def _types_of(kind: type, named: Iterable[object]) -> dict[str, Any]:
    """The types of a spec's fields; a part that is not among those that are named stays unread, and is Any."""
    names = {name for key in named if isinstance(key, str) for name in (key, _snake_case(key))}
    parts: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        module, _, name = field.metadata.get("part", "").partition(":")
        if name:
            parts[name] = getattr(importlib.import_module(module), name) if field.name in names else Any
    return typing.get_type_hints(kind, localns=parts)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _read_dataclass(kind: type, given: object, path: str) -> Any:
    if not isinstance(given, Mapping):
        raise SpecError(path, f"must be an object with named fields, not {_describe(given)}")
    hints = _types_of(kind, given)
    fields = {field.name: field for field in dataclasses.fields(kind) if not field.metadata.get("group")}
    groups = {field.metadata["group"]: field.name for field in dataclasses.fields(kind) if field.metadata.get("group")}
    aliases = {field.metadata["alias"]: name for name, field in fields.items() if field.metadata.get("alias")}
    values: dict[str, Any] = {}
    called: dict[str, str] = {}
    for key, value in given.items():
        if not isinstance(key, str):
            raise SpecError(path, f"field names are strings, not {_describe(key)}")
        name = key if key in fields else _snake_case(key)
        name = aliases.get(name, name)
        field = fields.get(name)
        if field is None:
            offer = _offered(key, groups, f"{path}.{key}")
            if offer is None:
                known = [*fields, *aliases, *(other.name for other in offers(*groups))]
                hint = did_you_mean(_snake_case(key), known, at_least=0.5)
                hint = hint or f" Known fields: {', '.join(known)}."
                raise SpecError(f"{path}.{key}", f"there is no such field.{hint}")
            if offer.name in called:
                raise SpecError(f"{path}.{key}", f"is given twice, as {called[offer.name]!r} and as {key!r}")
            if value is not None:
                called[offer.name] = key
                values.setdefault(groups[offer.group], {})[offer.name] = _config_of(
                    offer, value, f"{path}.{offer.name}"
                )
            continue
        if name in values:
            raise SpecError(f"{path}.{key}", f"is given twice, as {called[name]!r} and as {key!r}")
        if value is None:
            continue
        called[name] = key
        values[name] = _convert(hints[name], value, f"{path}.{name}")
        check = field.metadata.get("check")
        problem = check(values[name]) if check else None
        if problem:
            raise SpecError(f"{path}.{name}", problem)
    spec = kind(**values)
    check_whole = getattr(spec, "check", None)
    if check_whole is not None:
        check_whole(path)
    return spec


def _offered(key: str, groups: Mapping[str, str], path: str) -> Offer | None:
    """What another package offers under the name, or under its snake_case. Raises SpecError where two do."""
    try:
        return (groups and (find(key, groups) or find(_snake_case(key), groups))) or None
    except UsageError as error:
        raise SpecError(path, error.detail, next_step=error.next_step) from error


def _config_of(offer: Offer, value: object, path: str) -> Any:
    """The config of what another package offers.

    Raises:
      SpecError: it does not read; or what the package offers is broken.
    """
    try:
        return _convert(offer.config_class(), value, path)
    except SpecError:
        raise
    except UsageError as error:
        raise SpecError(path, error.detail, next_step=error.next_step) from error
    except Exception as error:
        wrong = offer.wrong(f"has a config_class that cannot be read: {type(error).__name__}: {error}")
        raise SpecError(path, wrong.detail, next_step=wrong.next_step) from error


def _describe(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__) if value is not None else "nothing"


def _convert(hint: Any, value: object, path: str) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert(next(a for a in arguments if a is not type(None)), value, path)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        if isinstance(value, typing.cast(type, hint)):
            return value
        return _read_dataclass(typing.cast(type, hint), value, path)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise SpecError(path, f"must be a list, not {_describe(value)}")
        return tuple(_convert(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise SpecError(path, f"must be an object, not {_describe(value)}")
        for key in value:
            if not isinstance(key, str):
                raise SpecError(path, f"keys are strings, not {_describe(key)}")
        return {key: _convert(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        said = "off" if value is False else str(value).lower()  # YAML reads off as false
        problem = one_of(*[str(member.value) for member in hint])(said)
        if problem:
            raise SpecError(path, problem)
        return hint(said)
    return _convert_scalar(hint, value, path)


def _convert_scalar(hint: Any, value: object, path: str) -> Any:
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}[hint]
    if hint is bool and isinstance(value, bool):
        return value
    if hint in (int, float) and isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?", value.strip()):
        value = float(value) if "." in value else int(value)  # protobuf's JSON writes 64-bit integers as strings
    if hint is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # Kubeflow v2 hands integers over as floats
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise SpecError(path, f"must be a finite number, not {value}")
        return number
    if hint is str and isinstance(value, str):
        return value
    raise SpecError(path, f"must be {wanted}, not {_describe(value)}")
