"""One version of one model in memory: how it is loaded (contract 2.5), its signatures, and the requests that hold it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from infra_validator.core import wire
from infra_validator.embedded_server.engine.c_api import Tensor
from infra_validator.embedded_server.engine.session import GraphSession, Session
from infra_validator.embedded_server.status import Code, StatusError, from_os_error, not_found
from infra_validator.protos import tensorflow_pb2

DEFAULT_SIGNATURE = "serving_default"


class Signature:
    """A SignatureDef with its tensors looked up.

    Attributes:
      definition: the tensorflow.SignatureDef.
      inputs, outputs: alias -> tensor name; inputs in the order of their aliases.
      output_names: the tensors of all outputs, each once.
      defaults: alias -> serialized TensorProto, for inputs that may be left out.
    """

    def __init__(self, session: GraphSession, definition: tensorflow_pb2.SignatureDef) -> None:
        self._session = session
        self.definition = definition
        self.inputs = {alias: info.name for alias, info in sorted(definition.inputs.items())}
        self.outputs = {alias: info.name for alias, info in definition.outputs.items()}
        self.output_names = list(
            dict.fromkeys(self.outputs.values())
        )  # the tensors, each once: two aliases may share one
        self.defaults = {alias: value.SerializeToString() for alias, value in definition.defaults.items()}
        self._feeds = self._fetches = None
        with contextlib.suppress(StatusError):  # a tensor that the graph does not have fails each request, not the load
            self._feeds = session.endpoints(list(self.inputs.values()))
            self._fetches = session.endpoints(self.output_names)

    def run(self, values: Sequence[Tensor], options: bytes = b"") -> dict[str, Tensor]:
        """Run with ``values`` for all inputs in the order of ``inputs``; tensor name -> value of all outputs."""
        if self._feeds is None or self._fetches is None:
            return run(self._session, dict(zip(self.inputs.values(), values, strict=True)), self.output_names, options)
        return dict(zip(self.output_names, self._session.run(self._feeds, values, self._fetches, options), strict=True))


def run(
    session: GraphSession, inputs: dict[str, Tensor], outputs: Sequence[str], options: bytes = b""
) -> dict[str, Tensor]:
    """Run with tensors named one by one: tensor name -> value, in and out."""
    found = session.endpoints(list(inputs)), session.endpoints(outputs)
    return dict(zip(outputs, session.run(found[0], list(inputs.values()), found[1], options), strict=True))


class Servable:
    """A loaded version. Requests hold it while they run; ``unload`` waits for them.

    Attributes:
      name, version: what it is served as.
      signatures: signature name -> Signature; all of them, ``__saved_model_init_op`` included.
      session: the loaded graph; runs of it may be batched.
    """

    def __init__(self, name: str, version: int, session: GraphSession) -> None:
        self.name = name
        self.version = version
        self.session = session
        self.signatures = {key: Signature(session, value) for key, value in _signature_defs(session.meta_graph).items()}
        session.meta_graph = b""  # the graph itself lives in the session; a second copy would only take memory
        self._free = threading.Condition()
        self._holders = 0
        self._unloaded = False

    @classmethod
    def load(
        cls,
        name: str,
        version: int,
        directory: str,
        tags: Sequence[str] = ("serve",),
        config: bytes = b"",
        batched: Callable[[Session], GraphSession] | None = None,
    ) -> Servable:
        """Load the SavedModel in ``directory``.

        Args:
          name, version: what to serve it as.
          tags: the tag set of the meta graph.
          config: a serialized tensorflow.ConfigProto.
          batched: puts batching before the session; None: every request runs by itself.

        Raises:
          StatusError: as TensorFlow Serving fails this load.
        """
        check_readable(name, version, directory)
        if os.path.exists(os.path.join(directory, "export.meta")):
            raise StatusError(Code.UNIMPLEMENTED, "Session Bundle is deprecated and removed.")
        if not any(os.path.exists(os.path.join(directory, file)) for file in ("saved_model.pb", "saved_model.pbtxt")):
            raise not_found(
                "Specified file path does not appear to contain a SavedModel bundle (should have a file called "
                f"`saved_model.pb`)\nSpecified file path: {directory}"
            )
        session = Session.load(directory, tags, config)
        return cls(name, version, batched(session) if batched else session)

    def try_hold(self) -> bool:
        """Hold it for a request, unless it is being unloaded; ``release`` must follow."""
        with self._free:
            if self._unloaded:
                return False
            self._holders += 1
            return True

    def release(self) -> None:
        with self._free:
            self._holders -= 1
            if self._unloaded and not self._holders:
                self._free.notify_all()

    @contextlib.contextmanager
    def held(self) -> Iterator[Servable]:
        """Hold it for the length of a ``with``."""
        if not self.try_hold():
            raise not_found(f"Servable not found for request: Specific({self.name}, {self.version})")
        try:
            yield self
        finally:
            self.release()

    def unload(self) -> None:
        """Take no more requests, wait until the last one is done, and free the memory. Any number of times."""
        with self._free:
            self._unloaded = True
            self._free.wait_for(lambda: not self._holders)
        self.session.close()


def check_readable(name: str, version: int, directory: str) -> int:
    """The bytes of all files under a version directory, as the real server adds them up before it loads (2.5).

    Raises:
      StatusError: the directory is a file, vanished or cannot be read.
    """
    total = 0
    try:
        entries = [directory]
        while entries:
            with os.scandir(entries.pop()) as found:
                for entry in found:
                    if entry.is_dir():
                        entries.append(entry.path)
                    else:
                        total += entry.stat().st_size
    except OSError as error:
        cause = from_os_error(error)
        raise StatusError(
            cause.code,
            "Error while attempting to reserve resources to load servable "
            f"{{name: {name} version: {version}}}: {cause.message}",
        ) from error
    return total


def _signature_defs(meta_graph: bytes) -> dict[str, tensorflow_pb2.SignatureDef]:
    """The signatures of a serialized MetaGraphDef; the graph in it, which may be large, is stepped over."""
    found = tensorflow_pb2.MetaGraphDef()
    for number, kind, start, end in wire.fields(meta_graph):
        if number == 5 and kind == wire.LENGTH:
            found.MergeFromString(wire.length_field(5, meta_graph[start:end]))
    return dict(found.signature_def)
