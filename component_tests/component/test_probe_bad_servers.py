"""The probe against servers that break the protocol, each in one way, over real sockets: an exit code by its deadline, one plain
line, never a traceback."""

from __future__ import annotations

import time

import pytest

from component_tests.fakes.raw_http2_server import MODES, RawHttp2Server
from infra_validator.probe.command import main

#: mode -> (exit code, what the log says, whether grpcio ends with the same code)
EXPECTED = {
    "good": (0, "Servable state is AVAILABLE", True),
    # No connection: tried again until the connect timeout.
    "closes_at_once": (2, "Error dialing grpc service: context deadline exceeded", True),
    "http1": (2, "does not speak HTTP/2", True),
    "tls_alert": (2, "does not speak HTTP/2", True),
    "silent": (2, "Error dialing grpc service: context deadline exceeded", True),
    "goaway_first": (2, "does not speak HTTP/2", True),
    "good_from_third_connection": (0, "Servable state is AVAILABLE", True),
    # The call fails.
    "settings_and_stop": (3, "code = DeadlineExceeded desc = context deadline exceeded", True),
    "goaway": (3, "too_many_pings", True),
    "goaway_short": (3, "GOAWAY of the wrong size", True),
    "goaway_then_good": (0, "Servable state is AVAILABLE", True),
    "goaway_graceful": (0, "Servable state is AVAILABLE", True),
    "rst_stream": (3, "code = Internal desc = the server reset the call (RST_STREAM 2)", True),
    "rst_stream_short": (3, "RST_STREAM of the wrong size", True),
    "refused_stream": (3, "code = Unavailable desc = the server reset the call (RST_STREAM 7)", True),
    "refuses_then_good": (0, "Servable state is AVAILABLE", False),
    "trailers_only_not_found": (
        10,
        "Model not found: rpc error: code = NotFound desc = Could not find any versions of model m",
        True,
    ),
    "trailers_only_ok": (3, "not exactly one message", True),
    "trailers_only_without_status": (3, "without a grpc-status", True),
    "unknown_grpc_status": (3, "what is it", True),
    "garbage_grpc_status": (3, "code = Unknown desc = what is it", True),
    "non_utf8_grpc_message": (
        10,
        "Model not found: rpc error: code = NotFound desc = ",
        False,
    ),  # grpcio raises UnicodeDecodeError
    "no_grpc_status": (3, "without a grpc-status", True),
    "http_404": (3, "code = Unimplemented desc = the server answered with HTTP status 404", True),
    "http_503": (3, "code = Unavailable desc = the server answered with HTTP status 503", True),
    "html": (3, "content-type 'text/html'", True),
    "compressed": (3, "compressed (snappy)", True),
    "headers_100_mib": (3, "code = ResourceExhausted desc = more than 65536 octets of headers", True),
    "continuation_flood": (3, "code = ResourceExhausted", True),
    "hpack_bomb": (3, "more than 65536 octets of headers", False),
    "bad_hpack": (3, "in a header block", True),
    "not_continued": (3, "a header block that is not continued", True),
    "huge_frame": (3, "a frame of 16777215 octets", True),
    "endless_data": (3, "an answer larger than 4194304 octets", True),
    "empty_data_flood": (3, "more than 20000 frames", True),
    "ping_flood": (3, "more than 20000 frames", True),
    "settings_flood": (3, "more than 20000 frames", True),
    "drips": (3, "context deadline exceeded", True),
    "byte_by_byte": (0, "Servable state is AVAILABLE", True),
    "half_an_answer": (3, "the server closed the connection", True),
    "wrong_stream": (3, "a frame on stream 3, which was never opened", True),
    "even_stream": (3, "a frame on stream 2, which was never opened", True),
    "push_promise": (3, "a frame of type 5 on stream 1", False),
    "data_on_stream_0": (3, "a frame of type 0 on stream 0", False),
    "data_before_headers": (3, "data before headers", False),
    "too_much_padding": (3, "more padding than frame", True),
    "window_overflow": (3, "a wrong WINDOW_UPDATE", False),
    "window_of_zero": (3, "a wrong WINDOW_UPDATE", True),
    "window_opened_late": (0, "Servable state is AVAILABLE", True),
    "two_messages": (3, "not exactly one message", True),
    "length_that_lies": (3, "not exactly one message", True),
    "informational_first": (0, "Servable state is AVAILABLE", False),
    "extension_frames": (0, "Servable state is AVAILABLE", True),
    "huffman_and_table": (0, "Servable state is AVAILABLE", True),
    "padded": (0, "Servable state is AVAILABLE", False),
    # The call succeeds; the message is what it is.
    "empty_answer": (11, "Empty response", True),
    "huge_varint": (3, "a number of more than ten octets", True),
    "huge_length": (3, "field 1 is cut off", True),
    "two_million_versions": (3, "more than 20000 versions", True),
    "garbage_message": (3, "the answer is no GetModelStatusResponse", True),
    "unknown_fields": (0, "Servable state is AVAILABLE", True),
    "non_utf8_error_message": (34, "Servable state is END", True),
}


def test_every_mode_is_expected() -> None:
    assert set(EXPECTED) == set(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_server_gives_an_exit_code_and_a_plain_line(mode: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, words, _ = EXPECTED[mode]
    with RawHttp2Server(mode) as server:
        began = time.monotonic()
        got = main([f"-addr=127.0.0.1:{server.port}", "-model-name=m", "-connect-timeout=400ms", "-rpc-timeout=1500ms"])
        took = time.monotonic() - began
    err = capfd.readouterr().err
    assert got == code, err
    assert words in err
    assert "Traceback" not in err
    assert took < 60  # it ends; the time limits add up to two seconds, the rest is for a busy machine


@pytest.mark.parametrize("mode", [mode for mode in MODES if EXPECTED[mode][2]])
def test_grpcio_gives_the_same_exit_code(mode: str, capfd: pytest.CaptureFixture[str]) -> None:
    with RawHttp2Server(mode) as server:
        address = f"-addr=127.0.0.1:{server.port}"
        got = main([address, "-model-name=m", "-connect-timeout=1500ms", "-rpc-timeout=1500ms", "-transport=grpcio"])
    err = capfd.readouterr().err
    assert got == EXPECTED[mode][0], err
    assert "Traceback" not in err
