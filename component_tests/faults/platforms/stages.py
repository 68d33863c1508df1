"""The platforms of the fault matrix: what a validation on each is told, what it leaves there, and who clears up for a dead validator."""

from __future__ import annotations

import abc
import contextlib
import os
import pathlib
import shlex
import signal
import sys
import tempfile
from typing import Any
from urllib.parse import urlsplit

from component_tests.fakes.kubernetes_api import FakeCluster, Image
from component_tests.fakes.kubernetes_pods import SERVER, SHELL
from component_tests.fakes.servers.faulty_server import FAULTS, PHASES
from component_tests.fakes.servers.relay import relaying
from component_tests.faults.cells import Cell
from component_tests.faults.platforms.namespaces import CabledNetwork
from component_tests.real_platforms.docker.daemons import daemon_url
from component_tests.real_platforms.docker_images import build
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded
from infra_validator.model_server_runners.cleanup.watchdog import kill_marked, marked_processes
from infra_validator.model_server_runners.kubernetes.causes import SERVER_CONTAINER

ROOT = pathlib.Path(__file__).parents[3]
PROGRAM = ("component_tests.fakes.servers.faulty_server",)
PATIENCE = 240.0  # how long anything may take that must happen in the end, on a busy machine


class Stage(abc.ABC):
    """One platform with a faulty server on it, for one cell.

    Args:
      directory: a new directory; ``temporary`` in it is the validation's TMPDIR, ``faults`` what the server shares with the test.
      model: a good model.
    """

    name: str

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        self.model = model
        self.temporary = directory / "temporary"
        self.faults = directory / "faults"
        for made in (self.temporary, self.faults):
            made.mkdir()
            made.chmod(0o777)  # a container's user is another one

    def plan(self, phase: str, fault: str) -> None:
        """What the server does when."""
        assert phase in (*PHASES, "never")
        assert fault in FAULTS
        (self.faults / "plan").write_text(f"{phase} {fault}\n")

    def wait_for(self, phase: str, alive: Any = lambda: True) -> None:
        """Wait until the server, or the validator, has got there. ``alive`` raises or is false when it never will."""
        wait_until(lambda: (self.faults / f"{phase}.reached").exists() or not alive() or None, Deadline.after(PATIENCE))
        assert (self.faults / f"{phase}.reached").exists(), f"it ended before it was {phase}"

    def go(self) -> None:
        """Whoever stands still goes on."""
        (self.faults / "go").touch()

    @abc.abstractmethod
    def spec(self) -> dict[str, Any]:
        """The serving spec."""

    @abc.abstractmethod
    def things(self) -> list[str]:
        """What is there of the validation on the platform at this moment: processes, containers, pods."""

    @abc.abstractmethod
    def signal(self, number: int) -> None:
        """Somebody else sends the server a signal."""

    @abc.abstractmethod
    def pause(self) -> None:
        """The server stands still."""

    @abc.abstractmethod
    def unpause(self) -> None:
        """It goes on."""

    @property
    def gc(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """The arguments of ``infra-validator gc`` here, and its environment."""
        return (), {}

    def leftovers(self) -> list[str]:
        """What is there at this moment, temporary files included."""
        return [*self.things(), *(f"file {path}" for path in self.temporary.iterdir())]

    def left(self) -> list[str]:
        """What is still there in the end, of what went away by itself meanwhile."""
        there: list[str] = []

        def nothing() -> bool | None:
            there[:] = self.leftovers()
            return not there or None

        try:
            wait_until(nothing, Deadline.after(30))
        except DeadlineExceeded:
            pass
        return there

    def close(self) -> None:
        """At the end of the cell, after ``left``."""
        self.go()


class LocalProcess(Stage):
    name = "local_process"

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        super().__init__(directory, model)
        self._binary = directory / "tensorflow_model_server"
        server = shlex.join([sys.executable, "-m", *PROGRAM])
        self._binary.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {server} "$@"\n')
        self._binary.chmod(0o755)

    def spec(self) -> dict[str, Any]:
        process = {"binary_path": str(self._binary), "env": {"FAULTS": str(self.faults)}, "memory_limit": "600m"}
        return {"tensorflow_serving": {}, "local_process": process, "model_name": "m"}

    def things(self) -> list[str]:
        return [f"process {pid}" for pid in marked_processes(f"FAULTS={self.faults}")]

    def signal(self, number: int) -> None:
        (pid,) = [int(thing.split()[1]) for thing in self.things()]
        os.kill(pid, number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def unpause(self) -> None:
        self.signal(signal.SIGCONT)


class Kubernetes(Stage):
    name = "kubernetes"

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        super().__init__(directory, model)
        program = (sys.executable, "-m", *PROGRAM, "+--bind_address={ip}")
        env = {"PYTHONPATH": str(ROOT), "FAULTS": str(self.faults)}
        self.cluster = FakeCluster(images={"faulty:1": Image({SERVER: program, **SHELL}, env=env)})
        self.cluster.__enter__()
        self._kubeconfig = self.cluster.kubeconfig(directory)

    def spec(self) -> dict[str, Any]:
        where = {"kubeconfig": self._kubeconfig, "model": {"host_path": {"path": str(self.model)}}}
        serving = {"image_name": "faulty", "tags": ["1"]}
        return {"tensorflow_serving": serving, "kubernetes": where, "model_name": "m"}

    def things(self) -> list[str]:
        return [f"pod {name}" for name in self.pods()]

    def pods(self) -> list[str]:
        """The names of the pods."""
        return [pod["metadata"]["name"] for pod in self.cluster.pods()]

    def signal(self, number: int, reason: str = "") -> None:
        self.cluster.kill_container(self.pods()[0], SERVER_CONTAINER, number, reason)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def unpause(self) -> None:
        self.signal(signal.SIGCONT)

    @property
    def gc(self) -> tuple[tuple[str, ...], dict[str, str]]:
        return ("--kubernetes",), {"KUBECONFIG": self._kubeconfig}

    def close(self) -> None:
        super().close()
        self.cluster.__exit__(None, None, None)
        kill_marked(f"FAULTS={self.faults}")  # a real node ends a container with all that is in it


class DistantKubernetes(Kubernetes):
    """The validation reaches the cluster from a network of its own.

    Attributes:
      network: it.
    """

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        super().__init__(directory, model)
        self._closing = contextlib.ExitStack()
        self.network = self._closing.enter_context(CabledNetwork())
        way = self._closing.enter_context(relaying(self.cluster.url.partition("//")[2], self.network.here))
        kubeconfig = pathlib.Path(self._kubeconfig)
        kubeconfig.write_text(kubeconfig.read_text().replace(self.cluster.url, f"http://{way.endpoint}"))

    def close(self) -> None:
        super().close()
        self._closing.close()


def faulty_image() -> str:
    """The image of the faulty server, on the daemon of all tests."""
    program = ", ".join(f'"{part}"' for part in ("python3", "-m", *PROGRAM))
    return build.variant("faulty", build.fake(), f"ENTRYPOINT [{program}]")


class LocalDocker(Stage):
    name = "local_docker"

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        super().__init__(directory, model)
        self._image, _, self._tag = faulty_image().rpartition(":")
        self.url = daemon_url()

    def spec(self) -> dict[str, Any]:
        mount = {"source": str(self.faults), "target": str(self.faults), "read_only": False}
        docker = {"mounts": [mount], "env": {"FAULTS": str(self.faults)}, "memory_limit": "300m"}
        docker["client_base_url"] = self.url
        serving = {"image_name": self._image, "tags": [self._tag]}
        return {"tensorflow_serving": serving, "local_docker": docker, "model_name": "m"}

    def things(self) -> list[str]:
        return [f"container {name}" for name in self.containers("-a")]

    def containers(self, *options: str) -> list[str]:
        """The names of the containers that this cell's server runs in."""
        return self.docker("ps", *options, "--filter", f"volume={self.faults}", "--format", "{{.Names}}").split()

    def docker(self, *arguments: str) -> str:
        """What the command line says of this stage's daemon."""
        return build.docker(*arguments)

    def signal(self, number: int) -> None:
        self.docker("kill", "-s", str(int(number)), *self.containers())

    def pause(self) -> None:
        self.docker("pause", *self.containers())

    def unpause(self) -> None:
        self.docker("unpause", *self.containers())

    @property
    def gc(self) -> tuple[tuple[str, ...], dict[str, str]]:
        return ("--docker",), {}

    def close(self) -> None:
        super().close()
        for container in self.containers("-a"):
            with contextlib.suppress(build.CannotBuild):  # it may be going away
                self.docker("rm", "-f", container)


class RelayedDocker(LocalDocker):
    """The validation's way to the daemon can be cut.

    Attributes:
      way: it.
    """

    def __init__(self, directory: pathlib.Path, model: pathlib.Path) -> None:
        super().__init__(directory, model)
        self._closing = contextlib.ExitStack()
        scheme, where, path = urlsplit(self.url)[:3]
        listen = "127.0.0.1"
        if scheme == "unix":  # a socket's path is at most 107 bytes, and pytest's directories are long
            short = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="iv-", dir="/tmp"))
            listen = f"{short}/docker.sock"
        self.way = self._closing.enter_context(relaying(where or path, listen))
        self.url = f"{scheme}://{self.way.endpoint}"

    def close(self) -> None:
        super().close()
        self._closing.close()


STAGES = {stage.name: stage for stage in (LocalProcess, Kubernetes, LocalDocker)}


def stage_of(cell: Cell) -> type[Stage]:
    """The stage that a cell needs."""
    if cell.platform == "local_docker" and cell.fault in ("away_and_back", "streams_cut"):
        return RelayedDocker
    if cell.platform == "kubernetes" and cell.fault in ("network_cut", "network_cut_and_healed"):
        return DistantKubernetes
    return STAGES[cell.platform]
