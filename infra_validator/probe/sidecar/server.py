"""``infra-validator probe-sidecar``: tells a kubelet's own probes what the probe would find out.

It holds one channel to a TensorFlow Serving instance, asks for the models' states a few times a second, and answers gRPC health
checks (service name = model name) and HTTP (``/healthz``, ``/readyz``, ``/metrics``): nothing has to be put into the image of
the server. ``docs/probe.md`` is the manual.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from infra_validator.core.signals.shutdown_signals import StopSignals
from infra_validator.probe import exit_codes
from infra_validator.probe.go.flags import DurationFlag, FlagError, HelpAsked, StringFlag, parse, usage
from infra_validator.probe.go.text import log
from infra_validator.probe.settings import ServerFlags, Settings, check_tls
from infra_validator.probe.sidecar.health import place_text, start_health_server
from infra_validator.probe.sidecar.http import HttpServer
from infra_validator.probe.sidecar.models import Models, Poller

_MILLISECOND = 1_000_000  # nanoseconds
_GRACE = 1.0  # seconds that calls under way have when the sidecar stops
_CANNOT_START = 3  # infra-validator's code for what the surroundings do not allow


class Flags(ServerFlags):
    """The sidecar's flags: those of the probe that say what to ask for, and where to tell it."""

    def __init__(self) -> None:
        super().__init__(rpc_timeout=1000 * _MILLISECOND)
        self.grpc_listen = StringFlag("grpc-listen", ":8086", "Where to answer gRPC health checks; empty for nowhere")
        self.http_listen = StringFlag("http-listen", ":8087", "Where to answer HTTP; empty for nowhere")
        self.interval = DurationFlag("interval", 100 * _MILLISECOND, "From one question to the next")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sidecar until SIGTERM or SIGINT. Returns the exit code: 0, 2 (wrong usage) or 3 (it cannot listen, or start a thread)."""
    flags = Flags()
    try:
        rest = parse(flags.all(), list(sys.argv[1:] if argv is None else argv))
        if rest:
            raise FlagError(f"argument {rest[0]!r} is no flag")
        settings = flags.settings()
        check_tls(settings)
        places = [_listen_place(flags.grpc_listen), _listen_place(flags.http_listen)]
        if places == [None, None]:
            raise FlagError("flags -grpc-listen and -http-listen are both empty: nobody could ask")
        if flags.interval.value < 10 * _MILLISECOND:
            raise FlagError("flag -interval must be 10ms or more")
    except HelpAsked:
        sys.stdout.write(usage("infra-validator probe-sidecar", flags.all()))
        return 0
    except FlagError as error:
        sys.stderr.write(f"{error}\n{usage('infra-validator probe-sidecar', flags.all())}")
        return exit_codes.WRONG_USAGE
    return _serve(settings, places[0], places[1], flags.interval.seconds)


def _listen_place(flag: StringFlag) -> tuple[str, int] | None:
    """(host, port) of ``host:port``; no host means every address of both families. Port 0 takes any that is free."""
    if not flag.value:
        return None
    host, colon, port = flag.value.rpartition(":")
    if not colon or not port.isdigit() or not port.isascii() or int(port) >= 1 << 16:
        raise FlagError(f'invalid value "{flag.value}" for flag -{flag.name}: want HOST:PORT or :PORT')
    return host.strip("[]"), int(port)


def _serve(
    settings: Settings, grpc_place: tuple[str, int] | None, http_place: tuple[str, int] | None, interval: float
) -> int:
    with StopSignals() as signals:
        return _serve_until(signals, settings, grpc_place, http_place, interval)


def _serve_until(
    signals: StopSignals,
    settings: Settings,
    grpc_place: tuple[str, int] | None,
    http_place: tuple[str, int] | None,
    interval: float,
) -> int:
    models = Models(settings.models)
    try:
        poller = Poller(settings, models, interval)
    except OSError as error:
        log(f"Cannot start: {error}")
        return _CANNOT_START
    grpc_server = None
    http_server = None
    try:
        if grpc_place is not None:
            grpc_server, port = start_health_server(models, *grpc_place)
            log(f"Answering gRPC health checks on {place_text(grpc_place[0], port)}")
        if http_place is not None:
            http_server = HttpServer(models, *http_place)
            http_server.start()
            log(f"Answering HTTP on {place_text(http_place[0], http_server.server_port)}")
        poller.start()
        log(f"Stopping because of {signal.Signals(signals.wait() or signal.SIGTERM).name}")
        models.stop()
        poller.stop()
    except OSError as error:
        log(f"Cannot listen: {error}")
        return _CANNOT_START
    finally:
        if http_server is not None:
            http_server.stop()
        if grpc_server is not None:
            grpc_server.stop(_GRACE).wait()
    return 0
