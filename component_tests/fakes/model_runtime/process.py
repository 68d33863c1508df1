"""Starts ``infra-validator model-runtime`` as a process, with either backend."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

from component_tests.fakes.servers.embedded_server_process import EmbeddedServerProcess
from infra_validator.core.deadline import Deadline, wait_until

ROOT = pathlib.Path(__file__).parents[3]
_STARTS_WITHIN = 120  # seconds; it takes one


class RuntimeProcess:
    """One running ModelRuntime.

    Attributes:
      target: its management address.
      inference_target: where inference goes.
      server: the TensorFlow Serving that it drives, for that backend.
    """

    def __init__(self, arguments: list[str], directory: pathlib.Path) -> None:
        self.log = directory / "runtime.log"
        port_file = directory / "runtime-port.json"
        command = [sys.executable, "-m", "infra_validator", "model-runtime", "--host", "127.0.0.1", "--port", "0"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port-file", str(port_file), *arguments],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )

        def told() -> int | None:
            assert self.process.poll() is None, self.log.read_text(errors="replace")
            return json.loads(port_file.read_text())["grpc"] if port_file.exists() else None

        try:
            self.target = f"127.0.0.1:{wait_until(told, Deadline.after(_STARTS_WITHIN))}"
        except BaseException:
            self.stop()
            raise
        self.inference_target = self.target
        self.server: subprocess.Popen[bytes] | None = None
        self._arguments, self._directory = arguments, directory

    def again(self) -> RuntimeProcess:
        """Another runtime with the same arguments, after this one was killed without warning."""
        self.process.kill()
        self.process.wait(30)
        (self._directory / "runtime-port.json").unlink()
        return RuntimeProcess(self._arguments, self._directory)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(30)


@contextlib.contextmanager
def running(
    backend: str, model_root: pathlib.Path, directory: pathlib.Path, *arguments: str
) -> Iterator[RuntimeProcess]:
    """A runtime over ``model_root``; for ``tensorflow_serving`` with a server process of our own to drive."""
    with contextlib.ExitStack() as stack:
        more = ["--model-root", str(model_root), "--backend", backend, *arguments]
        serving, server = "", None
        if backend == "tensorflow_serving":
            (directory / "empty.config").write_text("model_config_list {}")
            flags = [
                "--model_config_file=" + str(directory / "empty.config"),
                f"--port_file={directory / 'ports.json'}",
            ]
            flags += [
                "--max_num_load_retries=0",
                "--num_load_threads=4",
                "--num_unload_threads=4",
                "--bind_address=127.0.0.1",
            ]
            server = EmbeddedServerProcess(flags, directory)
            stack.callback(server.process.wait, 30)
            stack.callback(server.process.kill)
            serving = f"127.0.0.1:{server.ports()['grpc']}"
            more += ["--server-address", serving, "--adapted-root", str(directory / "adapted")]
        runtime = RuntimeProcess(more, directory)
        stack.callback(runtime.stop)
        runtime.inference_target = serving or runtime.target
        runtime.server = server.process if server else None
        yield runtime
