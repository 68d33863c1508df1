"""The points of model-mesh's ModelRuntime contract up to a loaded model: status, loads, sizes, ids, keys, errors."""

from __future__ import annotations

import json

import grpc

from infra_validator.conformance.points import Departure, NotJudged, Points, told
from infra_validator.model_runtime.conformance.loads_under_way import catch_loading, ends_within
from infra_validator.model_runtime.conformance.run import Subject
from infra_validator.model_server_clients.model_runtime import contract
from infra_validator.protos import model_runtime_pb2 as pb2

POINTS: Points[Subject] = Points()

_NOT_FOUND = grpc.StatusCode.NOT_FOUND
_OK = grpc.StatusCode.OK
_ANSWERED_TOGETHER_SECONDS = 0.3  # two answers at the same moment may reach us so far apart on a busy machine
_PREDICTIONS = 3  # at most; one that is answered in time does
_NOT_TRIED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


# ---------------------------------------------------------------- runtimeStatus


@POINTS.must("status-ready", "model-mesh polls for 180 s and then ends; FAILING and UNIMPLEMENTED end it at once.")
def _status_ready(subject: Subject) -> None:
    """runtimeStatus is answered STARTING or READY, never with an error, and becomes READY."""
    subject.ask_status()


@POINTS.must("status-parameters", "model-mesh refuses the runtime and its pod never becomes ready.")
def _status_parameters(subject: Subject) -> None:
    """The parameters of the READY answer are ones that model-mesh accepts."""
    problem = contract.parameters_problem(subject.status)
    if problem:
        raise Departure(problem)


@POINTS.must("method-infos", "With an empty map every method is forwarded, those that manage the server included.")
def _method_infos(subject: Subject) -> None:
    """methodInfos lists the inference methods, and no method that manages the server."""
    if not subject.status.methodInfos or subject.status.allowAnyMethod:
        raise Departure("methodInfos is empty" if not subject.status.methodInfos else "allowAnyMethod is set")
    for method, info in subject.status.methodInfos.items():
        if method.startswith("/") or method.count("/") != 1:
            raise Departure(f"the key {method!r} is not package.Service/Method")
        if method.startswith(("mmesh.ModelRuntime/", "tensorflow.serving.ModelService/")):
            raise Departure(f"{method} is for management and must not be forwarded")
        if any(not 1 <= number < 2**29 for number in info.idInjectionPath):
            raise Departure(f"the idInjectionPath of {method} holds a number that is no field's")


# ---------------------------------------------------------------- loading and sizes


@POINTS.must("load", "model-mesh records a failure, tries another instance, and gives up after three.")
def _load(subject: Subject) -> None:
    """A good model loads within the runtime's own limit."""
    for model in subject.models:
        subject.load(subject.new_id(model.name), model)


@POINTS.must(
    "load-serves", "Requests are forwarded from the moment of OK; NOT_FOUND makes model-mesh load the model again."
)
def _load_serves(subject: Subject) -> None:
    """OK from loadModel means that the model can be asked now."""
    model_id = subject.new_id()
    subject.load(model_id)
    if subject.infer(model_id) is _NOT_FOUND:
        raise Departure(f"right after OK, {subject.method} answered NOT_FOUND")


@POINTS.must("size", "A size of 0 is booked as 8 KiB: the instance is filled until it runs out of memory.")
def _size(subject: Subject) -> None:
    """A load that tells no size is not followed by a modelSize of 0."""
    if _size_or_error(subject) == 0:
        raise Departure("loadModel and modelSize both told 0")


@POINTS.should("size-told", "model-mesh logs an error and keeps the predicted size, or the default one.")
def _size_told(subject: Subject) -> None:
    """loadModel tells a size, or modelSize does."""
    answer = _size_or_error(subject)
    if isinstance(answer, grpc.RpcError):
        raise Departure(f"loadModel told no size and modelSize answered {told(answer)}") from answer


def _size_or_error(subject: Subject) -> int | grpc.RpcError:
    """The size of a model that was just loaded, as model-mesh asks for it."""
    model_id = subject.new_id()
    try:
        return subject.load(model_id).sizeInBytes or subject.size(model_id)
    except grpc.RpcError as error:
        return error


@POINTS.must("size-unknown", "model-mesh would book memory for a model that is not there.")
def _size_unknown(subject: Subject) -> None:
    """modelSize of a model that is not loaded is an error."""
    try:
        size = subject.size(subject.new_id())
    except grpc.RpcError as error:
        if error.code() in (_NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
            return
        raise Departure(f"modelSize of an unknown id answered {told(error)}") from error
    raise Departure(f"modelSize of an unknown id answered OK and {size} bytes")


@POINTS.should("size-loading", "Only a runtime's own clients would be misled; model-mesh asks after the load.")
def _size_loading(subject: Subject) -> None:
    """modelSize does not answer for a model that is still loading."""
    model_id = subject.new_id()
    loading = catch_loading(subject, model_id)
    try:
        subject.size(model_id)
        if not loading.done():
            raise Departure("modelSize answered OK while loadModel was still under way")
    except grpc.RpcError:
        pass
    loading.exception()


@POINTS.must("predict", "An answer later than 500 ms is thrown away; one above the capacity refuses the load.")
def _predict(subject: Subject) -> None:
    """predictModelSize answers within 500 ms and at most the capacity, or is UNIMPLEMENTED."""
    for model in subject.models:
        predicted = _predicted(subject, model.path)
        if predicted > subject.status.capacityInBytes:
            raise Departure(f"{predicted} bytes for {model.name}, above the capacity")


@POINTS.should("predict-high", "Too low a prediction overfills the instance until model-mesh evicts other models.")
def _predict_high(subject: Subject) -> None:
    """predictModelSize is not below the size after the load."""
    for model in subject.models:
        predicted = _predicted(subject, model.path)
        model_id = subject.new_id(model.name)
        size = subject.load(model_id, model).sizeInBytes or subject.size(model_id)
        if predicted < size:
            raise Departure(f"{model.name}: predicted {predicted} bytes, then {size}")


def _predicted(subject: Subject, path: str) -> int:
    """The prediction; what is late is asked for again, since one late answer may be the busy machine's."""
    request = pb2.PredictModelSizeRequest(
        modelId=subject.new_id(), modelType=subject.model.type, modelPath=path, modelKey=subject.model.key
    )
    for tried in range(1, _PREDICTIONS + 1):
        try:
            return int(subject.stub.predictModelSize(request, timeout=contract.PREDICTION_SECONDS).sizeInBytes)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise NotJudged("predictModelSize is not implemented, which is allowed") from error
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED or tried == _PREDICTIONS:
                raise Departure(f"predictModelSize answered {told(error)}") from error
    raise AssertionError("the last try returns or raises")


@POINTS.must(
    "load-again",
    "After a NOT_FOUND model-mesh loads an id that the runtime may still hold; failing that, the model is lost.",
)
def _load_again(subject: Subject) -> None:
    """Loading a model that is loaded succeeds."""
    model_id = subject.new_id()
    subject.load(model_id)
    subject.load(model_id)
    subject.unload(model_id)
    if subject.is_loaded(model_id):
        raise Departure("after two loads and one unload it is still loaded: the runtime counts references")


@POINTS.must("load-joined", "OK too early means requests for a model that is not there yet, or never will be.")
def _load_joined(subject: Subject) -> None:
    """A second load of an id that is loading is answered when the model is loaded, not before."""
    model_id = subject.new_id()
    first = catch_loading(subject, model_id)
    second = subject.start_load(model_id)
    code = second.code()
    if code is _OK and not ends_within(first, _ANSWERED_TOGETHER_SECONDS):
        raise Departure("the second load was answered OK while the first was still under way")
    if code is _OK and not subject.is_loaded(model_id):
        raise Departure("the second load was answered OK before the model could be asked")
    if code is not _OK and first.code() is _OK:
        raise Departure(f"the first load was answered OK, the second {told(second)}")


@POINTS.must("load-concurrently", "model-mesh keeps that many loads under way at any time.")
def _load_concurrently(subject: Subject) -> None:
    """maxLoadingConcurrency loads and two more at once all succeed."""
    ids = [subject.new_id() for _ in range(min(16, subject.status.maxLoadingConcurrency) + 2)]
    loads = [subject.start_load(model_id) for model_id in ids]
    failed = [told(load) for load in loads if load.code() is not _OK]
    if failed:
        raise Departure(f"{len(failed)} of {len(loads)} loads failed, the first with {failed[0]}")


# ---------------------------------------------------------------- ids, keys and errors


@POINTS.must("key", "modelmesh-serving and its puller write these keys for every model.")
def _key(subject: Subject) -> None:
    """A key with the puller's and with unknown attributes is taken."""
    pullers = {"model_type": {"name": subject.model.type, "version": "1"}, "disk_size_bytes": 1000, "unknown": [1]}
    subject.load(subject.new_id(), modelKey=json.dumps({**pullers, **json.loads(subject.model.key)}))


@POINTS.must("ids", "Ids are any UTF-8 text; modelmesh-serving's own have underscores and hyphens.")
def _ids(subject: Subject) -> None:
    """Long ids, ids with slashes, dots and letters beyond ASCII load and unload."""
    for text in ("a/b", "../up", "\N{GREEK SMALL LETTER ALPHA}\N{SNOWMAN}", "x" * 1000, "my-model__isvc-0123456789"):
        model_id = subject.new_id(text)
        subject.load(model_id)
        subject.unload(model_id)


@POINTS.should("empty-id", "model-mesh never sends one; a clear refusal helps everybody else.")
def _empty_id(subject: Subject) -> None:
    """An empty id is refused with INVALID_ARGUMENT or FAILED_PRECONDITION and a description."""
    _refused(subject, subject.request(""), _NOT_TRIED)


@POINTS.must("missing-path", "An OK would be followed by requests that fail.")
def _missing_path(subject: Subject) -> None:
    """A path that is not there fails the load, with a description."""
    _refused(subject, subject.request(subject.new_id(), modelPath=f"{subject.model.path}-is-not-there"), ())


@POINTS.should(
    "missing-path-code",
    "Only these two codes promise that no memory is used; NOT_FOUND means something else elsewhere.",
)
def _missing_path_code(subject: Subject) -> None:
    """A path that is not there is refused with FAILED_PRECONDITION or INVALID_ARGUMENT."""
    request = subject.request(subject.new_id(), modelPath=f"{subject.model.path}-is-not-there")
    _refused(subject, request, _NOT_TRIED)


@POINTS.must("failure-is-alone", "One bad model must not take others down: model-mesh would load them all elsewhere.")
def _failure_is_alone(subject: Subject) -> None:
    """A load that fails disturbs no other model, and its id can be loaded afterwards."""
    good, bad = subject.new_id(), subject.new_id()
    subject.load(good)
    _refused(subject, subject.request(bad, modelPath=f"{subject.model.path}-is-not-there"), ())
    if not subject.is_loaded(good):
        raise Departure("after another model's failed load a loaded model is gone")
    subject.unload(bad)
    subject.load(bad)


def _refused(subject: Subject, request: pb2.LoadModelRequest, codes: tuple[grpc.StatusCode, ...]) -> None:
    try:
        subject.stub.loadModel(request, timeout=subject.load_seconds)
    except grpc.RpcError as error:
        if not error.details():
            raise Departure(f"{error.code().name} without a description, which is what users are shown") from error
        if codes and error.code() not in codes:
            raise Departure(f"loadModel answered {told(error)}") from error
        return
    raise Departure("loadModel answered OK")
