"""The validation spec: limits, tries, and what a rejection does."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any

from infra_validator.core.errors import SpecError
from infra_validator.specs.answers_spec import AnswersSpec
from infra_validator.specs.limits.limits_spec import LimitsSpec
from infra_validator.specs.reader import above_zero, not_negative, plain, read, spec_field, to_dict

if TYPE_CHECKING:
    from infra_validator.specs.limits.load_spec import LoadSpec


class OnRejected(enum.Enum):
    """What a NOT_BLESSED verdict does to the component."""

    RECORD = "record"  # TFX's way: the component succeeds, the Pusher does not push
    RAISE = "raise"  # the component fails


class OnFlaky(enum.Enum):
    """What it means that an attempt succeeded after one had failed by the model's fault."""

    BLESS = "bless"  # TFX's way; the report says that it was flaky
    REJECT = "reject"  # not blessed, for the first failure's reason


@dataclasses.dataclass(frozen=True)
class ValidationSpec:
    """Limits and tries. The first two fields are TFX's, with TFX's defaults."""

    max_loading_time_seconds: float = spec_field(
        300.0,
        "Limit of one attempt from Start to READY; pulls and queries apart.",
        unit="seconds",
        check=above_zero,
        unset_at_zero=True,
    )
    num_tries: int = spec_field(
        5, "How many attempts a failure that may heal gets.", check=above_zero, unset_at_zero=True
    )
    max_query_time_seconds: float = spec_field(
        300.0, "Limit of all sample requests of one attempt.", unit="seconds", check=above_zero
    )
    stop_grace_seconds: float = spec_field(
        5.0, "How long a server may take to stop by itself before it is killed.", unit="seconds", check=not_negative
    )
    total_time_seconds: float = spec_field(
        7200.0, "Limit of the whole validation, everything included.", unit="seconds", check=above_zero
    )
    on_rejected: OnRejected = spec_field(OnRejected.RECORD, "What a NOT_BLESSED verdict does: record it, or raise.")
    on_flaky: OnFlaky = spec_field(
        OnFlaky.BLESS, "What a success after a failed attempt means: bless it and say so, or reject it."
    )
    require_requests: bool = spec_field(
        False, "Whether a validation that only loads the model, without sample requests, is an error."
    )
    show_requests: bool = spec_field(
        False,
        "Whether what servers say is shown as they say it. Else the values that were sent are taken out of it: "
        "`<value of input NAME>` stands in their place.",
    )
    answers: AnswersSpec = spec_field(AnswersSpec(), "What the answers must be, beyond what their signature says.")
    limits: LimitsSpec = spec_field(
        LimitsSpec(), "What the model and its server may need at most, and deliver at least."
    )
    load: LoadSpec | None = spec_field(
        None,
        "How the server is loaded; `{}` is enough. Empty: as its defaults say where a limit needs it, else not at all.",
        part=f"{__package__}.limits.load_spec:LoadSpec",
    )

    expected_signature: str = spec_field(
        "",
        "What the model's signatures are held against: a SavedModel directory, a verdict.json, or a file like it.",
        file="path",
    )

    baseline_verdict: str = spec_field(
        "", "An earlier verdict.json with load runs, which this model's are compared with.", file="path"
    )

    @classmethod
    def of(cls, given: object) -> ValidationSpec:
        """Read a TFX ValidationSpec proto, its JSON, a dict, YAML, or a file; None means all defaults."""
        return read(cls, given, "validation_spec")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data without the fields that have their default; ``of`` reads it back."""
        return to_dict(self)

    def every_field(self) -> dict[str, Any]:
        """Every field as plain JSON data, defaults included."""
        return plain(self)

    def check(self, path: str) -> None:
        """Called by the reader; raises SpecError if what is said in one field does not go with another."""
        if self.num_tries > 100:
            raise SpecError(f"{path}.num_tries", f"must be at most 100, not {self.num_tries}")
        if self.measures:
            from infra_validator.specs.limits.limits_and_load import check_load
            from infra_validator.specs.limits.load_spec import LoadSpec

            check_load(path, self.limits, self.load or LoadSpec())
        most, loading = self.limits.cold_start.load_seconds, self.max_loading_time_seconds
        if most is not None and most > loading:
            raise SpecError(
                f"{path}.limits.cold_start.load_seconds",
                f"{most:g} s can decide nothing: the attempt ends after max_loading_time_seconds, {loading:g} s",
            )

    @property
    def loads(self) -> bool:
        """Whether the server is put under load: the spec says how, or a limit needs it."""
        return self.load is not None or self.limits.needs_load()

    @property
    def measures(self) -> bool:
        """Whether anything is measured that costs something."""
        return self.load is not None or self.limits != LimitsSpec()
