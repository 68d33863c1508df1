"""Models as configured: the start, reloads, labels, polling (contract 1.3, 2.2, 2.6, 2.7, 5), and the look-up for requests.

The core knows no transport. Everything that serves requests (gRPC, REST, a ModelRuntime servicer) asks it for a held
:class:`Servable` and works on that with ``inference``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator

from infra_validator.embedded_server import log
from infra_validator.embedded_server.models import versions
from infra_validator.embedded_server.models.manager import Loader, Manager, RetryPolicy
from infra_validator.embedded_server.models.model_config import ModelConfigs, checked
from infra_validator.embedded_server.models.servable import Servable
from infra_validator.embedded_server.models.state_monitor import State, StateMonitor, describe_failures
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument, not_found
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

_SOURCE = "server_core.cc"


@dataclasses.dataclass(frozen=True)
class CoreOptions:
    """What flags say about models; see the flags of the same names.

    Attributes:
      retries: how often a load is tried.
      poll_seconds: how often base paths are looked at; 0: once for each configuration; negative: never.
      initial_load_threads, load_threads: see Manager.
      flush_filesystem_caches: nothing is flushed here; without it, one more line is logged after a reload.
      allow_version_labels_for_unavailable_models: see the flag.
    """

    retries: RetryPolicy = RetryPolicy()
    poll_seconds: float = 1.0
    initial_load_threads: int = 4
    load_threads: int = 0
    flush_filesystem_caches: bool = True
    allow_version_labels_for_unavailable_models: bool = False


class ServerCore:
    """All models of a server.

    Args:
      loader: loads one version.
      options: see CoreOptions.
    """

    def __init__(self, loader: Loader, options: CoreOptions = CoreOptions()) -> None:
        self.monitor = StateMonitor()
        self.manager = Manager(
            loader,
            self.monitor,
            options.retries,
            initial_load_threads=options.initial_load_threads,
            load_threads=options.load_threads,
        )
        self._options = options
        self._models: ModelConfigs = {}  # what is polled
        self._compared: ModelConfigs = {}  # what the next configuration is compared with
        self._labels: dict[str, dict[str, int]] | None = None
        self._reloading = threading.Lock()
        self._polling = threading.Lock()
        self._poll_now = threading.Event()
        self._stopping = threading.Event()
        self._poller: threading.Thread | None = None

    # --------------------------------------------------------------------------------------------- configurations

    def start(self, config: serving_pb2.ModelServerConfig) -> None:
        """Apply the first configuration and wait, without limit, until every model has come up or failed.

        Raises:
          StatusError: the configuration is wrong, or UNKNOWN: a model failed.
        """
        self._reload(config, "servable(s)")

    def reload(self, config: serving_pb2.ModelServerConfig) -> None:
        """Apply another configuration in place of the last; waits for models with new names only, without limit.

        Raises:
          StatusError: the configuration is wrong, or UNKNOWN: a new model failed.
        """
        self._reload(config, "servable(s)" if not self._compared else "model(s)")

    def _reload(self, config: serving_pb2.ModelServerConfig, noun: str) -> None:
        with self._reloading:
            if config.WhichOneof("config") is None:
                log.info(_SOURCE, "Taking no action for empty config.")
                return
            log.info(_SOURCE, "Adding/updating models.")
            models = checked(config, self._compared)
            for name in models:
                log.info(_SOURCE, f" (Re-)adding model: {name}")
            self._compared = models
            labels = self._checked_labels(models)
            new = [name for name in models if name not in self._models]
            past = self.monitor.ended(new)
            gone = [name for name in self._models if name not in models]
            with self._polling:
                self._models = models
                for name in gone:
                    self.manager.aspire(name, {})
            self._labels = labels
            self._look_soon()
            failed = self.monitor.wait_until_settled(new, past)
            self.manager.end_initial_load()
            if failed:
                raise StatusError(Code.UNKNOWN, describe_failures(failed, noun))
            log.info(_SOURCE, "Finished adding/updating models")
            if not self._options.flush_filesystem_caches:
                log.info(_SOURCE, "Finished reloading config")

    def _checked_labels(self, models: ModelConfigs) -> dict[str, dict[str, int]]:
        labels = {name: dict(model.version_labels) for name, model in models.items() if model.version_labels}
        for name, versions_of in labels.items():
            for label, version in versions_of.items():
                before = (self._labels or {}).get(name, {}).get(label)
                may_be_absent = self._options.allow_version_labels_for_unavailable_models and before in (None, version)
                if not may_be_absent and not self.manager.is_available(name, version):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {name}, "
                        "which is not currently available for inference",
                    )
        return labels

    # --------------------------------------------------------------------------------------------- one model of them

    @property
    def names(self) -> list[str]:
        """The models that are to be served: those of the configuration but for the unloaded ones."""
        return list(self._models)

    def unload(self, name: str) -> None:
        """Unload a model of the configuration until ``load`` or another configuration; waits for its requests, without limit.

        Raises:
          StatusError: NOT_FOUND: it is not in the configuration.
        """
        with self._reloading:
            self._configured(name)
            with self._polling:
                self._models = {other: model for other, model in self._models.items() if other != name}
                self.manager.aspire(name, {})
            self.monitor.wait_until_ended(name)

    def load(self, name: str) -> None:
        """Load a model of the configuration: its versions that are not loaded, those that failed included; waits, without limit.

        Raises:
          StatusError: NOT_FOUND: it is not in the configuration, or no version of it is there; or the error of the load.
        """
        with self._reloading:
            model = self._configured(name)
            past = self.monitor.ended([name])
            with self._polling:
                wanted = versions.aspired_versions(model)
                if not wanted:
                    raise not_found(f"The model {name} has no versions to load under {model.base_path}.")
                self.manager.forget_ended(name)
                self._models = {**self._models, name: model}
                self.manager.aspire(name, wanted)
            for _, version, state in self.monitor.wait_until_settled([name], past):
                error = state.error or StatusError(Code.UNKNOWN, "it ended")
                raise StatusError(error.code, f"Version {version} of the model {name} was not loaded: {error.message}")

    def _configured(self, name: str) -> serving_pb2.ModelConfig:
        model = self._compared.get(name)
        if model is None:
            raise not_found(f"The model {name} is not in the server's configuration.")
        return model

    # ---------------------------------------------------------------------------------------------------- polling

    def _look_soon(self) -> None:
        if self._options.poll_seconds < 0:
            return
        self._poll_now.set()
        if self._poller is None:
            self._poller = threading.Thread(target=self._poll, name="poll-versions", daemon=True)
            self._poller.start()

    def _poll(self) -> None:
        period = self._options.poll_seconds or None
        while True:
            self._poll_now.wait(period)
            if self._stopping.is_set():
                return
            self._poll_now.clear()
            with self._polling:
                for name, wanted in (versions.poll(self._models) or {}).items():
                    self.manager.aspire(name, wanted)

    # ---------------------------------------------------------------------------------------------------- requests

    def find(self, spec: serving_pb2.ModelSpec) -> Servable:
        """The loaded version that a request's model_spec means, held for the caller, who must ``release`` it.

        Raises:
          StatusError: 3.3, rows 2 to 5.
        """
        if not spec.name:
            raise invalid_argument("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice == "version":
            return self.manager.find(spec.name, spec.version.value)
        if choice == "version_label":
            return self.manager.find(spec.name, self._labelled(spec.name, spec.version_label))
        return self.manager.find(spec.name)

    @contextlib.contextmanager
    def found(self, spec: serving_pb2.ModelSpec) -> Iterator[Servable]:
        """As ``find``, held for the length of a ``with``."""
        servable = self.find(spec)
        try:
            yield servable
        finally:
            servable.release()

    def _labelled(self, name: str, label: str) -> int:
        if self._labels is None:
            raise StatusError(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    def status(self, spec: serving_pb2.ModelSpec) -> serving_pb2.GetModelStatusResponse:
        """The states of a model's versions, highest first, or of the one asked for (4); a label is ignored.

        Raises:
          StatusError: NOT_FOUND.
        """
        version = spec.version.value if spec.HasField("version") else None
        response = serving_pb2.GetModelStatusResponse()
        for number, seen in self.monitor.versions(spec.name, version).items():
            state = serving_pb2.ModelVersionStatus.State.ValueType(seen.state)
            entry = response.model_version_status.add(version=number, state=state)
            entry.status.SetInParent()
            if seen.state is State.END and seen.error is not None:
                entry.status.error_code = tensorflow_pb2.Code.ValueType(seen.error.code)
                entry.status.error_message = seen.error.message
        return response

    def close(self) -> None:
        """Stop polling and unload everything; waits for requests that are under way."""
        self._stopping.set()
        self._poll_now.set()
        self.monitor.close()
        if self._poller is not None:
            self._poller.join()
        self.manager.close()
