"""What the ModelRuntime costs and how good its sizes are, beside TensorFlow's C API alone, in one run.

    python -m benchmarks.model_runtime [--only rate,sizes,cancel,steps] [--models 1000] [--steps 100000]

The models are made with TensorFlow once and kept in ``.cache``. About five minutes in all on two cores.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from component_tests.fakes.model_runtime.process import RuntimeProcess, running
from infra_validator.model_runtime import ModelRuntimeStub
from infra_validator.protos import model_runtime_pb2 as pb2

ROOT = pathlib.Path(__file__).parents[1]
MODELS = ROOT / ".cache" / "model_runtime_benchmark"
AT_ONCE = 8
MIB = 2**20


# ---------------------------------------------------------------- the models


def _variables(tf: Any, shapes: list[list[int]]) -> Any:
    module = tf.Module()
    module.held = [tf.Variable(tf.random.normal(shape)) for shape in shapes]

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def serve(x: Any) -> Any:
        return {"y": tf.add_n([x * tf.reduce_sum(variable) for variable in module.held])}

    module.serve = serve
    return module


def _constants(tf: Any, floats: int) -> Any:
    import numpy

    value = numpy.random.rand(floats).astype("float32")
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def serve(x: Any) -> Any:
        return {"y": x * tf.reduce_sum(tf.constant(value))}

    module.serve = serve
    return module


def _nodes(tf: Any, count: int) -> Any:
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def serve(x: Any) -> Any:
        for _ in range(count):
            x = tf.sin(x) + 1.0
        return {"y": x}

    module.serve = serve
    return module


def _functions(tf: Any, count: int) -> Any:
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
    def serve(x: Any) -> Any:
        for _ in range(count):
            x = tf.cond(x > 0, lambda x=x: tf.sin(x), lambda x=x: tf.cos(x))
        return {"y": x}

    module.serve = serve
    return module


def _table(tf: Any, words: int) -> Any:
    module = tf.Module()
    path = pathlib.Path(tempfile.mkdtemp()) / "words.txt"
    path.write_text("\n".join(f"word number {i}" for i in range(words)))
    module.asset = tf.saved_model.Asset(str(path))
    initializer = tf.lookup.TextFileInitializer(
        module.asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(initializer, -1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(x: Any) -> Any:
        return {"y": module.table.lookup(x)}

    module.serve = serve
    return module


SHAPES: dict[str, Callable[[Any], Any]] = {
    "nothing but a product": lambda tf: _nodes(tf, 1),
    "variable of 1 MiB": lambda tf: _variables(tf, [[512, 512]]),
    "variable of 64 MiB": lambda tf: _variables(tf, [[4096, 4096]]),
    "16 variables of 4 MiB": lambda tf: _variables(tf, [[1024, 1024]] * 16),
    "500 variables of 1 KiB": lambda tf: _variables(tf, [[16, 16]] * 500),
    "constant of 1 MiB": lambda tf: _constants(tf, 2**18),
    "constant of 32 MiB": lambda tf: _constants(tf, 2**23),
    "6,000 nodes": lambda tf: _nodes(tf, 3000),
    "400 functions": lambda tf: _functions(tf, 200),
    "table of 200,000 words": lambda tf: _table(tf, 200_000),
}


def make_models(directory: pathlib.Path) -> None:
    """Write every shape; imports TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    for name, make in SHAPES.items():
        module = make(tf)
        tf.saved_model.save(module, str(directory / name / "1"), signatures={"serving_default": module.serve})


def models() -> pathlib.Path:
    """The directory of the models, made if need be."""
    if not MODELS.exists():
        unfinished = MODELS.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        subprocess.run(
            [sys.executable, "-m", "benchmarks.model_runtime", "--make", str(unfinished)], check=True, cwd=ROOT
        )
        unfinished.rename(MODELS)
    return MODELS


# ---------------------------------------------------------------- measuring


def resident(pid: int) -> int:
    """Resident anonymous memory, bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon")


@contextlib.contextmanager
def runtime(*arguments: str) -> Iterator[tuple[RuntimeProcess, ModelRuntimeStub]]:
    with tempfile.TemporaryDirectory() as directory:
        with running("embedded", models(), pathlib.Path(directory), *arguments) as process:
            with grpc.insecure_channel(process.target) as channel:
                yield process, ModelRuntimeStub(channel)


def load_and_unload(stub: ModelRuntimeStub, model_id: str, path: str) -> None:
    stub.loadModel(pb2.LoadModelRequest(modelId=model_id, modelPath=path), timeout=120)
    stub.unloadModel(pb2.UnloadModelRequest(modelId=model_id), timeout=120)


def slope(samples: list[tuple[int, int]]) -> float:
    """Bytes per model over the second half of the samples, by least squares."""
    half = samples[len(samples) // 2 :]
    mean_x = sum(x for x, _ in half) / len(half)
    mean_y = sum(y for _, y in half) / len(half)
    return sum((x - mean_x) * (y - mean_y) for x, y in half) / sum((x - mean_x) ** 2 for x, _ in half)


def in_rounds(count: int, one: Callable[[int], None], pid: int) -> tuple[float, float]:
    """(models per second, bytes that memory grows per model) of ``count`` models, AT_ONCE at once."""
    samples = []
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for start in range(0, count, 50):
            list(pool.map(one, range(start, min(count, start + 50))))
            samples.append((start, resident(pid)))
    return count / (time.perf_counter() - began), slope(samples)


def rate(count: int) -> None:
    """Loads and unloads of a 1 MiB model, 8 at once, beside the bare C API."""
    path = str(models() / "variable of 1 MiB" / "1")
    with runtime("--max-loading-concurrency", str(AT_ONCE)) as (process, stub):
        ours = in_rounds(count, lambda i: load_and_unload(stub, f"m{i}", path), process.process.pid)
    bare = subprocess.run(
        [sys.executable, "-m", "benchmarks.model_runtime", "--bare", path, "--models", str(count)],
        stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    bare_rate, bare_slope = map(float, bare.stdout.split()[-2:])
    print(f"\n{count} models of 1 MiB, loaded and unloaded, {AT_ONCE} at once\n")
    print("| | models per second | memory growth per model |\n|---|---|---|")
    print(f"| ModelRuntime over gRPC | {ours[0]:.0f} | {ours[1] / 1024:.1f} KiB |")
    print(f"| TF_LoadSessionFromSavedModel in a loop | {bare_rate:.0f} | {bare_slope / 1024:.1f} KiB |")


def bare_loop(path: str, count: int) -> None:
    """The peer: the C API, as many threads, nothing else."""
    os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "1"
    from infra_validator.embedded_server.engine.c_api import load_library
    from infra_validator.embedded_server.engine.session import Session

    load_library()
    print(*in_rounds(count, lambda _: Session.load(path, ("serve",), b"").close(), os.getpid()))


def sizes() -> None:
    """Predicted over measured size of ten shapes, each in a process of its own and measured alone."""
    print(
        "\n| model | on disk | predicted | measured | predicted / measured | prediction took |\n|---|---|---|---|---|---|"
    )
    with runtime() as (_, stub):
        for name in SHAPES:
            path = models() / name / "1"
            began = time.perf_counter()
            request = pb2.PredictModelSizeRequest(modelId=name, modelPath=str(path))
            predicted = stub.predictModelSize(request, timeout=0.5).sizeInBytes
            took = time.perf_counter() - began
            measured = stub.loadModel(pb2.LoadModelRequest(modelId=name, modelPath=str(path)), timeout=120).sizeInBytes
            stub.unloadModel(pb2.UnloadModelRequest(modelId=name), timeout=60)
            disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            cells = [f"{value / MIB:.2f} MiB" for value in (disk, predicted, measured)]
            print(f"| {name} | {' | '.join(cells)} | {predicted / measured:.2f} | {took * 1000:.0f} ms |")


def cancel() -> None:
    """How soon a cancelled load's memory is back."""
    path = str(models() / "16 variables of 4 MiB" / "1")
    with runtime() as (process, stub):
        pid = process.process.pid
        for _ in range(3):
            load_and_unload(stub, "warm", path)
        time.sleep(1)
        before = resident(pid)
        print("\n| cancelled after | unload answered after | memory back after | left |\n|---|---|---|---|")
        for pause in (0.005, 0.02, 0.05, 0.1):
            loading = stub.loadModel.future(pb2.LoadModelRequest(modelId="m", modelPath=path))
            time.sleep(pause)
            loading.cancel()
            began = time.perf_counter()
            stub.unloadModel(pb2.UnloadModelRequest(modelId="m"), timeout=60)
            answered = time.perf_counter() - began
            while resident(pid) > before + 4 * MIB and time.perf_counter() - began < 10:
                time.sleep(0.005)
            back = time.perf_counter() - began
            left = (resident(pid) - before) / MIB
            print(f"| {pause * 1000:.0f} ms | {answered * 1000:.0f} ms | {back * 1000:.0f} ms | {left:.1f} MiB |")


def steps(count: int) -> None:
    """The model-based test of the table for many steps."""
    from hypothesis import HealthCheck, settings
    from hypothesis.stateful import run_state_machine_as_test

    from component_tests.unit.model_runtime.test_model_table import ModelTableMachine

    per_run = 200
    began = time.perf_counter()
    ModelTableMachine.steps = 0
    run: Callable[..., None] = run_state_machine_as_test  # typed in hypothesis' newer releases only
    run(
        ModelTableMachine,
        settings=settings(
            max_examples=-(-count * 5 // (4 * per_run)),  # some runs end early
            stateful_step_count=per_run,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    print(f"\n{ModelTableMachine.steps} steps in {time.perf_counter() - began:.0f} s: no leaked and no missing model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="rate,sizes,cancel,steps")
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make_models(arguments.make)
        return
    if arguments.bare:
        bare_loop(arguments.bare, arguments.models)
        return
    wanted: dict[str, Callable[[], None]] = {
        "sizes": sizes,
        "rate": lambda: rate(arguments.models),
        "cancel": cancel,
        "steps": lambda: steps(arguments.steps),
    }
    for name in arguments.only.split(","):
        wanted[name]()


if __name__ == "__main__":
    main()
