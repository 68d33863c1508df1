"""Reports with everything in them that a report can hold, made up with fixed seeds: for tests of report formats and their benchmark."""

from __future__ import annotations

import dataclasses
import datetime
import math
import random
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram

from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.sample_request import RequestOrigin
from infra_validator.report.evidence import CheckOutcome, CheckResult, Evidence, EvidenceLevel
from infra_validator.report.machine import Machine
from infra_validator.report.measurements import (
    BaselineComparison,
    ClientShare,
    LimitOutcome,
    LimitResult,
    LoadRun,
    LoadWindow,
    Measurements,
    MemoryUse,
    Percentile,
    SignatureChange,
    WarmUpProof,
)
from infra_validator.report.signatures import Signature, TensorSpec
from infra_validator.report.verdict import AttemptReport, BinaryReport, Finding, Phase, ValidationReport, Verdict

_MIB = 1 << 20
MACHINE = Machine("Linux 6.1.0", "x86_64", 8, 32 << 30, "3.11.9")
IMAGE = "tensorflow/serving:2.19.0@sha256:6a1c7d0f5b0f7a1f5a2e93c8a1c8b1f2d90b74c5d1f4be3d1a3e2c5b6d7e8f90"
_ORDERS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}


def latencies(middle_ms: float, how_many: int, seed: int) -> list[float]:
    """Latencies with a slow tail, in milliseconds."""
    chance = random.Random(seed)
    return [
        middle_ms * chance.lognormvariate(0, 0.18) * (6 if chance.random() < 0.004 else 1)
        + (middle_ms * chance.random() if chance.random() < 0.08 else 0)
        for _ in range(how_many)
    ]


def histogram_of(milliseconds: Sequence[float]) -> str:
    """The latencies as load runs keep them."""
    histogram = HdrHistogram(1, 60_000_000, 3)
    for value in milliseconds:
        histogram.record_value(round(value * 1000))
    return bytes(histogram.encode()).decode()


def load_run(
    signature: str = "serving_default",
    batch_size: int | None = 1,
    middle_ms: float = 4.0,
    how_many: int = 4000,
    seed: int = 7,
    *,
    steady: bool = True,
    rate_rps: float | None = 400.0,
) -> LoadRun:
    """One kind of request under load."""
    samples = latencies(middle_ms, how_many, seed)
    ordered = sorted(samples)

    def at(share: float) -> float:
        return ordered[min(how_many - 1, max(0, math.ceil(share * how_many) - 1))]

    percentiles = []
    for name, share in _ORDERS.items():
        spread = 1.96 * math.sqrt(share * (1 - share) / how_many)
        high = None if share + spread >= 1 else at(share + spread)
        percentiles.append(Percentile(name, at(share), at(share - spread) if share < 1 else None, high))
    windows = tuple(
        LoadWindow(
            starts_at=float(number),
            seconds=1.0,
            requests=400,
            p50_ms=at(0.5) * (1 + 1.4 * math.exp(-number * 1.5)),
            p99_ms=at(0.99) * (1 + 2.2 * math.exp(-number * 1.1) + 0.03 * math.sin(number)),
            warm_up=number < 3,
        )
        for number in range(13)
    )
    return LoadRun(
        signature,
        batch_size,
        "open" if rate_rps else "closed",
        None if rate_rps else 4,
        rate_rps,
        seconds=10.0,
        requests=how_many - 3,
        errors=3,
        error="DEADLINE_EXCEEDED: the answer took longer than 10 s",
        throughput_rps=(how_many - 3) / 10,
        steady=steady,
        why_not_steady="" if steady else "The p99 of the last three windows differs by 31 %.",
        percentiles=tuple(percentiles),
        histogram=histogram_of(samples),
        windows=windows,
        client=ClientShare(0.82, 0.082, 0.061, 0.43),
    )


def memory_use(after_load: int = 412 * _MIB, seed: int = 3) -> MemoryUse:
    """Memory that rises while the model is loaded, and again while it is asked."""
    chance = random.Random(seed)
    curve = []
    for step in range(640):
        seconds = step / 20
        loaded = min(1.0, seconds / 6.2)
        asked = max(0.0, min(1.0, (seconds - 8) / 3))
        octets = 90 * _MIB + loaded * (after_load - 90 * _MIB) + asked * 160 * _MIB + chance.random() * 6 * _MIB
        curve.append((seconds, int(octets)))
    peak = max(octets for _, octets in curve)
    return MemoryUse("proportional set size of the process tree", after_load, peak, peak, tuple(curve))


def limits() -> tuple[LimitResult, ...]:
    """One of each kind: kept, exceeded, within the noise, advisory, not measured."""
    return (
        LimitResult(
            "latency.p99 (serving_default, batch size 1)",
            LimitOutcome.EXCEEDED,
            5.0,
            7.9,
            "ms",
            low=7.3,
            high=8.8,
            detail="The p99 of serving_default, batch size 1, is 7.9 ms: 2.9 ms (58 %) above the limit of 5 ms.",
        ),
        LimitResult(
            "latency.p50 (serving_default, batch size 32)",
            LimitOutcome.KEPT,
            14.0,
            13.8,
            "ms",
            low=13.6,
            high=14.1,
            within_noise=True,
            detail="The limit lies inside the confidence interval: another run may decide otherwise.",
        ),
        LimitResult(
            "throughput_at_least_rps (serving_default, batch size 1)",
            LimitOutcome.KEPT,
            300.0,
            399.7,
            "requests per second",
            at_most=False,
        ),
        LimitResult("error_rate_at_most", LimitOutcome.KEPT, 0.01, 0.00075, "share"),
        LimitResult("cold_start.load_seconds", LimitOutcome.KEPT, 20.0, 6.21, "seconds", decides=False),
        LimitResult("memory.under_load", LimitOutcome.KEPT, float(1 << 30), float(578 * _MIB), "bytes"),
        LimitResult(
            "memory.after_load",
            LimitOutcome.NOT_MEASURED,
            float(1 << 29),
            None,
            "bytes",
            decides=False,
            detail="The pod's cgroup cannot be read from here.",
        ),
        LimitResult(
            "latency.p99 (baseline)", LimitOutcome.EXCEEDED, 1.1, 1.32, "times the baseline", low=1.2, high=1.4
        ),
    )


def measurements() -> Measurements:
    """All that can be measured."""
    ratios = (
        LimitResult("latency.p99", LimitOutcome.EXCEEDED, 1.1, 1.32, "times the baseline", low=1.2, high=1.4),
        LimitResult("memory", LimitOutcome.KEPT, 1.2, 1.04, "times the baseline", low=1.02, high=1.06),
        LimitResult(
            "throughput", LimitOutcome.KEPT, 0.9, 0.97, "times the baseline", at_most=False, low=0.95, high=1.0
        ),
    )
    return Measurements(
        model_size_bytes=183 * _MIB,
        first_answer_ms=212.4,
        memory=memory_use(),
        load=(load_run(), load_run(batch_size=32, middle_ms=13.5, seed=11, steady=False)),
        limits=limits(),
        baseline=BaselineComparison(
            "/models/production/41",
            True,
            12,
            (load_run(middle_ms=3.1, seed=5), load_run(batch_size=32, middle_ms=12.9, seed=6)),
            memory_use(395 * _MIB, 9),
            ratios,
        ),
        warm_up=WarmUpProof(64, 48_213, ("serving_default", "classify"), (1, 32), 9.7, 212.4, 6.9, 6.2),
    )


CHANGES = (
    SignatureChange("serving_default", "output scores", "reshaped", True, "[-1, 10] became [-1, 12]."),
    SignatureChange("serving_default", "input country", "added", False, "It has a default, so callers may omit it."),
    SignatureChange("predict_v0", "", "removed", True, "Callers that name it are refused."),
)
SIGNATURES = {
    "serving_default": Signature(
        inputs={"features": TensorSpec("float", (-1, 28)), "country": TensorSpec("string", (-1,), True)},
        outputs={"scores": TensorSpec("float", (-1, 12))},
    ),
    "classify": Signature(
        "tensorflow/serving/classify",
        {"inputs": TensorSpec("string", (-1,))},
        {"classes": TensorSpec("string", (-1, 12)), "scores": TensorSpec("float", (-1, 12))},
    ),
}


def evidence(requests: int = 48) -> Evidence:
    """Of a model that was asked and whose answers were looked at."""
    return Evidence(
        EvidenceLevel.ANSWERED,
        requests,
        RequestOrigin.EXAMPLES,
        ("serving_default", "classify"),
        ("embed",),
        (
            CheckResult("alive_after_the_last_answer", CheckOutcome.PASSED),
            CheckResult("finite", CheckOutcome.PASSED),
            CheckResult("shapes", CheckOutcome.PASSED),
            CheckResult(
                "golden",
                CheckOutcome.FAILED,
                "Request 17, output scores[0, 3]: 0.8131 was expected, 0.7904 came (2.8 % off; the tolerance is 1 %).",
            ),
            CheckResult("over_rest", CheckOutcome.NOT_APPLICABLE, "This server has no REST port."),
        ),
    )


LOG = "\n".join(
    [
        "2026-11-28 21:14:02.113204: I tensorflow_serving/model_servers/server.cc:77] Building single TensorFlow model file config",
        "2026-11-28 21:14:02.118871: I tensorflow_serving/core/loader_harness.cc:95] Successfully reserved resources to load servable",
        *(
            f"2026-11-28 21:14:{3 + n // 10:02}.{n:06}: I tensorflow/cc/saved_model/loader.cc:{200 + n}] Restoring {n}: <vars & ops>"
            for n in range(60)
        ),
        "2026-11-28 21:14:12.400123: W tensorflow/core/framework/op_kernel.cc:1844] OP_REQUIRES failed: a slow operation",
        "2026-11-28 21:14:12.900000: E tensorflow_serving/util/retrier.cc:46] Loading servable failed once",
    ]
)


def _phases(*seconds: float) -> tuple[Phase, ...]:
    names = ("prepare", "start", "schedule", "load", "query", "measure", "stop")
    return tuple(Phase(name, taken) for name, taken in zip(names, seconds, strict=True) if taken)


def attempt(number: int = 1, **changes: object) -> AttemptReport:
    """A good attempt, with ``changes`` made to it."""
    good = AttemptReport(
        number,
        Finding(ReasonCode.BLESSED),
        _phases(0.42, 0.31, 0.9, 6.21, 1.3, 23.0, 0.41),
        True,
        48,
        LOG,
        evidence=evidence(),
        measurements=measurements(),
    )
    return dataclasses.replace(good, **changes)  # type: ignore[arg-type]


def rejected() -> ValidationReport:
    """Not blessed for a limit, by one of two serving binaries and after an attempt that crashed."""
    finding = Finding(ReasonCode.LIMIT_EXCEEDED, limits()[0].detail)
    crashed = attempt(
        1,
        finding=Finding(ReasonCode.SERVER_EXITED, "It ended with exit code 139 (SIGSEGV)."),
        phases=_phases(8.4, 0.3, 0.9, 2.2, 0, 0, 0.2),
        requests_sent=0,
        evidence=Evidence(),
        measurements=None,
        left_behind=("The container infra-validator-1f3a could not be removed: the daemon did not answer.",),
    )
    embedded = BinaryReport(
        "tensorflow_serving",
        "embedded model server 0.1.0",
        "local_docker",
        True,
        Verdict.BLESSED,
        Finding(ReasonCode.BLESSED),
        (attempt(1, measurements=dataclasses.replace(measurements(), limits=limits()[2:4], baseline=None)),),
    )
    serving = BinaryReport(
        "tensorflow_serving",
        IMAGE,
        "local_docker",
        False,
        Verdict.NOT_BLESSED,
        finding,
        (crashed, attempt(2, finding=finding)),
        flaky=True,
    )
    warning = f"{IMAGE.partition('@')[0]} is flaky: attempt 1 failed with SERVER_EXITED, attempt 2 succeeded."
    return ValidationReport(
        Verdict.NOT_BLESSED,
        finding,
        "/models/taxi/42",
        "taxi",
        (serving, embedded),
        "2026-11-28T21:14:01+00:00",
        46.8,
        warnings=(warning, "The asset vocab.txt is named by the graph and not there."),
        machine=MACHINE,
        model_limits=(LimitResult("model_size", LimitOutcome.KEPT, float(200 * _MIB), float(183 * _MIB), "bytes"),),
        signatures=SIGNATURES,
        signature_changes=CHANGES,
    )


def blessed(day: int = 0, middle_ms: float = 4.0) -> ValidationReport:
    """Blessed by one serving binary; ``day`` says on which day of a month."""
    good = tuple(limit for limit in limits() if limit.outcome is LimitOutcome.KEPT)
    seen = dataclasses.replace(
        evidence(), checks=tuple(c for c in evidence().checks if c.outcome is not CheckOutcome.FAILED)
    )
    measured = dataclasses.replace(
        measurements(),
        model_size_bytes=(180 + day) * _MIB,
        memory=memory_use((400 + 3 * day) * _MIB, day),
        load=(load_run(middle_ms=middle_ms, seed=day, how_many=1500),),
        limits=good,
        baseline=None,
    )
    one = attempt(1, evidence=seen, measurements=measured, phases=_phases(0.4, 0.3, 0.9, 6.0 + day / 7, 0.8, 12, 0.4))
    binary = BinaryReport(
        "tensorflow_serving", IMAGE, "local_docker", False, Verdict.BLESSED, Finding(ReasonCode.BLESSED), (one,)
    )
    started = datetime.datetime(2026, 11, 1, 9, 30, tzinfo=datetime.timezone.utc) + datetime.timedelta(days=day)
    return ValidationReport(
        Verdict.BLESSED,
        Finding(ReasonCode.BLESSED),
        f"/models/taxi/{20 + day}",
        "taxi",
        (dataclasses.replace(binary, digest_verified=True),),
        started.isoformat(),
        20.1,
        model_digest=f"sha256:{day:02}" + "5c" * 31,
        machine=MACHINE,
        signatures=SIGNATURES,
    )


def could_not_test(day: int = 0) -> ValidationReport:
    """No Docker daemon: nothing was started."""
    finding = Finding(ReasonCode.DOCKER_NOT_RUNNING, "Connection refused at /var/run/docker.sock.")
    binary = BinaryReport("tensorflow_serving", IMAGE, "local_docker", False, Verdict.INCONCLUSIVE, finding)
    started = datetime.datetime(2026, 11, 1, 9, 30, tzinfo=datetime.timezone.utc) + datetime.timedelta(days=day)
    return ValidationReport(
        Verdict.INCONCLUSIVE,
        finding,
        "/models/taxi/43",
        "taxi",
        (binary,),
        started.isoformat(),
        0.2,
        machine=MACHINE,
    )


def loaded_only() -> ValidationReport:
    """Blessed, but nothing was asked."""
    one = attempt(1, evidence=Evidence(EvidenceLevel.LOADED), requests_sent=0, measurements=None, server_log="")
    binary = BinaryReport(
        "tensorflow_serving",
        "embedded model server 0.1.0",
        "local_process",
        False,
        Verdict.BLESSED,
        Finding(ReasonCode.BLESSED),
        (one,),
    )
    return dataclasses.replace(blessed(), serving_binaries=(binary,))


def every_kind() -> dict[str, ValidationReport]:
    """One report for each kind of outcome, by a name for it."""
    return {
        "rejected": rejected(),
        "blessed": blessed(),
        "could_not_test": could_not_test(),
        "loaded_only": loaded_only(),
    }
