"""A platform: a process of this machine that gives way to others (``nice``)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import threading
from typing import Any

from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.core.launch_plan import LaunchPlanner
from infra_validator.core.network.held_port import HeldPort
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Observation
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner
from infra_validator.model_server_runners.cleanup.temporary_directory import make, path_for
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog, kill_marked
from infra_validator.specs import ServingSpec
from infra_validator.specs.reader import spec_field


def _level(value: int) -> str | None:
    return None if 0 <= value <= 19 else f"must be from 0 to 19, not {value}"


@dataclasses.dataclass(frozen=True)
class NiceProcessConfig:
    """A process of this machine with a low priority."""

    level: int = spec_field(10, "How much it gives way to others, from 0 to 19.", check=_level)


class NiceProcessRunner(BaseModelServerRunner):
    """Starts ``nice -n LEVEL COMMAND`` in a directory of its own."""

    platform = "acme_nice"
    config_class = NiceProcessConfig

    def __init__(self, model_path: str, serving_binary: LaunchPlanner, serving_spec: ServingSpec) -> None:
        super().__init__(model_path, serving_binary, serving_spec)
        self._config: NiceProcessConfig = serving_spec.platform_config
        self._run_id = os.urandom(8).hex()
        self._directory = path_for(self._run_id)
        self._process: subprocess.Popen[bytes] | None = None
        self._gone: Observation | None = None
        self._port = 0

    def _launch(self) -> None:
        watchdog = Watchdog()  # undoes what is told it should this process be killed
        self.register_cleanup("end the watchdog", lambda deadline: watchdog.close(deadline.remaining()))
        directory = watchdog.remove_tree(self._directory)
        self.register_cleanup(f"remove {self._directory}", lambda _: self._remove(watchdog, directory))
        make(self._run_id)
        server = watchdog.kill_marked(self._mark)
        self.register_cleanup("stop the model server", lambda deadline: self._stop_server(deadline, watchdog, server))
        model = self.plan.model
        os.makedirs(f"{self._directory}/models/{model.name}")
        os.symlink(os.path.abspath(model.source), f"{self._directory}/models/{model.name}/{model.version}")
        values: dict[str, Any] = {
            "bind_address": "127.0.0.1",
            "model_base_path": f"{self._directory}/models/{model.name}",
            "files_dir": self._directory,
            "port_file": f"{self._directory}/ports.json",
            **{name: self._hold_port() for name in ("grpc_port", "rest_port") if self.plan.uses(name)},
        }
        self._port = values.get("grpc_port", 0)
        for name, text in self.plan.file_texts(**values).items():
            with open(f"{self._directory}/{name}", "w") as file:
                file.write(text)
        command = ["nice", "-n", str(self._config.level), *self.plan.command, *self.plan.arguments(**values)]
        name, _, value = self._mark.partition("=")
        try:
            with open(f"{self._directory}/server.log", "wb") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.plan.env, name: value},
                    start_new_session=True,
                )
        except OSError as error:
            raise InfrastructureError(ReasonCode.SERVER_NOT_STARTED, f"{command[0]}: {error.strerror}.") from error
        threading.Thread(target=self._watch, args=(self._process,), daemon=True).start()

    def _look(self) -> Observation:
        if self._gone is not None:
            return self._gone
        if self._process is None:
            return Observation.pending("it is being started")
        if not self._port:
            with contextlib.suppress(OSError, ValueError, KeyError), open(f"{self._directory}/ports.json") as file:
                self._port = int(json.load(file)["grpc"])
        if not self._port:
            return Observation.pending("the server has not told its port yet", ReasonCode.LOAD_TIMEOUT)
        return Observation.running()

    def _find_endpoint(self) -> str:
        return f"127.0.0.1:{self._port}"

    def _tail_logs(self) -> str:
        with open(f"{self._directory}/server.log", "rb") as log:
            log.seek(max(0, os.path.getsize(log.name) - 64_000))
            return log.read().decode("utf-8", "replace")

    # ------------------------------------------------------------------------------------------------ private

    @property
    def _mark(self) -> str:
        return f"ACME_RUN={self._run_id}"

    def _hold_port(self) -> int:
        held = HeldPort()
        self.register_cleanup("release a port", lambda _: held.release())
        return held.port

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Note how the server ended, and announce it: nobody has to wait for the next look."""
        code = process.wait()
        if code < 0:
            self._gone = Observation.gone(ReasonCode.SERVER_KILLED, f"signal {signal.Signals(-code).name}")
        else:
            self._gone = Observation.gone(ReasonCode.SERVER_EXITED, f"exit code {code}")
        self.news.announce()

    def _stop_server(self, deadline: Deadline, watchdog: Watchdog, told: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(deadline.capped(self.stop_grace_seconds).remaining())
        kill_marked(self._mark)  # it, if it ignores SIGTERM, and its children, wherever they went
        if self._process is not None:
            self._process.wait(deadline.remaining())
        watchdog.forget(told)

    def _remove(self, watchdog: Watchdog, told: int) -> None:
        if os.path.lexists(self._directory):
            shutil.rmtree(self._directory)
        watchdog.forget(told)
