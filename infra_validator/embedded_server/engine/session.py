"""Sessions: SavedModels in TensorFlow's memory, loaded and run through its C API (ownership: see ``c_api``)."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from typing import Protocol

from infra_validator.core import wire
from infra_validator.embedded_server.engine.c_api import POINTER, Buffer, Output, Status, Tensor, address, functions
from infra_validator.embedded_server.engine.op_libraries import load_packages_for, loaded_packages, sessions_at_work
from infra_validator.embedded_server.status import Code, StatusError

# A run costs less than half of what it else does if no thread of TensorFlow's is asked to help. It cannot be cut short then, and its
# operations come one after the other: so only a run whose last one was over sooner than this is run so.
_QUICK_SECONDS = 0.0005
_IN_THIS_THREAD = wire.varint_field(3, 2**64 - 1)  # RunOptions.inter_op_thread_pool = -1


class Endpoints:
    """Tensors of a graph, looked up once, in the form that a run wants them. Valid while the session is.

    Attributes:
      quick: whether the last run that fetched them was quick.
    """

    __slots__ = ("array", "count", "names", "quick")

    def __init__(self, names: Sequence[str], outputs: list[Output]) -> None:
        self.names = tuple(names)
        self.count = len(outputs)
        self.array = (Output * self.count)(*outputs)
        self.quick = False


class GraphSession(Protocol):
    """What can run a loaded graph: a ``Session``, or what puts something before it, as batching does.

    Attributes:
      meta_graph: the serialized tensorflow.MetaGraphDef that was loaded.
    """

    meta_graph: bytes

    def endpoints(self, names: Sequence[str]) -> Endpoints:
        """As ``Session.endpoints``."""
        ...

    def run(self, feeds: Endpoints, values: Sequence[Tensor], fetches: Endpoints, options: bytes = b"") -> list[Tensor]:
        """As ``Session.run``."""
        ...

    def close(self) -> None:
        """As ``Session.close``."""
        ...


class Session:
    """A SavedModel in memory, ready to run.

    Attributes:
      meta_graph: the serialized tensorflow.MetaGraphDef that was loaded.
    """

    def __init__(self, session: int, graph: int, meta_graph: bytes) -> None:
        self._session: int | None = session
        self._graph = graph
        self.meta_graph = meta_graph

    @classmethod
    def load(cls, directory: str, tags: Sequence[str], config: bytes = b"") -> Session:
        """Load the meta graph with exactly these tags, restore its variables and run its initializers.

        Where an operation is missing, the packages that the real server links in are loaded, and it is tried once more.

        Args:
          directory: the SavedModel directory.
          tags: the tag set, without order.
          config: a serialized tensorflow.ConfigProto.

        Raises:
          StatusError: TensorFlow's code and text.
        """
        had = loaded_packages()
        try:
            return cls._load(directory, tags, config)
        except StatusError as error:
            if not load_packages_for(error, had):
                raise
            return cls._load(directory, tags, config)

    @classmethod
    def _load(cls, directory: str, tags: Sequence[str], config: bytes) -> Session:
        tf = functions()
        names = (ctypes.c_char_p * len(tags))(*(tag.encode() for tag in tags))
        options, graph, buffer, session = tf.NewSessionOptions(), tf.NewGraph(), tf.NewBuffer(), None
        try:
            with Status() as status:
                tf.SetConfig(options, config, len(config), status.pointer)
            with sessions_at_work, Status() as status:
                path = os.fsencode(directory)
                session = tf.LoadSessionFromSavedModel(
                    options, None, path, names, len(tags), graph, buffer, status.pointer
                )
            content = ctypes.cast(buffer, ctypes.POINTER(Buffer)).contents
            return cls(session, graph, ctypes.string_at(content.data, content.length))
        except BaseException:
            tf.DeleteGraph(graph)
            raise
        finally:
            tf.DeleteBuffer(buffer)
            tf.DeleteSessionOptions(options)

    def endpoints(self, names: Sequence[str]) -> Endpoints:
        """Look up tensors by name, ``operation:index`` (the index is 0 where it is left out).

        Raises:
          StatusError: there is no such tensor; in the words in which TensorFlow's own session refuses the name.
        """
        return Endpoints(names, [self._output(name) for name in names])

    def _output(self, name: str) -> Output:
        tf = functions()
        operation_name, _, index = name.partition(":")
        operation = tf.GraphOperationByName(self._graph, operation_name.encode())
        if not operation or not (index or "0").isdecimal():
            text = f"Tensor {name}, specified in either feed_devices or fetch_devices was not found in the Graph"
            raise StatusError(Code.INVALID_ARGUMENT, text)
        number, count = int(index or 0), tf.OperationNumOutputs(operation)
        if number >= count:
            kind = tf.OperationOpType(operation).decode()
            text = f"Node '{operation_name}' (type: '{kind}', num of outputs: {count}) does not have output {number}"
            raise StatusError(Code.OUT_OF_RANGE, text)
        return Output(operation, number)

    def run(self, feeds: Endpoints, values: Sequence[Tensor], fetches: Endpoints, options: bytes = b"") -> list[Tensor]:
        """Run the graph: feed ``values`` to ``feeds``, return the values of ``fetches``. Any number of threads at once.

        Args:
          options: a serialized tensorflow.RunOptions.

        Raises:
          StatusError: TensorFlow's code and text.
        """
        tf = functions()
        inputs = (POINTER * feeds.count)(*[value.pointer for value in values])
        outputs = (POINTER * fetches.count)()
        if fetches.quick:
            options += _IN_THIS_THREAD
        began = time.perf_counter()
        run_options = ctypes.byref(Buffer(address(options), len(options), None)) if options else None
        try:
            with sessions_at_work, Status() as status:
                tf.SessionRun(
                    self._session,
                    run_options,
                    feeds.array,
                    inputs,
                    feeds.count,
                    fetches.array,
                    outputs,
                    fetches.count,
                    None,
                    0,
                    None,
                    status.pointer,
                )
        except StatusError:
            for pointer in outputs:  # TensorFlow leaves null pointers behind a failure
                if pointer:
                    tf.DeleteTensor(pointer)
            raise
        fetches.quick = time.perf_counter() - began < _QUICK_SECONDS
        return [Tensor(pointer or 0) for pointer in outputs]

    def close(self) -> None:
        """Free the session, its variables and the graph. Any number of times; not while a run is under way."""
        if self._session is None:
            return
        tf, session, self._session = functions(), self._session, None
        for free in (tf.CloseSession, tf.DeleteSession):
            with Status() as status:
                free(session, status.pointer)
        tf.DeleteGraph(self._graph)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
