"""The embedded model server: TensorFlow Serving's wire contract on TensorFlow's C library, without importing TensorFlow.

    python -m infra_validator.embedded_server --port=8500 --model_name=m --model_base_path=/models/m

Files, from the ground up:

    status.py             canonical codes; StatusError, the one error of the core
    engine/c_api.py       TensorFlow's C API: the only file with foreign pointers; Session, Tensor
    engine/wire.py        protocol buffers taken apart and put together without copying
    engine/tensors.py     TensorProto <-> Tensor
    batch_scheduler.py    brings tasks together, in time
    batch_rows.py         tensors joined into batches and cut out of them
    batching.py           a Session whose runs are batched; its parameters
    servable.py           Servable: one loaded version, its signatures, the requests that hold it
    warmup.py             warm-up requests, replayed at load
    inference.py          predict, classify, regress, multi-inference on a Servable; no transport
    versions.py           version directories and version policies
    state_monitor.py      every state of every version: model status, what a start waits for
    manager.py            loads what is wanted, unloads what is not, retries
    model_config.py       the model config file and its checks
    server_core.py        configurations, labels, polling, reloads; finds the Servable of a request
    prediction_service.py, model_service.py   TensorFlow Serving's services, bytes to bytes
    grpc_server.py        the gRPC edge
    flags.py, ports.py, log.py, server.py, main.py   the process

Used as a library (what a ModelRuntime servicer does): load, serve, unload, without process, flags or polling.

    servable = Servable.load("model-id", 1, "/path/to/saved_model")   # StatusError if it cannot be loaded
    service = PredictionService(models)        # ``models.find(model_spec)`` returns a held Servable or raises StatusError
    grpc_server.add_service(server, "tensorflow.serving.PredictionService", service.methods())
    servable.unload()                          # waits for the requests that hold it, then frees its memory

where ``models.find`` calls ``servable.try_hold()`` and whoever asked calls ``servable.release()``. Any number of threads at once.
Importing this package loads nothing; the C library is loaded with the first Servable (``c_api.load_library()``), which
raises ``TensorFlowMissingError`` where there is no TensorFlow wheel.
"""
