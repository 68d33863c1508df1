"""What it costs that nothing of the requests is shown: validations with and without it, pair by pair, and the cleaning alone.

python -m benchmarks.redaction [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable

from benchmarks.table import print_table
from component_tests.fakes.saved_models import made_once
from infra_validator.api import run_validation
from infra_validator.core.deadline import Deadline
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.questions.tensor_values import tensor_of_values
from infra_validator.validation.redaction.redaction import Redaction

_REQUESTS = 1000
_SPEC = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


def pairs(model: pathlib.Path, body: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of validations of 1,000 different requests: cleaned, and with show_requests."""
    took: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "requests.json")
        file.write_text("\n".join([json.dumps(body()) for _ in range(_REQUESTS)]))
        for n in range(2 * rounds):
            show = (n + n // 2) % 2 == 0  # none of the two is always the first of its pair
            began = time.perf_counter()
            report = run_validation(
                model, _SPEC, {"show_requests": show}, requests=str(file), on_progress=lambda line: None
            )
            took[show].append(time.perf_counter() - began)
            assert report.blessed, report.finding
    return took[False], took[True]


def text() -> str:
    return " ".join(os.urandom(4).hex() for _ in range(111))


def alone(values: list[object], dtype: tf.DataType.ValueType, log: str) -> tuple[float, float]:
    """Milliseconds of noting 1,000 different requests, and of cleaning a log of them."""
    asked = []
    for n in range(_REQUESTS):
        message = serving_pb2.PredictRequest()
        message.inputs["x"].CopyFrom(tensor_of_values(dtype, [len(values)], random.sample(values, len(values))))
        message.model_spec.version.value = n
        asked.append(
            SampleRequest("/tensorflow.serving.PredictionService/Predict", "s", message.SerializeToString(), "")
        )
    redaction = Redaction()
    source = redaction.noting(RequestSource(lambda: asked))
    began = time.perf_counter()
    for _ in source():
        pass
    noted = time.perf_counter()
    redaction.cleaned([log], Deadline.after(60))
    return (noted - began) * 1e3, (time.perf_counter() - noted) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="pairs of validations")
    rounds = parser.parse_args().rounds
    models = made_once()
    rows: list[tuple[str, list[float], str]] = []
    for name, model, body in (
        ("one float", "half_plus_two_tf2", lambda: {"instances": [random.random()]}),
        ("1024 floats", "matmul", lambda: {"instances": [[random.random() for _ in range(1024)]]}),
        ("1 KB of text", "identity", lambda: {"signature_name": "string", "instances": [text()]}),
    ):
        cleaned, shown = pairs(models.path(model), body, rounds)
        more = statistics.median(c - s for c, s in zip(cleaned, shown, strict=True)) * 1e3
        rows.append((f"{name}, cleaned", cleaned, f"median of the pairs' differences: {more:+.0f} ms"))
        rows.append((f"{name}, show_requests", shown, ""))
    print_table("A validation of 1,000 requests", rows)
    log = "\n".join(
        f"2026-11-28 23:17:58.{n:06d}: W tensorflow/core/framework/local_rendezvous.cc:404] Local rendezvous is aborting with "
        f"status: INVALID_ARGUMENT: StringToNumberOp could not correctly convert string: {os.urandom(6).hex()}"
        for n in range(100)
    )
    words: list[object] = [os.urandom(4).hex() for _ in range(100)]
    rows = []
    for name, values, dtype in (
        ("one float", [0.123456789], tf.DT_FLOAT),
        ("1024 floats", [random.random() for _ in range(1024)], tf.DT_FLOAT),
        ("100 words", words, tf.DT_STRING),
        ("a text of 100 words", [" ".join(map(str, words))], tf.DT_STRING),
        ("an image of 50 KB", [os.urandom(50_000)], tf.DT_STRING),
    ):
        noted, took = zip(*(alone(list(values), dtype, log) for _ in range(3)), strict=True)
        rows.append((f"{name}: to note it as it is sent", list(noted), ""))
        rows.append((f"{name}: to clean a log of it", list(took), ""))
    print_table(f"1,000 different requests, a log of {len(log) // 1000} KB", rows, "ms")


if __name__ == "__main__":
    main()
