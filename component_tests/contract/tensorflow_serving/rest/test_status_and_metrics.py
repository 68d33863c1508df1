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


def test_6_7_defaults_are_printed_with_every_field(server: EmbeddedServerProcess) -> None:
    signatures = ask(server, "GET", "/v1/models/defaults/metadata").json["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["defaults"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "1", "name": ""}], "unknown_rank": False},
        "version_number": 0,
        "tensor_content": "",
        "float_val": [8.0],
        **{f"{kind}_val": [] for kind in ("double", "int", "string", "scomplex", "int64", "bool", "dcomplex", "half")},
        **{f"{kind}_val": [] for kind in ("resource_handle", "variant", "uint32", "uint64")},
        "float8_val": "",
    }


def test_6_8_cors(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--rest_api_enable_cors_support"]
    expected = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type",
    }
    with embedded_server(*flags) as server:
        for verb, target in (
            *(("GET", "/v1/models/default"), ("GET", "/v1/models/nobody"), ("GET", "/v1/foo")),
            *(("POST", "/v1/models/default:predict"), ("OPTIONS", "/v1/models/default")),
        ):
            assert expected.items() <= ask(server, verb, target).headers.items()
        allowed = ask(server, "OPTIONS", "/v1/models/default", Origin="https://example.org")
        assert allowed.status == 200
        assert expected.items() <= allowed.headers.items()
        assert expected.items().isdisjoint(ask(server, "GET", "/foo").headers.items())


def test_6_8_options_without_the_flag(server: EmbeddedServerProcess) -> None:
    good = ask(server, "OPTIONS", "/v1/models/m", Origin="https://example.org")
    assert (good.status, good.body, good.headers["content-length"]) == (200, b"", "0")
    assert good.headers["content-type"] == "text/html; charset=ISO-8859-1"
    assert not [name for name in good.headers if name.startswith("access-control-")]
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
