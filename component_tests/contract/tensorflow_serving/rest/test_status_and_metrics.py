"""Contract 6.7, 6.8 and 10: status, metadata, CORS, metrics."""

from __future__ import annotations

from component_tests.contract.tensorflow_serving.rest.http_client import NOT_FOUND_PAGE, ask, predictions
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server


def test_6_7_status(server: EmbeddedServerProcess) -> None:
    expected = b"""{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": ""
   }
  }
 ]
}
"""
    for target in ("half_plus_two", "half_plus_two/versions/1", "half_plus_two/labels/any"):
        assert ask(server, "GET", f"/v1/models/{target}").body == expected


def test_6_7_metadata(server: EmbeddedServerProcess) -> None:
    reply = ask(server, "GET", "/v1/models/half_plus_two/versions/1/metadata").json
    assert reply["model_spec"] == {"name": "half_plus_two", "signature_name": "", "version": "1"}
    signature = reply["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature == {
        "inputs": {
            "x": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "x:0",
            }
        },
        "outputs": {
            "y": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "y:0",
            }
        },
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }


def test_6_8_cors(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--rest_api_enable_cors_support"]
    expected = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type",
    }
    with embedded_server(*flags) as server:
        for target in ("/v1/models/default", "/v1/foo"):
            assert expected.items() <= ask(server, "GET", target).headers.items()
        assert expected.items().isdisjoint(ask(server, "GET", "/foo").headers.items())


def test_6_8_options_with_and_without_the_flag(server: EmbeddedServerProcess) -> None:
    good = ask(server, "OPTIONS", "/v1/models/m", Origin="https://example.org")
    assert (good.status, good.body, good.headers["content-length"]) == (200, b"", "0")
    assert good.headers["content-type"] == "text/html; charset=ISO-8859-1"
    bad = ask(server, "OPTIONS", "/v1/models/m")
    assert (bad.status, bad.body) == (400, b"")


def test_10_metrics(server: EmbeddedServerProcess) -> None:
    predictions(server, "half_plus_two:predict", {"instances": [1.0]})
    ask(server, "GET", '/v1/models/n"o')
    reply = ask(server, "GET", "/monitoring/prometheus/metrics")
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain")
    text = reply.body.decode()
    assert "# TYPE :tensorflow:serving:request_count counter\n" in text
    assert ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} ' in text
    assert ':tensorflow:serving:request_count{model_name="n\\"o",status="NOT_FOUND"} ' in text
    assert "# TYPE :tensorflow:serving:request_latency histogram\n" in text
    labels = 'model_name="half_plus_two",API="predict",entrypoint="REST"'
    assert f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}} ' in text
    assert ':tensorflow:serving:runtime_latency_count{model_name="half_plus_two",API="Predict",runtime="TF1"} ' in text
    wrong = ask(server, "POST", "/monitoring/prometheus/metrics?x", b"")
    assert (wrong.status, wrong.headers["content-type"], wrong.body) == (
        400,
        "text/plain",
        b"Unexpected path: /monitoring/prometheus/metrics?x. Should be /monitoring/prometheus/metrics",
    )


def test_10_metrics_are_off_by_default(saved_models: SavedModels) -> None:
    with embedded_server(f"--model_base_path={saved_models.base_path('half_plus_two')}") as server:
        assert ask(server, "GET", "/monitoring/prometheus/metrics").body == NOT_FOUND_PAGE
