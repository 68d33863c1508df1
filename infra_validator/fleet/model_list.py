"""Which models a fleet has: from a pattern, a directory of models, or a file that lists them, to checked entries."""

from __future__ import annotations

import collections
import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from infra_validator.core.errors import SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.find import GRAPH_FILES
from infra_validator.specs import RequestSpec, ServingSpec, ValidationSpec
from infra_validator.specs.reader import not_empty, read, spec_field

_MOST_PROBLEMS = 20  # that are named at once
_NAME = re.compile(r"[\w][\w.+-]{0,199}", re.ASCII)
_NO_NAME = re.compile(r"[^\w.+-]", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Shared:
    """What holds for every model whose entry says nothing else.

    Attributes:
      serving_spec, validation_spec, request_spec: the specs.
      requests: the path of a file of sample requests; None: none.
    """

    serving_spec: ServingSpec
    validation_spec: ValidationSpec = ValidationSpec()
    request_spec: RequestSpec = RequestSpec()
    requests: str | None = None


@dataclasses.dataclass(frozen=True)
class FleetModel:
    """One model of a fleet.

    Attributes:
      name: which one; no other model of the fleet has it, and it can be a directory's name.
      model: its directory.
      shared: its own specs and requests.
      where: where it is listed, e.g. ``models.yaml:3``; its directory if it was found by a pattern.
    """

    name: str
    model: str
    shared: Shared
    where: str


@dataclasses.dataclass(frozen=True)
class _Entry:
    """What may stand in a list."""

    model: str = spec_field("", "The model's directory; a relative path begins where the list lies.", check=not_empty)
    name: str = spec_field("", "What it is called in reports; its directory's name if not given.")
    serving_spec: Any = spec_field(None, "In place of --serving-spec.")
    validation_spec: Any = spec_field(None, "In place of --validation-spec.")
    request_spec: Any = spec_field(None, "In place of --request-spec.")
    requests: str = spec_field("", "In place of --requests.", check=not_empty)
    golden: str = spec_field("", "A golden file (validation_spec.answers.golden).", check=not_empty)


def read_models(given: str | os.PathLike[str], shared: Shared) -> list[FleetModel]:
    """The models that ``given`` means, in its order; directories by name.

    Args:
      given: a pattern (``models/*``), a directory that holds models, or a file: YAML or JSON with a list of paths and entries, or text
        with a path in each line (``#`` begins a comment).
      shared: what entries do not say.

    Raises:
      UsageError: there is nothing, or something in the list is wrong; every mistake is named with its line.
    """
    path = os.fspath(given)
    if os.path.isdir(path):
        found = _in_directory(path)
    elif os.path.isfile(path):
        found = list(_in_file(pathlib.Path(path)))
    elif glob.has_magic(path):
        found = [(name, {"model": name}, "") for name in sorted(glob.glob(path, recursive=True)) if os.path.isdir(name)]
    else:
        raise _wrong(f"--models {path}: there is no such file or directory")
    if not found:
        raise _wrong(f"--models {path}: there is no model in it")
    models: list[FleetModel] = []
    problems: list[str] = []
    named: dict[str, str] = {}
    for where, entry, base in found:
        try:
            model = _model(where, entry, base, shared)
        except UsageError as error:
            problems.append(error.detail)
            continue
        if model.name in named:
            other = named[model.name]
            problems.append(f"{where}: the name {model.name!r} is taken by {other}; give one of them another name")
        named.setdefault(model.name, where)
        models.append(model)
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} more"] if len(problems) > _MOST_PROBLEMS else []
        raise _wrong("\n".join([*problems[:_MOST_PROBLEMS], *more]))
    return models


def shard_of(models: list[FleetModel], shard: str) -> list[FleetModel]:
    """The models of one of several parts, e.g. ``2/5``; empty: all. The parts of one list are disjoint and together the whole.

    Raises:
      UsageError: it is no such part.
    """
    index, of = shard_numbers(shard)
    return models[index - 1 :: of]


def shard_numbers(shard: str) -> tuple[int, int]:
    """(which part, of how many); (1, 1) if ``shard`` is empty."""
    if not shard:
        return 1, 1
    matched = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    if matched is None or not 1 <= int(matched[1]) <= int(matched[2]):
        raise _wrong(f"--shard {shard}: must be I/N with I from 1 to N, for example 2/5")
    return int(matched[1]), int(matched[2])


_Found = tuple[str, object, str]  # where it stands, the entry, the directory in which relative paths begin


def _in_directory(path: str) -> list[_Found]:
    if any(os.path.exists(os.path.join(path, name)) for name in GRAPH_FILES):
        raise _wrong(f"--models {path}: it is one model, not a directory of models; name it with --model")
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    below = [os.path.join(path, name) for name in names]
    return [(name, {"model": name}, "") for name in below if os.path.isdir(name)]


def _in_file(path: pathlib.Path) -> Iterator[_Found]:
    base = str(path.parent)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"--models {path}: it cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if path.suffix.lower() not in (".yaml", ".yml", ".json"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.lstrip().startswith("#"):
                yield f"{path}:{number}", {"model": line.strip()}, base
        return
    import yaml  # JSON is YAML, and yaml knows the lines

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        entries = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _wrong(f"--models {path}: it is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.SequenceNode):
        raise _wrong(f"--models {path}: must be a list of models")
    lines = collections.Counter(node.start_mark.line for node in root.value)
    for node, entry in zip(root.value, entries, strict=True):
        mark = node.start_mark
        column = f":{mark.column + 1}" if lines[mark.line] > 1 else ""
        yield f"{path}:{mark.line + 1}{column}", {"model": entry} if isinstance(entry, str) else entry, base


def _model(where: str, given: object, base: str, shared: Shared) -> FleetModel:
    try:
        entry = read(_Entry, given, where)
        if not entry.model:
            raise SpecError(f"{where}.model", "is not given")
        model = _from(base, entry.model)
        if "://" not in model and not os.path.isdir(model):
            raise SpecError(where, f"there is no directory {model}")
        if entry.name and not _NAME.fullmatch(entry.name):
            raise SpecError(f"{where}.name", f"must be letters, digits, '_', '.', '+' and '-', not {entry.name!r}")
        for field in ("requests", "golden"):
            path = _from(base, getattr(entry, field))
            if path and "://" not in path and not os.path.exists(path):
                raise SpecError(f"{where}.{field}", f"there is no file {path}")
        return FleetModel(entry.name or _name_of(model), model, _own(entry, base, shared), where)
    except SpecError as error:
        detail = error.detail if error.detail.startswith(where) else f"{where}: {error.detail}"
        raise _wrong(detail.rstrip(".")) from error


def _own(entry: _Entry, base: str, shared: Shared) -> Shared:
    limits = shared.validation_spec
    if entry.validation_spec is not None:
        limits = ValidationSpec.of(_spec_from(base, entry.validation_spec))
    if entry.golden:
        limits = dataclasses.replace(
            limits, answers=dataclasses.replace(limits.answers, golden=_from(base, entry.golden))
        )
    serving, asked = entry.serving_spec, entry.request_spec
    return Shared(
        shared.serving_spec if serving is None else ServingSpec.of(_spec_from(base, serving)),
        limits,
        shared.request_spec if asked is None else RequestSpec.of(_spec_from(base, asked)),
        _from(base, entry.requests) if entry.requests else shared.requests,
    )


def _spec_from(base: str, given: object) -> object:
    """A spec as it stands in a list; one that is the path of a file begins where the list lies."""
    if isinstance(given, str) and not any(sign in given for sign in ("{", "\n", ": ")):
        return _from(base, given)
    return given


def _from(base: str, path: str) -> str:
    return path if not path or not base or "://" in path else os.path.join(base, path)


def _name_of(model: str) -> str:
    """The directory's name; of a version directory its parent's."""
    path = pathlib.PurePath(os.path.abspath(model) if "://" not in model else model)
    name = path.parent.name if path.name.isdigit() and path.parent.name else path.name
    name = _NO_NAME.sub("_", name)[:200]
    return name if _NAME.fullmatch(name) else f"m{name}"


def _wrong(detail: str) -> UsageError:
    return UsageError(
        f"{detail}.", reason=ReasonCode.WRONG_USAGE, next_step="Correct what is named; docs/fleet.md has the list."
    )
