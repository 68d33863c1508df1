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
from infra_validator.validation.hardening import OF_A_SANDBOX, Hardening, Relaxing

R = ReasonCode
ALL = ("no capabilities", "no new privileges", "a read-only root file system")
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
    assert Hardening().may_be_why(seen, failure) is False


def test_a_platform_that_refuses_it_without_them_leaves_what_was_seen_under_them() -> None:
    hardening = Hardening()
    assert hardening.may_be_why(report(), EXITED)
    assert hardening.judged(InfrastructureError(ReasonCode.POD_REFUSED, "violates PodSecurity")) is EXITED
    cut = InfrastructureError(ReasonCode.CONNECTION_LOST, "cut")
    assert hardening.judged(cut) is cut


#: How a server ends that a restriction keeps from starting; and what a sandbox, which hides files, may bring about beyond that.
ENDS = {R.SERVER_EXITED, R.SERVER_KILLED, R.BAD_SPEC, R.IMAGE_NEEDS_WRITABLE_ROOT}
OF_HIDDEN_FILES = {
    R.MODEL_LOAD_FAILED,
    R.MODEL_UNAVAILABLE,
    R.LOAD_TIMEOUT,
    R.SERVER_UNHEALTHY,
    R.SERVER_NOT_STARTED,
    R.SERVER_BROKEN,
    R.BINARY_NOT_EXECUTABLE,
    R.REQUEST_FAILED,
}


@pytest.mark.parametrize(
    ("relaxing", "reasons", "levels"),
    [
        (Relaxing(), ENDS, {EvidenceLevel.NONE}),
        (OF_A_SANDBOX, ENDS | OF_HIDDEN_FILES, {EvidenceLevel.NONE, EvidenceLevel.LOADED}),
    ],
    ids=["hardening", "sandbox"],
)
def test_of_every_reason_whether_restrictions_may_be_why(
    relaxing: Relaxing, reasons: set[R], levels: set[EvidenceLevel]
) -> None:
    for level in EvidenceLevel:
        seen = report(evidence=Evidence(level))
        found = {reason for reason in R if Hardening(relaxing).may_be_why(seen, AttemptFailed(reason, "x"))}
        assert found == (reasons if level in levels else set())


def test_the_failure_under_restrictions_counts_where_it_is_refused_without_them() -> None:
    refused = {R.POD_REFUSED, R.KUBERNETES_FORBIDDEN, R.CONTAINER_NOT_STARTED, R.SERVER_NOT_STARTED}
    hardening = Hardening()
    without = [InfrastructureError(reason, "x") for reason in R]
    assert [hardening.judged(failure) for failure in without] == without
    assert hardening.may_be_why(report(), EXITED)
    assert {failure.reason for failure in without if hardening.judged(failure) is EXITED} == refused


@pytest.mark.parametrize(
    ("log", "restrictions", "what"),
    [
        ("mkdir: Read-only file system", ALL, "a read-only root file system"),
        ("chown: OPERATION not permitted", ALL, "no capabilities or no new privileges"),
        ("su: permission denied", ALL, "no capabilities or no new privileges"),
        ("permission denied, operation not permitted", ALL, "no capabilities or no new privileges"),
        ("permission denied", ("no capabilities", "the user 1000"), "no capabilities"),
        ("permission denied", ("the user 1000",), "the user 1000"),
        ("", ("no capabilities", "the user 1000"), "one of: no capabilities, the user 1000"),
        ("", ("no capabilities",), "no capabilities"),
    ],
)
def test_what_is_likely_is_noted_after_what_was_noted_before(
    log: str, restrictions: tuple[str, ...], what: str
) -> None:
    hardening = Hardening()
    assert hardening.may_be_why(report(log, restrictions=restrictions), EXITED)
    assert hardening.noted(report(notes=("before",))).notes == (
        "before",
        f"The image does not bear {what}. It was validated as its image's author made it; hardening: image does so at once,"
        " hardening: strict rejects such an image.",
    )


def test_a_sandbox_is_noted_as_one() -> None:
    hardening = Hardening(OF_A_SANDBOX)
    assert hardening.may_be_why(report(restrictions=("a sandbox",)), EXITED)
    assert hardening.noted(report()).notes == (
        "The server does not bear a sandbox. It was validated without it; local_process.sandbox: off does so at once,"
        " required rejects such a server.",
    )


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
