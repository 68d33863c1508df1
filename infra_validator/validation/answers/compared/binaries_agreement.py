"""Whether the serving binaries of one spec answer the same requests alike."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping

from infra_validator.core.answer import Answer
from infra_validator.core.sample_request import SampleRequest
from infra_validator.validation.answers.check import Check
from infra_validator.validation.answers.compared.comparison import Comparison
from infra_validator.validation.answers.expected_outputs import ExpectedOutput

_MOST_OCTETS = 64 << 20  # of answers that are kept; later requests are not compared


class FirstAnswers:
    """The first answer to each request, and which serving binary gave it. Used by the threads of all serving binaries."""

    def __init__(self) -> None:
        self._answers: dict[bytes, tuple[str, Answer]] = {}
        self._octets = 0
        self._lock = threading.Lock()

    def first(self, request: SampleRequest, answer: Answer, binary: str) -> tuple[str, Answer] | None:
        """Another binary's answer to the same request; None where this is the first."""
        asked = (request.method, request.signature, answer.signature, answer.kind)
        key = hashlib.blake2b(repr(asked).encode() + request.payload, digest_size=16).digest()
        with self._lock:
            found = self._answers.get(key)
            if found is not None:
                return found if found[0] != binary else None
            octets = 200 + sum(len(tensor.content) for tensor in answer.outputs.values())
            if self._octets + octets <= _MOST_OCTETS:
                self._octets += octets
                self._answers[key] = (binary, answer)
            return None


class AsOtherBinaries(Check):
    """An answer is the one that another serving binary gave to the same request.

    Args:
      answers: what all serving binaries share.
      binary: this one's label.
      comparison: the tolerances.
    """

    name = "answer_binaries_agree"

    def __init__(self, answers: FirstAnswers, binary: str, comparison: Comparison) -> None:
        super().__init__()
        self._answers = answers
        self._binary = binary
        self._comparison = comparison

    def look(self, request: SampleRequest, answer: Answer, expected: Mapping[str, ExpectedOutput]) -> None:
        self.applied += 1
        other = self._answers.first(request, answer, self._binary)
        if other is not None:
            self._comparison.check(request, other[1].outputs, answer.outputs, f"the answer of {other[0]}")
