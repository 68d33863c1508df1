"""What TensorFlow Serving does with a request once it has a loaded model (contract 3.3 to 3.7, 9). No transport in here.

Each function takes a ``Servable`` that the caller holds. Errors are ``StatusError`` with the real server's code and text. The order
of the checks is the real server's: it decides which of several mistakes a client hears of.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from google.protobuf import text_format

from infra_validator.core import wire
from infra_validator.embedded_server.engine import tensors
from infra_validator.embedded_server.engine.c_api import STRING, Tensor
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.servable import DEFAULT_SIGNATURE, Servable, Signature, run
from infra_validator.embedded_server.status import Code, StatusError, invalid_argument
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """How to run one request.

    Attributes:
      options: a serialized tensorflow.RunOptions (the timeout).
      check_method_name: ``--enable_signature_method_name_check``.
      metrics: hears how long graphs ran; None: nobody does.
    """

    options: bytes = b""
    check_method_name: bool = False
    metrics: Metrics | None = None

    def ran(self, servable: Servable, api: str, started: float) -> None:
        """A run of the graph that began at ``started`` (``time.perf_counter``) is done."""
        if self.metrics is not None:
            self.metrics.run(servable.name, api, time.perf_counter() - started)


def run_options(timeout_ms: int) -> bytes:
    """A serialized tensorflow.RunOptions with this timeout; none for 0 and below, nor for what gRPC tells of a call without
    a deadline: that as many seconds as an int64 holds are left."""
    meant = 0 < timeout_ms < 2**63
    return wire.varint_field(2, timeout_ms) if meant else b""


# --------------------------------------------------------------------------------------------------------- predict


def predict(
    servable: Servable,
    signature_name: str,
    aliases: Iterable[str],
    value_of: Callable[[str], Tensor],
    output_filter: Sequence[str] = (),
    settings: RunSettings = RunSettings(),
) -> dict[str, Tensor]:
    """Predict: output alias -> tensor.

    Args:
      signature_name: empty means ``serving_default``.
      aliases: the names of the inputs that were sent.
      value_of: gives the tensor of an alias that was sent; asked in the order of the signature's inputs.
      output_filter: the output aliases to answer; all if empty.
    """
    key = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
    _check_predict_method(signature, settings)
    values = _predict_inputs(signature, set(aliases), value_of)
    wanted = _predict_outputs(signature, output_filter)
    started = time.perf_counter()
    if output_filter:
        names = list(dict.fromkeys(wanted.values()))
        found = run(
            servable.session, dict(zip(signature.inputs.values(), values, strict=True)), names, settings.options
        )
    else:
        found = signature.run(values, settings.options)
    settings.ran(servable, "Predict", started)
    return {alias: found[name] for alias, name in wanted.items()}


def _check_predict_method(signature: Signature, settings: RunSettings) -> None:
    method = signature.definition.method_name
    if settings.check_method_name and method not in (PREDICT, CLASSIFY, REGRESS):
        raise StatusError(
            Code.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{PREDICT}, {CLASSIFY}, {REGRESS}}}. Was: {method}",
        )


def _predict_inputs(signature: Signature, sent: set[str], value_of: Callable[[str], Tensor]) -> list[Tensor]:
    inputs, defaults = signature.inputs, signature.defaults
    if len(sent) > len(inputs) or (len(sent) < len(inputs) and not defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(inputs)} "
            f"len({{{_names(sent)}}}) != len({{{_names(inputs)}}}). "
            f"Sent extra: {{{_names(sent - inputs.keys())}}}. "
            f"Missing but required: {{{_names(inputs.keys() - sent - defaults.keys())}}}."
        )
    values = []
    for alias, name in inputs.items():
        if alias in sent:
            values.append(value_of(alias))
        elif alias in defaults:
            values.append(Tensor.from_proto(defaults[alias]))
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {name}) not found in request and no default value provided. "
                f"Inputs expected to be in the request {{{_names(sent)}}}, "
                f"or default input alias set: {{{_names(defaults)}}}"
            )
    if foreign := sent - inputs.keys():
        used = sent - foreign
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_names(used)}, request input: {_names(sent)}"
        )
    return values


def _predict_outputs(signature: Signature, output_filter: Sequence[str]) -> Mapping[str, str]:
    if not output_filter:
        return signature.outputs
    wanted: dict[str, str] = {}
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{_names(signature.outputs)}}}."
            )
        if alias in wanted:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        wanted[alias] = signature.outputs[alias]
    return wanted


def _names(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


# --------------------------------------------------------------------------------------------- classify and regress


def classify(
    servable: Servable, signature_name: str, examples: Sequence[bytes], settings: RunSettings = RunSettings()
) -> serving_pb2.ClassificationResult:
    """Classify serialized tf.Examples; one Classifications each."""
    signature = _signature(servable, signature_name)
    _check_classify(signature, settings)
    serialized, started = _examples(examples), time.perf_counter()
    found = signature.run([serialized], settings.options)
    settings.ran(servable, "Classify", started)
    return classifications(signature, found, len(examples))


def regress(
    servable: Servable, signature_name: str, examples: Sequence[bytes], settings: RunSettings = RunSettings()
) -> serving_pb2.RegressionResult:
    """Regress serialized tf.Examples; one Regression each."""
    signature = _signature(servable, signature_name)
    _check_regress(signature, settings)
    serialized, started = _examples(examples), time.perf_counter()
    found = signature.run([serialized], settings.options)
    settings.ran(servable, "Regress", started)
    return regressions(signature, found, len(examples))


def multi_inference(
    servable: Servable,
    tasks: Sequence[serving_pb2.InferenceTask],
    examples: Sequence[bytes],
    settings: RunSettings = RunSettings(),
) -> list[serving_pb2.InferenceResult]:
    """Several signatures of one model over the same examples, in one run: each classifies or regresses as its task says.

    What the signature itself is called does not matter (3.6): TF2 exports call every one of theirs predict.
    """
    signatures: dict[str, Signature] = {}
    for task in tasks:
        if not task.model_spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        key = task.model_spec.signature_name or DEFAULT_SIGNATURE
        if key in signatures:
            raise invalid_argument(f"Duplicate evaluation of signature: {key}")
        signature = servable.signatures.get(key)
        if signature is None:
            raise invalid_argument(f"Requested signature not found in model graph: {key}")
        if task.method_name == CLASSIFY:
            _check_classify(signature, settings)
        elif task.method_name == REGRESS:
            _check_regress(signature, settings)
        else:
            raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}")
        signatures[key] = signature
    serialized = _examples(examples)
    feeds = {name: serialized for signature in signatures.values() for name in signature.inputs.values()}
    fetches = list(dict.fromkeys(name for signature in signatures.values() for name in signature.output_names))
    started = time.perf_counter()
    found = run(servable.session, feeds, fetches, settings.options)
    settings.ran(servable, "MultiInference", started)
    results = []
    for task, (key, signature) in zip(tasks, signatures.items(), strict=True):
        result = serving_pb2.InferenceResult()
        result.model_spec.CopyFrom(effective_spec(servable.name, servable.version, key))
        if task.method_name == CLASSIFY:
            result.classification_result.CopyFrom(classifications(signature, found, len(examples)))
        else:
            result.regression_result.CopyFrom(regressions(signature, found, len(examples)))
        results.append(result)
    return results


@functools.lru_cache(1024)
def effective_spec(name: str, version: int, signature_name: str) -> serving_pb2.ModelSpec:
    """The model_spec of an answer: what really answered, never a label. Shared: do not change it."""
    spec = serving_pb2.ModelSpec(name=name, signature_name=signature_name or DEFAULT_SIGNATURE)
    spec.version.value = version
    return spec


def _signature(servable: Servable, signature_name: str) -> Signature:
    key = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {key}")
    return signature


def _check_classify(signature: Signature, settings: RunSettings) -> None:
    definition = signature.definition
    if settings.check_method_name and definition.method_name != CLASSIFY:
        raise invalid_argument(
            f"Expected classification signature method_name to be {CLASSIFY}. Was: {definition.method_name}"
        )
    if len(definition.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(definition.outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(definition.outputs)}")
    if "inputs" not in definition.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {_debug_string(definition)}")
    if not {"classes", "scores"} & definition.outputs.keys():
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {_debug_string(definition)}"
        )


def _check_regress(signature: Signature, settings: RunSettings) -> None:
    definition = signature.definition
    if settings.check_method_name and definition.method_name != REGRESS:
        raise invalid_argument(
            f"Expected regression signature method_name to be {REGRESS}. Was: {definition.method_name}"
        )
    if len(definition.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(definition.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in definition.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {_debug_string(definition)}")
    if "outputs" not in definition.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {_debug_string(definition)}")


def _debug_string(definition: tensorflow_pb2.SignatureDef) -> str:
    return text_format.MessageToString(definition)


def _examples(examples: Sequence[bytes]) -> Tensor:
    if not examples:
        raise invalid_argument("Input is empty.")
    return tensors.of_strings(examples)


def classifications(signature: Signature, found: Mapping[str, Tensor], count: int) -> serving_pb2.ClassificationResult:
    """The outputs of a run over ``count`` examples as classifications."""
    columns: dict[str, tuple[Tensor, int]] = {}
    for alias, dtype in (("classes", STRING), ("scores", tensors.FLOAT)):
        if alias not in signature.outputs:
            continue
        tensor = found[signature.outputs[alias]]
        shape = tensor.shape
        if len(shape) != 2:
            raise invalid_argument(
                f"Expected Tensor shape: [batch_size num_classes] but got {tensors.shape_text(shape)}"
            )
        if tensor.dtype != dtype:
            raise invalid_argument(
                f"Expected {alias} Tensor of {tensors.type_name(dtype)}. Got: {tensors.type_name(tensor.dtype)}"
            )
        if shape[0] != count:
            raise invalid_argument(f"Expected {alias} output batch size of {count}. Got: {shape[0]}")
        columns[alias] = tensor, shape[1]
    widths = [width for _, width in columns.values()]
    if len(set(widths)) > 1:
        raise invalid_argument(f"Tensors class and score should match in dim_size(1). Got {widths[0]} vs. {widths[1]}")
    labels = columns["classes"][0].strings() if "classes" in columns else [b""] * (count * widths[0])
    scores = columns["scores"][0].memory().cast("f").tolist() if "scores" in columns else [0.0] * len(labels)
    result = serving_pb2.ClassificationResult()
    cells = iter(zip(labels, scores, strict=True))
    for _ in range(count):
        row = result.classifications.add()
        for _ in range(widths[0]):
            label, score = next(cells)
            row.classes.add(label=_label(label), score=score)
    return result


def _label(label: bytes) -> str:
    # The real server puts any bytes into this proto3 string; Python's messages take text only.
    return label.decode("utf-8", "replace")


def regressions(signature: Signature, found: Mapping[str, Tensor], count: int) -> serving_pb2.RegressionResult:
    """The output of a run over ``count`` examples as regressions."""
    tensor = found[signature.outputs["outputs"]]
    shape = tensor.shape
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{tensors.shape_text(shape)}"
        )
    if tensor.dtype != tensors.FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {tensors.type_name(tensor.dtype)}")
    if shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {shape[0]}")
    values = tensor.memory().cast("f").tolist()
    return serving_pb2.RegressionResult(regressions=[serving_pb2.Regression(value=value) for value in values])
