"""Reads the answers of TensorFlow Serving's PredictionService (predict.proto, classification.proto, regression.proto, inference.proto)."""

from __future__ import annotations

from collections.abc import Iterable

from infra_validator.core.answer import STRING, Answer, Tensor, UnreadableAnswer
from infra_validator.core.wire import FIXED32, LENGTH, WireError, fields, map_entry, signed, text
from infra_validator.model_server_clients.tensor_reader import read_tensor

_SERVICE = "/tensorflow.serving.PredictionService/"
_FLOAT = 1  # DT_FLOAT


def read_answers(method: str, payload: bytes) -> tuple[Answer, ...] | None:
    """The answers in the response to a call of ``method``: one, or several of MultiInference; None for another service's methods.

    Raises:
      UnreadableAnswer: the bytes are no such response.
    """
    service, _, name = method.rpartition("/")
    if f"{service}/" != _SERVICE:
        return None
    try:
        if name == "Predict":
            return (_predict(payload),)
        if name in ("Classify", "Regress"):
            return (_result(memoryview(payload), 0, len(payload), 1, 2, classify=name == "Classify"),)
        if name == "MultiInference":
            return _multi_inference(memoryview(payload))
    except WireError as error:
        raise UnreadableAnswer(str(error)) from error
    return None


def _predict(payload: bytes) -> Answer:
    data = memoryview(payload)
    outputs: dict[str, Tensor] = {}
    model = (0, 0)
    for number, kind, start, end in fields(data):
        if number == 1 and kind == LENGTH:
            name, source, first, last = map_entry(data, start, end)  # type: ignore[arg-type]
            outputs[name] = read_tensor(data if source is None else memoryview(source), first, last)
        elif number == 2 and kind == LENGTH:
            model = (start, end)
    return Answer(outputs, "predict", *_model_spec(data, *model))


def _model_spec(data: memoryview, start: int, end: int) -> tuple[str, int | None, str]:
    name, version, signature = "", None, ""
    for number, kind, first, last in fields(data, start, end):
        if kind != LENGTH:
            continue
        if number == 1:
            name = text(data, first, last)
        elif number == 2:
            version = next((signed(value) for field, what, value, _ in fields(data, first, last) if field == 1), 0)
        elif number == 3:
            signature = text(data, first, last)
    return name, version, signature


def _multi_inference(data: memoryview) -> tuple[Answer, ...]:
    answers = []
    for number, kind, start, end in fields(data):
        if number == 1 and kind == LENGTH:
            classify = any(field == 2 for field, *_ in fields(data, start, end))
            answers.append(_result(data, start, end, 2 if classify else 3, 1, classify=classify))
    return tuple(answers)


def _result(data: memoryview, start: int, end: int, result: int, model_spec: int, *, classify: bool) -> Answer:
    """What stands in the fields ``result`` and ``model_spec``."""
    model = found = None
    for number, kind, first, last in fields(data, start, end):
        if number == result and kind == LENGTH:
            found = (first, last)
        elif number == model_spec and kind == LENGTH:
            model = (first, last)
    rows = [
        (first, last)
        for number, kind, first, last in (fields(data, *found) if found else ())
        if number == 1 and kind == LENGTH
    ]
    outputs = _classes(data, rows) if classify else _regressions(data, rows)
    return Answer(
        outputs if found else {}, "classify" if classify else "regress", *_model_spec(data, *(model or (0, 0)))
    )


def _regressions(data: memoryview, rows: list[tuple[int, int]]) -> dict[str, Tensor]:
    values = b"".join(_float(data, first, last, 1) for first, last in rows)
    return {"outputs": Tensor(_FLOAT, (len(rows),), memoryview(values))}


def _classes(data: memoryview, rows: list[tuple[int, int]]) -> dict[str, Tensor]:
    """Labels and scores as the two outputs that a classify signature has (classification.proto)."""
    labels: list[bytes] = []
    scores: list[bytes] = []
    widths = set()
    for start, end in rows:
        width = 0
        for number, kind, first, last in fields(data, start, end):
            if number == 1 and kind == LENGTH:
                width += 1
                labels.append(_label(data, first, last))
                scores.append(_float(data, first, last, 2))
        widths.add(width)
    if len(widths) > 1:
        raise UnreadableAnswer(f"rows of {sorted(widths)} classes in one answer")
    shape = (len(rows), *widths) if widths else (0, 0)

    def strings() -> Iterable[bytes]:
        return labels

    return {
        "classes": Tensor(STRING, shape, strings=strings),
        "scores": Tensor(_FLOAT, shape, memoryview(b"".join(scores))),
    }


def _float(data: memoryview, start: int, end: int, field: int) -> bytes:
    value = b"\0\0\0\0"  # proto3 leaves a 0 out
    for number, kind, first, last in fields(data, start, end):
        if number == field and kind == FIXED32:
            value = bytes(data[first:last])
    return value


def _label(data: memoryview, start: int, end: int) -> bytes:
    label = b""
    for number, kind, first, last in fields(data, start, end):
        if number == 1 and kind == LENGTH:
            label = text(data, first, last).encode()
    return label
