"""The report of an attempt: a server's words are cleaned, its own are left alone."""

from __future__ import annotations

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestSource, SampleRequest
from infra_validator.core.signals.interruption import Interruption
from infra_validator.protos import tensorflow_pb2 as tf
from infra_validator.protos import tensorflow_serving_pb2 as serving
from infra_validator.report.evidence import CheckOutcome, CheckResult, Evidence
from infra_validator.report.verdict import AttemptReport, Finding
from infra_validator.sample_requests.questions.tensor_values import tensor_of_values
from infra_validator.validation.redaction.attempt_report import cleaned_report
from infra_validator.validation.redaction.redaction import Redaction

SENT = "S3cretName"


def cleaned(failure: AttemptFailed, *checks: CheckResult) -> AttemptReport:
    message = serving.PredictRequest()
    message.inputs["x"].CopyFrom(tensor_of_values(tf.DT_STRING, [3], [SENT, "record", "1234"]))
    redaction = Redaction()
    asked = SampleRequest("/tensorflow.serving.PredictionService/Predict", "s", message.SerializeToString(), "record 1")
    list(redaction.noting(RequestSource(lambda: [asked]))())
    report = AttemptReport(1, Finding.of(failure), (), True, evidence=Evidence(checks=checks))
    return cleaned_report(report, failure, redaction, Deadline.after(30), Interruption())


def test_only_the_servers_words_are_cleaned_where_the_failure_says_which() -> None:
    words = f"bad record: {SENT}"
    report = cleaned(AttemptFailed(ReasonCode.REQUEST_FAILED, f"record 1: {words}", quotes=(words,)))
    assert report.finding.detail == "record 1: bad <value of input x>: <value of input x>"


def test_all_is_cleaned_where_nobody_says() -> None:
    report = cleaned(AttemptFailed(ReasonCode.SERVER_EXITED, f"record 1: {SENT}"))
    assert report.finding.detail == "<value of input x> 1: <value of input x>"


def test_words_that_were_cut_are_cleaned_with_all_around_them() -> None:
    words = f"{SENT} " * 1000
    report = cleaned(AttemptFailed(ReasonCode.ANSWER_DIFFERS, f"record 1: {words}", quotes=(words,)))
    assert SENT[:4] not in report.finding.detail


def test_figures_of_limits_are_left_alone() -> None:
    report = cleaned(AttemptFailed(ReasonCode.LIMIT_EXCEEDED, "latency.p99 is 1234 ms", quotes=()))
    assert report.finding.detail == "latency.p99 is 1234 ms"


def test_checks_that_failed_are_cleaned_too() -> None:
    words = f"it is {SENT}"
    report = cleaned(
        AttemptFailed(ReasonCode.ANSWER_DIFFERS, f"a: {words}", quotes=(words,)),
        CheckResult("golden", CheckOutcome.FAILED, f"a: {words}"),
        CheckResult("other", CheckOutcome.FAILED, f"it was {SENT}"),
        CheckResult("none", CheckOutcome.NOT_APPLICABLE, "There is no record."),
    )
    assert [check.detail for check in report.evidence.checks] == [
        "a: it is <value of input x>",
        "it was <value of input x>",
        "There is no record.",
    ]
