"""A model, or a file that a spec names, that changes while it is validated; with a real server."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator import ReasonCode, Verdict, run_validation
from infra_validator.core.sample_request import SampleRequest
from infra_validator.sample_requests.files.requests_file import requests_from_file
from infra_validator.saved_model.digest import model_digest
from infra_validator.saved_model.graph import read_graph

EMBEDDED: dict[str, Any] = {"tensorflow_serving": {}, "local_process": {}, "model_name": "m"}


class Requests:
    """Two requests; between them, in the attempt, something happens."""

    def __init__(self, model: pathlib.Path, folder: pathlib.Path) -> None:
        self._model = model
        self._file = folder / "requests.json"
        self._file.write_text('{"instances": [1.0]}')
        self._calls = 0

    def happens(self) -> None:
        """What happens while the server runs."""

    def __call__(self) -> Iterator[SampleRequest]:
        self._calls += 1
        graph = read_graph(str(self._model))
        yield from requests_from_file(str(self._file), graph.signatures, "m", ["serving_default"])
        if self._calls > 1:  # the first call is the look before anything is started
            self.happens()
        yield from requests_from_file(str(self._file), graph.signatures, "m", ["serving_default"])


def test_a_model_that_nobody_touches_is_blessed_with_the_digest_that_was_served(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    model = saved_models.copy("half_plus_two", tmp_path)
    report = run_validation(model, EMBEDDED, requests=Requests(model, tmp_path))
    assert report.blessed
    assert report.model_digest == model_digest(str(model))
    assert report.evidence.digest_verified
    assert report.evidence.requests == 2


def test_a_model_that_changes_meanwhile_is_inconclusive(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    model = saved_models.copy("half_plus_two", tmp_path)

    class Changing(Requests):
        def happens(self) -> None:
            (model / "variables" / "variables.index").write_bytes(b"another")

    report = run_validation(model, EMBEDDED, requests=Changing(model, tmp_path))
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.MODEL_CHANGED)
    assert "variables/variables.index has another content" in report.finding.sentence
    assert report.model_digest == ""


def test_a_rejection_of_a_model_that_was_changing_blames_nobody(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    model = saved_models.copy("half_plus_two", tmp_path)

    class Changing(Requests):
        def happens(self) -> None:
            (model / "one_more").write_bytes(b"")

        def __call__(self) -> Iterator[SampleRequest]:
            for request in super().__call__():
                yield dataclasses.replace(request, payload=b"\xff")  # no server takes it

    report = run_validation(model, EMBEDDED, requests=Changing(model, tmp_path), request_spec={"concurrency": 4})
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.MODEL_CHANGED)


def test_a_binary_that_is_exchanged_meanwhile_is_inconclusive(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    model = saved_models.copy("half_plus_two", tmp_path)
    program = tmp_path / "server"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m infra_validator.embedded_server "$@"\n'
    )
    program.chmod(0o755)

    class Exchanging(Requests):
        def happens(self) -> None:
            shutil.copy("/bin/true", f"{program}.new")
            pathlib.Path(f"{program}.new").replace(program)

    spec = {**EMBEDDED, "local_process": {"binary_path": str(program)}}
    report = run_validation(model, spec, requests=Exchanging(model, tmp_path))
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.MODEL_CHANGED)
    assert "serving_spec.local_process.binary_path" in report.finding.sentence


def test_a_generator_object_is_told_to_be_used_up_and_not_taken_for_all_requests(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    model = saved_models.path("half_plus_two")
    made_before = Requests(model, tmp_path)()
    report = run_validation(model, EMBEDDED, requests=lambda: made_before)
    assert (report.verdict, report.finding.reason) == (Verdict.INCONCLUSIVE, ReasonCode.BAD_REQUESTS)
    assert "the same iterator twice" in report.finding.sentence
