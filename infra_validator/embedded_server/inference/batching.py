"""Server-side batching (``--enable_batching``, contract 3.9): requests for the same tensors of a version run together.

``BatchingSession`` stands where a ``Session`` would: requests' tensors are joined along their 0th dimension, the graph runs once, and
everybody is answered with their own rows. ``batch_scheduler`` decides what runs together and when.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

from infra_validator.core import wire
from infra_validator.embedded_server import log, metrics
from infra_validator.embedded_server.engine.c_api import Tensor
from infra_validator.embedded_server.engine.session import Endpoints, Session
from infra_validator.embedded_server.inference.batch_rows import Rows, batch_size, cut, joined, put_together, split
from infra_validator.embedded_server.inference.batch_scheduler import Limits, Queue, Scheduler, Task
from infra_validator.embedded_server.metrics import Metrics
from infra_validator.embedded_server.models.model_config import read_text_proto
from infra_validator.embedded_server.status import invalid_argument
from infra_validator.protos import tensorflow_pb2
from infra_validator.protos import tensorflow_serving_pb2 as serving_pb2

PER_MODEL_FILE = "batching_params.pbtxt"  # in the version directory
_NO_DEADLINE = (2**31 - 1) / 1000  # seconds; as long as a request without a deadline may take (contract 3.8)
_QUEUES_AT_MOST = 1024  # of one version; clients choose the outputs, and so the queues


# ------------------------------------------------------------------------------------------------------ parameters


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What a BatchingParameters file says.

    Attributes:
      limits: of every queue.
      allowed_sizes: a batch is filled up to the first of these that is not smaller; as it is if there is none.
      pads: whether other dimensions than the 0th are filled up to the largest in the batch.
    """

    limits: Limits = Limits()
    allowed_sizes: tuple[int, ...] = ()
    pads: bool = False

    @classmethod
    def of(cls, proto: serving_pb2.BatchingParameters) -> Parameters:
        """Checked; what is not set has TensorFlow Serving's default.

        Raises:
          StatusError: INVALID_ARGUMENT; the load fails with it.
        """
        default = Limits()
        rows = proto.max_batch_size.value if proto.HasField("max_batch_size") else default.task_rows
        allowed = tuple(proto.allowed_batch_sizes)
        if allowed and allowed[-1] != rows:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must match max_batch_size; "
                f"last entry was {allowed[-1]}; expected {rows}"
            )
        if rows < 1:
            raise invalid_argument(f"input_batch_size_limit must be positive; was {rows}")
        timeout = proto.batch_timeout_micros.value
        if timeout < 0:
            raise invalid_argument(f"batch_timeout_micros must be non-negative; was {timeout}")
        splits = proto.enable_large_batch_splitting.value
        batches = proto.max_enqueued_batches.value if proto.HasField("max_enqueued_batches") else default.batches
        if batches == 0 and not splits:
            batches = 1  # as the real server reads it
        if batches < 1:
            raise invalid_argument(f"max_enqueued_batches must be positive; was {batches}")
        executed = proto.max_execution_batch_size.value if proto.HasField("max_execution_batch_size") else rows
        if splits and not 1 <= executed <= rows:
            raise invalid_argument(
                "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
                f"max_execution_batch_size, and that positive; were {rows} and {executed}"
            )
        limits = Limits(rows, executed if splits else rows, timeout / 1e6, batches, splits)
        return cls(limits, allowed, proto.pad_variable_length_inputs)

    def filled_up(self, rows: int) -> int:
        """The size of the batch that runs for ``rows``. An empty one has no row that could be repeated, and stays empty."""
        return next((size for size in self.allowed_sizes if size >= rows), rows) if rows else 0


class Batching:
    """Batching for all models of a server, which share the right to run ``num_batch_threads`` batches at once.

    Args:
      common: of ``--batching_parameters_file``.
      per_model: ``--enable_per_model_batching_parameters``: of ``common``, only the number of threads counts.
      metrics: hears of waiting times and runs.
    """

    def __init__(
        self, common: serving_pb2.BatchingParameters, per_model: bool = False, metrics: Metrics | None = None
    ) -> None:
        self._common = common
        self._per_model = per_model
        self._metrics = metrics
        set_ = common.HasField("num_batch_threads")
        self._threads = common.num_batch_threads.value if set_ else os.cpu_count() or 1
        self._scheduler = Scheduler(max(self._threads, 1))

    def of_version(self, directory: str) -> Callable[[Session], BatchingSession] | None:
        """What puts batching before the session of the version in ``directory``; None if that version is not batched.

        Raises:
          StatusError: the parameters are wrong; the load fails with it.
        """
        if self._threads < 1:
            raise invalid_argument(f"num_batch_threads must be positive; was {self._threads}")
        proto = self._common
        if self._per_model:
            path = os.path.join(directory, PER_MODEL_FILE)
            if not os.path.exists(path):
                return None
            proto = serving_pb2.BatchingParameters()
            read_text_proto(path, proto)
        parameters = Parameters.of(proto)
        log.info("bundle_factory_util.cc", "Wrapping session to perform batch processing")
        return lambda session: BatchingSession(session, parameters, self._scheduler, self._metrics)


# --------------------------------------------------------------------------------------------------------- session


class BatchingSession:
    """A session whose runs are batched. Has what a ``Session`` has.

    Args:
      session: what runs the batches; is closed with this one.
      parameters: how.
      scheduler: when.
      metrics: hears of waiting times and runs; None: nobody does.
    """

    def __init__(
        self, session: Session, parameters: Parameters, scheduler: Scheduler, metrics: Metrics | None = None
    ) -> None:
        self._session = session
        self._parameters = parameters
        self._scheduler = scheduler
        self._metrics = metrics
        self._queues: dict[object, Queue[Sequence[Tensor], list[Tensor]]] = {}
        self.meta_graph, session.meta_graph = session.meta_graph, b""

    def endpoints(self, names: Sequence[str]) -> Endpoints:
        return self._session.endpoints(names)

    def run(self, feeds: Endpoints, values: Sequence[Tensor], fetches: Endpoints, options: bytes = b"") -> list[Tensor]:
        """As ``Session.run``. Returns at the timeout in ``options`` at the latest.

        Raises:
          StatusError: TensorFlow Serving's code and text; see the contract's table.
        """
        rows = batch_size([value.shape for value in values])
        # Other dtypes than the graph's get their own batches, and with these their own errors: they spoil nobody else's.
        key = (feeds.names, fetches.names, *(value.dtype for value in values))
        queue = self._queues.get(key)
        if queue is None:
            queue = self._add_queue(key, feeds, fetches)
        deadline = self._scheduler.clock() + _timeout(options)
        pieces = self._scheduler.run(queue, values, rows, deadline)
        return pieces[0] if len(pieces) == 1 else [put_together(parts) for parts in zip(*pieces, strict=True)]

    def close(self) -> None:
        self._session.close()

    def _add_queue(self, key: object, feeds: Endpoints, fetches: Endpoints) -> Queue[Sequence[Tensor], list[Tensor]]:
        if len(self._queues) >= _QUEUES_AT_MOST:
            self._queues.clear()  # tasks in them go on; the next ones get new queues
        process = functools.partial(self._process, feeds, fetches)
        return self._queues.setdefault(key, Queue(self._parameters.limits, process, cut))

    def _process(
        self, feeds: Endpoints, fetches: Endpoints, tasks: Sequence[Task[Sequence[Tensor], list[Tensor]]]
    ) -> list[list[Tensor]]:
        now = self._scheduler.clock()
        if self._metrics is not None:
            for task in tasks:
                self._metrics.observe(metrics.QUEUING_LATENCY, "", value=(now - task.enqueued) * 1e6)
            self._metrics.count(metrics.WRAPPED_RUN_COUNT)
        sizes = [task.rows for task in tasks]
        size = self._parameters.filled_up(sum(sizes))
        values = [
            joined(name, [task.values[index] for task in tasks], size, self._parameters.pads)
            for index, name in enumerate(feeds.names)
        ]
        longest = max(task.deadline for task in tasks) - now
        options = wire.varint_field(2, max(int(longest * 1000), 1)) if longest < _NO_DEADLINE / 2 else b""
        inputs = [value.in_tensorflow() if isinstance(value, Rows) else value for value in values]
        return split(self._session.run(feeds, inputs, fetches, options), sizes, size)


def _timeout(options: bytes) -> float:
    """Seconds, of a serialized tensorflow.RunOptions."""
    milliseconds = tensorflow_pb2.RunOptions.FromString(options).timeout_in_ms if options else 0
    return min(milliseconds / 1000, _NO_DEADLINE) if milliseconds > 0 else _NO_DEADLINE
