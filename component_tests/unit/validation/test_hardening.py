"""When restrictions of ours may be why a server ended, and whose failure counts then."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.evidence import Evidence, EvidenceLevel
from infra_validator.report.verdict import AttemptReport, Finding
from infra_validator.specs import ServingSpec
from infra_validator.validation.hardening import Hardening

EXITED = AttemptFailed(ReasonCode.SERVER_EXITED, "exit code 1")
IMAGE: dict[str, Any] = {"tensorflow_serving": {"tags": ["1"]}}


def report(log: str = "", **changes: Any) -> AttemptReport:
    made = AttemptReport(
        1, Finding.of(EXITED), (), True, server_log=log, restrictions=("no capabilities", "the user 1000")
    )
    return dataclasses.replace(made, **changes)


def test_a_server_that_ended_under_restrictions_before_it_served() -> None:
    assert Hardening().may_be_why(report(), EXITED)


@pytest.mark.parametrize(
    ("seen", "failure"),
    [
        (report(restrictions=()), EXITED),
        (report(evidence=Evidence(EvidenceLevel.LOADED)), EXITED),
        (report(), AttemptFailed(ReasonCode.OP_NOT_REGISTERED, "NoOp")),
        (report(), AttemptFailed(ReasonCode.LOAD_TIMEOUT, "late")),
        (report(), InfrastructureError(ReasonCode.DOCKER_NOT_RUNNING, "gone")),
    ],
)
def test_what_no_restriction_can_be_the_cause_of(seen: AttemptReport, failure: AttemptFailed) -> None:
    assert not Hardening().may_be_why(seen, failure)


def test_a_platform_that_refuses_it_without_them_leaves_what_was_seen_under_them() -> None:
    hardening = Hardening()
    assert hardening.may_be_why(report(), EXITED)
    assert hardening.judged(InfrastructureError(ReasonCode.POD_REFUSED, "violates PodSecurity")) is EXITED
    cut = InfrastructureError(ReasonCode.CONNECTION_LOST, "cut")
    assert hardening.judged(cut) is cut


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("chown: changing ownership: Operation not permitted", "does not bear no capabilities."),
        ("something else", "does not bear one of: no capabilities, the user 1000."),
    ],
)
def test_what_an_image_does_not_bear_is_noted(log: str, said: str) -> None:
    hardening = Hardening()
    assert hardening.noted(report()).notes == ()
    hardening.may_be_why(report(log), EXITED)
    (note,) = hardening.noted(report(restrictions=())).notes
    assert said in note


@pytest.mark.parametrize(
    ("platform", "restrictions"),
    [
        ({"local_docker": {}}, ("no capabilities", "no new privileges", "a read-only root file system")),
        ({"local_docker": {"read_only_root": False}}, ("no capabilities", "no new privileges")),
        ({"local_docker": {"hardening": "image"}}, ()),
        ({"kubernetes": {"allow_root": True}}, ("no capabilities", "no new privileges")),
        ({"local_process": {}}, ()),
    ],
)
def test_what_a_server_is_held_to(platform: dict[str, Any], restrictions: tuple[str, ...]) -> None:
    spec = ServingSpec.of({**IMAGE, **platform})
    assert spec.restrictions == restrictions
    assert spec.as_authored().restrictions == ()
