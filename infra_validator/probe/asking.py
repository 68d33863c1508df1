"""Ask a server for the models' status once, and turn what comes into exit codes and log lines."""

from __future__ import annotations

import time

from infra_validator.core.wire import WireError, length_field
from infra_validator.probe import exit_codes
from infra_validator.probe.model_status import (
    METADATA_METHOD,
    PREDICT_METHOD,
    STATUS_METHOD,
    VersionStatus,
    judge,
    metadata_request,
    metadata_version,
    model_spec,
    parse_status_response,
    status_request,
)
from infra_validator.probe.settings import Settings, WantedModel
from infra_validator.probe.transport import dial, rpc_status
from infra_validator.probe.transport.proxy import proxy_for
from infra_validator.probe.transport.rpc_status import RpcError, code_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from infra_validator.probe.transport.grpcio_transport import GrpcioConnection
    from infra_validator.probe.transport.http2 import Connection

    Transport = Connection | GrpcioConnection

    class Caller(Protocol):
        """A server that can be called."""

        def call(self, method: str, request: bytes) -> bytes:
            """One unary call. Raises RpcError."""


class ProbeResult:
    """What came of one model.

    Attributes:
      model: what was asked for.
      code: the exit code.
      line: the line that says why.
      lines: all lines for the log, that one included.
      versions: what the server said of each version.
      hopeless: asking again will not change it.
    """

    def __init__(self, model: WantedModel) -> None:
        self.model = model
        self.code = exit_codes.NOT_CONNECTED
        self.line = ""
        self.lines: list[str] = []
        self.versions: list[VersionStatus] = []
        self.hopeless = False

    def end(self, code: int, line: str) -> None:
        self.code = code
        self.line = line
        self.lines.append(line)


class Server:
    """A server that is dialled when it is first called, and again whenever it went away without having touched a call."""

    def __init__(self, settings: Settings, wait_until: float | None) -> None:
        self._settings = settings
        self._wait_until = wait_until
        self._connection: Transport | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def dial(self) -> None:
        """Connect. Raises DialError."""
        self._connection = _dial(self._settings, self._until(self._settings.connect_timeout))

    def call(self, method: str, request: bytes) -> bytes:
        """One call, within the RPC timeout. Raises RpcError."""
        until = self._until(self._settings.rpc_timeout)
        pause, gone = 0.0, None  # the first time again is at once
        while True:
            try:
                return self._call(method, request, until)
            except RpcError as error:
                if gone is not None and time.monotonic() >= until:
                    raise gone from None
                if not error.unprocessed or time.monotonic() + pause >= until:
                    raise
                gone = error
            self.close()
            time.sleep(pause)
            pause = min(max(pause * 2, dial.FIRST_PAUSE), dial.LONGEST_PAUSE)
            try:
                self._connection = _dial(self._settings, until)
            except dial.DialError as error:
                raise RpcError(rpc_status.UNAVAILABLE, f"{gone.message}; and then: {error}") from None

    def _call(self, method: str, request: bytes, until: float) -> bytes:
        if time.monotonic() >= until:
            raise RpcError(rpc_status.DEADLINE_EXCEEDED, "context deadline exceeded")
        if self._connection is None:  # a call before this one broke the connection
            self.dial()
        assert self._connection is not None
        try:
            return self._connection.call(method, request, until)
        except RpcError as error:
            if error.code in _BREAKING:
                self.close()  # the next call must not read what is left of this one
            raise

    def _until(self, seconds: float) -> float:
        until = time.monotonic() + seconds
        return until if self._wait_until is None else min(until, self._wait_until)


# After these the connection may be in the middle of something.
_BREAKING = (
    rpc_status.CANCELLED,
    rpc_status.UNKNOWN,
    rpc_status.DEADLINE_EXCEEDED,
    rpc_status.RESOURCE_EXHAUSTED,
    rpc_status.INTERNAL,
    rpc_status.UNAVAILABLE,
)


def _dial(settings: Settings, until: float) -> Transport:
    if settings.transport == "own" or (settings.transport == "auto" and not proxy_for(settings.address)):
        return dial.dial(settings.address, settings, until)
    try:
        from infra_validator.probe.transport import grpcio_transport
    except ImportError as error:
        raise dial.DialError(
            f"{settings.address} is behind a proxy or -transport grpcio was given, and grpcio cannot be imported ({error}); "
            "install grpcio, or name the host in NO_PROXY"
        ) from None
    return grpcio_transport.dial(settings.address, settings, until)


def ask_once(settings: Settings, wait_until: float | None = None) -> list[ProbeResult]:
    """Dial, and ask for every model: an answer for each, in the order of the settings.

    Args:
      wait_until: the moment (``time.monotonic``) that cuts every timeout short; None for none.
    """
    answers = [ProbeResult(model) for model in settings.models]
    server = Server(settings, wait_until)
    try:
        server.dial()
    except dial.DialError as error:
        for answer in answers:
            answer.end(exit_codes.NOT_CONNECTED, f"Error dialing grpc service: {error}")
        for answer in answers[1:]:
            answer.lines = []  # it is said once
        return answers
    try:
        for answer in answers:
            if len(answers) > 1:
                answer.lines.append(f"Model {answer.model}:")
            ask_model(server, settings, answer)
    finally:
        server.close()
    return answers


def ask_model(server: Caller, settings: Settings, answer: ProbeResult) -> None:
    """Ask for one model, and end its answer."""
    model = answer.model
    try:
        answer.versions = parse_status_response(server.call(STATUS_METHOD, status_request(model.name)))
    except (RpcError, WireError, dial.DialError) as error:
        answer.lines.append("ModelStatusResponse: <nil>")
        answer.hopeless = isinstance(error, RpcError) and error.code == rpc_status.UNIMPLEMENTED
        if isinstance(error, RpcError) and error.code == rpc_status.NOT_FOUND:
            answer.end(exit_codes.NOT_FOUND, f"Model not found: {error}")
        else:
            answer.end(exit_codes.CALL_FAILED, f"Error calling tfs: {_as_rpc_error(error)}")
        return
    answer.lines.append("ModelStatusResponse: " + " ".join(map(str, answer.versions)))
    version = model.version
    if model.label:
        version = _version_of_label(server, answer)
        if version is None:
            return
    code, line = judge(answer.versions, version, settings.policy, distinguish_failed=settings.distinguish_failed)
    for status in answer.versions:
        if status.error_code or status.error_message:
            answer.lines.append(f"Version {status.version}: {code_name(status.error_code)}: {status.error_message}")
    answer.end(code, line)
    answer.hopeless = code in (exit_codes.STATE_END, exit_codes.FAILED) and any(s.failed for s in answer.versions)
    if code == exit_codes.AVAILABLE and settings.sample is not None:
        _infer(server, settings.sample, answer, version)


def _as_rpc_error(error: Exception) -> Exception:
    if isinstance(error, WireError):
        return RpcError(rpc_status.INTERNAL, f"the answer is no GetModelStatusResponse: {error}")
    return error


def _version_of_label(server: Caller, answer: ProbeResult) -> int | None:
    """The version that the model's label stands for; None, with the answer ended, if there is none."""
    model = answer.model
    try:
        return metadata_version(server.call(METADATA_METHOD, metadata_request(model.name, model.label)))
    except (RpcError, WireError, dial.DialError) as error:
        if isinstance(error, RpcError) and error.code in (rpc_status.INVALID_ARGUMENT, rpc_status.NOT_FOUND):
            answer.end(exit_codes.VERSION_NOT_FOUND, f"No version is served under label {model.label}: {error}")
        else:
            answer.end(exit_codes.CALL_FAILED, f"Error resolving label {model.label}: {_as_rpc_error(error)}")
    return None


def _infer(server: Caller, sample: bytes, answer: ProbeResult, version: int | None) -> None:
    """Send the sample request. In protobuf a field that comes again is merged: our model_spec overrules the file's."""
    request = sample + length_field(1, model_spec(answer.model.name, version))
    try:
        server.call(PREDICT_METHOD, request)
    except (RpcError, dial.DialError) as error:
        answer.end(exit_codes.SAMPLE_REQUEST_FAILED, f"Sample request failed: {error}")
    else:
        answer.end(exit_codes.AVAILABLE, "Sample request succeeded")
