"""LocalDockerRunner: a model server in a container of a Docker daemon.

What it does itself is the order of things: connect, pull, deliver the model, create, remember, start, watch, stop, remove. The rest
stands beside it: daemon (the docker library and its errors), images (tags, digests, pulls), model_files and upload (the model), address
(where the server is reached), container_spec (what is created), watcher (what becomes of it), leftovers (whose it is).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import urllib.parse
import uuid
from typing import Any

from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import DeadlineExceeded, IllegalStateError, InfrastructureError
from infra_validator.core.launch_plan import LaunchPlanner
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life, MemoryReading, Observation
from infra_validator.model_server_runners.base_runner import BaseModelServerRunner, failure_of
from infra_validator.model_server_runners.cleanup.stop_method import StopMethod
from infra_validator.model_server_runners.cleanup.temporary_directory import make, path_for, write_files
from infra_validator.model_server_runners.cleanup.watchdog import Watchdog
from infra_validator.model_server_runners.control_group import ContainerMemory
from infra_validator.model_server_runners.local_docker import container_spec, leftovers
from infra_validator.model_server_runners.local_docker.address import (
    Address,
    Door,
    Whereabouts,
    choose,
    endpoint,
    shares_our_network,
)
from infra_validator.model_server_runners.local_docker.container_spec import Delivery
from infra_validator.model_server_runners.local_docker.daemon import DockerDaemon
from infra_validator.model_server_runners.local_docker.images import Image, pull_if_missing, resolve
from infra_validator.model_server_runners.local_docker.model_files import ModelFiles, container_user, survey
from infra_validator.model_server_runners.local_docker.upload import ModelVolume
from infra_validator.model_server_runners.local_docker.watcher import ContainerWatcher
from infra_validator.saved_model.archive import Archive
from infra_validator.specs import LocalDockerConfig, ServingSpec

_GARBAGE_SECONDS = 10.0
_NOTICE_SECONDS = 5.0  # how long the watcher gets to tell of an end that somebody else has seen
_REACHED_WITHIN = 10.0  # seconds; what answers neither yes nor no for so long is another network's
_GRACE_SECONDS = 600.0
_LONGEST_LIFETIME = 30 * 86400.0


class LocalDockerRunner(BaseModelServerRunner):
    """A model server in a container.

    Args:
      model_path: the SavedModel directory; ``model`` is the seed's word for it.
      serving_binary: says what to start.
      serving_spec: the whole serving spec; ``local_docker`` is read.

    Attributes:
      name: the container's name.
      image: what is run, its digest included; None before Prepare.
      address: where the server is reached, and why there; None before Prepare.
      bytes_copied: bytes of the model that were copied; 0 where it is mounted.
      stopped_by: the step of the stop ladder that ended the container; None before Stop.
    """

    platform = "local_docker"

    def __init__(
        self,
        model_path: str | None = None,
        serving_binary: LaunchPlanner | None = None,
        serving_spec: ServingSpec | None = None,
        *,
        model: str | None = None,
    ) -> None:
        path = model_path if model_path is not None else model
        if path is None or serving_binary is None or serving_spec is None:
            raise TypeError("LocalDockerRunner needs model_path (or model), serving_binary and serving_spec.")
        super().__init__(os.fspath(path), serving_binary, serving_spec)
        self._config = serving_spec.local_docker or LocalDockerConfig()
        container_spec.check_mounts(self.plan, self._config.mounts)
        self._run_id = uuid.uuid4().hex
        self._labels: dict[str, str] = {}
        self._watcher: ContainerWatcher | None = None
        self._endpoint = ""
        self._rest_endpoint = ""
        self._door: Door | None = None
        self._reached = False
        self._memory: ContainerMemory | None = None
        self.name = f"infra-validator-{self._run_id}"
        self.image: Image | None = None
        self.address: Address | None = None
        self.bytes_copied = 0
        self.stopped_by: StopMethod | None = None

    @classmethod
    def Pin(cls, serving_spec: ServingSpec) -> ServingSpec:
        """The spec with every tag as ``tag@sha256:...``. A tag that nobody can resolve stays: its own container will say why."""
        binary, config = serving_spec.tensorflow_serving, serving_spec.local_docker
        if binary is None or config is None or all("@" in tag for tag in binary.tags):
            return serving_spec
        deadline = Deadline.after(config.client_timeout_seconds)
        with contextlib.closing(DockerDaemon(config, deadline)) as daemon:
            tags = []
            for tag in binary.tags:
                with contextlib.suppress(InfrastructureError):
                    if "@" not in tag:
                        image = resolve(f"{binary.image_name}:{tag}", config.pull_policy, daemon, deadline)
                        tag = f"{tag}@{image.digest}"
                tags.append(tag)
        return dataclasses.replace(serving_spec, tensorflow_serving=dataclasses.replace(binary, tags=tuple(tags)))

    @classmethod
    def takes_a_slot(cls, serving_spec: ServingSpec) -> bool:
        """Unless the daemon's address is another machine's."""
        config = serving_spec.local_docker or LocalDockerConfig()
        url = urllib.parse.urlsplit(config.client_base_url or os.environ.get("DOCKER_HOST", ""))
        return url.scheme in ("", "unix", "npipe") or url.hostname in ("127.0.0.1", "::1", "localhost")

    # ---------------------------------------------------------------- what the base class calls

    def _prepare(self, deadline: Deadline) -> None:
        files = survey(self.plan.model.source)
        # The deadline is the whole validation's: what may still be wanted must not look like a left-over.
        lifetime = max(self._config.lifetime_seconds, min(deadline.remaining(), _LONGEST_LIFETIME) + _GRACE_SECONDS)
        self._labels = leftovers.labels(self._run_id, lifetime, validation=self.run_id)
        self._daemon = DockerDaemon(self._config, deadline)
        self.register_cleanup("close the connection to the Docker daemon", lambda _: self._daemon.close())
        with contextlib.suppress(InfrastructureError):  # others' left-overs are no reason not to go on
            leftovers.sweep(self._daemon, deadline.capped(_GARBAGE_SECONDS))
        self.image = resolve(self.plan.image, self._config.pull_policy, self._daemon, deadline)
        pull_if_missing(
            self.image,
            self._config.pull_policy,
            self._daemon,
            deadline.capped(self._config.pull_timeout_seconds),
            self._tell,
            self.interruption.check,
            self.on_bytes,
        )
        self.address = self._choose_address(deadline)
        self._tell_watchdog()
        self._create(files, deadline)

    def _launch(self) -> None:
        watcher = self._watcher
        if watcher is None:
            raise IllegalStateError("Prepare() failed; make a new runner for another job.")
        self._check_port_is_free()
        deadline = Deadline.after(self._config.client_timeout_seconds)
        watcher.start(deadline)
        self._daemon.start_container(self.name, deadline)
        watcher.started(self._daemon)

    def _look(self) -> Observation:
        seen = self._watcher.observation() if self._watcher is not None else Observation.pending()
        return self._look_at_door() if seen.life is Life.RUNNING and not self._reached else seen

    def _look_at_door(self) -> Observation:
        """Running once its port can be reached from here: one that cannot says nothing about the model."""
        found = self._find_endpoint()
        if self._door is None:
            assert self.address is not None
            self._door = door = Door(found, self.address.sure)
            self._door_limit = Deadline.after(_REACHED_WITHIN)
            self.register_cleanup("close the trial connection", lambda _: door.close())
        if self._door.is_open():
            self._reached = True
            return Observation.running()
        detail = f"The container runs, but its port cannot be reached at {found}: {self._door.problem}."
        if self._door_limit.expired() and not self._door.refused:
            return Observation.gone(ReasonCode.SERVER_NOT_REACHABLE, detail)
        return Observation.pending(detail, ReasonCode.SERVER_NOT_REACHABLE)

    def _find_endpoint(self) -> str:
        if not self._endpoint:
            assert self.address is not None
            found = self._daemon.container(self.name, Deadline.after(self._config.client_timeout_seconds))
            self._endpoint = endpoint(self.address, found or {}, self.plan.ports["grpc"])
            rest = self.plan.ports.get("rest", 0)
            self._rest_endpoint = endpoint(self.address, found or {}, rest) if rest else ""
            if not self._endpoint:
                self._raise_if_it_ended(found)
                raise InfrastructureError(
                    ReasonCode.ADDRESS_NOT_AVAILABLE,
                    f"The daemon has published no port of {self.name} ({self.address.why}).",
                    next_step="Set serving_spec.local_docker.network_mode to bridge or to a network that publishes ports.",
                )
            self._tell(f"reached at {self._endpoint}: {self.address.why}")
        return self._endpoint

    def _find_rest_endpoint(self) -> str:
        self._find_endpoint()
        return self._rest_endpoint

    def _read_memory(self, deadline: Deadline) -> MemoryReading:
        if self._memory is None:
            seen = self._daemon.container(self.name, deadline) or {}
            self._memory = ContainerMemory(seen, lambda limit: self._daemon.memory_stats(self.name, limit))
        return self._memory.read(deadline)

    def _tail_logs(self) -> str:
        if self._watcher is None or self._watcher.log is not None:
            return (self._watcher and self._watcher.log) or ""
        deadline = Deadline.after(self._config.client_timeout_seconds)
        return self._daemon.logs(self.name, self._config.log_tail_lines, deadline)

    # ---------------------------------------------------------------- the container

    def _create(self, files: ModelFiles, deadline: Deadline) -> None:
        """Create the container: with the model mounted where the daemon sees its files, else with a volume that holds a copy."""
        here = self._daemon.url.startswith(("unix://", "npipe://"))
        wanted = self._config.model_delivery
        if wanted == "mount" or (wanted == "auto" and here):
            problem = self._create_mounted(files, deadline)
            if not problem:
                return
            if wanted == "mount":
                raise InfrastructureError(ReasonCode.MODEL_NOT_VISIBLE, problem)
            self._tell(f"the model is copied, since it cannot be mounted: {problem}")
        delivery = self._upload(files, deadline)
        self._create_container(delivery, self._config.user, deadline)

    def _create_mounted(self, files: ModelFiles, deadline: Deadline) -> str:
        """Create it with a bind mount; returns why that is no use, if the daemon does not see the same files."""
        options = self._daemon.security_options(deadline) if files.owners else []
        user = container_user(self._config.user, files, options)
        try:
            delivery = container_spec.bind(self.plan, files.path, self._write_plan_files())
            self._create_container(delivery, user, deadline)
        except InfrastructureError as error:
            if error.reason is not ReasonCode.MODEL_NOT_VISIBLE:
                raise
            if files.path in error.detail:
                return error.detail
            next_step = "Correct serving_spec.local_docker.mounts: the daemon's machine has no such directory."
            raise InfrastructureError(ReasonCode.SERVER_NOT_STARTED, error.detail, next_step=next_step) from error
        if files.witness is None:
            return ""
        path = f"{self.plan.model.target}/{files.witness.path}"
        seen = self._daemon.file_in_container(self.name, path, deadline)
        if seen == (files.witness.size, files.witness.modified):
            return ""
        self._daemon.remove_container(self.name, deadline)
        return f"the daemon does not see {files.path} as the validator does (its {files.witness.path} is another one or missing)."

    def _create_container(self, delivery: Delivery, user: str, deadline: Deadline) -> None:
        assert self.image is not None
        assert self.address is not None
        body = container_spec.server(
            self.plan, self._config, self.image.reference, delivery, self.address, user, self._labels
        )
        if self._watcher is None:
            self._watcher = ContainerWatcher(
                self.name,
                lambda: self._daemon.another(Deadline.after(self._config.client_timeout_seconds)),
                self.news,
                architecture=self._foreign_architecture,
                port_taken=self.plan.port_taken if self.address.network == "host" else "",
                port=self.plan.ports["grpc"],
                log_lines=self._config.log_tail_lines,
            )
            self.register_cleanup("end the watch over the container", lambda _: self._end_watch())
        # Every time, since what holds a volume that was made meanwhile must go before the volume.
        self.register_cleanup(f"remove container {self.name}", self._remove_container)
        for warning in self._daemon.create_container(self.name, body, deadline):
            self._tell(f"Docker warns: {warning}")

    def _remove_container(self, deadline: Deadline) -> None:
        """The stop ladder: SIGTERM, the grace, SIGKILL, removal. Gone already is fine."""
        assert self._watcher is not None
        self._watcher.stopping()
        self.stopped_by = self.stopped_by or StopMethod.NONE
        if self._watcher.observation().life is Life.RUNNING and self._daemon.signal_container(
            self.name, "SIGTERM", deadline
        ):
            self.stopped_by = (
                StopMethod.TERM if self._ends_within(deadline.capped(self.stop_grace_seconds)) else StopMethod.KILL
            )
        self._daemon.remove_container(self.name, deadline)

    def _raise_if_it_ended(self, found: dict[str, Any] | None) -> None:
        """A container that has ended has no ports; its end, which the watcher is about to tell, is the cause."""
        if found is None or not found["State"]["Running"]:
            self._ends_within(Deadline.after(_NOTICE_SECONDS))
        seen = self._watcher.observation() if self._watcher is not None else Observation.pending()
        if seen.life is Life.GONE:
            raise failure_of(seen)

    def _ends_within(self, deadline: Deadline) -> bool:
        def ended() -> bool | None:
            return (self._watcher is not None and self._watcher.observation().life is Life.GONE) or None

        try:
            return wait_until(ended, deadline, news=self.news)
        except DeadlineExceeded:
            return False

    def _end_watch(self) -> None:
        if self._watcher is not None:
            self._watcher.close()

    def _choose_address(self, deadline: Deadline) -> Address:
        whereabouts, own = Whereabouts.here(), None
        if whereabouts.container:
            own = self._daemon.container(whereabouts.container_id, deadline)
            if own is None and shares_our_network(self._daemon.url, *self._daemon.bridge(deadline)):
                whereabouts = Whereabouts()  # a virtual machine made from an image, or a daemon beside us in a pod
        return choose(self._config, self._daemon.url, whereabouts, own)

    def _check_port_is_free(self) -> None:
        """In the network of the daemon's machine another server could answer in our server's place."""
        assert self.address is not None
        if self.address.network != "host":
            return
        port = self.plan.ports["grpc"]
        with contextlib.suppress(OSError), socket.create_connection((self.address.reach_at, port), 1.0):
            raise InfrastructureError(
                ReasonCode.PORT_NOT_AVAILABLE,
                f"Somebody listens on {self.address.reach_at}:{port} already.",
                next_step="Free the port, or leave serving_spec.local_docker.network_mode empty.",
            )

    def _foreign_architecture(self) -> str:
        """The image's architecture where it is not the daemon's; only for messages, so no error of its own."""
        deadline = Deadline.after(self._config.client_timeout_seconds)
        with contextlib.suppress(InfrastructureError):
            image = self._daemon.image(self.image.reference if self.image else "", deadline) or {}
            wanted, have = image.get("Architecture"), self._daemon.version(deadline).get("Arch")
            return f"{wanted}, the daemon's machine is {have}" if wanted and have and wanted != have else ""
        return ""

    # ---------------------------------------------------------------- what the container needs

    def _write_plan_files(self) -> str:
        """A temporary directory with the plan's small files, in ``files/`` and ``model_files/``; empty if it has none."""
        if not self.plan.files and not self.plan.model_files:
            return ""
        directory = path_for(self._run_id)
        self.register_cleanup(f"remove {directory}", lambda _: shutil.rmtree(directory, ignore_errors=True))
        self._watchdog.remove_tree(directory)
        make(self._run_id)
        values = container_spec.placeholders(self.plan, container_spec.FILES_DIRECTORY)
        write_files(os.path.join(directory, "files"), self.plan.file_texts(**values))
        write_files(os.path.join(directory, "model_files"), self.plan.model_file_texts(**values))
        return directory

    def _upload(self, files: ModelFiles, deadline: Deadline) -> Delivery:
        assert self.image is not None
        check = self.interruption.check
        volume = ModelVolume(self._daemon, self.name, self._labels, self._tell, check, self.on_bytes)
        self.register_cleanup(f"remove volume {self.name}", volume.remove)
        delivery = container_spec.volume(self.plan, self.name)
        values = container_spec.placeholders(self.plan, delivery.files_directory)
        more = {f"files/{name}": text for name, text in self.plan.file_texts(**values).items()}
        archive = Archive(files.files, self.plan.model.inside, more | self.plan.model_file_texts(**values))
        volume.fill(self.image.reference, archive, deadline, self._config.upload_timeout_seconds)
        self.bytes_copied = archive.model_bytes
        return delivery

    def _tell(self, line: str) -> None:
        self.on_progress(f"{self.plan.label}: {line}")

    def _tell_watchdog(self) -> None:
        """Have containers and volumes of this run removed if this process is killed. Called before there are any."""
        try:
            watchdog = Watchdog()
        except OSError as error:
            raise InfrastructureError(ReasonCode.SERVER_NOT_STARTED, f"No watchdog can be started: {error}.") from error
        self._watchdog = watchdog
        self.register_cleanup("end the watchdog", lambda deadline: watchdog.close(deadline.remaining()))
        config = dataclasses.replace(self._config, client_base_url=self._daemon.url)
        told = watchdog.run(leftovers.removal_command(self._run_id, config))

        def forget(_: Deadline) -> None:
            if not self.stop_problems:  # else the watchdog, when it is ended, tries once more
                watchdog.forget(told)

        self.register_cleanup("forget the watchdog's orders", forget)


def resolve_digest(image: str, config: LocalDockerConfig, deadline: Deadline) -> str:
    """The digest (``sha256:...``) behind ``name:tag`` now. Nothing is pulled.

    It is the registry's digest, or the id of the local image where that came from no registry; ``name@digest`` of either may
    stand in ``digests`` of a serving spec.

    Raises:
      InfrastructureError: no daemon, no registry, no such image.
    """
    with contextlib.closing(DockerDaemon(config, deadline)) as daemon:
        return resolve(image, config.pull_policy, daemon, deadline).digest
