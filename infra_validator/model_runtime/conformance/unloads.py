"""The points of model-mesh's ModelRuntime contract on the way out: unloads, cancellations, inference, the purge."""

from __future__ import annotations

import grpc

from infra_validator.conformance.points import Departure, Points, told
from infra_validator.model_runtime.conformance.loads_under_way import catch_loading, ends_within
from infra_validator.model_runtime.conformance.run import Subject
from infra_validator.protos import model_runtime_pb2 as pb2

POINTS: Points[Subject] = Points()

_NOT_FOUND = grpc.StatusCode.NOT_FOUND
_OK = grpc.StatusCode.OK

_WATCH_SECONDS = 1.5  # how long a cancelled model is watched; model-mesh itself waits up to 3 s before it unloads
_QUICK_SECONDS = 5.0  # nothing has to be done; the rest is for a busy machine


# ---------------------------------------------------------------- unloading and cancelling


@POINTS.must("unload", "The memory would be used twice: model-mesh gives it to the next model.")
def _unload(subject: Subject) -> None:
    """After unloadModel the model is not loaded."""
    model_id = subject.new_id()
    subject.load(model_id)
    subject.unload(model_id)
    if subject.is_loaded(model_id):
        raise Departure("unloadModel answered OK and the model is still there")


@POINTS.must("unload-unknown", "model-mesh repeats the unload 90 times and then writes the memory off for good.")
def _unload_unknown(subject: Subject) -> None:
    """unloadModel of an id that is not loaded is OK or NOT_FOUND, at once."""
    seconds = subject.unload(subject.new_id())
    if seconds > _QUICK_SECONDS:
        raise Departure(f"it took {seconds:.1f} s")


@POINTS.must("cancel-then-unload", "The model stays in memory that model-mesh believes to be free.")
def _cancel_then_unload(subject: Subject) -> None:
    """After a cancelled load and an unload the model is not loaded and does not become so."""
    for pause in (0.0, 0.02, 0.2):
        model_id = subject.new_id()
        loading = subject.start_load(model_id)
        ends_within(loading, pause)
        loading.cancel()  # type: ignore[no-untyped-call]
        subject.unload(model_id)
        if not subject.stays_unloaded(model_id, _WATCH_SECONDS if pause == 0.2 else _WATCH_SECONDS / 5):
            raise Departure(f"cancelled after {pause:g} s and unloaded, it is loaded all the same")


@POINTS.must("unload-then-cancel", "The cancel and the unload may arrive in any order.")
def _unload_then_cancel(subject: Subject) -> None:
    """An unload in the middle of a load, and then its cancel, leave nothing either."""
    model_id = subject.new_id()
    loading = subject.start_load(model_id)
    ends_within(loading, 0.02)
    unloading = subject.stub.unloadModel.future(pb2.UnloadModelRequest(modelId=model_id), timeout=subject.load_seconds)
    loading.cancel()  # type: ignore[no-untyped-call]
    if unloading.code() not in (_OK, _NOT_FOUND):
        raise Departure(f"unloadModel answered {told(unloading)}")
    if not subject.stays_unloaded(model_id, _WATCH_SECONDS):
        raise Departure("it is loaded after the unload was answered")


@POINTS.should("unload-in-load", "The load's caller sends requests for a model that is gone.")
def _unload_in_load(subject: Subject) -> None:
    """A load that was unloaded under way is not answered OK."""
    model_id = subject.new_id()
    loading = catch_loading(subject, model_id)
    subject.unload(model_id)
    if loading.code() is _OK and not subject.is_loaded(model_id):
        raise Departure("loadModel was answered OK although the model was unloaded meanwhile")


@POINTS.must("disconnect", "A model-mesh container that dies leaves loads behind; the next one must find room.")
def _disconnect(subject: Subject) -> None:
    """A client that disappears in the middle of a load leaves a runtime that works."""
    model_id = subject.new_id()
    with subject.another_connection() as channel:
        loading = subject.start_load(model_id, channel)
        ends_within(loading, 0.02)
    del loading
    subject.unload(model_id)
    if not subject.stays_unloaded(model_id, _WATCH_SECONDS):
        raise Departure("it is loaded after the unload")
    subject.load(subject.new_id())


# ---------------------------------------------------------------- inference


@POINTS.must("inference-unknown", "Only NOT_FOUND makes model-mesh load a model that it wrongly believes to be here.")
def _inference_unknown(subject: Subject) -> None:
    """Inference for a model that is not loaded is NOT_FOUND."""
    code = subject.infer(subject.new_id())
    if code is not _NOT_FOUND:
        raise Departure(f"{subject.method} answered {code.name}")


@POINTS.must(
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


@POINTS.must("purge-loaded", "A restarted model-mesh knows of no model: what stays loaded takes its memory for ever.")
def _purge_loaded(subject: Subject) -> None:
    """Every READY answer is given when no model is loaded any more."""
    for number in ("first", "second"):
        model_id = subject.new_id()
        subject.load(model_id)
        subject.ask_status()
        if subject.is_loaded(model_id):
            raise Departure(f"after the {number} further runtimeStatus a model is still loaded")


@POINTS.must("purge-loading", "The model becomes loaded after the READY, in memory that model-mesh gives away.")
def _purge_loading(subject: Subject) -> None:
    """A READY answer also drops what is loading."""
    model_id = subject.new_id()
    loading = catch_loading(subject, model_id)
    subject.ask_status()
    loading.exception()
    if not subject.stays_unloaded(model_id, _WATCH_SECONDS):
        raise Departure("a model that was loading when runtimeStatus was asked is loaded afterwards")
