"""Calls every method of a model server once through the official stubs (tensorflow-serving-api), which need TensorFlow.

    python component_tests/fakes/official_client.py HOST:PORT

The server must serve half_plus_two. Prints what came back as one JSON object. Knows nothing of this project.
"""

import json
import sys
from typing import Any

import grpc
import numpy
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
    session_service_pb2,
)

NAME = "half_plus_two"


def example(x: float) -> Any:
    return tf.train.Example(
        features=tf.train.Features(feature={"x": tf.train.Feature(float_list=tf.train.FloatList(value=[x]))})
    )


def main(address: str) -> None:
    channel = grpc.insecure_channel(address)
    predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    found: dict[str, Any] = {}
    request: Any
    response: Any

    request = predict_pb2.PredictRequest()
    request.model_spec.name = NAME
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(numpy.array([1.0, 2.0, 5.0], numpy.float32)))
    response = predictions.Predict(request, timeout=60)
    found["predict"] = tf.make_ndarray(response.outputs["y"]).tolist()
    found["predict_spec"] = [response.model_spec.signature_name, response.model_spec.version.value]

    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = NAME, "classify_labels"
    request.input.example_list.examples.append(example(2.0))
    response = predictions.Classify(request, timeout=60)
    found["classify"] = [[c.label, c.score] for c in response.result.classifications[0].classes]

    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = NAME, "regress_x_to_y"
    request.input.example_list_with_context.context.CopyFrom(example(4.0))
    request.input.example_list_with_context.examples.append(tf.train.Example())
    response = predictions.Regress(request, timeout=60)
    found["regress"] = [regression.value for regression in response.result.regressions]

    request = inference_pb2.MultiInferenceRequest()
    for signature, method in (("regress_x_to_y", "regress"), ("classify_x_to_y", "classify")):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = NAME, signature
    request.input.example_list.examples.append(example(2.0))
    response = predictions.MultiInference(request, timeout=60)
    found["multi_inference"] = [result.WhichOneof("result") for result in response.results]

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = NAME
    response = predictions.GetModelMetadata(request, timeout=60)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    found["metadata_unpacks"] = response.metadata["signature_def"].Unpack(signatures)
    found["metadata"] = signatures.signature_def["serving_default"].inputs["x"].name

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = NAME
    response = models.GetModelStatus(request, timeout=60)
    found["status"] = [[entry.version, entry.state] for entry in response.model_version_status]

    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    request.config.model_config_list.config.add(name=NAME, base_path="relative", model_platform="tensorflow")
    try:
        models.HandleReloadConfigRequest(request, timeout=60)
    except grpc.RpcError as error:
        found["reload"] = [error.code().name, error.details()]

    try:
        serialize = session_service_pb2.SessionRunRequest.SerializeToString  # the package has no stub for this one
        call = channel.unary_unary("/tensorflow.serving.SessionService/SessionRun", serialize, bytes)
        call(session_service_pb2.SessionRunRequest(), timeout=60)
    except grpc.RpcError as error:
        found["session_run"] = error.code().name
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
