"""What the tests on real servers of the Open Inference Protocol have in common."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from infra_validator import run_validation, serving
from infra_validator.cli.main import main
from infra_validator.report.verdict import ValidationReport

#: Points of the conformance over REST for a server that does not say that it has the binary data extension.
NO_BINARY_DATA = {"infer-raw": "not judged", "both-contents": "not judged"}


def validated(model: pathlib.Path, spec: dict[str, Any], seconds: float = 600, **answers: Any) -> ValidationReport:
    """One try with five requests, one of them a batch.

    Args:
      seconds: the limit of loading.
      answers: how the answers are looked at.
    """
    limits = {"num_tries": 1, "max_loading_time_seconds": seconds, "answers": answers}
    return run_validation(model, spec, limits, {"generate": {}, "num_examples": 4, "batch_sizes": [1, 4]})


def said(report: ValidationReport) -> str:
    """Why it was decided so, and the server's log."""
    return f"{report.finding}\n{report.serving_binaries[0].server_log}"


def departures(
    model: pathlib.Path, spec: dict[str, Any], tensor: str, capsys: pytest.CaptureFixture[str]
) -> dict[str, str]:
    """What the conformance command says of a spec's server in the spec's protocol, but for the points that passed."""
    protocol = spec["open_inference"].get("protocol", "grpc")
    with serving(model, spec) as server:
        asked = ["--target", server.grpc_address, "--protocol", protocol, "--model-name", spec["model_name"]]
        main(["conformance", "open-inference", *asked, "--input", tensor, "--format", "json"])
    told = json.loads(capsys.readouterr().out)
    assert len(told["points"]) > 10
    return {point["name"]: point["outcome"] for point in told["points"] if point["outcome"] != "passed"}
