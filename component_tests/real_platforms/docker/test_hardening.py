"""Images that do not bear what we hold a container to: never the model's fault."""

from __future__ import annotations

import json
from typing import Any

import pytest

from component_tests.fakes.saved_models import SavedModels
from component_tests.real_platforms.docker_images import build
from infra_validator.api import run_validation
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.report.verdict import Verdict

pytestmark = pytest.mark.docker

SERVE = 'exec /usr/bin/tf_serving_entrypoint.sh "$@"'

#: Entry points as their authors wrote them, and what we say of each.
ENTRY_POINTS = {
    "chowns": (f"touch /tmp/x && chown 65534 /tmp/x && {SERVE}", "no capabilities or no new privileges"),
    "becomes-somebody": (
        'exec setpriv --reuid=65534 --clear-groups /usr/bin/tf_serving_entrypoint.sh "$@"',
        "no capabilities or no new privileges",
    ),
    "knows-its-arguments": (
        f'for a in "$@"; do case "$a" in --max_num_load_retries*) echo "unknown: $a"; exit 1;; esac; done; {SERVE}',
        "--max_num_load_retries=0",
    ),
    "writes-to-its-root": (f"echo here > /root/log || exit 1; {SERVE}", "a read-only root file system"),
}


def image(name: str, script: str) -> tuple[str, str]:
    """(name, tag) of an image of the server with this entry point."""
    entry = json.dumps(["/bin/bash", "-c", script, "entry"])
    full = build.variant(f"entry-{name}", build.serving(), f"ENTRYPOINT {entry}")
    built, _, tag = full.rpartition(":")
    return built, tag


def spec(name: str, script: str, **config: Any) -> dict[str, Any]:
    built, tag = image(name, script)
    return {
        "tensorflow_serving": {"image_name": built, "tags": [tag]},
        "local_docker": {"pull_policy": "never", **config},
        "model_name": "m",
    }


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_it_is_validated_as_its_author_made_it_and_the_report_says_so(name: str, saved_models: SavedModels) -> None:
    script, said = ENTRY_POINTS[name]
    report = run_validation(saved_models.path("half_plus_two"), spec(name, script), {"num_tries": 1})
    assert report.verdict is Verdict.BLESSED, report.finding
    (binary,) = report.serving_binaries
    hardened, relaxed = binary.attempts
    assert hardened.restrictions
    assert not relaxed.restrictions
    assert not report.flaky
    assert any("does not bear" in warning and said in warning for warning in report.warnings), report.warnings


def test_strict_rejects_such_an_image(saved_models: SavedModels) -> None:
    strict = spec("chowns", ENTRY_POINTS["chowns"][0], hardening="strict")
    report = run_validation(saved_models.path("half_plus_two"), strict, {"num_tries": 1})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_EXITED)
    assert len(report.serving_binaries[0].attempts) == 1


def test_image_needs_one_attempt(saved_models: SavedModels) -> None:
    plain = spec("chowns", ENTRY_POINTS["chowns"][0], hardening="image")
    report = run_validation(saved_models.path("half_plus_two"), plain, {"num_tries": 1})
    assert report.verdict is Verdict.BLESSED, report.finding
    assert len(report.serving_binaries[0].attempts) == 1


def test_a_server_that_ends_either_way_is_judged(saved_models: SavedModels) -> None:
    report = run_validation(saved_models.path("half_plus_two"), spec("ends", "echo no; exit 3"), {"num_tries": 5})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.SERVER_EXITED)
    assert [bool(attempt.restrictions) for attempt in report.serving_binaries[0].attempts] == [True, False]


def test_a_model_that_cannot_be_loaded_is_not_tried_twice(saved_models: SavedModels) -> None:
    report = run_validation(saved_models.path("unknown_op"), spec("plain", SERVE), {"num_tries": 5})
    assert (report.verdict, report.finding.reason) == (Verdict.NOT_BLESSED, ReasonCode.OP_NOT_REGISTERED)
    assert len(report.serving_binaries[0].attempts) == 1
