"""The model as MLServer wants it; imported by MLServer, by this name, from the folder of peer_servers.py."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        import tensorflow as tf

        self._loaded = tf.saved_model.load(self.settings.parameters.uri)
        self._signature = self._loaded.signatures["serving_default"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        import tensorflow as tf

        x = NumpyCodec.decode_input(payload.inputs[0])
        y = self._signature(x=tf.constant(x, tf.float32))["y"].numpy()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])
