"""Real pipelines with TFX's LocalDagRunner and its stock Pusher."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest

from component_tests.component.tfx.test_executor import misbehaving
from component_tests.fakes.saved_models import ROOT, SavedModels
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.reason_codes import ReasonCode

pytestmark = [pytest.mark.tfx, pytest.mark.slow]


class Demo:
    """The demo pipeline in one directory."""

    def __init__(self, directory: pathlib.Path) -> None:
        from pipelines.local import data

        self.directory = directory
        data.write_csv(directory / "data", rows=60)

    def run(self, **changes: Any) -> None:
        from tfx import v1 as tfx

        from pipelines.local.pipeline import create_pipeline

        tfx.orchestration.LocalDagRunner().run(create_pipeline("demo", self.directory, **changes))

    def outcome(self) -> Any:
        from pipelines.outcome import read_outcome

        return read_outcome(self.directory / "metadata.sqlite")

    def pushed(self) -> list[pathlib.Path]:
        pushed = self.directory / "pushed"
        return sorted(pushed.iterdir()) if pushed.exists() else []

    def states(self, component: str = "InfraValidator") -> list[str]:
        """The state of every execution of a component, oldest first."""
        from ml_metadata.metadata_store import metadata_store
        from ml_metadata.proto import metadata_store_pb2

        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.directory / "metadata.sqlite")
        store = metadata_store.MetadataStore(config)
        types = [kind.name for kind in store.get_execution_types() if kind.name.endswith(component)]
        executions = sorted(store.get_executions_by_type(types[0]), key=lambda execution: execution.id) if types else []
        return [str(metadata_store_pb2.Execution.State.Name(execution.last_known_state)) for execution in executions]


def test_pushed_then_cached_then_a_model_that_no_server_can_serve(tmp_path: pathlib.Path) -> None:
    demo = Demo(tmp_path)
    demo.run()
    outcome = demo.outcome()
    assert outcome.blessed
    assert outcome.pushed_to == demo.pushed()[0]
    assert outcome.line() == f"blessed: pushed to {demo.pushed()[0]}"
    assert (demo.pushed()[0] / "saved_model.pb").exists()

    demo.run()
    assert demo.states() == ["COMPLETE", "CACHED"]

    demo.run(python_in_graph=True)
    outcome = demo.outcome()
    assert not outcome.blessed
    assert outcome.pushed_to is None
    assert outcome.line() == f"not blessed: {outcome.reason_code}, not pushed"
    assert len(demo.pushed()) == 1
    assert demo.states() == ["COMPLETE", "CACHED", "COMPLETE"]


def test_what_could_not_be_tested_fails_the_pipeline_and_another_server_is_another_test(tmp_path: pathlib.Path) -> None:
    demo = Demo(tmp_path)
    binary = tmp_path / "model_server"
    spec = {"tensorflow_serving": {}, "local_process": {"binary_path": str(binary)}}
    with pytest.raises(InfrastructureError) as caught:
        demo.run(serving_spec=spec)
    assert caught.value.reason is ReasonCode.BINARY_NOT_FOUND
    assert demo.states() == ["FAILED"]
    assert demo.pushed() == []

    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m infra_validator.embedded_server "$@"\n')
    binary.chmod(0o755)
    demo.run(serving_spec=spec)
    assert demo.states() == ["FAILED", "COMPLETE"]
    assert demo.outcome().blessed

    demo.run(serving_spec=spec)
    assert demo.states() == ["FAILED", "COMPLETE", "CACHED"]
    binary.write_text(f"{binary.read_text()}# another server under the same name\n")
    demo.run(serving_spec=spec)
    assert demo.states() == ["FAILED", "COMPLETE", "CACHED", "COMPLETE"]


def test_the_driver_refuses_a_broken_spec_that_only_the_run_shows(tmp_path: pathlib.Path) -> None:
    from tfx.orchestration.data_types import RuntimeParameter

    broken = '{"tensorflow_serving": {}, "local_proces": {}}'
    demo = Demo(tmp_path)
    with pytest.raises(SpecError, match="Did you mean 'local_process'"):
        demo.run(serving_spec=RuntimeParameter(name="serving_spec", ptype=str, default=broken))
    assert "COMPLETE" not in demo.states()
    assert list((tmp_path / "root").glob("InfraValidator/blessing/*/verdict.json")) == []  # the executor was not called
    assert demo.pushed() == []


@pytest.mark.timeout(900)  # another process imports TFX
def test_sigterm_while_it_waits_cleans_up_and_fails_the_execution(
    tmp_path: pathlib.Path, saved_models: SavedModels
) -> None:
    spec = misbehaving(tmp_path, "mute")
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import pathlib, sys
            sys.path.insert(0, {str(ROOT)!r})
            from component_tests.component.tfx.test_pipeline import Demo
            Demo(pathlib.Path({str(tmp_path)!r})).run(serving_spec={spec!r}, validation_spec={{"max_loading_time_seconds": 600}})
            """
        )
    )
    measured = ("PYTHONPATH", "COVERAGE_PROCESS_START")  # what is measured answers SIGTERM itself
    environment = {name: value for name, value in os.environ.items() if name not in measured}
    environment |= {"TMPDIR": str(tmp_path / "tmp"), "PYTHONWARNINGS": "ignore"}
    (tmp_path / "tmp").mkdir()
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, str(script)], stdout=output, stderr=output, env=environment)
    try:
        until(lambda: servers(tmp_path) != [] or process.poll() is not None, 600, log)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) != 0
    finally:
        process.kill()
        process.wait()
    assert "INTERRUPTED" in log.read_text()
    until(lambda: servers(tmp_path) == [], 5, log)
    assert Demo(tmp_path).states() == ["FAILED"]
    assert [path for path in (tmp_path / "tmp").iterdir() if "infra-validator" in path.name] == []


def servers(directory: pathlib.Path) -> list[int]:
    """The processes that run a server of ``directory`` or work in it, by what stands in their environment and command lines."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                environment = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "misbehaving_servers" in command and str(directory / "tmp") in environment + command:
                found.append(int(entry.name))
    return found


def until(holds: Any, seconds: float, log: pathlib.Path) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in {seconds} s; the log ends with:\n{log.read_text()[-3000:]}"
        time.sleep(0.05)
