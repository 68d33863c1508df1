"""Whether a SavedModel directory holds every file that its graph needs.

A model server does not check this: TensorFlow Serving calls a model AVAILABLE whose variables are missing, and fails at the
first request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.find import unreadable
from infra_validator.saved_model.graph import SavedModelGraph, read_graph

_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_LISTED_FILES = 5  # missing files named in one message


def check_model_files(path: str, tag_set: Iterable[str] = ("serve",)) -> SavedModelGraph:
    """Read the graph tagged ``tag_set`` and check that the files it needs are there and readable; returns the graph.

    A graph without variables is legitimate without a ``variables`` directory.

    Args:
      path: the SavedModel directory itself; see find.find_saved_model for what else people have.

    Raises:
      AttemptFailed: MODEL_NOT_A_SAVED_MODEL, TAG_SET_NOT_FOUND or MODEL_FILES_INCOMPLETE.
      InfrastructureError: MODEL_NOT_FOUND or MODEL_NOT_READABLE.
    """
    _list(path)
    graph = read_graph(path, tag_set)
    needed = [*_variable_files(graph), *(os.path.join("assets", name) for name in graph.assets)]
    missing = [name for name in needed if not os.path.lexists(os.path.join(path, name))]
    if missing:
        more = f" and {len(missing) - _LISTED_FILES} more" if len(missing) > _LISTED_FILES else ""
        raise _incomplete(f"{path} lacks {', '.join(missing[:_LISTED_FILES])}{more}")
    for name in needed:
        _read_something(os.path.join(path, name))
    return graph


def _variable_files(graph: SavedModelGraph) -> list[str]:
    """The files of the checkpoint, relative to the model. Raises if not even their names can be told."""
    folder = os.path.join(graph.path, "variables")
    index = os.path.join("variables", "variables.index")
    if not os.path.lexists(folder):
        if graph.restores_variables:
            raise _incomplete(f"The graph holds variables, but {graph.path} has no variables directory")
        return []
    names = _list(folder)
    if "variables.index" not in names:
        if graph.restores_variables:
            raise _incomplete(f"The graph holds variables, but {graph.path} has no {index}")
        return []
    counts = {int(match[2]) for match in map(_SHARD.fullmatch, names) if match}
    if not counts:
        raise _incomplete(f"{folder} has an index but no variables.data-00000-of-00001 or other shard")
    shards = max(counts)
    return [index, *(os.path.join("variables", f"variables.data-{n:05}-of-{shards:05}") for n in range(shards))]


def _list(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _read_something(file: str) -> None:
    try:
        with open(file, "rb") as opened:
            opened.read(1)
    except FileNotFoundError as error:
        raise _incomplete(f"{file} is a symbolic link to a file that does not exist") from error
    except OSError as error:
        raise unreadable(file, error) from error


def _incomplete(problem: str) -> AttemptFailed:
    return AttemptFailed(ReasonCode.MODEL_FILES_INCOMPLETE, f"{problem}.")
