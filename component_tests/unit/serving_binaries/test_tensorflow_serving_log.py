from __future__ import annotations

import pytest

from infra_validator.core.reason_codes import ReasonCode
from infra_validator.serving_binaries.tensorflow_serving_log import explain, warmup_records

NEW = "E0000 00:00:1764000000.123456  4242 basic_manager.cc:705] "
OLD = "2020-11-30 19:49:33.654321: E tensorflow_serving/util/retrier.cc:37] "
SERVABLE = "{name: m version: 1}"
START = "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
NO_OP = (
    "NOT_FOUND: Op type not registered 'Quux>Frob' in binary running on host-1.example. Make sure the Op and Kernel are registered in the "
    "binary running in this process. Note that if you are loading a saved graph ..."
)
USAGE = (
    "usage: tensorflow_model_server\nFlags:\n\t--port=8500                      \tint32\tTCP port to listen on\n"
    '\t--model_name="x"                 \tstring\tname'
)


@pytest.mark.parametrize(
    ("log", "reason", "text"),
    [
        (f"{NEW}Loading servable: {SERVABLE} failed: {NO_OP}\n{START}{{{{name: m version: 1 due to error: {NO_OP}}}, }}",
         ReasonCode.OP_NOT_REGISTERED, "Op type not registered 'Quux>Frob' in binary running on host-1.example."),
        (f"{START}{{{{name: m version: 1 due to error: {NO_OP}}}, }}",
         ReasonCode.OP_NOT_REGISTERED, "Op type not registered 'Quux>Frob' in binary running on host-1.example."),
        (f"{OLD}Loading servable: {SERVABLE} failed: Not found: Op type not registered 'A' in binary running on x. Make sure",
         ReasonCode.OP_NOT_REGISTERED, "Op type not registered 'A' in binary running on x."),
        (f"{NEW}Loading servable: {SERVABLE} failed: DATA_LOSS: Can't parse /m/1/saved_model.pb as binary proto",
         ReasonCode.MODEL_LOAD_FAILED, "DATA_LOSS: Can't parse /m/1/saved_model.pb as binary proto"),
        (f"{START}{{{{{{name: m version: 1}} due to error: {NO_OP}}}, }}",
         ReasonCode.OP_NOT_REGISTERED, "Op type not registered 'Quux>Frob' in binary running on host-1.example."),
        (f"{START}{{{{{{name: m version: 3}} due to error: DATA_LOSS: Can't parse /m/3/saved_model.pb as binary proto}}, }}",
         ReasonCode.MODEL_LOAD_FAILED, "DATA_LOSS: Can't parse /m/3/saved_model.pb as binary proto"),
        ("Failed to start server. Error: Unknown: 2 servable(s) did not become available: {{{name: a version: 1} due to error: "
         "Not found: first}, {{name: b version: 2} due to error: Internal: second}, }",
         ReasonCode.MODEL_LOAD_FAILED, "Not found: first"),
        ("Failed to start server. Error: 1 model(s) did not become available: {{{name: m version: 1} due to error: INTERNAL: 1}, }",
         ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: 1"),
        ("Failed to start server. Error: Unknown: 1 servable(s) did not become available: {{{name: m version: 1}}, }",
         ReasonCode.MODEL_LOAD_FAILED, "1 servable(s) did not become available: {{{name: m version: 1}}, }"),
        ("Failed to start server. Error: Unknown: 1 servable(s) did not become available: {{name: m version: 1}, }",
         ReasonCode.MODEL_LOAD_FAILED, "1 servable(s) did not become available: {{name: m version: 1}, }"),
        (f"{START}{{{{{{name: m version: 1}} due to error: INTERNAL: a dict {{'a': {{1}}, 'b': 2}} in it}}, }}",
         ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: a dict {'a': {1}, 'b': 2} in it"),
        (f"{START}{{{{{{name: m version: 1}} due to error: RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[9,9]}}, }}",
         ReasonCode.SERVER_OUT_OF_MEMORY, "OOM when allocating tensor with shape[9,9]."),
        (f"{START}{{{{name: m version: 1 due to error: OUT_OF_RANGE: Read less bytes than requested}}, }}",
         ReasonCode.MODEL_LOAD_FAILED, "OUT_OF_RANGE: Read less bytes than requested"),
        (f"{NEW}Error while attempting to reserve resources to load servable {SERVABLE}: PERMISSION_DENIED: /m/1; Permission denied",
         ReasonCode.MODEL_LOAD_FAILED, "PERMISSION_DENIED: /m/1; Permission denied"),
        (f"{NEW}Loading servable: {SERVABLE} failed: RESOURCE_EXHAUSTED: OOM when allocating tensor with shape[9,9] and type float",
         ReasonCode.SERVER_OUT_OF_MEMORY, "OOM when allocating tensor with shape[9,9] and type float."),
        ("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
         ReasonCode.SERVER_OUT_OF_MEMORY, "std::bad_alloc"),
        (f"{NEW}Loading servable: {SERVABLE} failed: INVALID_ARGUMENT: Failed to parse warmup record: \n\x00~ from a\nb from "
         "/m/1/assets.extra/tf_serving_warmup_requests\nI] something else",
         ReasonCode.WARMUP_FAILED, "A record of /m/1/assets.extra/tf_serving_warmup_requests cannot be read as a PredictionLog."),
        (f"{NEW}Loading servable: {SERVABLE} failed: INVALID_ARGUMENT: Failed to parse warmup record: x from /m/1/assets.extra/y",
         ReasonCode.WARMUP_FAILED, "INVALID_ARGUMENT: Failed to parse warmup record: x from /m/1/assets.extra/y."),
        (f"I] Starting to read warmup data for model at /m/1 with model-warmup-options \n"
         f"{NEW}Loading servable: {SERVABLE} failed: INVALID_ARGUMENT: input size does not match signature",
         ReasonCode.WARMUP_FAILED, "INVALID_ARGUMENT: input size does not match signature"),
        (f"I] Starting to read warmup data for model at /m/1 with x\nI] Finished reading warmup data for model at /m/1. Number\n"
         f"{NEW}Loading servable: {SERVABLE} failed: INTERNAL: something else",
         ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: something else"),
        ("Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server",
         ReasonCode.PORT_NOT_AVAILABLE, "Failed to BuildAndStart gRPC server"),
        (f"{NEW}No versions of servable m found under base path /models/m. Did you forget to name your leaf directory as a number?",
         ReasonCode.MODEL_NOT_READABLE, "The server says: No versions of servable m found under base path /models/m."),
        (f"{NEW}FileSystemStoragePathSource encountered a filesystem access error: Could not find base path /models/m for servable m",
         ReasonCode.MODEL_NOT_READABLE, "The server says: FileSystemStoragePathSource encountered a filesystem access error"),
        ("Couldn't interpret value 9x for flag enable_batching.", ReasonCode.BAD_SPEC, "value 9x for flag enable_batching"),
        ("Failed to start server. Error: INVALID_ARGUMENT: server_options.batching_parameters_file is set without setting x",
         ReasonCode.BAD_SPEC, "INVALID_ARGUMENT: server_options.batching_parameters_file is set"),
        (USAGE, ReasonCode.BAD_SPEC, "printed its usage"),
        (f"{NEW}Servable {SERVABLE} cannot be loaded: INTERNAL: x", ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: x"),
        (f"{NEW}Encountered an error for servable version {SERVABLE}: INTERNAL: x", ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: x"),
        (f"{START}{{{{{{name: m version: 1}} due to error: INTERNAL: cut off he", ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: cut off he"),
        (f"{NEW}Loading servable: {SERVABLE} failed: INTERNAL: failed to allocate memory", ReasonCode.SERVER_OUT_OF_MEMORY,
         "INTERNAL: failed to allocate memory."),
        (f"{NEW}Loading servable: {SERVABLE} failed: INTERNAL: std::bad_alloc", ReasonCode.SERVER_OUT_OF_MEMORY, "std::bad_alloc."),
        (f"{NEW}Loading servable: {SERVABLE} failed: INTERNAL: Please verify your warmup data", ReasonCode.WARMUP_FAILED, "verify"),
        (f"{NEW}Loading servable: {SERVABLE} failed: UNIMPLEMENTED: Unsupported log_type for warmup: 6", ReasonCode.WARMUP_FAILED, "6."),
        ("W] OOM when allocating tensor with shape[9]", ReasonCode.SERVER_OUT_OF_MEMORY, "OOM when allocating tensor with shape[9]"),
        ("mmap: Cannot allocate memory", ReasonCode.SERVER_OUT_OF_MEMORY, "Cannot allocate memory"),
        ("bind: Address already in use", ReasonCode.PORT_NOT_AVAILABLE, "Address already in use"),
        ("Could not find base path /models/m for servable m", ReasonCode.MODEL_NOT_READABLE, "Could not find base path /models/m"),
    ],
)  # fmt: skip
def test_the_cause_is_named(log: str, reason: ReasonCode, text: str) -> None:
    found = explain(f"some line before\n{log}")
    assert found is not None
    assert found[0] is reason
    assert text in found[1]
    assert "due to error" not in found[1]


@pytest.mark.parametrize(
    "log",
    [
        "",
        "I0000 00:00:1764000000.1 4242 server.cc:430] Running gRPC ModelServer at 0.0.0.0:8500 ...",
        f"{NEW}Retrying of Loading servable: {SERVABLE} exhausted max_num_retries: 0",  # also printed after success
        f"unknown argument: --no_such_flag\n{USAGE}\nI] Successfully loaded servable version {SERVABLE}",
        "Segmentation fault (core dumped)",
    ],
)
def test_what_is_no_cause_explains_nothing(log: str) -> None:
    assert explain(log) is None


def test_the_last_failure_counts() -> None:
    log = "\n".join(f"Loading servable: {SERVABLE} failed: INTERNAL: try {number}" for number in range(3))
    assert explain(log) == (ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: try 2")


def test_the_host_that_lacks_an_operation_is_named_where_the_log_ends_with_it() -> None:
    told = "Op type not registered 'A' in binary running on host-1.example."
    assert explain(f"Loading servable: {SERVABLE} failed: NOT_FOUND: {told}") == (ReasonCode.OP_NOT_REGISTERED, told)


def test_only_a_failed_load_makes_of_an_unreadable_record_a_cause() -> None:
    record = "Failed to parse warmup record: x from /m/1/assets.extra/tf_serving_warmup_requests"
    failure = f"Loading servable: {SERVABLE} failed: INTERNAL: x"
    assert explain(f"{record}\n{failure}") == (ReasonCode.MODEL_LOAD_FAILED, "INTERNAL: x")
    assert explain(f"{failure}\n{record}") == (
        ReasonCode.WARMUP_FAILED,
        "A record of /m/1/assets.extra/tf_serving_warmup_requests cannot be read as a PredictionLog.",
    )


def test_endless_texts_are_cut() -> None:
    found = explain(f"Loading servable: {SERVABLE} failed: INTERNAL: {'x' * 10000}")
    assert found is not None
    assert found[1] == f"INTERNAL: {'x' * 590} ..."
    whole = f"INTERNAL: {'x' * 590}"
    assert explain(f"Loading servable: {SERVABLE} failed: {whole}") == (ReasonCode.MODEL_LOAD_FAILED, whole)


@pytest.mark.parametrize("kind", ["bool", "string", "int32", "int64", "float"])
def test_a_usage_may_end_with_a_flag_of_any_kind(kind: str) -> None:
    found = explain(f"usage: tensorflow_model_server\n\t--last_one=x   \t{kind}\twhat it does")
    assert found is not None
    assert found[0] is ReasonCode.BAD_SPEC


def test_refused_arguments_are_told_without_the_words_around_them() -> None:
    assert explain("x\nFailed to start server. Error: INVALID_ARGUMENT: no such file") == (
        ReasonCode.BAD_SPEC,
        "The server refuses its arguments: INVALID_ARGUMENT: no such file",
    )


@pytest.mark.parametrize(
    ("log", "records"),
    [
        ("", None),
        ("Starting to read warmup data for model at /m/1/assets.extra/tf_serving_warmup_requests", None),
        ("I] No warmup data file found at /m/1/assets.extra/tf_serving_warmup_requests", 0),
        (
            "x\nI] Finished reading warmup data for model at /m. Number of warmup records read: 17. Elapsed time (micro",
            17,
        ),
        ("Number of warmup records read: 1.\nNo warmup data file found at /m\nNumber of warmup records read: 2.", 2),
    ],
)
def test_how_many_warmup_records_were_replayed(log: str, records: int | None) -> None:
    assert warmup_records(log) == records
