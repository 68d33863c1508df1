"""Models and programs of strangers in a container: what docs/security.md says that it contains."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from component_tests.fakes.hostile_model import Asking, Listener
from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker.test_hardening import SERVE, image, spec
from component_tests.real_platforms.docker_images import build
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import ValidationReport

pytestmark = pytest.mark.docker

R = ReasonCode
STRICT = {"pull_policy": "never", "hardening": "strict", "memory_limit": "1g", "cpus": 1}


@pytest.fixture
def ask(tmp_path: pathlib.Path, saved_models: SavedModels) -> Asking:
    """Asks the model of strangers, in a container under all restrictions."""
    build.serving("hostile")
    where = {"tensorflow_serving": {"tags": ["hostile"]}, "local_docker": STRICT}
    return Asking(tmp_path, saved_models.copy("hostile", tmp_path / "model"), where)


def reason(report: ValidationReport) -> ReasonCode:
    return report.finding.reason


# -------------------------------------------------------------------- models


def test_a_model_reads_the_images_files_and_none_of_the_hosts(tmp_path: pathlib.Path, ask: Asking) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a token of somebody's")
    assert reason(ask("read", path=str(secret))) is R.REQUEST_FAILED
    assert reason(ask("read", path="/etc/hostname")) is R.BLESSED  # the container's own


def test_a_model_writes_nothing_but_its_own_tmp(ask: Asking) -> None:
    before = sorted(str(path) for path in ask.model.rglob("*"))
    base = "/models/infra-validation-model/1"
    assert reason(ask("write", path=f"{base}/assets/more", content="x")) is R.REQUEST_FAILED
    assert reason(ask("write", path="/usr/bin/more", content="x")) is R.REQUEST_FAILED
    assert reason(ask("merge", source=f"{base}/variables/variables", target="/tmp/taken")) is R.REQUEST_FAILED
    assert reason(ask("write", path="/tmp/more", content="x")) is R.BLESSED
    assert sorted(str(path) for path in ask.model.rglob("*")) == before


def test_a_model_that_takes_all_memory_takes_its_own(ask: Asking) -> None:
    assert reason(ask("hungry", mebibytes=8000)) in (R.SERVER_OUT_OF_MEMORY, R.REQUEST_FAILED)


def test_a_model_that_never_ends_is_ended(ask: Asking) -> None:
    assert reason(ask("spin", {"max_query_time_seconds": 3}, start=1.0)) is R.QUERY_TIMEOUT


def test_a_model_that_takes_all_processors_is_ended(ask: Asking) -> None:
    assert reason(ask("burn", {"max_query_time_seconds": 3}, start=1.0)) is R.QUERY_TIMEOUT


def test_a_model_reaches_the_containers_network_and_not_what_listens_on_the_hosts_loopback(ask: Asking) -> None:
    """The bridge's gateway is the host: what listens there is reached, as is whatever is routed. Not contained."""
    # Asked of a container: a daemon that was never started before does not tell it.
    route = build.docker("run", "--rm", build.busybox(), "ip", "route")
    gateway = re.findall(r"^default via (\S+)", route, re.MULTILINE)[0]
    with Listener(gateway) as reached, Listener("127.0.0.1") as not_reached:
        report = ask("dial", address=f"{gateway}:{reached.port}")
        assert reason(report) is R.REQUEST_FAILED, report.finding
        assert any("DispatcherService" in method for method in reached.called)
        report = ask("dial", {"max_query_time_seconds": 10}, address=f"127.0.0.1:{not_reached.port}")
        assert reason(report) in (R.QUERY_TIMEOUT, R.REQUEST_FAILED), report.finding  # TensorFlow goes on trying
        assert not_reached.called == []


def test_a_model_takes_no_more_descriptors_than_its_server_has(ask: Asking) -> None:
    name, tag = image("few-descriptors", f"ulimit -n 1024; {SERVE}")
    ask.serving_spec = {"tensorflow_serving": {"image_name": name, "tags": [tag]}, "local_docker": STRICT}
    report = ask("descriptors", path="/etc/passwd", files=4000)
    assert reason(report) is R.REQUEST_FAILED
    assert "Too many open files" in report.finding.detail


def test_a_model_takes_no_more_threads_than_pids_limit(ask: Asking) -> None:
    ask.serving_spec = {**ask.serving_spec, "local_docker": {**STRICT, "pids_limit": 300}}
    report = ask("threads", number=3000)
    assert reason(report) is R.SERVER_KILLED
    assert "SIGABRT" in report.finding.detail


# -------------------------------------------------------------------- programs


def said(name: str, script: str, saved_models: SavedModels, **config: Any) -> tuple[ReasonCode, str]:
    """What becomes of a program as the server, and its log."""
    hostile = spec(name, script, hardening="strict", log_tail_lines=500, **config)
    report: ValidationReport = run_validation(saved_models.path("half_plus_two"), hostile, {"num_tries": 1})
    (attempt,) = report.serving_binaries[0].attempts
    assert attempt.left_behind == ()
    return report.finding.reason, attempt.server_log


def test_a_program_has_no_rights_and_forks_up_to_its_limit(saved_models: SavedModels) -> None:
    script = (
        "( : >> /proc/sys/kernel/core_pattern ) 2>/dev/null && echo changes the kernel; "
        "grep -E 'CapEff|NoNewPrivs' /proc/self/status; for i in $(seq 200); do sleep 60 & done; echo survived; exit 3"
    )
    became, log = said("forks", script, saved_models, pids_limit=64)
    assert became is R.SERVER_EXITED
    assert "Resource temporarily unavailable" in log, log
    assert "0000000000000000" in log, log
    assert "NoNewPrivs:\t1" in log, log
    assert "changes the kernel" not in log, log


def test_a_program_gets_no_more_of_the_processors_than_cpus_says(saved_models: SavedModels) -> None:
    """Its control group says how much it may have, and that it was held up where it wanted more."""
    script = (
        "for i in 1 2; do (while :; do :; done) & done; cd /sys/fs/cgroup; "
        "until grep -Eqs 'nr_throttled [1-9]' cpu.stat cpu/cpu.stat; do sleep 0.1; done; "
        "cat cpu.max cpu/cpu.cfs_quota_us 2>/dev/null; echo throttled; exit 3"
    )
    became, log = said("burns", script, saved_models, cpus=0.5)
    assert became is R.SERVER_EXITED
    assert "throttled" in log, log
    assert re.search(r"^50000( 100000)?$", log, re.MULTILINE), log


def test_what_a_program_writes_is_memory(saved_models: SavedModels) -> None:
    """Whatever is mounted: nothing that can be written is on a disk of the host's, and what is in memory counts."""
    script = (
        "while read -r device where type rest; do "
        '[ "$type" = proc ] && continue; '
        '{ [ -d "$where" ] && touch "$where/new" || { [ -f "$where" ] && : >> "$where"; }; } 2>/dev/null '
        '&& echo "written $type $where"; done < /proc/mounts; '
        "head -c 400M /dev/zero > /tmp/big; echo head $?; exit 3"
    )
    became, log = said("writes", script, saved_models, memory_limit="128m")
    written = [line.split()[1:] for line in log.splitlines() if line.startswith("written ")]
    assert ["tmpfs", "/tmp"] in written, log
    assert {kind for kind, _ in written} <= {"tmpfs", "mqueue"}, log
    assert became is R.SERVER_OUT_OF_MEMORY or "head 137" in log, log
    assert "head 0" not in log, log
