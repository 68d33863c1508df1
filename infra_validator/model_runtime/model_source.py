"""From what a load request says (path, key) to the SavedModel on the disk, or a refusal that says what is wrong.

Layouts are those that model-mesh's puller leaves: ``<root>/<model id>/<last path element or _model>``, which may be a
SavedModel, a directory of numbered versions, or a directory that holds one of these. Nothing outside the root is read,
through symbolic links neither.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping

from infra_validator.core.deadline import Deadline

_GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")
_LONGEST_PATH = 4096  # bytes; PATH_MAX


class BadModel(ValueError):
    """The request names no model that may be loaded: nothing was tried, no memory is used.

    Attributes:
      absent: whether the only thing wrong is that nothing is there.
    """

    def __init__(self, detail: str, *, absent: bool = False) -> None:
        super().__init__(detail)
        self.absent = absent


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """A SavedModel on the disk.

    Attributes:
      path: the directory with ``saved_model.pb``, all links resolved.
      version: of a numbered directory its number, else 1.
      graph_bytes: size of the graph file.
      variables_bytes: size of the variables' data.
      other_bytes: everything else (indices, assets).
      complete: whether all files were read; time may have run out.
    """

    path: str
    version: int = 1
    graph_bytes: int = 0
    variables_bytes: int = 0
    other_bytes: int = 0
    complete: bool = True

    @property
    def weight_bytes(self) -> int:
        """What the model cannot take less of in memory: its variables and its graph."""
        return self.graph_bytes + self.variables_bytes


@dataclasses.dataclass(frozen=True)
class ModelKey:
    """What we read of ``modelKey``; unknown attributes are ignored, as model-mesh's own adapters do.

    Attributes:
      model_type: ``model_type`` as a text, or its ``name``; empty when absent.
      disk_size_bytes: as the puller tells it; None when absent.
    """

    model_type: str = ""
    disk_size_bytes: int | None = None

    @classmethod
    def parse(cls, text: str) -> ModelKey:
        """Read a key; an empty one means no attributes.

        Raises:
          BadModel: it is not a JSON object, or a known attribute has the wrong type.
        """
        if not text.strip():
            return cls()
        try:
            key = json.loads(text)
        except RecursionError as error:
            raise BadModel("modelKey is nested too deeply.") from error
        except ValueError as error:
            raise BadModel(f"modelKey is not valid JSON: {error}.") from error
        if not isinstance(key, dict):
            raise BadModel(f"modelKey must be a JSON object, not {_json_type(key)}.")
        _check_types(key)
        return cls(_model_type_of(key), _disk_size_of(key))


def _check_types(key: Mapping[str, object]) -> None:
    for name in ("storage_key", "schema_path", "bucket"):
        if not isinstance(key.get(name, ""), (str, type(None))):
            raise BadModel(f"modelKey.{name} must be a string, not {_json_type(key[name])}.")
    if not isinstance(key.get("storage_params", {}), (dict, type(None))):
        raise BadModel(f"modelKey.storage_params must be an object, not {_json_type(key['storage_params'])}.")


def _model_type_of(key: Mapping[str, object]) -> str:
    model_type = key.get("model_type")
    if isinstance(model_type, dict):
        model_type = model_type.get("name")
    if not isinstance(model_type, (str, type(None))):
        raise BadModel(f"modelKey.model_type must be a string or an object with a name, not {_json_type(model_type)}.")
    return model_type or ""


def _disk_size_of(key: Mapping[str, object]) -> int | None:
    size = key.get("disk_size_bytes")
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not 0 <= size < 2**63:
        raise BadModel("modelKey.disk_size_bytes must be a number of bytes, 0 or more.")
    return int(size)


def _json_type(value: object) -> str:
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "null")


def find_model(model_path: str, root: str, deadline: Deadline | None = None) -> ModelSource:
    """The SavedModel that ``model_path`` leads to, with its sizes.

    Args:
      model_path: absolute, as the puller rewrites it.
      root: the directory that it may not leave.
      deadline: when reached, the sizes are of what was read so far; the model itself is found in any case.

    Raises:
      BadModel: it is not below the root, or no SavedModel.
    """
    real_root = os.path.realpath(root)
    path = _inside(_checked(model_path, root), real_root, model_path)
    if not os.path.lexists(path):
        raise BadModel(f"There is nothing at the model path {model_path!r}.", absent=True)
    if not os.path.isdir(path):
        raise BadModel(f"The model path {model_path!r} is a file; it must be the directory of a SavedModel.")
    try:
        directory, version = _saved_model_below(path, real_root, model_path)
        return _measured(directory, version, real_root, deadline)
    except OSError as error:
        raise BadModel(f"The model path {model_path!r} cannot be read: {error.strerror}.") from error


def _checked(model_path: str, root: str) -> str:
    if not model_path:
        raise BadModel("The model path is empty.")
    if "\0" in model_path:
        raise BadModel("The model path holds a NUL character.")
    if len(os.fsencode(model_path)) >= _LONGEST_PATH:
        raise BadModel(f"The model path is longer than {_LONGEST_PATH} bytes.")
    if not os.path.isabs(model_path):
        raise BadModel(f"The model path {model_path!r} is relative; it must be absolute and below {root!r}.")
    return model_path


def _inside(path: str, real_root: str, named: str) -> str:
    """``path`` with all links resolved; it may not be the root itself, since that is no model."""
    real = os.path.realpath(path)
    if not real.startswith(real_root.rstrip("/") + "/"):
        raise BadModel(f"The model path {named!r} leads to {real!r}, which is not below the model root {real_root!r}.")
    return real


def _saved_model_below(path: str, real_root: str, named: str) -> tuple[str, int]:
    """(directory with the graph file, version) of a SavedModel, a directory of versions, or a directory around one."""
    for _ in range(4):  # a wrapping directory, a model's directory, its version directory, and one to spare
        children = sorted(os.listdir(path))
        if any(name in children for name in _GRAPH_FILES):
            name = os.path.basename(path)
            return path, int(name) if _is_version(name) else 1
        directories = [name for name in children if os.path.isdir(os.path.join(path, name))]
        versions = [name for name in directories if _is_version(name)]
        if versions:
            chosen = max(versions, key=int)
        elif len(directories) == 1:
            chosen = directories[0]
        else:
            break
        path = _inside(os.path.join(path, chosen), real_root, named)
    raise BadModel(f"There is no saved_model.pb at the model path {named!r}, nor in a version directory below it.")


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) < 2**63


def _measured(directory: str, version: int, real_root: str, deadline: Deadline | None) -> ModelSource:
    graph = variables = other = 0
    for path in _files(directory):
        size = os.stat(_inside(path, real_root, path)).st_size
        relative = os.path.relpath(path, directory)
        if relative in _GRAPH_FILES:
            graph += size
        elif relative.startswith("variables/") and ".data-" in relative:
            variables += size
        else:
            other += size
        if deadline is not None and deadline.expired():
            return ModelSource(directory, version, graph, variables, other, complete=False)
    return ModelSource(directory, version, graph, variables, other)


def _files(directory: str) -> Iterator[str]:
    def tell(error: OSError) -> None:
        raise error

    # The graph file and variables/ come first: when time runs out, what counts has been seen.
    for parent, directories, names in os.walk(directory, onerror=tell, followlinks=False):
        directories.sort(key=lambda name: name != "variables")
        for name in names:
            yield os.path.join(parent, name)
        for name in directories:
            if os.path.islink(os.path.join(parent, name)):
                yield os.path.join(parent, name)
