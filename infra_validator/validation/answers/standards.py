"""What the answers of a whole validation are held against: shared by its serving binaries and their attempts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from infra_validator.core.errors import SpecError
from infra_validator.core.sample_request import RequestOrigin, RequestSource
from infra_validator.protos import tensorflow_pb2
from infra_validator.specs import AnswersSpec
from infra_validator.validation.answers.check import Check
from infra_validator.validation.answers.compared.binaries_agreement import FirstAnswers
from infra_validator.validation.answers.spec_check import check_answers_spec

if TYPE_CHECKING:  # few have a golden file
    from infra_validator.validation.answers.compared.golden_file import GoldenAnswer, Recording

_PATH = "validation_spec.answers"


@dataclasses.dataclass(frozen=True)
class AnswerStandards:
    """What answers are held against.

    Attributes:
      spec: what the answers must be beyond what their signature says.
      signatures: the model's, as far as they are known.
      golden: the golden file's answers.
      first_answers: what the serving binaries answered so far.
      recording: where answers are to be kept.
      offered: makes each check of another package for an attempt.
      over_rest: whether the requests are to be asked over REST, too; else only those that were written for it, where there is a way.
    """

    spec: AnswersSpec = AnswersSpec()
    signatures: Mapping[str, tensorflow_pb2.SignatureDef] = dataclasses.field(default_factory=dict)
    golden: tuple[GoldenAnswer, ...] = ()
    first_answers: FirstAnswers = dataclasses.field(default_factory=FirstAnswers)
    recording: Recording | None = None
    over_rest: bool = False
    offered: tuple[Callable[[], Check], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the model's signatures, inputs and outputs."""
        parts = ((name, *signature.inputs, *signature.outputs) for name, signature in self.signatures.items())
        return tuple(dict.fromkeys(name for names in parts for name in names))

    @classmethod
    def of(
        cls, spec: AnswersSpec, signatures: Mapping[str, tensorflow_pb2.SignatureDef], model_name: str, binaries: int
    ) -> AnswerStandards:
        """Read and check what the spec names.

        Args:
          model_name: the model's name on the servers.
          binaries: how many serving binaries there are.

        Raises:
          SpecError: the spec does not fit the model, the golden file, or the serving binaries.
        """
        check_answers_spec(spec, signatures, _PATH)
        if spec.binaries_agree and binaries < 2:
            raise SpecError(
                f"{_PATH}.binaries_agree", "there is only one serving binary", next_step="Name several tags or digests."
            )
        if not spec.golden:
            return cls(spec, signatures)
        from infra_validator.validation.answers.compared.golden_file import read_golden_file

        return cls(spec, signatures, read_golden_file(spec.golden, signatures, model_name))

    def with_golden_requests(self, source: RequestSource | None) -> RequestSource | None:
        """A source that asks the golden file's requests too."""
        if not self.golden:
            return source
        from infra_validator.validation.answers.compared.golden_file import with_golden

        make = source.make if source is not None else None
        return RequestSource(
            lambda: with_golden(make, self.golden),
            source.origin if source is not None else RequestOrigin.FILE,
            source.signatures if source is not None else (),
        )
