"""The probe's flags and what they say, all checked before the first packet."""

from __future__ import annotations

import os

from infra_validator._version import __version__
from infra_validator.probe.go.flags import (
    BoolFlag,
    DurationFlag,
    Flag,
    FlagError,
    Int64Flag,
    StringFlag,
    StringsFlag,
    parse,
    usage,
)
from infra_validator.probe.model_status import POLICIES
from infra_validator.probe.transport.address import Address, AddressError, parse_address
from infra_validator.probe.transport.connection_settings import ConnectionSettings

_SECOND = 1_000_000_000  # nanoseconds
_LARGEST_SAMPLE = 64 * 1024 * 1024  # octets


class WantedModel:
    """A model to ask for.

    Attributes:
      name: the model's name.
      version: its version's number; None for none in particular.
      label: a version label; empty for none.
    """

    __slots__ = ("label", "name", "version")

    def __init__(self, name: str, version: int | None = None, label: str = "") -> None:
        self.name = name
        self.version = version
        self.label = label

    def __str__(self) -> str:
        if self.label:
            return f"{self.name}@{self.label}"
        return self.name if self.version is None else f"{self.name}:{self.version}"


def parse_model(text: str) -> WantedModel:
    """The value of ``--model``: ``NAME``, ``NAME:VERSION`` or ``NAME@LABEL``. Raises ValueError."""
    name, at, label = text.rpartition("@")
    if at:
        if not name or not label:
            raise ValueError("want NAME@LABEL")
        return WantedModel(name, label=label)
    name, colon, version = text.rpartition(":")
    if not colon or not version.isdigit() or not version.isascii():
        return WantedModel(text)
    if not name or int(version) >= 1 << 63:
        raise ValueError("want NAME:VERSION")
    return WantedModel(name, int(version))


class Settings(ConnectionSettings):
    """What one run of the probe is to do. Times are in seconds.

    Attributes are those of the flags of the same names; ``models`` unites ``-model-name``, ``-model-version``,
    ``--version-label`` and ``--model``; ``sample`` is the content of the file given with ``--infer``.
    """

    def __init__(self) -> None:
        super().__init__(user_agent=f"tfs_model_status_probe/{__version__}")
        self.address = Address("localhost", "9000")
        self.models = [WantedModel("default")]
        self.rpc_timeout = 10.0
        self.wait = 0.0
        self.policy = "any"
        self.distinguish_failed = False
        self.output = "text"
        self.sample: bytes | None = None
        self.transport = "auto"
        self.show_version = False
        self.ignored: list[str] = []


class ServerFlags:
    """The flags that say which server and which models; the sidecar has them too.

    Args:
      rpc_timeout: the default, in nanoseconds.
    """

    def __init__(self, rpc_timeout: int) -> None:
        self.addr = StringFlag("addr", "localhost:9000", "The hostname:port to check; also unix:PATH")
        self.model_name = StringFlag("model-name", "default", "The name of the model")
        self.model_version = Int64Flag("model-version", 0, "The version of the model")
        self.version_label = StringFlag(
            "version-label", "", "The label of the version to check, resolved by the server"
        )
        self.model = StringsFlag(
            "model", "NAME, NAME:VERSION or NAME@LABEL, in place of -model-name; may be given several times"
        )
        self.policy = StringFlag(
            "policy",
            "any",
            "Which versions must be AVAILABLE when none is named: any, all, latest; or exact: one must be named",
            POLICIES,
        )
        self.distinguish_failed = BoolFlag("distinguish-failed", "Exit with 35, not 34, for END after an error")
        self.connect_timeout = DurationFlag("connect-timeout", 3 * _SECOND, "Timeout for making connection")
        self.rpc_timeout = DurationFlag("rpc-timeout", rpc_timeout, "Timeout for rpc call")
        self.tls = BoolFlag("tls", "Use TLS")
        self.tls_ca_cert = StringFlag(
            "tls-ca-cert", "", "File with the CA certificates to trust (with -tls; default: the system's)"
        )
        self.tls_client_cert = StringFlag("tls-client-cert", "", "File with the client's certificate (with -tls)")
        self.tls_client_key = StringFlag("tls-client-key", "", "File with the client's key (with -tls-client-cert)")
        self.tls_server_name = StringFlag(
            "tls-server-name", "", "The name to expect in the server's certificate (with -tls)"
        )
        self.user_agent = StringFlag("user-agent", Settings().user_agent, "User agent to send")

    def all(self) -> tuple[Flag, ...]:
        return tuple(flag for flag in vars(self).values() if isinstance(flag, Flag))

    def settings(self) -> Settings:
        """What the flags say. Raises FlagError."""
        settings = Settings()
        try:
            settings.address = parse_address(self.addr.value)
        except AddressError as error:
            raise FlagError(f"invalid value for flag -addr: {error}") from None
        settings.models = _models(self)
        settings.connect_timeout = self.connect_timeout.seconds
        settings.rpc_timeout = self.rpc_timeout.seconds
        settings.policy = self.policy.value
        settings.distinguish_failed = self.distinguish_failed.value
        settings.user_agent = _header_text(self.user_agent)
        settings.tls = self.tls.value
        settings.tls_ca_cert = self.tls_ca_cert.value
        settings.tls_client_cert = self.tls_client_cert.value
        settings.tls_client_key = self.tls_client_key.value
        settings.tls_server_name = _header_text(self.tls_server_name)
        _check_policy(settings)
        return settings


class _ProbeFlags(ServerFlags):
    """All flags of the probe."""

    def __init__(self) -> None:
        super().__init__(rpc_timeout=10 * _SECOND)
        self.output = StringFlag("output", "text", "text, or json: one JSON object on stdout", ("text", "json"))
        self.wait = DurationFlag("wait", 0, "Ask again until the model is available, at most this long")
        self.infer = StringFlag("infer", "", "Also send the PredictRequest (protobuf or JSON) in this file")
        self.transport = StringFlag("transport", "auto", "auto, own (no grpcio) or grpcio", ("auto", "own", "grpcio"))
        self.tls_no_verify = BoolFlag("tls-no-verify", "Do not verify the server's certificate (with -tls)")
        self.version = BoolFlag("version", "Print the probe's version and exit")

    def settings(self) -> Settings:
        settings = super().settings()
        settings.output = self.output.value
        settings.wait = self.wait.seconds
        settings.transport = self.transport.value
        settings.tls_no_verify = self.tls_no_verify.value
        settings.show_version = self.version.value
        check_tls(settings)
        if settings.tls and settings.transport != "grpcio":
            _check_ssl()
        if self.infer.value:
            if len(settings.models) > 1:
                raise FlagError("flag -infer goes with one model only")
            settings.sample = _read_sample(self.infer.value)
        return settings


def usage_text(program: str) -> str:
    """What ``-help`` prints."""
    return usage(program, _ProbeFlags().all())


def read_settings(arguments: list[str]) -> Settings:
    """The settings that a command line (without the program's name) asks for.

    Raises:
      FlagError: something is wrong with it; nothing was sent.
      HelpAsked: ``-h`` or ``-help``.
    """
    flags = _ProbeFlags()
    ignored = parse(flags.all(), arguments)
    settings = flags.settings()
    settings.ignored = ignored
    return settings


def _models(flags: ServerFlags) -> list[WantedModel]:
    if flags.model.value:
        for flag in (flags.model_name, flags.model_version, flags.version_label):
            if flag.given:
                raise FlagError(f"flag -{flag.name} cannot be used together with -model")
        models = []
        for text in flags.model.value:
            try:
                models.append(parse_model(text))
            except ValueError as error:
                raise FlagError(f'invalid value "{text}" for flag -model: {error}') from None
        return models
    version = flags.model_version.value or None
    if version is not None and flags.version_label.value:
        raise FlagError("flag -model-version cannot be used together with -version-label")
    return [WantedModel(flags.model_name.value, version, flags.version_label.value)]


def _check_policy(settings: Settings) -> None:
    named = [model.version is not None or bool(model.label) for model in settings.models]
    if settings.policy == "exact" and not all(named):
        raise FlagError("flag -policy exact needs a version: -model-version, -version-label, or -model NAME:VERSION")
    if settings.policy in ("all", "latest") and any(named):
        raise FlagError(f"flag -policy {settings.policy} cannot be used together with a version")


def check_tls(settings: Settings) -> None:
    """Raise FlagError for TLS flags that do not fit together or name files that cannot be read."""
    details = ("tls_no_verify", "tls_ca_cert", "tls_client_cert", "tls_client_key", "tls_server_name")
    for detail in details:
        if getattr(settings, detail) and not settings.tls:
            raise FlagError(f"flag -{detail.replace('_', '-')} needs -tls")
    if bool(settings.tls_client_cert) != bool(settings.tls_client_key):
        raise FlagError("flags -tls-client-cert and -tls-client-key need each other")
    if settings.tls_no_verify and settings.transport == "grpcio":
        raise FlagError("flag -tls-no-verify is not possible with -transport grpcio, which always verifies")
    for detail in ("tls_ca_cert", "tls_client_cert", "tls_client_key"):
        path = getattr(settings, detail)
        if path and not os.access(path, os.R_OK):
            raise FlagError(f"flag -{detail.replace('_', '-')}: cannot read {path}")


def _check_ssl() -> None:
    try:
        import ssl  # noqa: F401
    except ImportError as error:
        raise FlagError(f"flag -tls: this Python cannot do TLS ({error}); install its ssl module") from None


def _header_text(flag: StringFlag) -> str:
    if not flag.value.isascii() or (flag.value and not flag.value.isprintable()):
        raise FlagError(f"invalid value for flag -{flag.name}: only printable ASCII can be sent")
    return flag.value


def _read_sample(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_SAMPLE + 1)
    except OSError as error:
        raise FlagError(f"flag -infer: cannot read {path}: {error.strerror}") from None
    if len(content) > _LARGEST_SAMPLE:
        raise FlagError(f"flag -infer: {path} is larger than {_LARGEST_SAMPLE} octets")
    from infra_validator.probe.sample_file import SampleError, predict_request

    try:
        return predict_request(content)
    except SampleError as error:
        raise FlagError(f"flag -infer: {path}: {error}") from None
