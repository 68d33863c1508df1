"""One graph of a SavedModel: its tags, its signatures, and which files it needs beside itself."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from google.protobuf import message

from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.wire import LENGTH, WireError, field_numbers, fields
from infra_validator.protos import tensorflow_pb2
from infra_validator.saved_model.find import GRAPH_FILES, unreadable
from infra_validator.saved_model.unset_variables import unset_variables

# Field numbers of TensorFlow's saved_model.proto, meta_graph.proto, graph.proto and node_def.proto.
_SAVED_MODEL_META_GRAPHS = 2
_META_GRAPH_GRAPH_DEF = 2
_META_GRAPH_READ = (1, 3, 4, 5, 6)  # meta_info_def, saver_def, collection_def, signature_def, asset_file_def
_GRAPH_DEF_NODE = 1
_NODE_DEF_OP = 2

if TYPE_CHECKING:
    from infra_validator.core.wire import Buffer

_BEGINNING = 256  # bytes that tell text from a graph, which begins with a field's key and has zeros and lengths soon
_TEXT = frozenset(range(32, 127)) | frozenset(b"\t\n\r")

_ASSETS_COLLECTION = "saved_model_assets"  # where exports older than TensorFlow 1.13 name their assets

#: Operations whose state is in the checkpoint under variables/.
_STATE_OPS = frozenset(
    {
        b"VarHandleOp",
        b"Variable",
        b"VariableV2",
        b"AutoReloadVariable",
        b"MutableHashTable",
        b"MutableHashTableV2",
        b"MutableHashTableOfTensors",
        b"MutableHashTableOfTensorsV2",
        b"MutableDenseHashTable",
        b"MutableDenseHashTableV2",
    }
)


@dataclasses.dataclass(frozen=True)
class SavedModelGraph:
    """One graph (MetaGraphDef) of a SavedModel.

    Attributes:
      path: the SavedModel directory.
      tags: its tag set.
      signatures: every signature by name, TensorFlow's own ``__saved_model_init_op`` included.
      restores_variables: whether it holds variables and restores them from the checkpoint under ``variables/``. Variables that
        an initializer fills (TF1 local variables) need no checkpoint.
      assets: the file names under ``assets/`` that it names.
      unset_variables: variables that the signatures read and nothing sets; see unset_variables.py.
    """

    path: str
    tags: frozenset[str]
    signatures: Mapping[str, tensorflow_pb2.SignatureDef] = dataclasses.field(repr=False)
    restores_variables: bool
    assets: tuple[str, ...]
    unset_variables: tuple[str, ...] = ()

    def signatures_named(self, names: Iterable[str]) -> dict[str, tensorflow_pb2.SignatureDef]:
        """The signatures called ``names``, in that order.

        Raises:
          AttemptFailed: there is no such signature (SIGNATURE_NOT_FOUND); names those that exist.
        """
        chosen = {}
        for name in names:
            if name not in self.signatures:
                raise signature_not_found(name, self.signatures, f"The model at {self.path}")
            chosen[name] = self.signatures[name]
        return chosen


def signature_not_found(name: str, known: Iterable[str], who: str) -> AttemptFailed:
    """The error for a signature that the model lacks.

    Args:
      who: what lacks it, the beginning of the sentence, e.g. ``The model at /models/m``.
    """
    names = ", ".join(repr(other) for other in sorted(known) if not other.startswith("__")) or "none"
    return AttemptFailed(ReasonCode.SIGNATURE_NOT_FOUND, f"{who} has no signature {name!r}; it has: {names}.")


def read_graph(path: str, tag_set: Iterable[str] = ("serve",)) -> SavedModelGraph:
    """Read the graph with exactly the tags ``tag_set`` of the SavedModel directory ``path``.

    Memory is bounded by the signatures and the meta information, not by the size of the graph (``saved_model.pb`` only).

    Raises:
      AttemptFailed: it is no SavedModel (MODEL_NOT_A_SAVED_MODEL), or has no such graph (TAG_SET_NOT_FOUND).
      InfrastructureError: the file cannot be read (MODEL_NOT_READABLE).
    """
    wanted = frozenset(tag_set)
    known = []
    for graph in _graphs(path):
        if graph.tags == wanted:
            return graph
        known.append(_shown(graph.tags))
    if not known:
        raise AttemptFailed(ReasonCode.MODEL_NOT_A_SAVED_MODEL, f"{_graph_file(path)} holds no graph at all.")
    raise AttemptFailed(
        ReasonCode.TAG_SET_NOT_FOUND, f"{path} has no graph tagged {_shown(wanted)}; it has: {', '.join(known)}."
    )


def _shown(tags: Iterable[str]) -> str:
    return "{" + ", ".join(sorted(tags)) + "}"


def _graph_file(path: str) -> str:
    for name in GRAPH_FILES:
        file = os.path.join(path, name)
        if os.path.lexists(file):
            return file
    raise AttemptFailed(ReasonCode.MODEL_NOT_A_SAVED_MODEL, f"{path} holds no saved_model.pb.")


def _graphs(path: str) -> Iterator[SavedModelGraph]:
    file = _graph_file(path)
    try:
        with _content(file) as data:
            if file.endswith(".pbtxt"):
                yield from _graphs_of_text(path, data[:])
            else:
                yield from _graphs_of_binary(path, data)
    except OSError as error:
        raise unreadable(file, error) from error
    except (WireError, message.DecodeError, UnicodeDecodeError) as error:
        raise AttemptFailed(
            ReasonCode.MODEL_NOT_A_SAVED_MODEL, f"{file} is damaged or no SavedModel: {error}."
        ) from error


@contextlib.contextmanager
def _content(file: str) -> Iterator[mmap.mmap]:
    """The file's bytes, paged in as they are looked at."""
    with open(file, "rb") as opened:
        if os.fstat(opened.fileno()).st_size == 0:
            raise AttemptFailed(ReasonCode.MODEL_NOT_A_SAVED_MODEL, f"{file} is empty (0 bytes).")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:2] == b"\x1f\x8b":
                raise AttemptFailed(
                    ReasonCode.MODEL_NOT_A_SAVED_MODEL,
                    f"{file} is gzip-compressed.",
                    next_step="Decompress it: model servers read the plain file only.",
                )
            problem, next_step = _why_text(data[:_BEGINNING]) if not file.endswith(".pbtxt") else ("", "")
            if problem:
                raise AttemptFailed(ReasonCode.MODEL_NOT_A_SAVED_MODEL, f"{file} {problem}.", next_step=next_step)
            yield data


def _why_text(beginning: bytes) -> tuple[str, str]:
    """(what a file is that is text where a graph should be, what to do); empty if it is not text."""
    if beginning.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the file itself", "Fetch the files: git lfs pull."
    if all(byte in _TEXT for byte in beginning):
        return "is text, not a SavedModel", "Look into it: a download may have saved a message in the file's place."
    return "", ""


def _graphs_of_binary(path: str, data: Buffer) -> Iterator[SavedModelGraph]:
    # The whole outer message is walked first: a file that was cut off is recognised by lengths that reach beyond its end.
    found = list(fields(data))
    for number, kind, start, end in found:
        if number == _SAVED_MODEL_META_GRAPHS and kind == LENGTH:
            yield _graph_of_binary(path, data, start, end)


def _graph_of_binary(path: str, data: Buffer, start: int, end: int) -> SavedModelGraph:
    read = bytearray()
    holds_state = False
    graph_defs = []
    before = start
    for number, kind, value, after in fields(data, start, end):
        if number in _META_GRAPH_READ:
            read += data[before:after]
        elif number == _META_GRAPH_GRAPH_DEF and kind == LENGTH:
            holds_state = holds_state or any(op in _STATE_OPS for op in _ops(data, value, after))
            graph_defs.append((value, after))
        before = after

    def nodes() -> Iterator[tensorflow_pb2.NodeDef]:
        for first, last in graph_defs:
            for number, kind, at, end_of_node in fields(data, first, last):
                if number == _GRAPH_DEF_NODE and kind == LENGTH:
                    yield tensorflow_pb2.NodeDef.FromString(bytes(data[at:end_of_node]))

    return _graph(path, tensorflow_pb2.MetaGraphDef.FromString(bytes(read)), holds_state, nodes)


def _ops(data: Buffer, start: int, end: int) -> Iterator[bytes]:
    """The operation of every node of a GraphDef; attributes (constants are among them) are never looked at."""
    for number, kind, value, after in fields(data, start, end):
        if number != _GRAPH_DEF_NODE or kind != LENGTH:
            continue
        for node_number, node_kind, op, op_end in fields(data, value, after):
            if node_number == _NODE_DEF_OP and node_kind == LENGTH:
                yield bytes(data[op:op_end])
                break


def _graphs_of_text(path: str, text: bytes) -> Iterator[SavedModelGraph]:
    from google.protobuf import text_format  # few models are text

    model = tensorflow_pb2.SavedModel()
    try:
        text_format.Parse(text.decode(), model, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise message.DecodeError(str(error)) from error
    for meta_graph in model.meta_graphs:
        holds_state = any(node.op.encode() in _STATE_OPS for node in meta_graph.graph_def.node)
        yield _graph(path, meta_graph, holds_state, functools.partial(iter, meta_graph.graph_def.node))


def _graph(
    path: str,
    meta_graph: tensorflow_pb2.MetaGraphDef,
    holds_state: bool,
    nodes: Callable[[], Iterable[tensorflow_pb2.NodeDef]],
) -> SavedModelGraph:
    return SavedModelGraph(
        path=path,
        tags=frozenset(meta_graph.meta_info_def.tags),
        signatures=dict(meta_graph.signature_def),
        restores_variables=holds_state and bool(meta_graph.saver_def.restore_op_name),
        assets=tuple(sorted({asset.filename for asset in _assets(meta_graph)})),
        unset_variables=unset_variables(meta_graph, nodes),
    )


def _assets(meta_graph: tensorflow_pb2.MetaGraphDef) -> Iterator[tensorflow_pb2.AssetFileDef]:
    yield from meta_graph.asset_file_def
    if not meta_graph.asset_file_def and _ASSETS_COLLECTION in meta_graph.collection_def:
        for packed in meta_graph.collection_def[_ASSETS_COLLECTION].any_list.value:
            field_numbers(packed.value)
            yield tensorflow_pb2.AssetFileDef.FromString(packed.value)
