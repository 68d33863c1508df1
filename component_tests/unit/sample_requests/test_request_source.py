"""Which source is chosen, which signatures it asks, and which fields of a request spec have no effect on it."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from component_tests.unit.sample_requests.examples_on_disk import example, signature, tfrecord
from infra_validator.core.errors import AttemptFailed, SpecError, UsageError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin, RequestSource, SampleRequest
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.sample_requests.from_message import request_from_message
from infra_validator.sample_requests.questions import methods
from infra_validator.sample_requests.questions.tensor_values import tensor_of_values
from infra_validator.sample_requests.request_source import GivenRequests, chosen_source
from infra_validator.saved_model.graph import SavedModelGraph
from infra_validator.specs import RequestSpec

SIGNATURES = {
    "serving_default": signature("predict", x=(tf.DT_FLOAT, [-1])),
    "other": signature("predict", x=(tf.DT_FLOAT, [-1])),
    "vector": signature("predict", v=(tf.DT_FLOAT, [])),
    "__saved_model_init_op": signature(""),
}
GRAPH = SavedModelGraph("/m", frozenset({"serve"}), SIGNATURES, False, ())


def source(requests: GivenRequests | None = None, **fields: Any) -> RequestSource | None:
    return chosen_source(requests, None, RequestSpec.of(fields), lambda: GRAPH, "m")


def asked(names: list[str]) -> dict[str, Any]:
    return {"tensorflow_serving": {"signature_names": names}}


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "f.json"
    path.write_text("1\n2\n")
    return path


def test_a_file_asks_every_signature_that_is_named(file: pathlib.Path) -> None:
    chosen = source(file, **asked(["serving_default", "other"]))
    assert chosen is not None
    assert (chosen.origin, chosen.signatures) == (RequestOrigin.FILE, ("serving_default", "other"))
    for _ in range(2):  # anew for each attempt
        assert [request.signature for request in chosen()] == ["serving_default", "other"] * 2


def test_nothing_at_hand_is_load_only() -> None:
    assert source() is None


def test_generate_alone_makes_requests_up() -> None:
    chosen = source(generate={}, num_examples=3, **asked(["other"]))
    assert chosen is not None
    assert (chosen.origin, chosen.signatures) == (RequestOrigin.GENERATED, ("other",))
    assert [request.label for request in chosen()] == [f"made-up request {n}" for n in (1, 2, 3)]


def test_all_signatures_are_those_that_are_served() -> None:
    chosen = source(generate={}, **asked(["*"]))
    assert chosen is not None
    assert chosen.signatures == ("other", "serving_default", "vector")
    assert [request.signature for request in chosen()] == ["other", "serving_default", "vector"]


@pytest.mark.parametrize("made_of", ["file", "generate", "nothing"])
def test_an_unknown_signature_is_the_models_in_every_mode(made_of: str, file: pathlib.Path) -> None:
    load_only = RequestSource(tuple, RequestOrigin.NONE)
    requests = {"file": file, "generate": None, "nothing": load_only}[made_of]
    generate: dict[str, Any] = {"generate": {}} if made_of == "generate" else {}
    with pytest.raises(
        AttemptFailed, match="no signature 'predict_b'; it has: 'other', 'serving_default', 'vector'"
    ) as caught:
        source(requests, **generate, **asked(["predict_b"]))
    assert caught.value.reason is ReasonCode.SIGNATURE_NOT_FOUND


def test_a_named_signature_that_no_request_asks_is_told(file: pathlib.Path) -> None:
    file.write_text('{"signature_name": "other", "instances": [1]}')
    chosen = source(file, **asked(["serving_default", "other"]))
    assert chosen is not None
    with pytest.raises(UsageError, match="asks the signature 'serving_default', which request_spec names") as caught:
        list(chosen())
    assert caught.value.reason is ReasonCode.BAD_REQUESTS


def test_a_named_signature_that_the_callers_requests_do_not_ask_is_told() -> None:
    def make() -> list[SampleRequest]:
        return [SampleRequest(methods.PREDICT, "other", b"", "mine")]

    def of_the_caller(names: list[str]) -> RequestSource:
        with pytest.raises(SpecError, match="num_examples: has no effect on requests of your own"):
            source(make, num_examples=2)
        chosen = source(make, **asked(names))
        assert chosen is not None
        return chosen

    assert len(list(of_the_caller(["other"])())) == 1
    with pytest.raises(AttemptFailed, match="no signature 'gone'"):
        source(make, **asked(["gone"]))
    with pytest.raises(UsageError, match="'vector'"):
        list(of_the_caller(["vector"])())


def test_requests_of_the_caller_are_told_what_their_messages_say() -> None:
    message = serving_pb2.PredictRequest(output_filter=["y"])
    message.inputs["x"].CopyFrom(tensor_of_values(tf.DT_FLOAT, [2], [1.0, 2.0]))
    wide = serving_pb2.PredictRequest()
    wide.inputs["x"].CopyFrom(tensor_of_values(tf.DT_FLOAT, [1, 2], [1.0, 2.0]))
    mine = [request_from_message(message, "mine"), request_from_message(wide, "wide")]
    unknown = SampleRequest("/other.Service/Do", "s", b"?", "unknown")
    garbage = SampleRequest(methods.PREDICT, "serving_default", b"\xff", "garbage")
    chosen = source(lambda: [*mine, unknown, garbage], protocols=["grpc", "rest"])
    assert chosen is not None
    made, wide_one, *others = chosen()
    assert (made.payload, made.rows, made.output_filter) == (message.SerializeToString(), 2, ("y",))
    assert made.rest_body == b'{"signature_name":"serving_default","instances":[{"x":1.0},{"x":2.0}]}'
    assert "was given with the shape [1, 2]" in wide_one.contradicts
    assert others == [unknown, garbage]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_examples": 2}, "num_examples: has no effect on a file of requests"),
        ({"split_name": "eval"}, "split_name: has no effect"),
        ({"generate": {}}, "generate: has no effect"),
        ({"features": {"x": "y"}}, "features: has no effect"),
        ({"padding": {"y": 0}}, r"padding\.y: no signature that is asked has an input 'y'; there are: v, x"),
        ({"batch_sizes": [2], **asked(["vector"])}, "batch_sizes: has no effect"),
    ],
)
def test_fields_without_effect_on_a_file_are_told(file: pathlib.Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        source(file, **fields)


def test_features_have_an_effect_on_a_file_of_examples_only_if_they_name_an_input(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(tfrecord([example(1.0)]))
    chosen = source(path, features={"x": "x"})
    assert chosen is not None
    assert len(list(chosen())) == 1
    with pytest.raises(SpecError, match=r"features\.xx: .* there are: v, x\. Did you mean 'x'\?"):
        source(path, features={"xx": "x"})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"split_name": "eval"}, "split_name: has no effect on generated requests"),
        ({"images": {"x": "decode"}}, "images: has no effect on generated requests"),
        ({"generate": {"ranges": {"y": [0, 1]}}}, r"generate\.ranges\.y: no signature"),
        ({"generate": {"texts": {"y": ["a"]}}}, r"generate\.texts\.y: no signature"),
    ],
)
def test_fields_without_effect_on_generated_requests_are_told(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        source(**{"generate": {}, **fields})
