"""The demo's Trainer: a linear model of the fare, fitted by least squares and exported with a tf.Example signature.

With ``custom_config={"python_in_graph": True}`` the export has a mistake that no offline evaluation finds: a feature is scaled by
a Python function inside the graph. It works wherever this process's Python is, and in no model server.
"""

from __future__ import annotations

import sys
from typing import Any

import tensorflow as tf

from pipelines.local.data import FEATURES, LABEL

_COLUMNS = {name: tf.io.FixedLenFeature([1], tf.float32) for name in FEATURES}


def run_fn(fn_args: Any) -> None:
    """Called by the Trainer's executor.

    Args:
      fn_args: TFX's FnArgs: ``train_files`` (file patterns of gzipped TFRecords), ``eval_files``, ``serving_model_dir``.
    """
    features, fares = _read(fn_args.train_files)
    weights = tf.linalg.lstsq(_with_bias(features), fares)
    model = _Fare(weights, bool((fn_args.custom_config or {}).get("python_in_graph")))
    features, fares = _read(fn_args.eval_files)
    error = tf.reduce_mean(tf.abs(model.predict(features) - fares))
    print(f"demo: the model's mean error on the evaluation split is {float(error):.2f}", file=sys.stderr)
    tf.saved_model.save(model, fn_args.serving_model_dir, signatures={"serving_default": model.serve})


class _Fare(tf.Module):  # type: ignore[misc]
    """The fare as a linear function of the features."""

    def __init__(self, weights: tf.Tensor, python_in_graph: bool) -> None:
        super().__init__()
        self.weights = tf.Variable(weights, name="weights")
        self._python_in_graph = python_in_graph

    def predict(self, features: tf.Tensor) -> tf.Tensor:
        """Shape [batch, number of features] to [batch, 1]."""
        if self._python_in_graph:
            features = tf.reshape(tf.numpy_function(lambda values: values, [features], tf.float32), tf.shape(features))
        return tf.matmul(_with_bias(features), self.weights)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples, shape [batch], to fares, shape [batch, 1]."""
        columns = tf.io.parse_example(examples, _COLUMNS)
        return {LABEL: self.predict(tf.concat([columns[name] for name in FEATURES], axis=1))}


def _with_bias(features: tf.Tensor) -> tf.Tensor:
    return tf.concat([features, tf.ones([tf.shape(features)[0], 1])], axis=1)


def _read(patterns: list[str]) -> tuple[tf.Tensor, tf.Tensor]:
    files = tf.io.gfile.glob(patterns)
    records = list(tf.data.TFRecordDataset(files, compression_type="GZIP"))
    columns = tf.io.parse_example(records, {**_COLUMNS, LABEL: tf.io.FixedLenFeature([1], tf.float32)})
    return tf.concat([columns[name] for name in FEATURES], axis=1), columns[LABEL]
