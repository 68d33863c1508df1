"""The fault matrix as a table: for each cell what a validation must say, and how long it may take.

A cell is a platform, a phase and a fault. What is expected depends on the phase and the fault; where a platform makes a difference, that
stands in ``Cell.on``. A cell's time bound is one of its limits (which it is meant to reach) or none at all: nothing depends on being quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from component_tests.fakes.servers.faulty_server import PHASES
from infra_validator.core.reason_codes import Blames
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.report.verdict import Verdict

PLATFORMS = ("local_process", "kubernetes", "local_docker")

BLESSED = frozenset({R.BLESSED})
NOT_ANSWERING = {
    "starting": frozenset({R.LOAD_TIMEOUT, R.SERVER_UNHEALTHY}),
    "loading": frozenset({R.LOAD_TIMEOUT, R.SERVER_UNHEALTHY}),
    "loaded": frozenset({R.QUERY_TIMEOUT, R.LOAD_TIMEOUT}),
    "querying": frozenset({R.QUERY_TIMEOUT}),
    "answered": frozenset({R.SERVER_UNHEALTHY}),
}
NOT_UNDERSTOOD = {
    "starting": frozenset({R.SERVER_UNHEALTHY}),
    "loading": frozenset({R.SERVER_UNHEALTHY}),
    "loaded": frozenset({R.CONNECTION_LOST, R.SERVER_UNHEALTHY, R.QUERY_TIMEOUT}),
    "querying": frozenset({R.CONNECTION_LOST, R.SERVER_UNHEALTHY, R.QUERY_TIMEOUT}),
    "answered": frozenset({R.SERVER_UNHEALTHY}),
}
#: What a validator may say that has nothing left to work with: nothing that blames the model.
NOT_THE_MODEL = frozenset(reason for reason in R if reason.blames is Blames.INFRASTRUCTURE)
UNREACHABLE = frozenset({R.KUBERNETES_UNREACHABLE})
NO_SPACE = frozenset({R.NO_SPACE})
SHORT = 3.0  # a limit that is meant to be reached
LONG = 300.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
      platform, phase, fault: its place.
      reasons: the reason codes that are right.
      limits: of the validation spec.
    """

    platform: str
    phase: str
    fault: str
    reasons: frozenset[R]
    limits: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.platform}-{self.phase}-{self.fault}"

    @property
    def validation_spec(self) -> dict[str, Any]:
        limits = {"max_loading_time_seconds": LONG, "max_query_time_seconds": LONG, "num_tries": 1}
        return {**limits, "stop_grace_seconds": 0.5, **self.limits}


def verdict_for(reason: R) -> Verdict:
    """Whom a reason blames decides the verdict."""
    blamed = {"nobody": Verdict.BLESSED, "model": Verdict.NOT_BLESSED}
    return blamed.get(reason.blames.value, Verdict.INCONCLUSIVE)


def server_faults() -> Iterator[Cell]:
    """What the server itself does, on every platform."""
    ends = {
        "exit_0": R.SERVER_EXITED,
        "exit_1": R.SERVER_EXITED,
        "segv": R.SERVER_KILLED,
        "oom": R.SERVER_OUT_OF_MEMORY,
    }
    harmless = ("slow", "log_flood", "stop_and_continue", "fork", "fd_exhaustion", "cut_and_healed")
    for platform in PLATFORMS:
        for phase in PHASES:
            for fault, reason in ends.items():
                if fault == "oom" and platform == "kubernetes":
                    continue  # the pods of the fake cluster have no control group; test_platform_faults.py has the kernel's word for it
                reasons = BLESSED if phase == "stopping" else frozenset({reason})
                yield Cell(platform, phase, fault, reasons)
            for fault, right in (("hang", NOT_ANSWERING), ("half_open", NOT_ANSWERING), ("garbage", NOT_UNDERSTOOD)):
                short = "max_loading_time_seconds" if phase in ("starting", "loading") else "max_query_time_seconds"
                # Garbage at loading ends by itself, after some seconds of nothing else.
                limits = {} if fault == "garbage" and phase in ("starting", "loading") else {short: SHORT}
                yield Cell(platform, phase, fault, right.get(phase, BLESSED), limits)
            for fault in harmless:
                reasons = BLESSED
                if fault == "fd_exhaustion" and phase == "starting":
                    reasons = NOT_ANSWERING[phase]
                limits = {"max_loading_time_seconds": SHORT} if reasons is not BLESSED else {}
                yield Cell(platform, phase, fault, reasons, limits)


def executor_faults() -> Iterator[Cell]:
    """What befalls the validator. ``prepare`` and ``schedule`` are phases of the attempt, the others the server's."""
    interrupted = frozenset({R.INTERRUPTED})
    for platform in PLATFORMS:
        for phase in ("prepare", "schedule", *PHASES):
            late = interrupted | BLESSED if phase == "stopping" else interrupted
            for fault in ("sigterm", "sigint"):
                yield Cell(platform, phase, fault, late)
            for fault in ("stop_and_continue", "fork", "second_validator", "clock_jump"):
                yield Cell(platform, phase, fault, BLESSED)
            for fault in ("sigkill", "sigkill_of_the_watchdog_too"):
                yield Cell(platform, phase, fault, frozenset())
            yield Cell(platform, phase, "no_descriptors", BLESSED | NOT_THE_MODEL)


def platform_faults() -> Iterator[Cell]:
    """What the platform does, or somebody on it."""
    ends = {
        "local_process": {"killed": R.SERVER_KILLED},
        "kubernetes": {
            "killed": R.SERVER_KILLED,
            "oom_killed": R.SERVER_OUT_OF_MEMORY,
            "deleted": R.JOB_ABORTED,
            "evicted": R.JOB_ABORTED,
            "node_lost": R.JOB_ABORTED,
        },
        "local_docker": {"killed": R.JOB_ABORTED, "deleted": R.JOB_ABORTED},
    }
    absences = {
        "local_process": (),
        "kubernetes": ("away_and_back", "answers_500", "answers_429", "answers_410", "streams_cut"),
        "local_docker": ("away_and_back", "streams_cut"),
    }
    for platform in PLATFORMS:
        for phase in PHASES:
            for fault, reason in ends[platform].items():
                reasons = BLESSED if phase == "stopping" else frozenset({reason})
                if (platform, fault) == ("kubernetes", "killed") and phase in ("starting", "loading"):
                    reasons = (
                        BLESSED  # nobody there knows who did it: tried once more without the hardening, and that serves
                    )
                if phase == "answered" and fault in ("evicted", "node_lost"):
                    reasons |= BLESSED  # the last answer may be heard before the cluster's word
                yield Cell(platform, phase, fault, reasons, _time_to_stop(phase))
            yield Cell(platform, phase, "paused_and_unpaused", BLESSED, _time_to_stop(phase))
            if platform == "local_docker" and phase in ("loaded", "querying", "answered"):
                yield Cell(platform, phase, "paused", NOT_ANSWERING[phase], {"max_query_time_seconds": 4 * SHORT})
        for phase in ("prepare", "schedule", *PHASES):
            for fault in absences[platform]:
                yield Cell(platform, phase, fault, BLESSED, {"num_tries": 5, **_time_to_stop(phase)})


def _time_to_stop(phase: str) -> dict[str, float]:
    """A server that stands still while it stops is not killed before the fault has struck."""
    return {"stop_grace_seconds": LONG} if phase == "stopping" else {}


def resource_faults() -> Iterator[Cell]:
    """What a validator's machine lacks, and loses."""
    for platform in ("local_process", "local_docker"):
        for phase in PHASES:
            yield Cell(platform, phase, "network_cut_and_healed", BLESSED, _time_to_stop(phase))
            if phase in ("loaded", "querying", "answered"):
                yield Cell(platform, phase, "network_cut", NOT_ANSWERING[phase], {"max_query_time_seconds": 4 * SHORT})
            if platform == "local_process":
                yield Cell(platform, phase, "log_flood_on_full_disk", BLESSED)
        for phase in ("prepare", "schedule", "starting", "loading"):
            yield Cell(platform, phase, "disk_full", BLESSED | NO_SPACE)
    for phase in ("prepare", "schedule", *PHASES):
        limits = {"max_loading_time_seconds": 4 * SHORT, "max_query_time_seconds": 4 * SHORT}
        yield Cell("kubernetes", phase, "network_cut_and_healed", BLESSED, _time_to_stop(phase))
        yield Cell("kubernetes", phase, "network_cut", BLESSED if phase == "stopping" else UNREACHABLE, limits)
    for platform in PLATFORMS:
        yield Cell(platform, "prepare", "read_only_temporary_directory", BLESSED | NOT_THE_MODEL)
        for phase in ("prepare", "schedule", "starting", "loading", "querying", "stopping"):
            yield Cell(platform, phase, "no_threads", BLESSED | NOT_THE_MODEL, _time_to_stop(phase))


def daemon_faults() -> Iterator[Cell]:
    """What a daemon does that is really restarted: with ``live-restore`` its containers live on, without they end."""
    for fault in ("daemon_killed", "daemon_killed_live_restore"):
        for phase in ("prepare", "schedule", *PHASES):
            ends = fault == "daemon_killed" and phase in PHASES and phase != "stopping"
            reasons = frozenset({R.JOB_ABORTED}) if ends else BLESSED
            tries = {} if phase in PHASES else {"num_tries": 5}  # nothing runs yet that could live on
            yield Cell("local_docker", phase, fault, reasons, {**tries, **_time_to_stop(phase)})
