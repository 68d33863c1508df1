"""The load spec: the proposal's words, what is decided by what is given, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import pytest

from infra_validator.core.errors import SpecError
from infra_validator.specs import LoadSpec, ValidationSpec
from infra_validator.specs.limits.load_spec import LoadMode
from infra_validator.specs.reader import read, to_json


def load(**given: Any) -> LoadSpec:
    return read(LoadSpec, given, "validation_spec.load")


def test_the_words_of_the_proposal_are_names() -> None:
    assert load(rps=50, workers=4, duration=10, timeout=2) == load(
        rate_rps=50, concurrency=4, seconds=10, timeout_seconds=2
    )


def test_a_rate_alone_means_open_and_nothing_means_one_caller() -> None:
    assert (load().mode, load().concurrency) == (LoadMode.CLOSED, 1)
    assert (load(rps=50).mode, load(rps=50).concurrency) == (LoadMode.OPEN, 256)


@pytest.mark.parametrize("spec", [load(), load(rps=50, duration=3), load(workers=8, requests=100)])
def test_it_survives_the_way_through_json(spec: LoadSpec) -> None:
    assert read(LoadSpec, to_json(spec), "load") == spec
    whole = ValidationSpec(load=spec)
    assert read(ValidationSpec, to_json(whole), "validation_spec") == whole


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"rps": 5, "rate_rps": 5}, "rate_rps", "is given twice, as 'rps' and as 'rate_rps'"),
        ({"seconds": 5, "duration": 5}, "duration", "is given twice, as 'seconds' and as 'duration'"),
        ({"rsp": 5}, "rsp", "Did you mean 'rps'?"),
        ({"mode": "open"}, "rate_rps", "is needed by mode: open"),
        ({"mode": "closed", "rps": 5}, "rate_rps", "has no effect on mode: closed"),
        ({"seconds": 5, "requests": 5}, "requests", "say one of them"),
        ({"seconds": 60}, "seconds", "must be below at_most_seconds, 60 s"),
        ({"requests": 700, "rps": 10}, "requests", "700 requests at 10 a second take 70 s"),
        ({"warm_up_seconds": 61}, "warm_up_seconds", "61 s must be below"),
        ({"warm_up_seconds": 40, "seconds": 30}, "warm_up_seconds", "40 s and the 30 s that are measured"),
        ({"workers": 0}, "concurrency", "above 0"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(given: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(**given)
    assert caught.value.field == f"validation_spec.load.{field}"
    assert says in str(caught.value)
