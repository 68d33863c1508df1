"""The embedded model server: TensorFlow Serving's wire contract on TensorFlow's C library, without importing TensorFlow.

    python -m infra_validator.embedded_server --port=8500 --model_name=m --model_base_path=/models/m

Files, from the ground up:

    status.py     canonical codes; StatusError, the one error of the core
    engine/       TensorFlow's C API (the only file with foreign pointers); Session, Tensor; TensorProto <-> Tensor
    models/       Servable: one loaded version, held by its requests; version directories and policies; what is loaded, unloaded,
                  retried; configurations, labels, polling, reloads; every state of every version
    inference/    predict, classify, regress, multi-inference on a Servable, batching, warm-up; no transport
    open_inference/  what is answered in the Open Inference Protocol; no transport
    grpc/, rest/  the two edges: the services of TensorFlow Serving and of the Open Inference Protocol, bytes to bytes
    server.py, main.py, flags.py, ports.py, log.py, metrics.py   the process

Used as a library (what a ModelRuntime servicer does): load, serve, unload, without process, flags or polling.

    servable = Servable.load("model-id", 1, "/path/to/saved_model")   # StatusError if it cannot be loaded
    service = PredictionService(models)        # ``models.find(model_spec)`` returns a held Servable or raises StatusError
    grpc_server.add_service(server, "tensorflow.serving.PredictionService", service.methods())
    servable.unload()                          # waits for the requests that hold it, then frees its memory

where ``models.find`` calls ``servable.try_hold()`` and whoever asked calls ``servable.release()``. Any number of threads at once.
Importing this package loads nothing; the C library is loaded with the first Servable (``c_api.load_library()``), which
raises ``TensorFlowMissingError`` where there is no TensorFlow wheel.
"""
