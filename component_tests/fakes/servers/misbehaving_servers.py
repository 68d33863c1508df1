"""Real model servers that misbehave on purpose, each in one way: the same program for every platform.

    python -m component_tests.fakes.servers.misbehaving_servers MODE --port=8500 [--bind_address=127.0.0.1] [--port_file=PATH]

Other ``--flags`` are ignored, so the command line of a real server fits. ``MODES`` says what each mode does. With ``--port_file`` a free
port is taken and written there, as our embedded server does. grpc is only needed by the modes that answer.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from component_tests.fakes.servers.half_plus_two import LIES, metadata, predict
from component_tests.fakes.servers.half_plus_two_rest import REST_LIES, serve_rest
from infra_validator.testing.misbehaving_server import (  # noqa: F401 - the modes are looked up by name
    Flags,
    exits_0,
    exits_1,
    leaves_children,
    listen,
    mute,
    say,
    segfault,
    sleep_for_good,
    start_children,
)

MODES = {
    "good": "answers as a model server does: AVAILABLE, and Predict",
    "exits_0": "exits with 0 at once",
    "exits_1": "prints why to its error output and exits with 1",
    "load_failed": "prints what TensorFlow Serving prints when the first load failed, and exits with 255",
    "port_in_use": "prints what TensorFlow Serving prints when its port is in use, and exits with 255",
    "segfault": "dies by SIGSEGV",
    "mute": "runs, never listens and tells no port",
    "deaf": "listens and never answers, not even the connection's preface",
    "slow": "answers every call after 30 seconds",
    "chatty": "prints 1 GiB without a newline, then is good",
    "garbage": "answers every connection with random bytes",
    "ignores_sigterm": "is good, and ignores SIGTERM",
    "forks": "is good, with children that ignore SIGTERM: one in its group, one in a session of its own",
    "leaves_children": "starts such children and exits with 0",
    "closes_port": "is good for the first status call, then closes its port and runs on",
    "late": "says that it reads the model, opens its port after 2 seconds, then is good",
    "eats_memory": "takes 16 MiB more and more without end; listens, never answers",
    "fails_predict": "AVAILABLE, but Predict is FAILED_PRECONDITION",
    "dies_at_predict": "AVAILABLE, but exits with 3 at the first Predict",
    "never_available": "LOADING without end",
    "ends_with_error": "END with an error status",
    "shares_port": "is good, with SO_REUSEPORT on its port",
    "dies_after_the_last_answer": "answers Predict, then dies by SIGSEGV when the answer has left",
    "another_models_metadata": "is good, but GetModelMetadata tells the signatures of another model",
    "dies_once": "dies by SIGSEGV the first time, and leaves the file $DIED behind; is good from then on",
    "as_its_model_says": "is good, but for what assets.extra/behaviour.json of its model says; see as_its_model_says",
    "good_over_rest": "is good, over REST too",
    "refuses_warmup": "is good, but ends as TensorFlow Serving does where the model has a warm-up file",
    "dies_of_warmup": "is good, but dies by SIGSEGV where the model has a warm-up file",
    "slow_without_warmup": "is good, but its first answer takes half a second where the model has no warm-up file",
    **{f"lies_{name}": f"AVAILABLE, but Predict's answer is a lie: {what}" for name, what in LIES.items()},
    **{f"lies_over_rest_{name}": f"is good over gRPC, and lies over REST: {what}" for name, what in REST_LIES.items()},
}

_MIB = b"x" * 2**20


# -------------------------------------------------------------------- servers that answer


class Answers:
    """What a model server that answers does; the modes change it.

    Attributes:
      state: the model's state, a ModelVersionStatus.State; error: its status' error code and message.
      before_status, before_predict: called before each answer, with grpc's context.
      lie: how Predict's answers are spoilt, one of LIES; empty: not.
      model_base_path: the model whose signatures GetModelMetadata tells.
    """

    def __init__(self, lie: str = "") -> None:
        self.lie = lie
        self.model_base_path: str | None = None
        self.state: Any = 30  # AVAILABLE
        self.error = (0, "")
        self.before_status: Callable[[Any], None] = lambda context: None
        self.before_predict: Callable[[Any], None] = lambda context: None

    def get_model_status(self, request: Any, context: Any) -> Any:
        from infra_validator.protos import tensorflow_serving_pb2 as pb

        self.before_status(context)
        response = pb.GetModelStatusResponse()
        version = response.model_version_status.add(version=1, state=self.state)
        status: Any = version.status
        status.error_code, status.error_message = self.error
        return response

    def predict(self, request: bytes, context: Any) -> bytes:
        self.before_predict(context)
        return predict(request, self.lie)

    def get_model_metadata(self, request: Any, context: Any) -> Any:
        import grpc

        answer = metadata(self.model_base_path or "", request.model_spec.name)
        if answer is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "this server has no model")
        return answer


def answer(flags: Flags, answers: Answers, *, reuse_port: bool = False) -> None:
    """Serve for good."""
    from concurrent import futures

    import grpc

    from infra_validator.protos import tensorflow_serving_pb2 as pb

    if answers.model_base_path is None:
        answers.model_base_path = flags.model_base_path
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", int(reuse_port))])
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.ModelService",
                {
                    "GetModelStatus": grpc.unary_unary_rpc_method_handler(
                        answers.get_model_status,
                        request_deserializer=pb.GetModelStatusRequest.FromString,
                        response_serializer=pb.GetModelStatusResponse.SerializeToString,
                    )
                },
            ),
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.PredictionService",
                {
                    "Predict": grpc.unary_unary_rpc_method_handler(answers.predict),
                    "GetModelMetadata": grpc.unary_unary_rpc_method_handler(
                        answers.get_model_metadata, request_deserializer=pb.GetModelMetadataRequest.FromString
                    ),
                },
            ),
        )
    )
    try:
        port = server.add_insecure_port(f"{flags.address}:{flags.port}")
    except RuntimeError as error:
        port = 0
        say(str(error))
    if port == 0:
        say("Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server")
        os._exit(255)
    say(f"Running gRPC ModelServer at {flags.address}:{port} ...")  # before the first answer can make a test go on
    server.start()
    flags.tell_port(port)
    server.wait_for_termination()


# -------------------------------------------------------------------- the modes


def good(flags: Flags) -> None:
    answer(flags, Answers())


def load_failed(flags: Flags) -> None:
    print(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 1} due to error: "
        "NOT_FOUND: Op type not registered 'OpThatNobodyHas' in binary running on here.}, }",
        flush=True,
    )
    sys.exit(255)


def port_in_use(flags: Flags) -> None:
    print("Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server", flush=True)
    sys.exit(255)


def deaf(flags: Flags) -> None:
    with listen(flags):
        sleep_for_good()


def slow(flags: Flags) -> None:
    answers = Answers()
    answers.before_status = answers.before_predict = lambda context: time.sleep(30)
    answer(flags, answers)


def chatty(flags: Flags) -> None:
    for _ in range(1024):
        os.write(2, _MIB)
    say("\nthat was all")
    good(flags)


def garbage(flags: Flags) -> None:
    with listen(flags) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(os.urandom(4096))


def ignores_sigterm(flags: Flags) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    good(flags)


def forks(flags: Flags) -> None:
    start_children()
    good(flags)


def closes_port(flags: Flags) -> None:
    answers = Answers()
    once = threading.Event()

    def close_after_first(context: Any) -> None:
        if once.is_set():
            return
        once.set()
        # gRPC listens with more than one descriptor on some systems; close every listening socket of this process.
        threading.Timer(0.1, _close_listening_sockets).start()

    answers.before_status = close_after_first
    answer(flags, answers)


def _close_listening_sockets() -> None:
    for name in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            duplicate = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with duplicate:
            try:
                duplicate.shutdown(socket.SHUT_RDWR)  # a listening socket ceases to listen, whoever else holds it
            except OSError:
                pass


def late(flags: Flags) -> None:
    say("reading the model")
    time.sleep(2)
    good(flags)


def eats_memory(flags: Flags) -> None:
    eaten = []
    with listen(flags):
        while True:
            eaten.append(bytearray(b"x" * 2**24))
            time.sleep(0.01)


def fails_predict(flags: Flags) -> None:
    import grpc

    answers = Answers()
    answers.before_predict = lambda context: context.abort(
        grpc.StatusCode.FAILED_PRECONDITION, "Could not find variable Variable_1."
    )
    answer(flags, answers)


def dies_at_predict(flags: Flags) -> None:
    answers = Answers()
    answers.before_predict = lambda context: os._exit(3)
    answer(flags, answers)


def never_available(flags: Flags) -> None:
    answers = Answers()
    answers.state = 20  # LOADING
    answer(flags, answers)


def ends_with_error(flags: Flags) -> None:
    answers = Answers()
    answers.state, answers.error = 50, (5, "Op type not registered 'OpThatNobodyHas'")  # END, NOT_FOUND
    answer(flags, answers)


def shares_port(flags: Flags) -> None:
    answer(flags, Answers(), reuse_port=True)


def dies_after_the_last_answer(flags: Flags) -> None:
    def die_when_answered(context: Any) -> None:
        context.add_callback(lambda: os.kill(os.getpid(), signal.SIGSEGV))

    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    answers = Answers()
    answers.before_predict = die_when_answered
    answer(flags, answers)


def another_models_metadata(flags: Flags) -> None:
    answers = Answers()
    answers.model_base_path = os.environ["ANOTHER_MODEL"]
    answer(flags, answers)


def dies_once(flags: Flags) -> None:
    marker = os.environ["DIED"]
    if os.path.exists(marker):
        good(flags)
    with open(marker, "w"):
        pass
    segfault(flags)


def _warmup_files(flags: Flags) -> list[str]:
    return glob.glob(f"{flags.model_base_path}/*/assets.extra/tf_serving_warmup_requests")


def refuses_warmup(flags: Flags) -> None:
    if _warmup_files(flags):
        print(
            "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: {{{name: m version: 1} due to error: "
            "DATA_LOSS: corrupted record at 0. Please verify your warmup data is in TFRecord format.}, }",
            flush=True,
        )
        sys.exit(255)
    good(flags)


def dies_of_warmup(flags: Flags) -> None:
    if _warmup_files(flags):
        segfault(flags)
    good(flags)


def slow_without_warmup(flags: Flags) -> None:
    answers = Answers()
    first = threading.Event()

    def take_time(context: Any) -> None:
        if not first.is_set():
            first.set()
            time.sleep(0.5)

    if not _warmup_files(flags):
        answers.before_predict = take_time
    answer(flags, answers)


def as_its_model_says(flags: Flags) -> None:
    """``delays_ms``: of Predict's answers, in turn; ``dies_at``: the number of the Predict (from 1) that it dies of; ``crashes``: at once;
    ``refuses``: Predict is INVALID_ARGUMENT."""
    import grpc

    says: dict[str, Any] = {}
    for file in glob.glob(f"{flags.model_base_path}/*/assets.extra/behaviour.json"):
        with open(file) as opened:
            says = json.load(opened)
    if says.get("crashes"):
        segfault(flags)
    count = itertools.count(1)
    delays = says.get("delays_ms", [0])

    def behave(context: Any) -> None:
        number = next(count)
        if number == says.get("dies_at"):
            say(f"about to die of request {number}")
            os.kill(os.getpid(), signal.SIGABRT)
        if says.get("refuses"):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this one")
        time.sleep(delays[number % len(delays)] / 1000)

    answers = Answers()
    answers.before_predict = behave
    answer(flags, answers)


def good_over_rest(flags: Flags, lie: str = "") -> None:
    serve_rest(flags.address, flags.rest_port, lie)
    good(flags)


def main() -> None:
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode not in MODES:
        sys.exit(f"usage: misbehaving_servers.py MODE [--flag=value ...]; modes: {', '.join(MODES)}")
    flags = Flags(sys.argv[2:])
    if mode.startswith("lies_over_rest_"):
        good_over_rest(flags, mode.removeprefix("lies_over_rest_"))
    elif mode.startswith("lies_"):
        answer(flags, Answers(lie=mode.removeprefix("lies_")))
    else:
        globals()[mode](flags)


if __name__ == "__main__":
    main()
