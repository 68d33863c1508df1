"""The points of model-mesh's ModelRuntime contract, in the order in which model-mesh would meet them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import grpc

from infra_validator.deadline import Deadline, wait_until
from infra_validator.errors import DeadlineExceeded
from infra_validator.model_runtime.conformance import Departure, NotJudged, Point, Subject, told
from infra_validator.model_server_clients import model_runtime_contract as contract
from infra_validator.protos import model_runtime_pb2 as pb2

POINTS: list[Point] = []

_WATCH_SECONDS = 1.5  # how long a cancelled model is watched; model-mesh itself waits up to 3 s before it unloads
_QUICK_SECONDS = 1.0
_TRIES = 5  # to catch a load in the middle

_OK = grpc.StatusCode.OK
_NOT_FOUND = grpc.StatusCode.NOT_FOUND
_NOT_TRIED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)

Test = Callable[[Subject], None]


def _must(name: str, consequence: str) -> Callable[[Test], Test]:
    return _point(name, consequence, must=True)


def _should(name: str, consequence: str) -> Callable[[Test], Test]:
    return _point(name, consequence, must=False)


def _point(name: str, consequence: str, *, must: bool) -> Callable[[Test], Test]:
    def add(test: Test) -> Test:
        title = " ".join((test.__doc__ or "").split())
        POINTS.append(Point(name, title, consequence, must, test))
        return test

    return add


# ---------------------------------------------------------------- runtimeStatus


@_must("status-ready", "model-mesh polls for 180 s and then ends; FAILING and UNIMPLEMENTED end it at once.")
def _status_ready(subject: Subject) -> None:
    """runtimeStatus is answered STARTING or READY, never with an error, and becomes READY."""
    subject.ask_status()


@_must("status-parameters", "model-mesh refuses the runtime and its pod never becomes ready.")
def _status_parameters(subject: Subject) -> None:
    """The parameters of the READY answer are ones that model-mesh accepts."""
    problem = contract.parameters_problem(subject.status)
    if problem:
        raise Departure(problem)


@_must("method-infos", "With an empty map every method is forwarded, those that manage the server included.")
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


@_must("load", "model-mesh records a failure, tries another instance, and gives up after three.")
def _load(subject: Subject) -> None:
    """A good model loads within the runtime's own limit."""
    for model in subject.models:
        subject.load(subject.new_id(model.name), model)


@_must("load-serves", "Requests are forwarded from the moment of OK; NOT_FOUND makes model-mesh load the model again.")
def _load_serves(subject: Subject) -> None:
    """OK from loadModel means that the model can be asked now."""
    model_id = subject.new_id()
    subject.load(model_id)
    if subject.infer(model_id) is _NOT_FOUND:
        raise Departure(f"right after OK, {subject.method} answered NOT_FOUND")


@_must("size", "A size of 0 is booked as 8 KiB: the instance is filled until it runs out of memory.")
def _size(subject: Subject) -> None:
    """loadModel tells a size above 0, or modelSize does."""
    model_id = subject.new_id()
    if subject.load(model_id).sizeInBytes:
        return
    try:
        size = subject.size(model_id)
    except grpc.RpcError as error:
        raise Departure(f"loadModel told no size and modelSize answered {told(error)}") from error
    if not size:
        raise Departure("loadModel and modelSize both told 0")


@_must("size-unknown", "model-mesh would book memory for a model that is not there.")
def _size_unknown(subject: Subject) -> None:
    """modelSize of a model that is not loaded is an error."""
    try:
        size = subject.size(subject.new_id())
    except grpc.RpcError as error:
        if error.code() in (_NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED):
            return
        raise Departure(f"modelSize of an unknown id answered {told(error)}") from error
    raise Departure(f"modelSize of an unknown id answered OK and {size} bytes")


@_should("size-loading", "Only a runtime's own clients would be misled; model-mesh asks after the load.")
def _size_loading(subject: Subject) -> None:
    """modelSize does not answer for a model that is still loading."""
    model_id = subject.new_id()
    loading = _catch_loading(subject, model_id)
    try:
        subject.size(model_id)
        if not loading.done():
            raise Departure("modelSize answered OK while loadModel was still under way")
    except grpc.RpcError:
        pass
    loading.exception()


@_must("predict", "An answer later than 500 ms is thrown away; one above the capacity refuses the load.")
def _predict(subject: Subject) -> None:
    """predictModelSize answers within 500 ms and at most the capacity, or is UNIMPLEMENTED."""
    for model in subject.models:
        predicted = _predicted(subject, model.path)
        if predicted > subject.status.capacityInBytes:
            raise Departure(f"{predicted} bytes for {model.name}, above the capacity")


@_should("predict-high", "Too low a prediction overfills the instance until model-mesh evicts other models.")
def _predict_high(subject: Subject) -> None:
    """predictModelSize is not below the size after the load."""
    for model in subject.models:
        predicted = _predicted(subject, model.path)
        model_id = subject.new_id(model.name)
        size = subject.load(model_id, model).sizeInBytes or subject.size(model_id)
        if predicted < size:
            raise Departure(f"{model.name}: predicted {predicted} bytes, then {size}")


def _predicted(subject: Subject, path: str) -> int:
    request = pb2.PredictModelSizeRequest(
        modelId=subject.new_id(), modelType=subject.model.type, modelPath=path, modelKey=subject.model.key
    )
    try:
        return int(subject.stub.predictModelSize(request, timeout=contract.PREDICTION_SECONDS).sizeInBytes)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise NotJudged("predictModelSize is not implemented, which is allowed") from error
        raise Departure(f"predictModelSize answered {told(error)}") from error


@_must(
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


@_must("load-joined", "OK too early means requests for a model that is not there yet, or never will be.")
def _load_joined(subject: Subject) -> None:
    """A second load of an id that is loading is answered when the model is loaded, not before."""
    model_id = subject.new_id()
    first = _catch_loading(subject, model_id)
    second = subject.start_load(model_id)
    code = second.code()
    early = not first.done()
    time.sleep(0.05)
    if code is _OK and early and not first.done():
        raise Departure("the second load was answered OK while the first was still under way")
    if code is not _OK and first.code() is _OK:
        raise Departure(f"the first load was answered OK, the second {told(second)}")


@_must("load-concurrently", "model-mesh keeps that many loads under way at any time.")
def _load_concurrently(subject: Subject) -> None:
    """maxLoadingConcurrency loads and two more at once all succeed."""
    ids = [subject.new_id() for _ in range(min(16, subject.status.maxLoadingConcurrency) + 2)]
    loads = [subject.start_load(model_id) for model_id in ids]
    failed = [told(load) for load in loads if load.code() is not _OK]
    if failed:
        raise Departure(f"{len(failed)} of {len(loads)} loads failed, the first with {failed[0]}")


# ---------------------------------------------------------------- ids, keys and errors


@_must("key", "modelmesh-serving and its puller write these keys for every model.")
def _key(subject: Subject) -> None:
    """A key with the puller's and with unknown attributes is taken."""
    key = {"model_type": {"name": subject.model.type, "version": "1"}, "disk_size_bytes": 1000, "unknown": [1]}
    subject.load(subject.new_id(), modelKey=subject.model.key or json.dumps(key))


@_must("ids", "Ids are any UTF-8 text; modelmesh-serving's own have underscores and hyphens.")
def _ids(subject: Subject) -> None:
    """Long ids, ids with slashes, dots and letters beyond ASCII load and unload."""
    for text in ("a/b", "../up", "\N{GREEK SMALL LETTER ALPHA}\N{SNOWMAN}", "x" * 1000, "my-model__isvc-0123456789"):
        model_id = subject.new_id(text)
        subject.load(model_id)
        subject.unload(model_id)


@_should("empty-id", "model-mesh never sends one; a clear refusal helps everybody else.")
def _empty_id(subject: Subject) -> None:
    """An empty id is refused with INVALID_ARGUMENT or FAILED_PRECONDITION and a description."""
    _refused(subject, subject.request(""), _NOT_TRIED)


@_must("missing-path", "An OK would be followed by requests that fail.")
def _missing_path(subject: Subject) -> None:
    """A path that is not there fails the load, with a description."""
    _refused(subject, subject.request(subject.new_id(), modelPath=f"{subject.model.path}-is-not-there"), ())


@_should(
    "missing-path-code",
    "Only these two codes promise that no memory is used; NOT_FOUND means something else elsewhere.",
)
def _missing_path_code(subject: Subject) -> None:
    """A path that is not there is refused with FAILED_PRECONDITION or INVALID_ARGUMENT."""
    request = subject.request(subject.new_id(), modelPath=f"{subject.model.path}-is-not-there")
    _refused(subject, request, _NOT_TRIED)


@_must("failure-is-alone", "One bad model must not take others down: model-mesh would load them all elsewhere.")
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


# ---------------------------------------------------------------- unloading and cancelling


@_must("unload", "The memory would be used twice: model-mesh gives it to the next model.")
def _unload(subject: Subject) -> None:
    """After unloadModel the model is not loaded."""
    model_id = subject.new_id()
    subject.load(model_id)
    subject.unload(model_id)
    if subject.is_loaded(model_id):
        raise Departure("unloadModel answered OK and the model is still there")


@_must("unload-unknown", "model-mesh repeats the unload 90 times and then writes the memory off for good.")
def _unload_unknown(subject: Subject) -> None:
    """unloadModel of an id that is not loaded is OK or NOT_FOUND, at once."""
    seconds = subject.unload(subject.new_id())
    if seconds > _QUICK_SECONDS:
        raise Departure(f"it took {seconds:.1f} s")


@_must("cancel-then-unload", "The model stays in memory that model-mesh believes to be free.")
def _cancel_then_unload(subject: Subject) -> None:
    """After a cancelled load and an unload the model is not loaded and does not become so."""
    for pause in (0.0, 0.02, 0.2):
        model_id = subject.new_id()
        loading = subject.start_load(model_id)
        time.sleep(pause)
        loading.cancel()
        subject.unload(model_id)
        if not subject.stays_unloaded(model_id, _WATCH_SECONDS if pause == 0.2 else 0.3):
            raise Departure(f"cancelled after {pause:g} s and unloaded, it is loaded all the same")


@_must("unload-then-cancel", "The cancel and the unload may arrive in any order.")
def _unload_then_cancel(subject: Subject) -> None:
    """An unload in the middle of a load, and then its cancel, leave nothing either."""
    model_id = subject.new_id()
    loading = subject.start_load(model_id)
    time.sleep(0.02)
    unloading = subject.stub.unloadModel.future(pb2.UnloadModelRequest(modelId=model_id), timeout=subject.load_seconds)
    loading.cancel()
    if unloading.code() not in (_OK, _NOT_FOUND):
        raise Departure(f"unloadModel answered {told(unloading)}")
    if not subject.stays_unloaded(model_id, _WATCH_SECONDS):
        raise Departure("it is loaded after the unload was answered")


@_should("unload-in-load", "The load's caller sends requests for a model that is gone.")
def _unload_in_load(subject: Subject) -> None:
    """A load that was unloaded under way is not answered OK."""
    model_id = subject.new_id()
    loading = _catch_loading(subject, model_id)
    subject.unload(model_id)
    if loading.code() is _OK and not subject.is_loaded(model_id):
        raise Departure("loadModel was answered OK although the model was unloaded meanwhile")


@_must("disconnect", "A model-mesh container that dies leaves loads behind; the next one must find room.")
def _disconnect(subject: Subject) -> None:
    """A client that disappears in the middle of a load leaves a runtime that works."""
    model_id = subject.new_id()
    with subject.another_connection() as channel:
        loading = subject.start_load(model_id, channel)
        time.sleep(0.02)
    del loading
    subject.unload(model_id)
    if not subject.stays_unloaded(model_id, 0.5):
        raise Departure("it is loaded after the unload")
    subject.load(subject.new_id())


# ---------------------------------------------------------------- inference


@_must("inference-unknown", "Only NOT_FOUND makes model-mesh load a model that it wrongly believes to be here.")
def _inference_unknown(subject: Subject) -> None:
    """Inference for a model that is not loaded is NOT_FOUND."""
    code = subject.infer(subject.new_id())
    if code is not _NOT_FOUND:
        raise Departure(f"{subject.method} answered {code.name}")


@_must(
    "inference-id-bin", "Ids beyond printable ASCII come in mm-model-id-bin only; such models load and cannot be used."
)
def _inference_id_bin(subject: Subject) -> None:
    """A model can be asked by the header mm-model-id-bin alone."""
    model_id = subject.new_id("\N{GREEK SMALL LETTER ALPHA}")
    subject.load(model_id)
    code = subject.infer(model_id)
    if code in (_NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED):
        raise Departure(f"{subject.method} answered {code.name} for a loaded model whose id is not ASCII")
    if subject.infer(subject.new_id("\N{GREEK SMALL LETTER ALPHA}")) is not _NOT_FOUND:
        raise Departure(f"{subject.method} answers {code.name} whatever mm-model-id-bin says")


# ---------------------------------------------------------------- the purge, last: it unloads everything


@_must("purge-loaded", "A restarted model-mesh knows of no model: what stays loaded takes its memory for ever.")
def _purge_loaded(subject: Subject) -> None:
    """Every READY answer is given when no model is loaded any more."""
    for number in ("first", "second"):
        model_id = subject.new_id()
        subject.load(model_id)
        subject.ask_status()
        if subject.is_loaded(model_id):
            raise Departure(f"after the {number} further runtimeStatus a model is still loaded")


@_must("purge-loading", "The model becomes loaded after the READY, in memory that model-mesh gives away.")
def _purge_loading(subject: Subject) -> None:
    """A READY answer also drops what is loading."""
    model_id = subject.new_id()
    loading = _catch_loading(subject, model_id)
    subject.ask_status()
    loading.exception()
    if not subject.stays_unloaded(model_id, 0.5):
        raise Departure("a model that was loading when runtimeStatus was asked is loaded afterwards")


def _catch_loading(subject: Subject, model_id: str) -> Any:
    """A load that is under way.

    Raises:
      NotJudged: loads are too quick to be caught.
    """
    for _ in range(_TRIES):
        loading = subject.start_load(model_id)
        try:
            wait_until(lambda loading=loading: loading.done() or None, Deadline.after(0.005), longest_pause=0.002)  # type: ignore[misc]
        except DeadlineExceeded:
            return loading
        subject.unload(model_id)
    raise NotJudged("its models load too quickly to be caught in the middle; name a larger one")
