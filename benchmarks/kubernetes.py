"""What a validation costs on Kubernetes, over the fake API server with a real cluster's latencies; TFX's own runner beside it.

    python -m benchmarks.kubernetes [--rounds N] [--without-tfx]

The cluster's latencies (seconds): scheduling 0.05, image there already 0.1, container start 0.3, a status until it is known 0.2, an API
call 0.01. TFX's KubernetesRunner refuses to start outside Kubeflow Pipelines and sends ``claims`` as an object, which
every API server refuses; both are lifted here, in this file only, so that there is something to measure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.table import print_table
from component_tests.fakes.kubernetes_api import FakeCluster, Image, Latencies
from component_tests.fakes.kubernetes_pods import PORTS, SERVER, SHELL, MisbehavingImagePlanner, misbehaving_image
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.core.states import Life
from infra_validator.model_server_clients.tensorflow_serving import TensorFlowServingClient
from infra_validator.model_server_runners.base_runner import failure_of
from infra_validator.model_server_runners.kubernetes.connection import upload as kubernetes_upload
from infra_validator.model_server_runners.kubernetes.runner import KubernetesRunner
from infra_validator.saved_model.archive import Archive, list_files
from infra_validator.specs import ServingSpec

MODEL_MIB = 256
NEIGHBOURS = 500


class Bench:
    """One cluster with a real cluster's latencies, and a model on its node."""

    def __init__(self, cluster: FakeCluster, directory: pathlib.Path, *, fast: bool = False) -> None:
        self.cluster = cluster
        if not fast:
            cluster.latencies = Latencies(schedule=0.05, pull=0.1, start=0.3, status=0.2)
            cluster.api_latency = 0.01
        self.directory = directory
        self.model = directory / "model"
        self.model.mkdir()
        self.kubeconfig = cluster.kubeconfig(directory)

    def runner(self, mode: str, **config: Any) -> KubernetesRunner:
        where = {"kubeconfig": self.kubeconfig, "model": {"host_path": {"path": str(self.model)}}, **config}
        spec = ServingSpec.of({"tensorflow_serving": {"tags": ["1"]}, "kubernetes": where})
        runner = KubernetesRunner(str(self.model), MisbehavingImagePlanner(mode), spec)
        runner.on_progress = lambda line: None
        return runner

    def wait_until_gone(self) -> None:
        self.cluster.wait_for(
            lambda: not [pod for pod in self.cluster.pods() if pod["status"].get("containerStatuses")]
        )


@contextlib.contextmanager
def bench(*modes: str, fast: bool = False) -> Iterator[Bench]:
    images = {f"misbehaving/{mode}": misbehaving_image(mode) for mode in modes}
    images["upload"] = Image(SHELL)
    program = misbehaving_image(modes[0]).programs[SERVER]
    images["tensorflow/serving:1"] = Image(
        {"entrypoint": (*program, f"+--port={PORTS['grpc']}")}, "entrypoint", env=misbehaving_image("good").env
    )
    with tempfile.TemporaryDirectory() as name, FakeCluster(images=images) as cluster:
        yield Bench(cluster, pathlib.Path(name), fast=fast)


class PortOpens(threading.Thread):
    """Notes the moment at which the server of the only pod opens its port: the end of its own loading."""

    def __init__(self, cluster: FakeCluster, port: int) -> None:
        super().__init__(daemon=True)
        self._cluster = cluster
        self._port = port
        self.at = 0.0

    def run(self) -> None:
        while not self.at:
            for pod in list(self._cluster._pods.values()):
                with contextlib.suppress(OSError):
                    socket.create_connection((pod.ip, self._port), 0.5).close()
                    self.at = time.perf_counter()
            time.sleep(0.002)


def one_good(one: Bench, endpoint: str) -> tuple[float, float, int]:
    """(port open to verdict, whole, API calls) of a good model that takes two seconds to load."""
    before = len(one.cluster.requests)
    opens = PortOpens(one.cluster, PORTS["grpc"])
    opens.start()
    began = time.perf_counter()
    runner = one.runner("late", endpoint=endpoint)
    try:
        runner.Prepare(Deadline.after(60))
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(60))
        with TensorFlowServingClient(runner.GetEndpoint(), "m", 1) as client:
            client.WaitUntilModelLoaded(Deadline.after(60), runner.Observe, runner.news)
        verdict = time.perf_counter()
    finally:
        runner.Stop()
    calls = len(one.cluster.requests) - before
    one.wait_until_gone()
    return verdict - opens.at, time.perf_counter() - began, calls


def pod_failed_at(cluster: FakeCluster, moments: list[float]) -> None:
    """Note the moment at which the API server knows that a pod's server has ended."""
    while not moments:
        if any("terminated" in str(pod["status"].get("containerStatuses")) for pod in cluster.pods()):
            moments.append(time.perf_counter())
        cluster.store.wait(cluster.store.version, 0.005)


def one_crash(one: Bench) -> float:
    """From the pod's failure to the verdict with the log in hand."""
    moments: list[float] = []
    watcher = threading.Thread(target=pod_failed_at, args=(one.cluster, moments))
    watcher.start()
    runner = one.runner("exits_1")
    try:
        runner.Prepare(Deadline.after(60))
        runner.Start()
        while (seen := runner.Observe()).life is not Life.GONE:
            runner.news.wait(runner.news.count, 0.01)
        assert isinstance(failure_of(seen), AttemptFailed)
        assert "the moon is full" in runner.GetLogs()
        verdict = time.perf_counter()
    finally:
        runner.Stop()
    watcher.join()
    one.wait_until_gone()
    return verdict - moments[0]


# -------------------------------------------------------------------- TFX


def tfx_runner(one: Bench) -> Any:
    """TFX's KubernetesRunner and its client against the same cluster, with its guard and its claims fault lifted."""
    import kubernetes
    from tfx.components.infra_validator import serving_bins
    from tfx.components.infra_validator.model_server_runners import kubernetes_runner
    from tfx.proto import infra_validator_pb2

    core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(one.kubeconfig))
    own = kubernetes.client.V1Pod(
        api_version="v1",
        kind="Pod",
        metadata=kubernetes.client.V1ObjectMeta(name="executor", namespace="default", uid="1"),
        spec=kubernetes.client.V1PodSpec(
            service_account_name="default", containers=[kubernetes.client.V1Container(name="main", volume_mounts=[])]
        ),
    )
    utils = kubernetes_runner.kube_utils
    utils.is_inside_kfp = lambda: True
    utils.make_core_v1_api = lambda: core
    utils.get_current_kfp_pod = lambda api: own
    utils.get_kfp_namespace = lambda: "default"
    kubernetes_runner._convert_to_resource_requirements = lambda resources: None
    serving_bins.TensorFlowServing.container_port = PORTS["grpc"]
    binary = serving_bins.TensorFlowServing(image_name="tensorflow/serving", model_name="m", tag="1")
    spec = infra_validator_pb2.ServingSpec(kubernetes=infra_validator_pb2.KubernetesConfig(), model_name="m")
    return kubernetes_runner.KubernetesRunner("/nowhere/1", binary, spec), binary


def tfx_good(one: Bench) -> tuple[float, float, int]:
    before = len(one.cluster.requests)
    opens = PortOpens(one.cluster, PORTS["grpc"])
    opens.start()
    began = time.perf_counter()
    runner, binary = tfx_runner(one)
    try:
        runner.Start()
        runner.WaitUntilRunning(time.time() + 60)
        client = binary.MakeClient(runner.GetEndpoint())
        client.WaitUntilModelLoaded(time.time() + 60, polling_interval_sec=1)
        verdict = time.perf_counter()
    finally:
        runner.Stop()
    calls = len(one.cluster.requests) - before
    one.wait_until_gone()
    return verdict - opens.at, time.perf_counter() - began, calls


def tfx_crash(one: Bench) -> float:
    """One try; its log is asked of a container called main, which is 400."""
    moments: list[float] = []
    watcher = threading.Thread(target=pod_failed_at, args=(one.cluster, moments))
    watcher.start()
    runner, _ = tfx_runner(one)
    try:
        runner.Start()
        with contextlib.suppress(Exception):
            runner.WaitUntilRunning(time.time() + 60)
        verdict = time.perf_counter()
    finally:
        runner.Stop()
    watcher.join()
    one.wait_until_gone()
    return verdict - moments[0]


# -------------------------------------------------------------------- upload, many pods, many validations


def upload_rates(rounds: int) -> tuple[list[float], list[float]]:
    """(ours, a bare tar over the same WebSocket) in MiB/s, alternating."""
    ours: list[float] = []
    bare: list[float] = []
    with bench("good", fast=True) as one:
        (one.model / "variables").write_bytes(os.urandom(MODEL_MIB * 2**20))
        for _ in range(rounds):
            ours.append(MODEL_MIB / _upload(one, None))
            bare.append(MODEL_MIB / _upload(one, b"".join(Archive(list_files(str(one.model))).chunks())))
    return ours, bare


def _upload(one: Bench, tar: bytes | None) -> float:
    """Seconds from the open stream to the pod's word; of ``tar`` as it lies in memory, or of the model by our own code."""
    runner = one.runner("good", model={"upload": {"image": "upload"}})
    took: list[float] = []
    send = kubernetes_upload.send

    def timed(archive: Any, stream: Any, deadline: Any, check: Any, on_progress: Any, on_bytes: Any) -> float:
        began = time.perf_counter()
        if tar is None:
            send(archive, stream, deadline, check, on_progress, on_bytes)
        else:
            view = memoryview(tar)
            for at in range(0, len(tar), 256 * 1024):
                stream.send(b"\0" + view[at : at + 256 * 1024], 2)
            while True:
                opcode, data = stream.recv_data()
                if opcode == 8 or (data and data[0] == 3 and len(data) > 1):
                    break
        took.append(time.perf_counter() - began)
        return took[0]

    kubernetes_upload.send = timed
    try:
        runner.Prepare(Deadline.after(300))
        assert runner._uploading is not None
        runner._uploading.join(60.0)  # the server may run a moment before the upload is told of its success
    finally:
        kubernetes_upload.send = send
        runner.Stop()
    one.wait_until_gone()
    return took[0]


def watched_bytes_among(neighbours: int) -> int:
    """What the watch of one validation sends while many other pods of the namespace change."""
    with bench("good", fast=True) as one:
        for number in range(neighbours):
            one.cluster.add_pod_object(
                {
                    "metadata": {"name": f"other-{number}", "namespace": "default"},
                    "spec": {},
                    "status": {"phase": "Running"},
                }
            )
        runner = one.runner("good", endpoint="pod_ip")
        try:
            runner.Prepare(Deadline.after(60))
            for number in range(neighbours):
                one.cluster.store.update("pods", "default", f"other-{number}", lambda pod: pod["status"].update(x=1))
            time.sleep(0.3)
        finally:
            runner.Stop()
        return one.cluster.watched_bytes


def at_once(count: int) -> tuple[float, int, int]:
    """(seconds, how many answered, pods left) of ``count`` validations at once."""
    with bench("good", fast=True) as one:
        right: list[bool] = []

        def work(runner: KubernetesRunner) -> None:
            try:
                runner.Prepare(Deadline.after(120))
                runner.Start()
                runner.WaitUntilRunning(Deadline.after(120))
                with TensorFlowServingClient(runner.GetEndpoint(), "m", 1) as client:
                    client.WaitUntilModelLoaded(Deadline.after(120), runner.Observe, runner.news)
                right.append(True)
            finally:
                runner.Stop()

        began = time.perf_counter()
        threads = [threading.Thread(target=work, args=(one.runner("good"),)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - began
        one.wait_until_gone()
        return took, len(right), len(one.cluster.pods())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-tfx", action="store_true")
    arguments = parser.parse_args()
    rounds = range(arguments.rounds)
    with bench("late", "exits_1") as one:
        direct = [one_good(one, "pod_ip") for _ in rounds]
        forward = [one_good(one, "port_forward") for _ in rounds]
        crash = [one_crash(one) for _ in rounds]
    rows = [
        ("ours, by the pod's address: port open to verdict", [row[0] for row in direct], "at most 0.3 s"),
        ("ours, by port-forward: port open to verdict", [row[0] for row in forward], ""),
    ]
    crashes = [("ours: pod failed to verdict, log included", crash, "at most 0.5 s")]
    calls = [
        ("ours, by the pod's address", [float(row[2]) for row in direct], "at most 8"),
        (
            "ours, by port-forward (a model that loads in 2 s)",
            [float(row[2]) for row in forward],
            "at most 8",
        ),
    ]
    if not arguments.without_tfx:
        with bench("late") as one:
            theirs = [tfx_good(one) for _ in rounds]
        with bench("exits_1") as one:
            their_crash = [tfx_crash(one) for _ in rounds]
        rows.append(
            ("TFX, guard and claims lifted: port open to verdict", [row[0] for row in theirs], "polls every 5 s")
        )
        crashes.append(("TFX: pod failed to its end of waiting", their_crash, "no log: asks a container called main"))
        calls.append(("TFX", [float(row[2]) for row in theirs], ""))
    print_table("A good model", rows)
    print_table("A server that exits at once", crashes)
    print_table("API calls of one validation", calls, "calls")
    among = watched_bytes_among(NEIGHBOURS)
    print(f"\nBytes of the watch: {watched_bytes_among(0)} alone, {among} among {NEIGHBOURS} other pods that change")
    ours, bare = upload_rates(arguments.rounds)
    print_table(
        f"Upload of {MODEL_MIB} MiB",
        [
            ("ours, from files", ours, "at least half of the bare rate"),
            ("a bare tar over the same WebSocket", bare, ""),
        ],
        "MiB/s",
    )
    took, right, left = at_once(20)
    print(f"\n20 validations at once: {right} right, {left} pods left, {took:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
