"""The fake cluster's node: runs the containers of a pod as local processes and tells their statuses, one thread per pod.

A container's file system is a directory of its own in which every mount is a symbolic link; paths below a mount's top directory are
moved there in the command, the arguments and the environment, since a process without a mount namespace would look at
this machine's. Every pod has an address of its own in 127.0.0.0/8, so that its servers can listen on their usual ports.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from component_tests.fakes.kubernetes_api import node_limits

if TYPE_CHECKING:
    from component_tests.fakes.kubernetes_api.cluster import FakeCluster

Json = dict[str, Any]

_TICK = 0.01


def timestamp(skew: float = 0.0) -> str:
    """Now, as the API writes it."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclasses.dataclass
class Image:
    """An image: which programs are in it, and what really runs for each.

    Attributes:
      programs: path in the image -> the local command. ``{ip}`` in it is the pod's address, ``{port:8500}`` a free port of this machine
        that port-forward takes for 8500; parts that begin with ``+`` are put after the pod's own arguments.
      entrypoint: the program where the pod names no command.
      user: the image's user; empty or ``root`` is root.
      directory: what an image volume of it shows.
      env: added to the environment of its processes.
    """

    programs: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    entrypoint: str = ""
    user: str = ""
    directory: str = ""
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Latencies:
    """How long things take, in seconds; zero unless a test or a benchmark says otherwise."""

    schedule: float = 0.0
    pull: float = 0.0
    start: float = 0.0
    status: float = 0.0  # from a change on the node to its being known


class RunningContainer:
    """A container's process, its root directory and its log."""

    def __init__(self, name: str, root: pathlib.Path, log: pathlib.Path) -> None:
        self.name = name
        self.root = root
        self.log = log
        self.tops: set[str] = set()
        self.image = Image()
        self.process: subprocess.Popen[bytes] | None = None
        self.ports: dict[int, int] = {}

    def moved(self, text: str, ip: str) -> str:
        """``text`` with the paths below our mounts moved into the root directory."""
        for top in self.tops:
            text = re.sub(rf"(?<![\w./-]){re.escape(top)}(?=/|$|[\s\"'])", f"{self.root}{top}", text)
        return text.replace("{ip}", ip)

    def command(self, command: list[str], ip: str) -> list[str] | None:
        """What really runs for a command in this container; None if its image has no such program."""
        program = self.image.programs.get(command[0])
        if program is None:
            return None
        filled = [self._filled(part, ip) for part in program]
        local = [part for part in filled if not part.startswith("+")]
        appended = [part[1:] for part in filled if part.startswith("+")]
        return [*local, *(self.moved(part, ip) for part in command[1:]), *appended]

    def _filled(self, part: str, ip: str) -> str:
        def free_port(match: re.Match[str]) -> str:
            with socket.create_server((ip, 0)) as held:  # nobody else listens on this address
                return str(self.ports.setdefault(int(match[1]), held.getsockname()[1]))

        return re.sub(r"\{port:(\d+)\}", free_port, part.replace("{ip}", ip))

    def environment(self, container: Json, ip: str, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        env = {"PATH": os.environ.get("PATH", ""), "HOME": "/tmp", **self.image.env}
        for source in container.get("envFrom") or ():
            env.update(secrets.get((source.get("secretRef") or {}).get("name", ""), {}))
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                env[variable["name"]] = secrets.get(reference["name"], {}).get(reference["key"], "")
            else:
                env[variable["name"]] = self.moved(variable.get("value", ""), ip)
        return env


class PodProcess(threading.Thread):
    """One pod on the node, from being scheduled to being gone."""

    def __init__(self, cluster: FakeCluster, pod: Json, ip: str) -> None:
        super().__init__(name=f"kubelet {pod['metadata']['name']}", daemon=True)
        self.cluster = cluster
        self.namespace = pod["metadata"]["namespace"]
        self.pod_name = pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.spec: Json = pod["spec"]
        self.annotations: Json = pod["metadata"].get("annotations") or {}
        self.ip = ip
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="fake-pod-"))
        self.directory.chmod(0o755)  # for containers that run as another user
        self.containers: dict[str, RunningContainer] = {}
        self.deletion: tuple[float, int] | None = None  # when it was asked for (monotonic), grace in seconds
        self.platform_end: tuple[str, str] | None = None  # (reason, message) of an end that the platform brings about
        self.end_reasons: dict[str, str] = {}  # container -> reason of its end, where the kernel would tell
        self.probes = 0  # how many liveness probes were made
        self._began = time.monotonic()

    # ---------------------------------------------------------------- telling

    def tell(self, change: Any) -> None:
        """Change the pod's status as the node tells it."""
        time.sleep(self.cluster.latencies.status)
        if self.cluster.node_is_silent:
            return
        self.cluster.store.update("pods", self.namespace, self.pod_name, lambda pod: change(pod["status"]))

    def port(self, number: int) -> int:
        """Where a port of the pod really listens."""
        return next((one.ports[number] for one in self.containers.values() if number in one.ports), number)

    def event(self, reason: str, message: str, type_: str = "Warning") -> None:
        self.cluster.record_event(self.namespace, self.pod_name, self.uid, reason, message, type_)

    def _set_container(self, part: str, name: str, state: Json, **more: Any) -> None:
        def change(status: Json) -> None:
            for one in status.get(part) or ():
                if one["name"] == name:
                    one["state"] = state
                    one["started"] = "running" in state
                    one["ready"] = "running" in state or (state.get("terminated") or {}).get("exitCode") == 0
                    one.update(more)
            servers = part == "containerStatuses" and status["phase"] == "Pending"
            if servers and all("running" in one["state"] for one in status[part]):  # told together, as a node does
                status["phase"] = "Running"
                status["conditions"].append({"type": "Ready", "status": "True"})

        self.tell(change)

    # ---------------------------------------------------------------- living

    def run(self) -> None:
        try:
            self._live()
        except _PodEnded:
            pass
        finally:
            self._clean_up()

    def _live(self) -> None:
        self._schedule()
        self._announce_containers()
        self._mount()
        self.tell(lambda status: status.update(podIP=self.ip, podIPs=[{"ip": self.ip}]))  # the pod's sandbox is there
        for container in self.spec.get("initContainers") or ():
            self._start("initContainerStatuses", container)
            code = self._wait_for(container["name"])
            self._terminated("initContainerStatuses", container["name"], code)
            if code != 0:
                self._finish("Failed")
        for container in self.spec["containers"]:
            self._start("containerStatuses", container)
        codes = []
        for container in self.spec["containers"]:
            codes.append(self._wait_for(container["name"]))
            self._terminated("containerStatuses", container["name"], codes[-1])
        self._finish("Succeeded" if not any(codes) else "Failed")

    def pause(self, seconds: float) -> None:
        """Wait, unless the pod ends meanwhile."""
        limit = time.monotonic() + seconds
        while True:
            self._check_end()
            left = limit - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _TICK))

    def _stay(self) -> None:
        while True:
            self.pause(1.0)

    def _check_end(self) -> None:
        if self.deletion is not None:
            self._end_by_deletion()
        if self.platform_end is not None:
            self._end_by_platform(*self.platform_end)
        limit = self.spec.get("activeDeadlineSeconds")
        if limit and time.monotonic() - self._began > limit:
            self._end_by_platform("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")

    # ---------------------------------------------------------------- beginning

    def _schedule(self) -> None:
        self.pause(self.cluster.latencies.schedule)
        told = ""
        while True:
            problem = self.cluster.why_not_scheduled(self.spec)
            if not problem:
                break
            if problem != told:
                told = problem
                self.event("FailedScheduling", problem)
                self._not_scheduled(problem)
            self.pause(0.02)

        def scheduled(pod: Json) -> None:
            pod["spec"]["nodeName"] = self.cluster.node
            pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]

        self.cluster.store.update("pods", self.namespace, self.pod_name, scheduled)

    def _not_scheduled(self, problem: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": problem}
        self.tell(lambda status: status.update(conditions=[condition]))

    def _announce_containers(self) -> None:
        inits = [container["name"] for container in self.spec.get("initContainers") or ()]

        def waiting(container: Json, reason: str) -> Json:
            state = {"waiting": {"reason": reason}}
            return {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }

        def change(status: Json) -> None:
            status.update(hostIP="127.0.0.1", startTime=timestamp(self.cluster.skew))
            first = "PodInitializing" if inits else "ContainerCreating"
            if inits:
                status["initContainerStatuses"] = [
                    waiting(one, "PodInitializing") for one in self.spec["initContainers"]
                ]
            status["containerStatuses"] = [waiting(one, first) for one in self.spec["containers"]]

        self.tell(change)

    def _mount(self) -> None:
        """Make the volumes that a container mounts; a missing one is told in events, tried again, and keeps the pod waiting."""
        made: dict[str, pathlib.Path] = {}
        containers = [*(self.spec.get("initContainers") or ()), *self.spec["containers"]]
        mounted = {mount["name"] for container in containers for mount in container.get("volumeMounts") or ()}
        for volume in self.spec.get("volumes") or ():
            if volume["name"] not in mounted:
                continue
            told = False
            while True:
                problem, path = self._volume(volume)
                if not problem:
                    made[volume["name"]] = path
                    break
                if not told:
                    self.event("FailedMount", f'MountVolume.SetUp failed for volume "{volume["name"]}" : {problem}')
                    told = True
                self.pause(0.05)
        for container in containers:
            root = self.directory / "root" / container["name"]
            running = RunningContainer(container["name"], root, self.directory / f"{container['name']}.log")
            root.mkdir(parents=True)
            running.log.touch()
            running.tops = {f"/{mount['mountPath'].split('/')[1]}" for mount in container.get("volumeMounts") or ()}
            self.containers[container["name"]] = running
        self._volumes = made

    def _link_mounts(self, container: Json) -> None:
        """When the container is about to start, as the node does it: a subPath may have been made by an init container."""
        root = self.containers[container["name"]].root
        for mount in container.get("volumeMounts") or ():
            source = self._volumes[mount["name"]] / mount.get("subPath", "")
            if not source.exists():
                source.mkdir(parents=True)
            target = root / mount["mountPath"].lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)

    def _volume(self, volume: Json) -> tuple[str, pathlib.Path]:
        """(problem, directory) of a volume."""
        nothing = pathlib.Path()
        own = self.directory / "volumes" / volume["name"]
        if "persistentVolumeClaim" in volume:
            claim = self.cluster.claims.get((self.namespace, volume["persistentVolumeClaim"]["claimName"]))
            return (
                ("persistentvolumeclaim not found", nothing) if claim is None else ("", pathlib.Path(claim.directory))
            )
        if "hostPath" in volume:
            path = pathlib.Path(volume["hostPath"]["path"])
            return ("", path) if path.is_dir() else ("hostPath type check failed: is not a directory", nothing)
        if "image" in volume:
            image = self.cluster.images.get(volume["image"]["reference"])
            return ("", pathlib.Path(image.directory)) if image else ("failed to pull and unpack image", nothing)
        own.mkdir(parents=True, exist_ok=True)
        if "secret" in volume:
            secret = self.cluster.secrets.get((self.namespace, volume["secret"]["secretName"]))
            if secret is None:
                return f'secret "{volume["secret"]["secretName"]}" not found', nothing
            for key, value in secret.items():
                (own / key).write_text(value)
        self.write_annotations(volume)
        return "", own

    def write_annotations(self, *volumes: Json) -> None:
        """The files of the downward API; one whose text is the same keeps its age."""
        for volume in volumes or self.spec.get("volumes") or ():
            for item in (volume.get("downwardAPI") or {}).get("items") or ():
                match = re.fullmatch(r"metadata\.annotations\['(.+)'\]", item["fieldRef"]["fieldPath"])
                text = self.annotations.get(match[1], "") if match else ""
                path = self.directory / "volumes" / volume["name"] / item["path"]
                if path.parent.is_dir() and not (path.exists() and path.read_text() == text):
                    path.write_text(text)

    # ---------------------------------------------------------------- containers

    def _start(self, part: str, container: Json) -> None:
        name = container["name"]
        self._pull(part, container)
        problem = self._configuration_problem(container)
        if problem:
            self._set_container(part, name, {"waiting": {"reason": "CreateContainerConfigError", "message": problem}})
            self.event("Failed", f"Error: {problem}")
            self._stay()
        self.pause(self.cluster.latencies.start)
        running = self.containers[name]
        running.image = self.cluster.images[container["image"]]
        self._link_mounts(container)
        command = [*(container.get("command") or [running.image.entrypoint]), *(container.get("args") or ())]
        command = [part.replace("$$(", "$(") for part in command]
        local = running.command(command, self.ip)
        if local is None:
            words = f'exec: "{command[0]}": stat {command[0]}: no such file or directory: unknown'
            end = {"exitCode": 128, "reason": "StartError", "message": words, "startedAt": "1970-01-01T00:00:00Z"}
            self._set_container(part, name, {"terminated": end})
            self.event("Failed", f"Error: failed to start container: {words}")
            self._finish("Failed")
            return
        with running.log.open("ab") as log:
            running.process = subprocess.Popen(
                local,
                env={**running.environment(container, self.ip, self._secrets()), node_limits.MARK: self.uid},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=running.root,
                start_new_session=True,
            )
        self._set_container(part, name, {"running": {"startedAt": timestamp(self.cluster.skew)}})
        self.event("Started", f"Started container {name}", "Normal")

    def _secrets(self) -> dict[str, Mapping[str, str]]:
        return {name: data for (where, name), data in self.cluster.secrets.items() if where == self.namespace}

    def _pull(self, part: str, container: Json) -> None:
        self.pause(self.cluster.latencies.pull)
        image = container["image"]
        if re.search(r"[^A-Za-z0-9._:/@-]|::", image):
            words = f'Failed to apply default image tag "{image}": couldn\'t parse image name'
            self._set_container(part, container["name"], {"waiting": {"reason": "InvalidImageName", "message": words}})
            self._stay()
        attempt = 0
        while image not in self.cluster.images:
            if container.get("imagePullPolicy") == "Never":
                state = {
                    "reason": "ErrImageNeverPull",
                    "message": f'Container image "{image}" is not present with pull policy of Never',
                }
                self._set_container(part, container["name"], {"waiting": state})
                self._stay()
            reason = ("ErrImagePull", "ImagePullBackOff")[attempt % 2]
            words = (
                f'failed to pull and unpack image "{image}": not found'
                if attempt % 2 == 0
                else f'Back-off pulling image "{image}"'
            )
            self._set_container(part, container["name"], {"waiting": {"reason": reason, "message": words}})
            self.event("Failed", words)
            attempt += 1
            self.pause(0.1)

    def _configuration_problem(self, container: Json) -> str:
        whole, own = self.spec.get("securityContext") or {}, container.get("securityContext") or {}
        image = self.cluster.images[container["image"]]
        me = f'pod: "{self.pod_name}_{self.namespace}", container: {container["name"]}'
        number = own.get("runAsUser", whole.get("runAsUser"))
        if own.get("runAsNonRoot", whole.get("runAsNonRoot")):
            if number == 0 or (number is None and image.user in ("", "root", "0")):
                return f"container has runAsNonRoot and image will run as root ({me})"
            if number is None and not image.user.isdigit():
                return f"container has runAsNonRoot and image has non-numeric user ({image.user}), cannot verify ({me})"
        secrets = self._secrets()
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference and not reference.get("optional"):
                if reference["name"] not in secrets:
                    return f'secret "{reference["name"]}" not found'
                if reference["key"] not in secrets[reference["name"]]:
                    return f"couldn't find key {reference['key']} in Secret {self.namespace}/{reference['name']}"
        for source in container.get("envFrom") or ():
            if source.get("secretRef") and source["secretRef"]["name"] not in secrets:
                return f'secret "{source["secretRef"]["name"]}" not found'
        return ""

    def _wait_for(self, name: str) -> int:
        process = self.containers[name].process
        assert process is not None
        failures, next_probe = 0, time.monotonic()
        while process.poll() is None:
            self._check_end()
            if time.monotonic() >= next_probe:
                next_probe = time.monotonic() + self.cluster.probe_seconds
                failures = 0 if self._is_alive(name) else failures + 1
                if failures >= self._liveness(name).get("failureThreshold", 3):
                    self.event("Killing", f"Container {name} failed liveness probe, will be restarted")
                    self._kill(1.0)
                self._hold_to_limits(name)
            time.sleep(_TICK / 2)
        return process.returncode

    def _hold_to_limits(self, name: str) -> None:
        """End a container that takes more memory than it may, and a pod that takes more room."""
        container, running = self._container(name), self.containers[name]
        if node_limits.out_of_memory(container, self.uid):
            self.end_reasons[name] = "OOMKilled"
            node_limits.end_all(self.uid)
        empty = {one["name"] for one in self.spec.get("volumes") or () if "emptyDir" in one}
        own = [path for volume, path in self._volumes.items() if volume in empty]
        words = node_limits.out_of_room(container, [running.root, running.log, *own])
        if words:
            self.platform_end = ("Evicted", words)

    def _container(self, name: str) -> Json:
        containers: list[Json] = [*(self.spec.get("initContainers") or ()), *self.spec["containers"]]
        (container,) = [one for one in containers if one["name"] == name]
        return container

    def _liveness(self, name: str) -> Json:
        return self._container(name).get("livenessProbe") or {}

    def _is_alive(self, name: str) -> bool:
        """One liveness probe by ``exec``; one that cannot be run is thrown away, as by a real node."""
        command = (self._liveness(name).get("exec") or {}).get("command")
        if not command:
            return True
        self.probes += 1
        running = self.containers[name]
        local = running.command([part.replace("$$(", "$(") for part in command], self.ip)
        if local is None:
            return True
        return subprocess.run(local, cwd=running.root, capture_output=True, timeout=60, check=False).returncode == 0

    def _terminated(self, part: str, name: str, code: int) -> None:
        number = 128 - code if code < 0 else code
        reason = self.end_reasons.get(name) or ("Completed" if code == 0 else "Error")
        end: Json = {
            "exitCode": number,
            "reason": reason,
            "startedAt": timestamp(self.cluster.skew),
            "finishedAt": timestamp(self.cluster.skew),
        }
        if number != 0:
            tail = self.containers[name].log.read_bytes()[-2048:].decode("utf-8", "replace")
            end["message"] = "\n".join(tail.splitlines()[-80:])
        self._set_container(part, name, {"terminated": end})

    # ---------------------------------------------------------------- ending

    def _finish(self, phase: str, **more: Any) -> None:
        """The pod is over; its object stays until somebody deletes it."""
        self.tell(lambda status: status.update(phase=phase, **more))
        while self.deletion is None:
            time.sleep(_TICK)
        self._end_by_deletion()

    def _kill(self, grace: float) -> None:
        processes = [running.process for running in self.containers.values() if running.process is not None]
        for process in processes:
            _signal_group(process, signal.SIGTERM)
        limit = time.monotonic() + grace
        for process in processes:
            try:
                process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
            _signal_group(process, signal.SIGKILL)
            process.wait()
        node_limits.end_all(self.uid)

    def _end_by_deletion(self) -> None:
        assert self.deletion is not None
        self._kill(self.deletion[1])
        self.cluster.store.delete("pods", self.namespace, self.pod_name, self.uid)
        raise _PodEnded

    def _end_by_platform(self, reason: str, message: str) -> None:
        self.platform_end = None
        self.spec.pop("activeDeadlineSeconds", None)
        self._kill(0.0)
        self._finish("Failed", reason=reason, message=message)

    def _clean_up(self) -> None:
        self._kill(0.0)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.cluster.pod_is_gone(self)


class _PodEnded(Exception):
    """The pod's thread is done."""


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
