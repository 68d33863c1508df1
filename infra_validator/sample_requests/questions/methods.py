"""The RPCs that sample requests call, by TensorFlow Serving's own full paths."""

from __future__ import annotations

_SERVICE = "/tensorflow.serving.PredictionService"

PREDICT = f"{_SERVICE}/Predict"
CLASSIFY = f"{_SERVICE}/Classify"
REGRESS = f"{_SERVICE}/Regress"
MULTI_INFERENCE = f"{_SERVICE}/MultiInference"

#: What ``SignatureDef.method_name`` says for each.
PREDICT_METHOD_NAME = "tensorflow/serving/predict"
CLASSIFY_METHOD_NAME = "tensorflow/serving/classify"
REGRESS_METHOD_NAME = "tensorflow/serving/regress"
