"""Validations in one process: good, lying, crashing, deaf servers, broken models, the embedded server and containers now and then.

Every verdict is compared with what it must be. What the process holds is measured between the rounds, when nothing runs.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import json
import pathlib
import shlex
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.embedded_server import predict_request
from benchmarks.soak import quick_server
from benchmarks.soak.measuring import Held, held
from component_tests.fakes.saved_models import SavedModels, made_once
from component_tests.fakes.servers.half_plus_two import metadata, predict
from component_tests.real_platforms.docker_images import build
from infra_validator.api import run_validation
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode as R
from infra_validator.model_server_runners.cleanup.labels import own_process
from infra_validator.model_server_runners.local_docker.leftovers import PROCESS
from infra_validator.protos import tensorflow_serving_pb2 as pb
from infra_validator.report.verdict import ValidationReport, report_of_error

AT_ONCE = 4
MODEL = "half_plus_two_tf2"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of validation.

    Attributes:
      model: one of the saved models.
      mode: of quick_server; empty: the embedded server.
      reasons: what the verdict may be.
      tries: how often it may be tried; loading: seconds to load.
      tag: of an image on a Docker daemon; empty: a local process.
    """

    model: str
    mode: str
    reasons: tuple[R, ...]
    tries: int = 1
    loading: float = 120.0
    tag: str = ""


#: What is validated by turns. The embedded server, which takes as long as fifty quick ones, comes twice in a hundred.
QUICK = (
    *[Kind(MODEL, "good", (R.BLESSED,))] * 4,
    Kind(MODEL, "lies_nan", (R.ANSWER_NOT_FINITE,)),
    Kind(MODEL, "lies_wrong_dtype", (R.ANSWER_TYPE_DIFFERS,)),
    Kind(MODEL, "lies_garbage", (R.ANSWER_UNREADABLE,)),
    Kind(MODEL, "exits", (R.SERVER_EXITED,), tries=2),
    Kind(MODEL, "dies_at_predict", (R.SERVER_KILLED, R.SERVER_EXITED), tries=2),
    Kind("empty_pb", "good", (R.MODEL_NOT_A_SAVED_MODEL,)),
)
DEAF = Kind(MODEL, "deaf", (R.LOAD_TIMEOUT, R.SERVER_UNHEALTHY), loading=2.0)
EMBEDDED = (Kind("half_plus_two", "", (R.BLESSED,)), Kind("unknown_op", "", (R.OP_NOT_REGISTERED,)))
CONTAINERS = (
    Kind("half_plus_two", "", (R.BLESSED,), tag="2.19.0"),
    Kind(MODEL, "", (R.SERVER_EXITED,), 2, tag="crashes"),
)


def kinds(count: int, containers: bool) -> Iterator[Kind]:
    for number in range(count):
        if containers and number % 25 == 12:
            yield CONTAINERS[number // 25 % 2]
        elif number % 50 == 24:
            yield EMBEDDED[number // 50 % 2]
        elif number % 50 == 49:
            yield DEAF
        else:
            yield QUICK[number % len(QUICK)]


class Soak:
    """Validates in rounds; ``seen`` is what is held after each, ``wrong`` every verdict that is not what it must be.

    Args:
      directory: gets the servers' programs and answers, and the temporary directory of everything that is validated.
      containers: whether one of 25 validations is on the Docker daemon.
    """

    def __init__(self, directory: pathlib.Path, containers: bool = False) -> None:
        self.models: SavedModels = made_once()
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        self.seen: list[Held] = []
        self.wrong: list[str] = []
        self.found: collections.Counter[str] = collections.Counter()
        self._directory = directory
        self._containers = containers
        if containers:
            make_images()
        content = struct.pack("<3f", 1.0, 2.0, 5.0)
        self._requests = directory / "requests.json"
        self._requests.write_text(json.dumps([{"inputs": {"x": [1.0, 2.0, 5.0]}}]))
        self._record(content)

    def run(self, count: int, round_of: int) -> None:
        """Validate so many, measuring after every ``round_of``."""
        every = list(kinds(count, self._containers))
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for begin in range(0, count, round_of):
                for _ in pool.map(self._one, every[begin : begin + round_of]):
                    pass
                now = held(min(begin + round_of, count), self.temporary)
                if self._containers:
                    now = dataclasses.replace(now, containers=len(ours()))
                self.seen.append(now)
                print(self.seen[-1].row(), flush=True)

    def _one(self, kind: Kind) -> None:
        report = self._validated(kind)
        reason = report.finding.reason
        self.found[f"{report.verdict.value} {reason.name}"] += 1
        if reason not in kind.reasons:
            server = f"image {kind.tag}" if kind.tag else kind.mode or "the embedded server"
            self.wrong.append(f"{kind.model} on {server}: {reason.name}, {report.sentence}")

    def _validated(self, kind: Kind) -> ValidationReport:
        local: dict[str, Any] = {"binary_path": str(self._program(kind.mode))} if kind.mode else {}
        spec = {"tensorflow_serving": {}, "local_process": local, "model_name": "m"}
        if kind.tag:
            spec = {"tensorflow_serving": {"tags": [kind.tag]}, "local_docker": {}, "model_name": "m"}
        limits = {"num_tries": kind.tries, "max_loading_time_seconds": kind.loading}
        try:
            return run_validation(self.models.path(kind.model), spec, limits, requests=str(self._requests))
        except (AttemptFailed, InfrastructureError) as error:
            return report_of_error(kind.model, error)

    def _program(self, mode: str) -> pathlib.Path:
        path = self._directory / f"server-{mode}"
        if not path.exists():
            command = [sys.executable, "-I", "-S", quick_server.__file__, mode, str(self._directory / "answers")]
            unfinished = path.with_name(f"{path.name}.{time.monotonic_ns()}")
            unfinished.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
            unfinished.chmod(0o755)
            unfinished.replace(path)
        return path

    def _record(self, content: bytes) -> None:
        """What an honest server and the lying ones answer."""
        request = pb.PredictRequest.FromString(predict_request(content, [3]))
        request.model_spec.signature_name = "serving_default"
        asked = request.SerializeToString()
        model = metadata(str(self.models.path(MODEL).parent), "m")
        assert model is not None, MODEL
        status = pb.GetModelStatusResponse()
        status.model_version_status.add(version=1, state=30)
        answers = {
            "status": status.SerializeToString(),
            "metadata": model,
            "predict": predict(asked),
            **{f"predict-{lie}": predict(asked, lie) for lie in ("nan", "wrong_dtype", "garbage")},
        }
        (self._directory / "answers").mkdir()
        for name, octets in answers.items():
            (self._directory / "answers" / name).write_bytes(octets)


def make_images() -> None:
    """An image that serves, and one whose program ends at once."""
    build.serving("2.19.0")
    crashing = build.variant("crashes", build.busybox(), 'ENTRYPOINT ["/bin/busybox", "sh", "-c", "exit 1"]')
    build.docker("tag", crashing, f"{build.SERVING}:crashes")


def ours() -> list[str]:
    """The containers and volumes on the Docker daemon that are of this process by their label."""
    labelled = ("-q", "--filter", f"label={PROCESS}={own_process()}")
    return (build.docker("ps", "-a", *labelled) + "\n" + build.docker("volume", "ls", *labelled)).split()
