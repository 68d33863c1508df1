"""The backend that drives a TensorFlow Serving process, as model-mesh's adapters drive other servers.

TensorFlow Serving takes its whole list of models at once (HandleReloadConfigRequest): every name that is not in it is unloaded.
One thread of ours owns the list and sends it; loads and unloads change it and wait. Each id has a base path of its own,
``<adapted root>/<hash of the id>/<version>``, a symbolic link to the model, which stays while the id is listed: a base path that
is missing makes the server wait for ever.

Inference goes to TensorFlow Serving's own port. Start it with an empty ``model_config_list {}``, ``--max_num_load_retries=0`` and
``--num_load_threads`` and ``--num_unload_threads`` above 0.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import threading
from collections.abc import Callable

import grpc

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, UsageError
from infra_validator.model_runtime.backends.base_backend import (
    TENSORFLOW_SERVING_METHODS,
    Backend,
    BackendError,
    BackendSettings,
)
from infra_validator.model_runtime.model_source import ModelSource
from infra_validator.model_runtime.sizes.size_prediction import predicted_bytes
from infra_validator.model_server_clients.grpc_channel import open_channel
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

_RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
_ADAPTED = "_tensorflow_serving_models"  # below the model root, named as model-mesh's adapters name theirs
_ID_FILE = "model_id"  # in a base path; TensorFlow Serving looks at numbers only
_CALL_SECONDS = 10.0
_UNLOAD_SECONDS = 600.0
_GRACE_SECONDS = 5.0  # how much later than a load's own limit its reload is given up

_State = serving_pb2.ModelVersionStatus


class TensorFlowServingBackend(Backend):
    """Models in a TensorFlow Serving that somebody else has started.

    Args:
      settings: ``address`` is the server's gRPC address; ``adapted_root`` must be seen by both at the same path.

    Raises:
      UsageError: the adapted root cannot be written.
    """

    name = "tensorflow_serving"
    version = "TensorFlow Serving"
    method_infos = TENSORFLOW_SERVING_METHODS

    def __init__(self, settings: BackendSettings) -> None:
        self._root = pathlib.Path(settings.adapted_root or os.path.join(settings.model_root, _ADAPTED)).absolute()
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"The directory for TensorFlow Serving's base paths, {self._root}, cannot be made: {error.strerror}.",
                next_step="Name another one with --adapted-root.",
            ) from error
        self._load_timeout = settings.load_timeout
        self._channel = open_channel(settings.address)
        self._list = _ModelList(self._channel, settings.load_timeout + _GRACE_SECONDS)

    # ---------------------------------------------------------------- what the table calls

    def why_not_ready(self, seconds: float) -> str:
        try:
            self._status("is anybody there?", min(seconds, _CALL_SECONDS))
        except BackendError as error:
            return f"TensorFlow Serving does not answer: {error.detail}"
        return ""

    def load(self, model_id: str, source: ModelSource, abandoned: threading.Event) -> int:
        try:
            self._load_once(model_id, source, abandoned)
        except _Dropped:  # a server's first list is dropped whole when one model of it fails
            self._load_once(model_id, source, abandoned)
        return predicted_bytes(source)

    def _load_once(self, model_id: str, source: ModelSource, abandoned: threading.Event) -> None:
        sent = self._list.put(model_id, str(self._make_base_path(model_id, source)))
        try:
            self._wait_until_available(model_id, sent, abandoned)
        except BackendError:
            self.unload(model_id)  # also takes the name out of the list, so that it is new the next time
            raise

    def unload(self, model_id: str) -> None:
        deadline = Deadline.after(_UNLOAD_SECONDS)
        self._list.remove(model_id).wait(deadline)
        self._wait_until_gone(model_id, deadline)
        shutil.rmtree(self._base_path(model_id), ignore_errors=True)

    def holds(self, model_id: str) -> bool:
        """False when the server has lost the model, because it was started anew."""
        return any(entry.state == _State.AVAILABLE for entry in self._status(model_id, _CALL_SECONDS))

    def purge(self) -> None:
        """Unload everything, what a former adapter has loaded included: its base paths tell the ids."""
        deadline = Deadline.after(_CALL_SECONDS)
        self._list.clear().wait(deadline)
        for directory in self._root.iterdir():
            try:
                model_id = (directory / _ID_FILE).read_bytes().decode("utf-8", "surrogateescape")
            except OSError:
                continue  # not ours
            self._wait_until_gone(model_id, deadline)
            shutil.rmtree(directory, ignore_errors=True)

    def close(self) -> None:
        self._list.close()
        self._channel.close()

    # ---------------------------------------------------------------- private

    def _base_path(self, model_id: str) -> pathlib.Path:
        return self._root / hashlib.sha256(model_id.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def _make_base_path(self, model_id: str, source: ModelSource) -> pathlib.Path:
        base_path = self._base_path(model_id)
        try:
            shutil.rmtree(base_path, ignore_errors=True)
            base_path.mkdir()
            (base_path / _ID_FILE).write_bytes(model_id.encode("utf-8", "surrogateescape"))
            (base_path / str(source.version)).symlink_to(source.path)
        except OSError as error:
            raise BackendError(
                grpc.StatusCode.INTERNAL, f"its base path {base_path} cannot be made: {error.strerror}"
            ) from error
        return base_path

    def _wait_until_available(self, model_id: str, sent: _Sent, abandoned: threading.Event) -> None:
        """A state END counts only when the server has answered the list with the model in it: before, it is of an older life."""

        def outcome() -> bool | None:
            if abandoned.is_set():
                raise BackendError(grpc.StatusCode.CANCELLED, "nobody wants it any more")
            answered = sent.answered()  # asked before the state, so that the state is not older than the answer
            sent.raise_if_refused()
            entries = self._status(model_id, _CALL_SECONDS)
            if any(entry.state == _State.AVAILABLE for entry in entries):
                return True
            if answered and entries and all(entry.state == _State.END for entry in entries):
                errors = [entry.status.error_message for entry in entries if entry.status.error_message]
                if not errors:
                    raise _Dropped(grpc.StatusCode.INTERNAL, "TensorFlow Serving ended it without an error")
                raise BackendError(grpc.StatusCode.INTERNAL, errors[0])
            return None

        try:
            wait_until(outcome, Deadline.after(self._load_timeout), longest_pause=0.05)
        except DeadlineExceeded as error:
            raise BackendError(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"it was not AVAILABLE after {self._load_timeout:g} s"
            ) from error

    def _wait_until_gone(self, model_id: str, deadline: Deadline) -> None:
        def gone() -> bool | None:
            return all(entry.state == _State.END for entry in self._status(model_id, _CALL_SECONDS)) or None

        try:
            wait_until(gone, deadline, longest_pause=0.05)
        except DeadlineExceeded as error:
            raise BackendError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "TensorFlow Serving has not ended it in time"
            ) from error

    def _status(self, model_id: str, seconds: float) -> list[serving_pb2.ModelVersionStatus]:
        ask = self._channel.unary_unary(
            _STATUS,
            request_serializer=serving_pb2.GetModelStatusRequest.SerializeToString,
            response_deserializer=serving_pb2.GetModelStatusResponse.FromString,
        )
        request = serving_pb2.GetModelStatusRequest(model_spec=serving_pb2.ModelSpec(name=model_id))
        try:
            return list(ask(request, timeout=seconds).model_version_status)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return []
            raise _of_server(error) from error


class _Dropped(BackendError):
    """The server ended a model for no fault of its own."""


class _Sent:
    """A change of the list, to wait for."""

    def __init__(self, changed: threading.Condition, answered: Callable[[], bool]) -> None:
        self._changed = changed
        self._answered = answered
        self.refusal: BackendError | None = None

    def answered(self) -> bool:
        return self._answered()

    def raise_if_refused(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def wait(self, deadline: Deadline) -> None:
        """Wait until the server has answered a list with this change."""
        with self._changed:
            self._changed.wait_for(self._answered, deadline.remaining())
        self.raise_if_refused()
        if not self._answered():
            raise BackendError(
                grpc.StatusCode.DEADLINE_EXCEEDED, "TensorFlow Serving has not taken its list of models in time"
            )


class _ModelList:
    """The server's list of models, and the thread that sends it whenever it has changed."""

    def __init__(self, channel: grpc.Channel, reload_seconds: float) -> None:
        self._reload = channel.unary_unary(
            _RELOAD,
            request_serializer=serving_pb2.ReloadConfigRequest.SerializeToString,
            response_deserializer=serving_pb2.ReloadConfigResponse.FromString,
        )
        self._reload_seconds = reload_seconds
        self._changed = threading.Condition()
        self._base_paths: dict[str, str] = {}
        self._waiting: list[tuple[int, _Sent]] = []
        self._changes = 0
        self._answered = 0
        self._closed = False
        self._sender = threading.Thread(target=self._send, name="model-list", daemon=True)
        self._sender.start()

    def put(self, model_id: str, base_path: str) -> _Sent:
        with self._changed:
            self._base_paths[model_id] = base_path
            return self._change()

    def remove(self, model_id: str) -> _Sent:
        with self._changed:
            self._base_paths.pop(model_id, None)
            return self._change()

    def clear(self) -> _Sent:
        with self._changed:
            self._base_paths.clear()
            return self._change()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _change(self) -> _Sent:
        self._changes += 1
        number = self._changes
        sent = _Sent(self._changed, lambda: self._answered >= number)
        self._waiting.append((number, sent))
        self._changed.notify_all()
        return sent

    def _send(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._changes > self._answered)
                if self._closed:
                    return
                number, models = self._changes, dict(self._base_paths)
            refusal = self._send_once(models)
            with self._changed:
                self._answered = number
                for of_number, sent in self._waiting:
                    if of_number <= number:
                        sent.refusal = refusal
                self._waiting = [entry for entry in self._waiting if entry[0] > number]
                self._changed.notify_all()

    def _send_once(self, models: dict[str, str]) -> BackendError | None:
        config = serving_pb2.ModelServerConfig()
        config.model_config_list.SetInParent()  # an empty list unloads everything; one that is not set does nothing
        for model_id, base_path in models.items():
            config.model_config_list.config.add(name=model_id, base_path=base_path, model_platform="tensorflow")
        try:
            self._reload(serving_pb2.ReloadConfigRequest(config=config), timeout=self._reload_seconds)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNKNOWN:  # some model failed; GetModelStatus says which
                return None
            return _of_server(error)
        return None


def _of_server(error: grpc.RpcError) -> BackendError:
    return BackendError(grpc.StatusCode.UNAVAILABLE, f"TensorFlow Serving: {error.code().name}: {error.details()}")
