"""Whether a SavedModel directory holds every file that its graph needs.

A model server does not check this: TensorFlow Serving calls a model AVAILABLE whose variables are missing, and fails at the
first request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.saved_model.digest import model_files
from infra_validator.saved_model.find import unreadable
from infra_validator.saved_model.graph import SavedModelGraph, read_graph

_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_LISTED = 5  # names in one message


def check_model_files(path: str, tag_set: Iterable[str] = ("serve",)) -> SavedModelGraph:
    """Read the graph tagged ``tag_set`` and check that the files that a server needs are there and readable.

    Assets may be missing: whether that matters only the server can say (``notes_on`` tells of them). A graph without variables is
    legitimate without a ``variables`` directory.

    Returns:
      The graph.

    Args:
      path: the SavedModel directory itself; see find.find_saved_model for what else people have.

    Raises:
      AttemptFailed: MODEL_NOT_A_SAVED_MODEL, TAG_SET_NOT_FOUND or MODEL_FILES_INCOMPLETE.
      InfrastructureError: MODEL_NOT_FOUND or MODEL_NOT_READABLE.
    """
    model_files(path)
    graph = read_graph(path, tag_set)
    needed = _variable_files(graph)
    missing = [name for name in needed if not os.path.lexists(os.path.join(path, name))]
    if missing:
        raise _incomplete(f"{path} lacks {_some(missing)}")
    for name in [*needed, *(name for name in _asset_files(graph) if name not in _missing_assets(graph))]:
        _read_something(os.path.join(path, name))
    return graph


def notes_on(graph: SavedModelGraph) -> tuple[str, ...]:
    """What a user should know of a model that a server may load all the same: one sentence each."""
    notes = []
    missing = _missing_assets(graph)
    if missing:
        notes.append(
            f"The graph names {_some(missing)}, which {graph.path} lacks; whether that matters the server decides."
        )
    if graph.unset_variables:
        notes.append(
            f"The signatures read {_some(graph.unset_variables)}, which neither an initializer nor the checkpoint sets: requests will "
            'fail with "Could not find variable". A Keras 3 model that was saved as an attribute of a tf.Module is so; save it '
            "with model.export(DIRECTORY)."
        )
    return tuple(notes)


def _asset_files(graph: SavedModelGraph) -> list[str]:
    return [os.path.join("assets", name) for name in graph.assets]


def _missing_assets(graph: SavedModelGraph) -> list[str]:
    return [name for name in _asset_files(graph) if not os.path.exists(os.path.join(graph.path, name))]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


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
