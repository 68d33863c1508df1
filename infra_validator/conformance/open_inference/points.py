"""The points of the Open Inference Protocol over gRPC and REST, in the order in which a caller meets them.

Over REST raw contents are binary data, typed contents JSON. Source: kserve/open-inference-protocol, inference_grpc.md, inference_rest.md.
"""

from __future__ import annotations

import uuid

import grpc

from infra_validator.conformance.open_inference.subject import Subject
from infra_validator.conformance.points import Departure, NotJudged, Points, told
from infra_validator.core.answer import Answer, UnreadableAnswer
from infra_validator.model_server_clients.open_inference.datatypes import BY_NAME
from infra_validator.protos import open_inference_pb2 as pb

POINTS: Points[Subject] = Points()

_TOGETHER = 8  # requests at once
_QUICK_SECONDS = 10.0


def _nobody() -> str:
    return f"nobody-{uuid.uuid4().hex[:10]}"


# ---------------------------------------------------------------- is the model there


@POINTS.must("model-ready", "whoever waits for the model waits for good.")
def _model_ready(subject: Subject) -> None:
    """ModelReady of the model is answered with ready."""
    if not subject.is_ready(subject.name, subject.version):
        raise Departure("ModelReady was answered without ready")


@POINTS.must("unknown-model", "a misspelt name is taken for a model that serves.")
def _unknown_model(subject: Subject) -> None:
    """ModelReady of a model that nobody has is not answered with ready."""
    try:
        if subject.is_ready(_nobody(), seconds=_QUICK_SECONDS):
            raise Departure("a model that nobody has is ready")
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise Departure(f"it was answered {told(error)}") from error


@POINTS.should("unknown-model-code", "callers cannot tell a wrong name from a server that fails.")
def _unknown_model_code(subject: Subject) -> None:
    """The error for a model that nobody has is NOT_FOUND."""
    request = subject.request()
    request.model_name = _nobody()
    code = subject.refuses(request)
    if code is not grpc.StatusCode.NOT_FOUND:
        raise Departure(f"ModelInfer was answered {code.name if code else 'OK'}")


@POINTS.must("unknown-version", "a roll-out that waits for its version goes on with another one.")
def _unknown_version(subject: Subject) -> None:
    """ModelReady of a version that the model has not got is not answered with ready."""
    try:
        if subject.is_ready(subject.name, "987654321", _QUICK_SECONDS):
            raise Departure("the version 987654321 is ready")
    except grpc.RpcError:
        return


@POINTS.should("server-ready", "load balancers that ask for the server take it out.")
def _server_ready(subject: Subject) -> None:
    """ServerLive and ServerReady are answered with yes while the model is ready."""
    for method in ("ServerLive", "ServerReady"):
        try:
            answer = subject.call(method, b"")
        except grpc.RpcError as error:
            raise Departure(f"{method} was answered {told(error)}") from error
        if not pb.ModelReadyResponse.FromString(answer).ready:  # the same message: one boolean, field 1
            raise Departure(f"{method} was answered with no")


# ---------------------------------------------------------------- metadata


@POINTS.must("metadata-name", "callers are told of another model than they asked for.")
def _metadata_name(subject: Subject) -> None:
    """ModelMetadata names the model that was asked for."""
    name = subject.metadata().name
    if name != subject.name:
        raise Departure(f"the metadata are of {name!r}")


@POINTS.should("metadata-tensors", "callers must be told by people what the model takes.")
def _metadata_tensors(subject: Subject) -> None:
    """ModelMetadata tells inputs and outputs, each with a datatype of the protocol."""
    metadata = subject.metadata()
    for kind, tensors in (("inputs", metadata.inputs), ("outputs", metadata.outputs)):
        if not tensors:
            raise Departure(f"the metadata tell no {kind}")
        for tensor in tensors:
            if tensor.datatype not in BY_NAME:
                raise Departure(f"{tensor.name!r} of the {kind} has the datatype {tensor.datatype!r}")


# ---------------------------------------------------------------- inference


@POINTS.must("infer-raw", "callers that send raw content, as most libraries do, are not served.")
def _infer_raw(subject: Subject) -> None:
    """A request with raw contents is answered with tensors that are what their shapes and datatypes say."""
    response, _ = subject.infer(subject.request(typed=False))
    if not response.outputs:
        raise Departure("the answer has no outputs")


@POINTS.must("infer-typed", "callers that send typed content are not served, or otherwise.")
def _infer_typed(subject: Subject) -> None:
    """A request with typed contents is answered as the same with raw contents, but for the values."""
    typed = _described(subject.infer(subject.request(typed=True))[1])
    if not subject.has_raw():
        return
    raw = _described(subject.infer(subject.request(typed=False))[1])
    if typed != raw:
        raise Departure(f"typed was answered with {typed}, raw with {raw}")


@POINTS.must("request-id", "callers that ask side by side cannot tell the answers apart.")
def _request_id(subject: Subject) -> None:
    """The answer has the request's id."""
    request = subject.request()
    request.id = "conformance-42"
    response, _ = subject.infer(request)
    if response.id != request.id:
        raise Departure(f"the answer has the id {response.id!r}")


@POINTS.should("answer-model", "callers cannot see who answered them.")
def _answer_model(subject: Subject) -> None:
    """The answer names the model."""
    response, _ = subject.infer(subject.request())
    if response.model_name != subject.name:
        raise Departure(f"the answer names {response.model_name!r}")


@POINTS.should("requested-output", "callers pay for outputs that they did not ask for.")
def _requested_output(subject: Subject) -> None:
    """A request that asks for one output is answered with that one."""
    response, _ = subject.infer(subject.request())
    names = [output.name for output in response.outputs]
    if len(names) < 2:
        raise NotJudged("the model has one output only")
    request = subject.request()
    request.outputs.add(name=names[-1])
    asked, _ = subject.infer(request)
    if [output.name for output in asked.outputs] != names[-1:]:
        raise Departure(f"it was answered with {[output.name for output in asked.outputs]}")


@POINTS.must("side-by-side", "callers get errors, or each other's answers, under load.")
def _side_by_side(subject: Subject) -> None:
    """Several requests at once are answered, each with its own id."""
    calls = []
    for number in range(_TOGETHER):
        request = subject.request()
        request.id = str(number)
        calls.append(subject.start("ModelInfer", request.SerializeToString()))
    ids = []
    for call in calls:
        try:
            ids.append(subject.read(call.result()).id)
        except grpc.RpcError as error:
            raise Departure(f"of {_TOGETHER} at once, one was answered {told(error)}") from error
        except UnreadableAnswer as error:
            raise Departure(f"of {_TOGETHER} at once, one was answered with {error}") from error
    if len(set(ids)) == 1:
        raise NotJudged("the server does not return ids")
    if ids != [str(number) for number in range(_TOGETHER)]:
        raise Departure(f"the answers have the ids {ids}")


# ---------------------------------------------------------------- requests that are wrong


@POINTS.must("wrong-length", "a mistake of the caller's is answered with numbers.")
def _wrong_length(subject: Subject) -> None:
    """Content of another length than its shape and datatype say is refused, and the server serves on."""
    request = subject.request()
    if subject.rest:
        for _, values in request.inputs[0].contents.ListFields():
            values.append(values[0])
    else:
        request.raw_input_contents[0] = request.raw_input_contents[0] + b"\0\0\0"
    if subject.refuses(request) is None:
        raise Departure("it was answered")
    _serves_on(subject)


@POINTS.must("missing-content", "a mistake of the caller's is answered with numbers.")
def _missing_content(subject: Subject) -> None:
    """An input without content is refused, and the server serves on."""
    request = subject.request()
    request.inputs.add(name="one-more", datatype="FP32", shape=[1])
    if subject.refuses(request) is None:
        raise Departure("it was answered")
    _serves_on(subject)


@POINTS.must("unknown-datatype", "a mistake of the caller's is answered with numbers.")
def _unknown_datatype(subject: Subject) -> None:
    """A datatype that the protocol has not got is refused, and the server serves on."""
    request = subject.request()
    request.inputs[0].datatype = "FP12"
    if subject.refuses(request) is None:
        raise Departure("it was answered")
    _serves_on(subject)


@POINTS.should("both-contents", "servers disagree which of the two counts.")
def _both_contents(subject: Subject) -> None:
    """Raw and typed contents in one request are refused."""
    request = subject.request(typed=True)
    request.raw_input_contents.extend(subject.request(typed=False).raw_input_contents)
    if subject.refuses(request) is None:
        raise Departure("it was answered")


@POINTS.should("unknown-input", "a misspelt input is not noticed.")
def _unknown_input(subject: Subject) -> None:
    """An input that the model has not got is refused."""
    request = subject.request()
    request.inputs[0].name = _nobody()
    if subject.refuses(request) is None:
        raise Departure("it was answered")


def _described(answer: Answer) -> dict[str, tuple[str, list[int]]]:
    return {name: (tensor.element.name, list(tensor.shape)) for name, tensor in answer.outputs.items()}


def _serves_on(subject: Subject) -> None:
    if not subject.is_ready(subject.name, subject.version):
        raise Departure("the model was not ready any more after it")
    subject.infer(subject.request())
