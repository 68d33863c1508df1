"""Contract 3.9: what --enable_batching changes for clients. Each model here has its own batching_params.pbtxt."""

from __future__ import annotations

import concurrent.futures
import pathlib
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from component_tests.contract.tensorflow_serving.conftest import model_config
from component_tests.contract.tensorflow_serving.models.test_warmup import predict_log, with_warmup
from component_tests.contract.tensorflow_serving.requests import (
    FAILED_PRECONDITION,
    INVALID_ARGUMENT,
    PREDICTION,
    classify,
    examples_input,
    fails,
    predict_request,
    regress,
    spec,
    status,
    strings,
    tensor,
)
from component_tests.contract.tensorflow_serving.rest.http_client import ask, post, predictions
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess, embedded_server
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

pytestmark = pytest.mark.slow

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
_WITHIN = 60  # seconds
_NEVER = "batch_timeout_micros { value: 3600000000 }"  # an hour: a batch runs when it is full

# name: SavedModel, batching_params.pbtxt (None: there is none)
MODELS = {
    "unbatched": ("identity", None),
    "identity": ("identity", ""),
    "half_plus_two": ("half_plus_two", "batch_timeout_micros { value: 20000 }"),
    "odd": ("odd_signatures", ""),
    "two_inputs": ("two_inputs", ""),
    "pair": ("two_inputs", f"max_batch_size {{ value: 2 }} {_NEVER}"),
    "identity_pair": ("identity", f"max_batch_size {{ value: 2 }} {_NEVER}"),
    "padding_pair": ("identity", f"max_batch_size {{ value: 2 }} {_NEVER} pad_variable_length_inputs: true"),
    "crowded": ("identity", f"max_batch_size {{ value: 3 }} {_NEVER} max_enqueued_batches {{ value: 1 }}"),
    "waiting": ("identity", _NEVER),
    "allowed": ("two_inputs", "max_batch_size { value: 2 } allowed_batch_sizes: [2]"),
    "splitting": (
        "two_inputs",
        "max_batch_size { value: 6 } enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2 }",
    ),
}


@pytest.fixture(scope="module")
def batching(saved_models: SavedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServerProcess]:
    directory = tmp_path_factory.mktemp("batching")
    for name, (model, parameters) in MODELS.items():
        version = saved_models.copy(model, directory / name)
        if parameters is not None:
            (version / "batching_params.pbtxt").write_text(parameters)
    config, monitoring = directory / "models.config", directory / "monitoring.config"
    config.write_text(model_config({name: directory / name for name in MODELS}))
    monitoring.write_text("prometheus_config { enable: true }")
    flags = ["--enable_batching", "--enable_per_model_batching_parameters", "--rest_api_timeout_in_ms=2000"]
    with embedded_server(f"--model_config_file={config}", f"--monitoring_config_file={monitoring}", *flags) as running:
        yield running


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        yield threads


def predict(server: EmbeddedServerProcess, name: str, signature: str = "", **inputs: Any) -> dict[str, list[float]]:
    """The values of all outputs of float models."""
    answer = server.predict(predict_request(spec(name, signature), **inputs))
    return {alias: list(value.float_val) for alias, value in answer.outputs.items()}


def identity(server: EmbeddedServerProcess, name: str, *values: float) -> list[float]:
    """What identity answers to one row."""
    return predict(server, name, x=tensor(values, [1, len(values)]))["y"]


def product(server: EmbeddedServerProcess, name: str, rows: int = 1) -> list[float]:
    """[1 2] times [3 4] in every row; needs batches of 2, and the graph refuses others."""
    return predict(server, name, "matmul", a=tensor([1, 2] * rows, [rows, 2]), b=tensor([3, 4] * rows, [rows, 2]))["y"]


# ---------------------------------------------------------------------------------------------------------- the table


def test_3_9_an_input_is_a_scalar(batching: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Batching Run() input tensors must have at least one dimension"):
        predict(batching, "identity", x=tensor([1.0], []))


def test_3_9_first_dimensions_differ(batching: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Batching Run() input tensors must have equal 0th-dimension size"):
        predict(batching, "two_inputs", a=tensor([1, 2], [1, 2]), b=tensor([1, 2, 3, 4], [2, 2]))


def test_3_9_a_signature_without_inputs(batching: EmbeddedServerProcess) -> None:
    with fails(INVALID_ARGUMENT, "Batching Run() must have at least one input tensor"):
        predict(batching, "odd", "no_inputs")


def test_3_9_other_dimensions_differ(
    batching: EmbeddedServerProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    text = (
        "Tensors with name 'float_x:0' from different tasks have different shapes and padding is turned off. Set "
        "pad_variable_length_inputs to true, or ensure that all tensors with the same name have equal dimensions starting "
        "with the first dim."
    )
    other = pool.submit(identity, batching, "identity_pair", 1.0, 2.0)
    with fails(FAILED_PRECONDITION, text):
        identity(batching, "identity_pair", 1.0)
    with fails(FAILED_PRECONDITION, text):
        other.result(_WITHIN)


def test_3_9_other_dimensions_differ_and_padding_is_on(
    batching: EmbeddedServerProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    other = pool.submit(identity, batching, "padding_pair", 1.0, 2.0, 3.0)
    assert identity(batching, "padding_pair", 7.0) == [7.0, 7.0, 7.0]
    assert other.result(_WITHIN) == [1.0, 2.0, 3.0]


def test_3_9_waited_too_long_in_the_queue(batching: EmbeddedServerProcess) -> None:
    # Over REST: of a gRPC call, the client hears its own end of time.
    reply = post(batching, "waiting:predict", '{"instances": [1.0]}')
    assert (reply.status, reply.error) == (429, "Run() timeout exceeded while waiting in batching queue")


def test_3_9_a_full_queue(batching: EmbeddedServerProcess, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    text = (
        "The batch scheduling queue to which this task was submitted is full; currently 1 batches enqueued and "
        "max_enqueued_batches is 1"
    )
    two_rows = tensor([1.0, 2.0], [2, 1])
    asked = {pool.submit(predict, batching, "crowded", x=two_rows) for _ in range(2)}
    (refused,), (other,) = concurrent.futures.wait(asked, _WITHIN, concurrent.futures.FIRST_COMPLETED)
    with fails(UNAVAILABLE, text):
        refused.result()
    assert identity(batching, "crowded", 4.0) == [4.0]
    assert other.result(_WITHIN) == {"y": [1.0, 2.0]}


@pytest.mark.parametrize(("name", "most"), [("pair", 2), ("splitting", 6)])
def test_3_9_a_request_is_too_large(batching: EmbeddedServerProcess, name: str, most: int) -> None:
    text = f"Task size {most + 1} is larger than maximum input batch size {most}"
    with fails(INVALID_ARGUMENT, text):
        product(batching, name, most + 1)


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("scalar", "Batched output tensor has 0 dimensions"),
        (
            "uneven",
            "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input tensors",
        ),
    ],
)
def test_3_9_answers_that_cannot_be_split(batching: EmbeddedServerProcess, signature: str, text: str) -> None:
    with fails(FAILED_PRECONDITION, text):
        predict(batching, "two_inputs", signature, a=tensor([1, 2], [1, 2]), b=tensor([3, 4], [1, 2]))


# --------------------------------------------------------------------------------------------------------- parameters


def test_3_9_requests_run_together(
    batching: EmbeddedServerProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    other = pool.submit(product, batching, "pair")
    assert product(batching, "pair") == [9, 12]
    assert other.result(_WITHIN) == [9, 12]


@pytest.mark.parametrize(
    ("signature", "dtype", "field", "values"),
    [
        ("double", "DT_DOUBLE", "double_val", [0.1, -2.5]),
        ("half", "DT_HALF", "half_val", [15360, 16384]),
        ("bool", "DT_BOOL", "bool_val", [True, False]),
        ("int8", "DT_INT8", "int_val", [-128, 127]),
        ("int64", "DT_INT64", "int64_val", [-(2**63), *range(2**40, 2**40 + 1000)]),
        ("complex64", "DT_COMPLEX64", "scomplex_val", [1.0, 2.0, 3.0, 4.0]),
        ("string", "DT_STRING", "string_val", [b"", b"a longer text than fits into a short string"]),
    ],
)
def test_3_9_dtypes(
    batching: EmbeddedServerProcess,
    pool: concurrent.futures.ThreadPoolExecutor,
    signature: str,
    dtype: str,
    field: str,
    values: list[Any],
) -> None:
    width = len(values) // 2 if field == "scomplex_val" else len(values)

    def echoed(sent: list[Any]) -> list[Any]:
        x = tensor(sent, [1, width], dtype, field)
        answer = batching.predict(predict_request(spec("identity_pair", signature), x=x)).outputs["y"]
        assert (answer.dtype, answer.tensor_shape) == (x.dtype, x.tensor_shape)
        return list(getattr(answer, field))

    other = pool.submit(echoed, values[::-1])
    assert echoed(values) == values
    assert other.result(_WITHIN) == values[::-1]


def test_3_9_allowed_batch_sizes(batching: EmbeddedServerProcess) -> None:
    assert product(batching, "allowed") == [9, 12]
    with fails(INVALID_ARGUMENT, "Matrix size-incompatible", starts=True):
        product(batching, "two_inputs")


@pytest.mark.parametrize("rows", [2, 4, 6])
def test_3_9_large_batch_splitting(batching: EmbeddedServerProcess, rows: int) -> None:
    assert product(batching, "splitting", rows) == [9, 12] * rows


def test_3_9_without_a_file_a_model_is_not_batched(batching: EmbeddedServerProcess) -> None:
    assert predict(batching, "unbatched", x=tensor([1.0], [])) == {"y": [1.0]}


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]",
            "INVALID_ARGUMENT: Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
        ),
        ("max_batch_size { value: 0 }", "INVALID_ARGUMENT: input_batch_size_limit must be positive; was 0"),
    ],
)
def test_1_4_parameters_that_fail_the_load(
    saved_models: SavedModels, tmp_path: pathlib.Path, parameters: str, error: str
) -> None:
    (tmp_path / "batching").write_text(parameters)
    flags = ["--enable_batching", f"--batching_parameters_file={tmp_path / 'batching'}"]
    model = saved_models.base_path("half_plus_two")
    with embedded_server(f"--model_base_path={model}", *flags, wait=False) as server:
        assert server.wait_for_exit() == 255
        assert f"{{{{{{name: default version: 1}} due to error: {error}}}" in server.stdout


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("max_batch_size: 8", "INVALID_ARGUMENT: Invalid protobuf file: '{}'"),
        (None, "NOT_FOUND: {}; No such file or directory"),
    ],
    ids=["not a message", "no file"],
)
def test_1_4_a_parameters_file_that_fails_the_start(
    saved_models: SavedModels, tmp_path: pathlib.Path, content: str | None, error: str
) -> None:
    path = tmp_path / "batching"
    if content is not None:
        path.write_text(content)
    flags = ["--enable_batching", f"--batching_parameters_file={path}"]
    model = saved_models.base_path("half_plus_two")
    with embedded_server(f"--model_base_path={model}", *flags, wait=False) as server:
        assert server.wait_for_exit() == 255
        assert server.stdout == f"Failed to start server. Error: {error.format(path)}\n"


# ------------------------------------------------------------------------------------------ every API, everybody's own


def test_3_9_everybody_gets_their_own_rows(
    batching: EmbeddedServerProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    def many(number: int) -> None:
        for turn in range(20):
            values = [float(number * 100 + turn + row) for row in range(1 + turn % 3)]
            expected = [value / 2 + 2 for value in values]
            assert predict(batching, "half_plus_two", x=tensor(values)) == {"y": expected}
            texts = [b"%d" % value for value in values]
            answer = batching.predict(predict_request(spec("identity", "string"), x=strings(*texts)))
            assert list(answer.outputs["y"].string_val) == texts
            assert [dim.size for dim in answer.outputs["y"].tensor_shape.dim] == [len(texts)]

    for done in [pool.submit(many, number) for number in range(8)]:
        done.result(_WITHIN)


def test_3_9_every_api(batching: EmbeddedServerProcess) -> None:
    results = regress(batching, spec("half_plus_two", "regress_x_to_y"), examples_input(1.0, 2.0)).result.regressions
    assert [result.value for result in results] == [2.5, 3.0]
    classified = classify(batching, spec("half_plus_two", "classify_labels"), examples_input(1.0)).result
    assert len(classified.classifications) == 1
    tasks = [
        serving_pb2.InferenceTask(model_spec=spec("half_plus_two", signature))
        for signature in ("regress_x_to_y", "classify_x_to_y")
    ]
    for task, method in zip(tasks, ("regress", "classify"), strict=True):
        task.method_name = f"tensorflow/serving/{method}"
    request = serving_pb2.MultiInferenceRequest(tasks=tasks, input=examples_input(1.0))
    answer = batching.call(PREDICTION + "MultiInference", request, serving_pb2.MultiInferenceResponse)
    assert answer.results[0].regression_result.regressions[0].value == 2.5
    filtered = predict_request(spec("two_inputs"), ["sum"], a=tensor([1, 2], [1, 2]), b=tensor([3, 4], [1, 2]))
    assert list(batching.predict(filtered).outputs["sum"].float_val) == [4, 6]
    assert predictions(batching, "half_plus_two:predict", {"instances": [1.0, 2.0]}) == [2.5, 3.0]


def test_3_9_an_empty_batch(batching: EmbeddedServerProcess) -> None:
    assert predict(batching, "half_plus_two", x=tensor([], [0])) == {"y": []}


def test_3_9_a_wrong_dtype_spoils_nobody_elses_batch(
    batching: EmbeddedServerProcess, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    right = [pool.submit(predict, batching, "half_plus_two", x=tensor([1.0])) for _ in range(4)]
    with fails(INVALID_ARGUMENT, "Expects arg[0] to be float but string is provided"):
        predict(batching, "half_plus_two", x=strings(b"1"))
    assert [one.result(_WITHIN) for one in right] == [{"y": [2.5]}] * 4


def test_10_metrics_of_batching(batching: EmbeddedServerProcess) -> None:
    predict(batching, "identity", x=tensor([1.0]))
    text = ask(batching, "GET", "/monitoring/prometheus/metrics").body.decode()
    assert ':tensorflow:serving:batching_session:queuing_latency_count{thread_pool_name=""} ' in text
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} " in text


# ----------------------------------------------------------------------------------------------- the length of a life


def test_3_9_warm_up_requests_are_batched_too(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    with_warmup(saved_models, tmp_path / "m", [predict_log(x=tensor([1.0], []))])
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--enable_batching", wait=False) as server:
        assert server.wait_for_exit() == 255
        error = "INVALID_ARGUMENT: Batching Run() input tensors must have at least one dimension"
        assert f"{{{{{{name: default version: 1}} due to error: {error}}}" in server.stdout


def test_3_9_an_unload_waits_for_what_is_in_the_queue_and_leaves_no_thread(
    saved_models: SavedModels, tmp_path: pathlib.Path, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    saved_models.copy("half_plus_two", tmp_path / "m")
    (tmp_path / "batching").write_text("batch_timeout_micros { value: 3000000 }")
    flags = ["--enable_batching", f"--batching_parameters_file={tmp_path / 'batching'}"]
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", *flags) as server:
        assert "has no effect" not in server.stderr
        asked = pool.submit(predict, server, "default", x=tensor([1.0]))
        saved_models.copy("half_plus_two", tmp_path / "m", 2)
        server.wait_until(
            lambda: [entry[:2] for entry in status(server, spec("default"))] == [(2, "AVAILABLE"), (1, "END")],
            "version 2 alone",
        )
        assert asked.result(_WITHIN) == {"y": [2.5]}
        names = [path.read_text() for path in pathlib.Path(f"/proc/{server.process.pid}/task").glob("*/comm")]
        assert not [name for name in names if "batch" in name]
