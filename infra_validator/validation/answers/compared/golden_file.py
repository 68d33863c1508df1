"""The golden file: requests and what a model answered them, written by ``infra-validator record``, to hold the next model against."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import message

from infra_validator._version import __version__
from infra_validator.core.answer import Answer, UnreadableAnswer
from infra_validator.core.errors import SpecError
from infra_validator.core.sample_request import SampleRequest
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2
from infra_validator.validation.answers.check import Check
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.expected_outputs import ExpectedOutput
from infra_validator.validation.answers.served_signatures import difference_of

SCHEMA_VERSION = 1

_FIELD = "validation_spec.answers.golden"

_REQUESTS: dict[str, Callable[[bytes], Any]] = {
    "Predict": serving_pb2.PredictRequest.FromString,
    "Classify": serving_pb2.ClassificationRequest.FromString,
    "Regress": serving_pb2.RegressionRequest.FromString,
}

Signatures = Mapping[str, tensorflow_pb2.SignatureDef]


@dataclasses.dataclass(frozen=True)
class GoldenAnswer:
    """One request with its answer.

    Attributes:
      request: the request, for the model's name of this validation.
      answer: the response's bytes.
    """

    request: SampleRequest
    answer: bytes


class Recording:
    """Keeps requests and answers and writes them down. Used by several threads."""

    def __init__(self) -> None:
        self._signatures: Signatures = {}
        self._kept: list[tuple[SampleRequest, bytes]] = []
        self._lock = threading.Lock()

    def begin(self, signatures: Signatures) -> None:
        """Another attempt: what was kept before is forgotten.

        Args:
          signatures: the model's.
        """
        with self._lock:
            self._signatures = signatures
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, request: SampleRequest, answer: bytes) -> None:
        with self._lock:
            self._kept.append((request, answer))

    def to_json(self, model_digest: str) -> str:
        """The golden file's text.

        Args:
          model_digest: names the model that answered.
        """
        signatures = self._signatures
        asked = {request.signature for request, _ in self._kept}
        return json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "tool": f"infra-validator {__version__}",
                "model_digest": model_digest,
                "signatures": {
                    name: _text(signatures[name].SerializeToString(deterministic=True))
                    for name in sorted(asked)
                    if name in signatures
                },
                "answers": [
                    {
                        "label": request.label,
                        "method": request.method,
                        "signature": request.signature,
                        "rows": request.rows,
                        "output_filter": list(request.output_filter),
                        "request": _text(request.payload),
                        "answer": _text(answer),
                    }
                    for request, answer in self._kept
                ],
            },
            indent=1,
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read_golden_file(path: str, signatures: Signatures, model_name: str) -> tuple[GoldenAnswer, ...]:
    """The answers in a golden file.

    Args:
      signatures: the model's, empty where they are not known.
      model_name: the model's name on the server.

    Raises:
      SpecError: it cannot be read, is of another version, or its signatures are not the model's.
    """
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no JSON"
        raise SpecError(_FIELD, f"cannot read {path!r}: {why}", next_step=_HOW) from error
    version = given.get("schema_version") if isinstance(given, dict) else None
    if version != SCHEMA_VERSION:
        found = "no golden file" if version is None else f"of schema version {version!r}"
        raise SpecError(_FIELD, f"{path!r} is {found}; this program reads version {SCHEMA_VERSION}", next_step=_HOW)
    try:
        _check_signatures(path, given["signatures"], signatures)
        answers = tuple(_answer(entry, number, path, model_name) for number, entry in enumerate(given["answers"], 1))
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, message.DecodeError) as error:
        raise SpecError(_FIELD, f"{path!r} is damaged: {type(error).__name__} ({error})", next_step=_HOW) from error
    if not answers:
        raise SpecError(_FIELD, f"{path!r} holds no answers", next_step=_HOW)
    return answers


_HOW = "Write it with `infra-validator record`."


def _check_signatures(path: str, recorded: Mapping[str, str], signatures: Signatures) -> None:
    if not signatures:
        return
    for name, text in recorded.items():
        was = tensorflow_pb2.SignatureDef.FromString(base64.b64decode(text))
        now = {name: signatures[name]} if name in signatures else {}
        difference = difference_of(now, {name: was})
        if difference:
            told = difference.replace("the server tells", "the golden file was recorded with")
            raise SpecError(_FIELD, f"{path!r} is for another signature. {told}", next_step=_HOW)


def _answer(entry: Mapping[str, Any], number: int, path: str, model_name: str) -> GoldenAnswer:
    method, rows = str(entry["method"]), entry["rows"]
    if rows is not None and type(rows) is not int:
        raise TypeError("rows is no number")
    payload = base64.b64decode(entry["request"], validate=True)
    parse = _REQUESTS.get(method.rpartition("/")[2])
    if parse is not None:
        request = parse(payload)
        request.model_spec.name = model_name
        request.model_spec.ClearField("version_choice")
        payload = request.SerializeToString()
    return GoldenAnswer(
        SampleRequest(
            method,
            str(entry["signature"]),
            payload,
            f"golden request {number} of {os.path.basename(path)} ({entry['label']})",
            rows=rows,
            output_filter=tuple(map(str, entry["output_filter"])),
        ),
        base64.b64decode(entry["answer"], validate=True),
    )


class AsGolden(Check):
    """The golden file's requests are answered as they were.

    Args:
      golden: the file's answers.
      read: reads a response.
      comparison: the tolerances.
    """

    name = "answer_golden"

    def __init__(
        self,
        golden: Sequence[GoldenAnswer],
        read: Callable[[SampleRequest, bytes], Sequence[Answer] | None],
        comparison: Comparison,
    ) -> None:
        super().__init__()
        self._answers = {one.request.label: one for one in golden}
        self._read = read
        self._comparison = comparison

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        golden = self._answers.get(request.label)
        if golden is None:
            return
        self.applied += 1
        try:
            answers = self._read(request, golden.answer) or ()
        except UnreadableAnswer as error:
            raise SpecError(_FIELD, f"{request.label} has an answer that cannot be read: {error}") from error
        for one in answers:
            if one.kind == answer.kind:
                self._comparison.check(request, one.outputs, answer.outputs, "the golden file")


def with_golden(
    make: Callable[[], Iterable[SampleRequest]] | None, golden: Sequence[GoldenAnswer]
) -> Iterator[SampleRequest]:
    """The requests of a source, if any, and then the golden file's."""
    if make is not None:
        yield from make()
    yield from (one.request for one in golden)
