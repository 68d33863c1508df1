"""Puts the parts together: the core, what loads models into it, and the edges."""

from __future__ import annotations

import glob
import os
import time

import grpc

from infra_validator.core.network.held_port import HeldPort
from infra_validator.embedded_server import log, metrics
from infra_validator.embedded_server.flags import Flags
from infra_validator.embedded_server.grpc import grpc_server, health_service, open_inference
from infra_validator.embedded_server.grpc.model_service import ModelService
from infra_validator.embedded_server.grpc.open_inference import OpenInferenceMethods
from infra_validator.embedded_server.inference.batching import Batching
from infra_validator.embedded_server.inference.inference import RunSettings
from infra_validator.embedded_server.inference.prediction_service import Method, PredictionService
from infra_validator.embedded_server.inference.warmup import warm_up
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.config_file import ConfigFilePoller
from infra_validator.embedded_server.models.manager import RetryPolicy
from infra_validator.embedded_server.models.model_config import read_model_config, read_text_proto, single_model
from infra_validator.embedded_server.models.servable import Servable
from infra_validator.embedded_server.models.server_core import CoreOptions, ServerCore
from infra_validator.embedded_server.open_inference.service import OpenInferenceService
from infra_validator.embedded_server.ports import write_port_file
from infra_validator.embedded_server.rest.api import RestApi, RestOptions
from infra_validator.embedded_server.rest.http_server import HttpServer
from infra_validator.embedded_server.status import Code, StatusError, from_os_error, invalid_argument
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

_FEWEST_GRPC_THREADS = 64  # a slow model holds one for each of its requests


class Server:
    """The embedded model server.

    Args:
      flags: the command line's values.
      given: the names of the flags that were given.

    Raises:
      StatusError: a flag or a file that it names is wrong.
    """

    def __init__(self, flags: Flags, given: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        self._flags = flags
        self.metrics = Metrics()
        self._config = checked_options(flags)
        self._batching = batching(flags, self.metrics)
        self._session_config = session_config(flags)
        self._credentials = ssl_credentials(flags.ssl_config_file)
        self._reservations: list[HeldPort] = []
        self._grpc: grpc.Server | None = None
        self._rest: HttpServer | None = None
        self._config_poller: ConfigFilePoller | None = None
        self._settings = RunSettings(check_method_name=flags.enable_signature_method_name_check, metrics=self.metrics)
        self.grpc_port, self.rest_port = flags.port, flags.rest_api_port
        if flags.port_file:
            self._reserve_ports(given)
        retries = RetryPolicy(flags.max_num_load_retries, flags.load_retry_interval_micros / 1e6)
        self.core = ServerCore(
            self._load,
            CoreOptions(
                retries,
                flags.file_system_poll_wait_seconds,
                load_threads=flags.num_load_threads,
                flush_filesystem_caches=flags.flush_filesystem_caches,
                allow_version_labels_for_unavailable_models=flags.allow_version_labels_for_unavailable_models,
            ),
        )

    def start(self) -> None:
        """Load the models, then open the ports.

        Raises:
          StatusError: as the real server fails to start.
        """
        flags = self._flags
        if flags.prefer_tflite_model:
            for model in self._config.model_config_list.config:
                for found in sorted(glob.glob(os.path.join(glob.escape(model.base_path), "*", ""))):
                    refuse_tflite(found)
        self.core.start(self._config)
        if flags.model_config_file and flags.model_config_file_poll_wait_seconds > 0:
            period = flags.model_config_file_poll_wait_seconds
            self._config_poller = ConfigFilePoller(self.core, flags.model_config_file, period)
        self._open_grpc()
        self._open_rest()
        for reservation in self._reservations:
            reservation.release()

    def wait(self) -> None:
        """Serve until the end."""
        assert self._grpc is not None, "call start() before wait()"
        self._grpc.wait_for_termination()

    def stop(self, grace: float) -> None:
        """Take no more requests, give those under way ``grace`` seconds, and end ``wait``. From any thread."""
        if self._rest is not None:
            self._rest.close()
        if self._grpc is not None:
            self._grpc.stop(grace).wait()

    def close(self) -> None:
        """Stop serving at once and unload everything. Any number of times."""
        for reservation in self._reservations:
            reservation.release()
        if self._config_poller is not None:
            self._config_poller.close()
        self.stop(0)
        self.core.close()

    def _load(self, name: str, version: int, directory: str) -> Servable:
        flags, started = self._flags, time.perf_counter()
        if flags.prefer_tflite_model:
            refuse_tflite(directory)
        status = "fail"
        try:
            batched = self._batching.of_version(directory) if self._batching else None
            tags = flags.saved_model_tags.split(",")
            servable = Servable.load(name, version, directory, tags, self._session_config, batched)
            status = "success"
        finally:
            self.metrics.count(metrics.LOAD_ATTEMPTS, directory, status)
        self.metrics.count(metrics.LOAD_LATENCY, directory, by=int((time.perf_counter() - started) * 1e6))
        if flags.enable_model_warmup:
            self._warm_up(servable, directory)
        return servable

    def _warm_up(self, servable: Servable, directory: str) -> None:
        started = time.perf_counter()
        try:
            count = warm_up(servable, directory, self._flags.num_request_iterations_for_warmup, self._settings)
        except StatusError:
            servable.unload()
            raise
        if count:
            took = (time.perf_counter() - started) * 1e6
            self.metrics.count(metrics.WARMUP_RECORDS, directory, Code.OK.name, by=count)
            self.metrics.observe(metrics.WARMUP_LATENCY, directory, Code.OK.name, value=took)

    def _reserve_ports(self, given: set[str]) -> None:
        flags = self._flags
        try:
            # A port that was given is kept, 0 included, which means none.
            if flags.port or "port" not in given:
                self.grpc_port = self._reserve(flags.port if "port" in given else 0)
            if flags.rest_api_port or "rest_api_port" not in given:
                self.rest_port = self._reserve(flags.rest_api_port)
            write_port_file(flags.port_file, self.grpc_port, self.rest_port)
        except OSError as error:
            error.filename = error.filename or flags.port_file
            raise from_os_error(error) from error

    def _reserve(self, port: int) -> int:
        self._reservations.append(HeldPort(port, self._flags.bind_address or "0.0.0.0"))
        return self._reservations[-1].port

    def _open_grpc(self) -> None:
        flags = self._flags
        # Two servers that share a port would make a gate's verdict a lottery; the flag turns it on.
        arguments: list[tuple[str, str | int]] = [("grpc.so_reuseport", 0)]
        arguments += channel_arguments(flags.grpc_channel_arguments)
        server = grpc_server.make_server(max(flags.grpc_max_threads, _FEWEST_GRPC_THREADS), arguments)
        for name, methods in self._services().items():
            grpc_server.add_service(server, name, methods, self._settings)
        addresses = []
        if self.grpc_port:
            host = flags.bind_address or "0.0.0.0"
            addresses.append(f"[{host}]:{self.grpc_port}" if ":" in host else f"{host}:{self.grpc_port}")
        if flags.grpc_socket_path:
            addresses.append(f"unix:{flags.grpc_socket_path}")
        try:
            bound = [grpc_server.open_port(server, address, self._credentials) for address in addresses]
        except RuntimeError:  # newer gRPC raises, older answers 0
            bound = [0]
        if not all(bound):
            raise invalid_argument("Failed to BuildAndStart gRPC server")
        server.start()
        self._grpc = server
        if self.grpc_port:
            log.info("server.cc", f"Running gRPC ModelServer at 0.0.0.0:{self.grpc_port} ...")
        if flags.grpc_socket_path:
            log.info("server.cc", f"Running gRPC ModelServer at UNIX socket {flags.grpc_socket_path} ...")

    def _services(self) -> dict[str, dict[str, Method]]:
        predictions = PredictionService(self.core, self._flags.enable_serialization_as_tensor_content, self.metrics)
        services = {
            "tensorflow.serving.PredictionService": predictions.methods(),
            "tensorflow.serving.ModelService": ModelService(self.core, self.metrics).methods(),
        }
        if self._flags.enable_grpc_healthcheck_service:
            services[health_service.SERVICE] = health_service.methods()
        if self._flags.enable_open_inference:
            services[open_inference.SERVICE] = OpenInferenceMethods(self._open_inference()).methods()
        return services

    def _open_inference(self) -> OpenInferenceService:
        return OpenInferenceService(self.core, self.metrics)

    def _open_rest(self) -> None:
        flags = self._flags
        if not self.rest_port:
            return
        if self.rest_port == self.grpc_port:
            log.error(
                "server.cc",
                "server_options.http_port cannot be same as grpc_port. Please use a different port for HTTP/REST API. "
                "Skipped exporting HTTP/REST API.",
            )
            return
        try:
            metrics_at = metrics_path(flags.monitoring_config_file)
        except StatusError as error:  # the real server says so and serves on without REST
            print(f"Failed to start server. Error: {error}", flush=True)
            return
        options = RestOptions(
            flags.rest_api_timeout_in_ms,
            flags.rest_api_enable_cors_support,
            flags.enable_signature_method_name_check,
            metrics_at,
        )
        others = self._open_inference() if flags.enable_open_inference else None
        api = RestApi(self.core, PredictionService(self.core), self.metrics, options, others)
        try:
            self._rest = HttpServer(api.answer, flags.rest_api_num_threads, flags.bind_address, self.rest_port)
        except OSError:
            log.error("evhttp_server.cc", f"Couldn't bind to port {self.rest_port}")
            log.error("server.cc", f"Failed to start HTTP Server at localhost:{self.rest_port}")
            return
        log.net("evhttp_server.cc", "Entering the event loop ...")
        log.info("server.cc", f"Exporting HTTP/REST API at:localhost:{self.rest_port} ...")


def refuse_tflite(directory: str) -> None:
    """Fail on a version that the real server, with ``--prefer_tflite_model``, would load as what it is not here.

    Raises:
      StatusError: UNIMPLEMENTED.
    """
    path = os.path.join(directory, "model.tflite")
    if os.path.exists(path):
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"--prefer_tflite_model asks for {path}, and the embedded model server serves SavedModels only; "
            "use a tensorflow_model_server.",
        )


def metrics_path(monitoring_config_file: str) -> str:
    """Where a MonitoringConfig file wants the metrics; empty: nowhere.

    Raises:
      StatusError: the file cannot be read.
    """
    config = serving_pb2.MonitoringConfig()
    if monitoring_config_file:
        read_text_proto(monitoring_config_file, config)
    if not config.prometheus_config.enable:
        return ""
    return config.prometheus_config.path or "/monitoring/prometheus/metrics"


def checked_options(flags: Flags) -> serving_pb2.ModelServerConfig:
    """The configuration of the models that the flags mean.

    Raises:
      StatusError: contract 1.4, in its order.
    """
    if not flags.port and not flags.grpc_socket_path:
        raise invalid_argument(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be set."
        )
    if flags.use_alts_credentials and flags.ssl_config_file:
        raise invalid_argument("Either use_alts_credentials must be false or ssl_config_file must be empty.")
    if not flags.model_base_path and not flags.model_config_file:
        raise invalid_argument("Both server_options.model_base_path and server_options.model_config_file are empty!")
    if not flags.model_config_file:
        names = f"model_name: {flags.model_name} model_base_path: {flags.model_base_path}"
        log.info("server.cc", f"Building single TensorFlow model file config:  {names}")
        config = single_model(flags.model_name, flags.model_base_path)
    else:
        config = read_model_config(flags.model_config_file)
        if config.WhichOneof("config") == "custom_model_config":
            log.fatal("server_core.cc", "ModelServer does not yet support custom model config.")
    if flags.batching_parameters_file and not flags.enable_batching:
        raise invalid_argument(
            "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
        )
    return config


def batching(flags: Flags, heard_by: Metrics) -> Batching | None:
    """What ``--enable_batching`` and its two companions ask for; None without it.

    Raises:
      StatusError: the parameters file cannot be read. Wrong values in it fail the loads.
    """
    if not flags.enable_batching:
        return None
    parameters = serving_pb2.BatchingParameters()
    if flags.batching_parameters_file:
        read_text_proto(flags.batching_parameters_file, parameters)
    return Batching(parameters, flags.enable_per_model_batching_parameters, heard_by)


def ssl_credentials(path: str) -> grpc.ServerCredentials | None:
    """The credentials of an SSLConfig file; None without one. A file that cannot be read ends the process, as the real one's."""
    if not path:
        return None
    config = serving_pb2.SSLConfig()
    try:
        read_text_proto(path, config)
    except StatusError as error:
        log.fatal("server.cc", f"Check failed: {error}")
    authority = config.custom_ca.encode() or None
    pair = (config.server_key.encode(), config.server_cert.encode())
    return grpc.ssl_server_credentials([pair], authority, config.client_verify and authority is not None)


def session_config(flags: Flags) -> bytes:
    """The serialized tensorflow.ConfigProto that sessions are made with."""
    config = tensorflow_pb2.ConfigProto()
    if flags.tensorflow_session_config_file:
        read_text_proto(flags.tensorflow_session_config_file, config, allow_unknown_fields=True)
    session, intra, inter = (
        flags.tensorflow_session_parallelism,
        flags.tensorflow_intra_op_parallelism,
        flags.tensorflow_inter_op_parallelism,
    )
    if session > 0 and intra > 0 and inter > 0:
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, server_options.tensorflow_inter_op_parallelism) separately. "
            "You cannot configure all."
        )
    if intra > 0 or inter > 0:
        config.intra_op_parallelism_threads, config.inter_op_parallelism_threads = intra, inter
    elif session > 0:
        config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = session
    return config.SerializeToString()


def channel_arguments(text: str) -> list[tuple[str, str | int]]:
    """``key=value`` pairs; integers where they are ones. Items without ``=`` are left out (they crash the real server)."""
    pairs: list[tuple[str, str | int]] = []
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        if equals:
            pairs.append((key, int(value) if value.lstrip("-").isdecimal() else value))
    return pairs
