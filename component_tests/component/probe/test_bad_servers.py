"""The probe against servers that break the protocol, each in one way, over real sockets: an exit code by its deadline, one plain
line, never a traceback."""

from __future__ import annotations

import time

import pytest

from component_tests.fakes.servers.raw_http2_server import MODES, RawHttp2Server
from infra_validator.probe.command import main

#: mode -> (exit code, what the log says)
EXPECTED = {
    "good": (0, "Servable state is AVAILABLE"),
    # No connection: tried again until the connect timeout.
    "closes_at_once": (2, "Error dialing grpc service: context deadline exceeded"),
    "http1": (2, "does not speak HTTP/2"),
    "tls_alert": (2, "does not speak HTTP/2"),
    "silent": (2, "Error dialing grpc service: context deadline exceeded"),
    "goaway_first": (2, "does not speak HTTP/2"),
    "good_from_third_connection": (0, "Servable state is AVAILABLE"),
    # The call fails.
    "settings_and_stop": (3, "code = DeadlineExceeded desc = context deadline exceeded"),
    "goaway": (3, "too_many_pings"),
    "goaway_short": (3, "GOAWAY of the wrong size"),
    "goaway_then_good": (0, "Servable state is AVAILABLE"),
    "goaway_three_times": (0, "Servable state is AVAILABLE"),
    "goaway_and_reset": (0, "Servable state is AVAILABLE"),
    "goaway_and_close": (0, "Servable state is AVAILABLE"),
    "goaway_graceful": (0, "Servable state is AVAILABLE"),
    "rst_stream": (3, "code = Internal desc = the server reset the call (RST_STREAM 2)"),
    "rst_stream_short": (3, "RST_STREAM of the wrong size"),
    "refused_stream": (3, "code = Unavailable desc = the server reset the call (RST_STREAM 7)"),
    "refuses_then_good": (0, "Servable state is AVAILABLE"),
    "trailers_only_not_found": (
        10,
        "Model not found: rpc error: code = NotFound desc = Could not find any versions of model m",
    ),
    "trailers_only_ok": (3, "not exactly one message"),
    "trailers_only_without_status": (3, "without a grpc-status"),
    "unknown_grpc_status": (3, "what is it"),
    "garbage_grpc_status": (3, "code = Unknown desc = what is it"),
    "non_utf8_grpc_message": (10, "Model not found: rpc error: code = NotFound desc = "),
    "no_grpc_status": (3, "without a grpc-status"),
    "http_404": (3, "code = Unimplemented desc = the server answered with HTTP status 404"),
    "http_503": (3, "code = Unavailable desc = the server answered with HTTP status 503"),
    "html": (3, "content-type 'text/html'"),
    "compressed": (3, "compressed (snappy)"),
    "headers_100_mib": (3, "code = ResourceExhausted desc = more than 65536 octets of headers"),
    "continuation_flood": (3, "code = ResourceExhausted"),
    "hpack_bomb": (3, "more than 65536 octets of headers"),
    "bad_hpack": (3, "in a header block"),
    "not_continued": (3, "a header block that is not continued"),
    "huge_frame": (3, "a frame of 16777215 octets"),
    "endless_data": (3, "an answer larger than 4194304 octets"),
    "empty_data_flood": (3, "more than 20000 frames"),
    "ping_flood": (3, "more than 20000 frames"),
    "settings_flood": (3, "more than 20000 frames"),
    "drips": (3, "context deadline exceeded"),
    "byte_by_byte": (0, "Servable state is AVAILABLE"),
    "half_an_answer": (3, "the server closed the connection"),
    "wrong_stream": (3, "a frame on stream 3, which was never opened"),
    "even_stream": (3, "a frame on stream 2, which was never opened"),
    "push_promise": (3, "a frame of type 5 on stream 1"),
    "data_on_stream_0": (3, "a frame of type 0 on stream 0"),
    "data_before_headers": (3, "data before headers"),
    "too_much_padding": (3, "more padding than frame"),
    "window_overflow": (3, "a wrong WINDOW_UPDATE"),
    "window_of_zero": (3, "a wrong WINDOW_UPDATE"),
    "window_opened_late": (0, "Servable state is AVAILABLE"),
    "two_messages": (3, "not exactly one message"),
    "length_that_lies": (3, "not exactly one message"),
    "informational_first": (0, "Servable state is AVAILABLE"),
    "extension_frames": (0, "Servable state is AVAILABLE"),
    "huffman_and_table": (0, "Servable state is AVAILABLE"),
    "padded": (0, "Servable state is AVAILABLE"),
    # The call succeeds; the message is what it is.
    "empty_answer": (11, "Empty response"),
    "huge_varint": (3, "a number of more than ten octets"),
    "huge_length": (3, "field 1 is cut off"),
    "two_million_versions": (3, "more than 20000 versions"),
    "garbage_message": (3, "the answer is no GetModelStatusResponse"),
    "unknown_fields": (0, "Servable state is AVAILABLE"),
    "non_utf8_error_message": (
        3,
        "code = Internal desc = the answer is no GetModelStatusResponse: a string that is no UTF-8",
    ),
}

#: mode -> where grpcio does otherwise than we do
GRPCIO_DIFFERS = {
    "goaway_and_reset": "it may not notice that there was a connection, and waits for one (exit code 2)",
    "goaway_three_times": "it makes the call again once",
    "refuses_then_good": "it does not make the call again",
    "hpack_bomb": "the same code, after seven seconds of work",
    "push_promise": "it overlooks it",
    "data_on_stream_0": "it overlooks it",
    "window_overflow": "it overlooks it",
    "informational_first": "it takes the early hint for the answer",
    "padded": "it cannot read padded headers",
}


def test_every_mode_is_expected() -> None:
    assert set(EXPECTED) == set(MODES)


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_server_gives_an_exit_code_and_a_plain_line(mode: str, capfd: pytest.CaptureFixture[str]) -> None:
    code, words = EXPECTED[mode]
    with RawHttp2Server(mode) as server:
        began = time.monotonic()
        got = main([f"-addr=127.0.0.1:{server.port}", "-model-name=m", "-connect-timeout=400ms", "-rpc-timeout=1500ms"])
        took = time.monotonic() - began
    err = capfd.readouterr().err
    assert got == code, err
    assert words in err
    assert "Traceback" not in err
    assert took < 60  # it ends; the time limits add up to two seconds, the rest is for a busy machine


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in GRPCIO_DIFFERS])
def test_grpcio_gives_the_same_exit_code(mode: str, capfd: pytest.CaptureFixture[str]) -> None:
    with RawHttp2Server(mode) as server:
        address = f"-addr=127.0.0.1:{server.port}"
        got = main([address, "-model-name=m", "-connect-timeout=1500ms", "-rpc-timeout=1500ms", "-transport=grpcio"])
    err = capfd.readouterr().err
    assert got == EXPECTED[mode][0], err
    assert "Traceback" not in err
