"""TensorFlow Serving's messages as the probe sends and reads them, and the pure function from an answer to an exit code.

Field numbers: ``tensorflow_serving/apis/{model,get_model_status,get_model_metadata}.proto``.
"""

from __future__ import annotations

from infra_validator.core.wire import LENGTH, VARINT, WireError, contents, length_field, signed, text, varint_field
from infra_validator.probe import exit_codes
from infra_validator.probe.go.text import quote
from infra_validator.probe.transport.rpc_status import code_name

STATUS_METHOD = "/tensorflow.serving.ModelService/GetModelStatus"
METADATA_METHOD = "/tensorflow.serving.PredictionService/GetModelMetadata"
PREDICT_METHOD = "/tensorflow.serving.PredictionService/Predict"

UNKNOWN, START, LOADING, AVAILABLE, UNLOADING, END = 0, 10, 20, 30, 40, 50
STATE_NAMES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

_MOST_VERSIONS = 20_000  # in one answer; 4 MiB of empty ones would take hundreds of MiB of the server's memory limit

POLICIES = ("any", "all", "latest", "exact")


class VersionStatus:
    """What the server says of one version of a model.

    Attributes:
      version: the version's number.
      state: one of the states above, or a number nobody knows.
      error_code: TensorFlow's (gRPC's) code; 0 is no error.
      error_message: the server's words.
      has_status: whether the status field was there at all.
    """

    __slots__ = ("error_code", "error_message", "has_status", "state", "version")

    def __init__(
        self, version: int, state: int, error_code: int = 0, error_message: str = "", has_status: bool = True
    ) -> None:
        self.version = version
        self.state = state
        self.error_code = error_code
        self.error_message = error_message
        self.has_status = has_status

    @property
    def state_name(self) -> str:
        return STATE_NAMES.get(self.state, str(self.state))

    @property
    def failed(self) -> bool:
        """It ended with an error (it never loaded), and was not just retired."""
        return self.state == END and self.error_code != 0

    @property
    def leaving(self) -> bool:
        """It was retired, or is about to be: nobody wants it any more."""
        return self.state == UNLOADING or (self.state == END and self.error_code == 0)

    def __str__(self) -> str:
        """As Go's protobuf prints it."""
        parts = []
        if self.version:
            parts.append(f"version:{self.version}")
        if self.state:
            parts.append(f"state:{self.state_name}")
        if self.has_status:
            inner = []
            if self.error_code:
                inner.append(f"error_code:{code_name(self.error_code)}")
            if self.error_message:
                inner.append(f"error_message:{quote(self.error_message)}")
            parts.append("status:{" + " ".join(inner) + "}")
        return "model_version_status:{" + " ".join(parts) + "}"


def model_spec(name: str, version: int | None = None, label: str = "") -> bytes:
    """A serialized ModelSpec."""
    spec = length_field(1, name.encode("utf-8", "surrogateescape")) if name else b""
    if label:
        return spec + length_field(4, label.encode("utf-8", "surrogateescape"))
    return spec if version is None else spec + length_field(2, varint_field(1, version) if version else b"")


def status_request(name: str) -> bytes:
    """GetModelStatusRequest. As in the original no version is sent: the server then tells of all, and the list is searched."""
    return length_field(1, model_spec(name))


def metadata_request(name: str, label: str) -> bytes:
    """GetModelMetadataRequest for the version that a label stands for."""
    return length_field(1, model_spec(name, label=label)) + length_field(2, b"signature_def")


def metadata_version(response: bytes) -> int:
    """The version in a GetModelMetadataResponse. Raises WireError."""
    version = 0
    for number, wire_type, _, octets in contents(response):
        if number == 1 and wire_type == LENGTH:
            for inner, inner_type, _, wrapper in contents(octets):
                if inner == 2 and inner_type == LENGTH:
                    version = _number_in(wrapper)
    return version


def _number_in(wrapper: bytes) -> int:
    """The value of a google.protobuf.Int64Value."""
    value = 0
    for number, wire_type, varint, _ in contents(wrapper):
        if number == 1 and wire_type == VARINT:
            value = signed(varint, 64)
    return value


def parse_status_response(response: bytes) -> list[VersionStatus]:
    """The versions in a GetModelStatusResponse, in the server's order. Raises WireError."""
    versions: list[VersionStatus] = []
    for number, wire_type, _, octets in contents(response):
        if number == 1 and wire_type == LENGTH:
            if len(versions) == _MOST_VERSIONS:
                raise WireError(f"more than {_MOST_VERSIONS} versions")
            versions.append(_version_status(octets))
    return versions


def _version_status(message: bytes) -> VersionStatus:
    status = VersionStatus(0, UNKNOWN, has_status=False)
    for number, wire_type, varint, octets in contents(message):
        if number == 1 and wire_type == VARINT:
            status.version = signed(varint, 64)
        elif number == 2 and wire_type == VARINT:
            status.state = signed(varint, 32)
        elif number == 3 and wire_type == LENGTH:
            status.has_status = True
            for inner, inner_type, inner_varint, words in contents(octets):
                if inner == 1 and inner_type == VARINT:
                    status.error_code = signed(inner_varint, 32)
                elif inner == 2 and inner_type == LENGTH:
                    status.error_message = text(words, 0, len(words))  # not UTF-8 is an error, as for Go's protobuf
    return status


def judge(
    versions: list[VersionStatus], version: int | None, policy: str = "any", *, distinguish_failed: bool = False
) -> tuple[int, str]:
    """(exit code, the line that says why) for a server's answer.

    Args:
      versions: the answer, in the server's order (TensorFlow Serving: highest version first).
      version: the version asked for; None for none in particular.
      policy: with no version, which ones have to be AVAILABLE: ``any`` one (the original's rule), ``all`` that are not
        retired or being retired, or the ``latest`` of these. ``exact`` is the rule whenever a version is asked for.
      distinguish_failed: END after an error has an exit code of its own.
    """
    if not versions:
        return exit_codes.EMPTY, "Empty response"
    if version is not None:
        named = [status for status in versions if status.version == version]
        if not named:
            return exit_codes.VERSION_NOT_FOUND, f"No matching response found for version: {version}"
        return _judge_one(named[0], distinguish_failed)
    candidates = versions
    if policy == "any":
        candidates = [status for status in versions if status.state == AVAILABLE] or versions
    elif policy == "all":
        wanted = [status for status in versions if not status.leaving] or versions
        candidates = [status for status in wanted if status.state != AVAILABLE] or wanted
    elif policy == "latest":
        wanted = [status for status in versions if not status.leaving] or versions
        candidates = [max(wanted, key=lambda status: status.version)]
    return _judge_one(candidates[0], distinguish_failed)


def _judge_one(status: VersionStatus, distinguish_failed: bool) -> tuple[int, str]:
    if status.state not in STATE_NAMES:
        return exit_codes.UNEXPECTED_STATE, "Servable state is unexpected"
    if status.failed and distinguish_failed:
        return exit_codes.FAILED, "Servable state is END, with an error"
    return exit_codes.OF_STATE[status.state], f"Servable state is {status.state_name}"
