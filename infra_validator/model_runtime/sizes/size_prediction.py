"""How much memory a SavedModel will take, from its files alone: high rather than low, and in a fraction of a second.

The factors are measured (benchmarks/model_runtime.py): variables are held once and a part of them twice while they are restored;
a constant in the graph is held by the parsed, the imported and the optimised graph; a node of a few bytes on the disk becomes
objects of a hundred times that size.
"""

from __future__ import annotations

import mmap
import os

from infra_validator.core import wire
from infra_validator.core.deadline import Deadline
from infra_validator.model_runtime.model_source import ModelSource

_BASE_BYTES = 2**20  # a session with nothing in it, and what measuring may be off by
_VARIABLES_FACTOR = 1.25
_NODE_FACTOR = 100  # bytes in memory for a byte of structure: names, edges, attributes
_CONSTANT_FACTOR = 5
_ENTRY_BYTES = 100  # of a look-up table, for each line of an asset: a slot in a table that doubles, and a string
_SHORT_LINE = 8  # bytes, of a file that could not be read to its end
_CHUNK = 2**20
_LARGE_NODE = 1024  # bytes; what a node has beyond this is a constant's content
_NODES_BETWEEN_LOOKS = 512  # at the clock
_LONGEST_SCAN = 5.0  # seconds


def predicted_bytes(source: ModelSource, deadline: Deadline | None = None) -> int:
    """A conservative estimate of the memory that the model will take.

    Args:
      source: the model and the sizes of its files.
      deadline: when it comes, what was not read of the graph counts as structure, which errs high; None: some seconds.
    """
    deadline = deadline or Deadline.after(_LONGEST_SCAN)
    structure = min(_structure_bytes(source.path, deadline), source.graph_bytes)
    constants = source.graph_bytes - structure
    # OSError from an asset that cannot be read: the load would fail as well.
    estimate = (
        _BASE_BYTES
        + _VARIABLES_FACTOR * source.variables_bytes
        + _NODE_FACTOR * structure
        + _CONSTANT_FACTOR * constants
        + 2 * source.other_bytes
        + _ENTRY_BYTES * _asset_lines(source.path, deadline)
    )
    return int(estimate if source.complete else 2 * estimate)


def predicted_of_disk_size(disk_size: int) -> int:
    """The same for a model of which only the size on the disk is known."""
    return int(_BASE_BYTES + _CONSTANT_FACTOR * disk_size)


def _structure_bytes(directory: str, deadline: Deadline) -> int:
    """Bytes of the graph that are nodes and not the content of constants; all of them where that cannot be told."""
    path = os.path.join(directory, "saved_model.pb")
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return len(data) - _constant_bytes(data, deadline)
    except (OSError, ValueError):  # a text graph, an empty file, no protobuf
        return 2**62


def _constant_bytes(data: mmap.mmap, deadline: Deadline) -> int:
    constants = seen = 0
    spans = [(0, len(data), _SAVED_MODEL)]
    while spans:
        at, end, inside = spans.pop()
        for number, kind, start, stop in wire.fields(data, at, end):
            if kind != wire.LENGTH or number not in inside:
                continue
            deeper = inside[number]
            if deeper is not _NODE:
                spans.append((start, stop, deeper))
                continue
            constants += max(0, stop - start - _LARGE_NODE)
            seen += 1
            if seen % _NODES_BETWEEN_LOOKS == 0 and deadline.expired():
                return constants
    return constants


def _asset_lines(directory: str, deadline: Deadline) -> int:
    """Lines of the files in ``assets``, which are vocabularies more often than not; a guess for what time does not allow."""
    lines = 0
    for parent, _, names in os.walk(os.path.join(directory, "assets")):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                while chunk := file.read(_CHUNK):
                    lines += chunk.count(b"\n")
                    if deadline.expired():
                        return lines + os.stat(path).st_size // _SHORT_LINE
    return lines


class _Fields(dict[int, "_Fields"]):
    """Field numbers on the way to the nodes of a graph, with what is inside them."""


_NODE = _Fields()
_FUNCTION = _Fields({3: _NODE})  # FunctionDef.node_def
_GRAPH = _Fields({1: _NODE, 2: _Fields({1: _FUNCTION})})  # GraphDef.node, .library.function
_SAVED_MODEL = _Fields({2: _Fields({2: _GRAPH})})  # SavedModel.meta_graphs, MetaGraphDef.graph_def
