"""Contract 1: flags, the order of a start, start errors, signals."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

import grpc
import pytest

from component_tests.contract.tensorflow_serving.requests import PREDICTION, predict_request, spec, status, tensor
from component_tests.fakes.saved_models import SavedModels
from component_tests.fakes.servers.embedded_server_process import (
    ROOT,
    EmbeddedServerProcess,
    embedded_server,
)

pytestmark = pytest.mark.slow

X = tensor([1.0])


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """A server that is expected to end by itself."""
    command = [sys.executable, "-W", "error", "-m", "infra_validator.embedded_server", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.rstrip("\n").rpartition("\n")[2]


# ------------------------------------------------------------------------------------------------ 1.1 the command line


def test_1_1_bad_value_and_help_end_with_usage_on_stdout() -> None:
    bad = run("--port=x")
    assert (bad.returncode, bad.stdout[:7]) == (255, "usage: ")
    assert bad.stderr == "Couldn't interpret value x for flag port.\n"
    asked = run("--help")
    assert (asked.returncode, asked.stdout[:7], asked.stderr) == (255, "usage: ", "")


def test_1_1_version_comes_before_any_check() -> None:
    done = run("--version", "--port=0")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first.startswith("TensorFlow ModelServer: ")
    assert second.startswith("TensorFlow Library: 2.")


def test_1_1_unknown_arguments_are_printed_and_the_server_starts(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--port", "9000"]
    with embedded_server(*flags) as server:
        assert server.stdout.startswith("unknown argument: --port\nusage: ")
        assert status(server, spec("default")) == [(1, "AVAILABLE", 0, "")]


def test_ours_strict_flags_refuses_unknown_arguments() -> None:
    done = run("--strict_flags", "--model_base_path=/nowhere", "--nonsense=1")
    assert done.returncode == 255
    assert done.stdout.startswith("unknown argument: --nonsense=1\nusage: ")


def test_1_2_flags_without_effect_say_so_in_one_line(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--num_tflite_pools=3"]
    with embedded_server(*flags) as server:
        warnings = [line for line in server.stderr.splitlines() if "has no effect" in line]
        assert len(warnings) == 1
        assert "] --num_tflite_pools is accepted and has no effect: " in warnings[0]


def test_ours_a_tflite_model_is_refused_at_once_in_one_sentence(
    saved_models: SavedModels, tmp_path: pathlib.Path
) -> None:
    path = saved_models.copy("half_plus_two", tmp_path / "m") / "model.tflite"
    path.write_bytes(b"TFL3")
    done = run(f"--model_base_path={tmp_path / 'm'}", "--prefer_tflite_model")
    assert done.returncode == 255
    assert last_line(done) == (
        f"Failed to start server. Error: UNIMPLEMENTED: --prefer_tflite_model asks for {path}, and the embedded model server "
        "serves SavedModels only; use a tensorflow_model_server."
    )
    for flags in (("--prefer_tflite_model=false",), ()):
        with embedded_server(f"--model_base_path={tmp_path / 'm'}", *flags) as server:
            assert status(server, spec("default")) == [(1, "AVAILABLE", 0, "")]
    path.unlink()
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", "--prefer_tflite_model") as server:
        assert status(server, spec("default")) == [(1, "AVAILABLE", 0, "")]


# ------------------------------------------------------------------------------------------- 1.3 the order of a start


def test_1_3_ports_are_refused_until_the_first_load_is_done(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    base = tmp_path / "m"
    base.mkdir()
    with embedded_server(f"--model_base_path={base}", wait=False) as server:
        server.wait_until(lambda: "No versions of servable default found" in server.stderr, "a look for versions")
        ports = server.ports()
        for port in (ports["grpc"], ports["rest"]):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=10)
        assert ports["pid"] == server.process.pid
        saved_models.copy("half_plus_two", base)
        server.wait_until_serving()
        assert status(server, spec("default")) == [(1, "AVAILABLE", 0, "")]
        grpc_line = server.stderr.index(f"] Running gRPC ModelServer at 0.0.0.0:{ports['grpc']} ...")
        assert grpc_line < server.stderr.index(f"] Exporting HTTP/REST API at:localhost:{ports['rest']} ...")


def test_1_3_a_failed_first_load_ends_with_the_reason_on_stdouts_end(saved_models: SavedModels) -> None:
    done = run("--port=1", "--max_num_load_retries=0", f"--model_base_path={saved_models.base_path('truncated_pb')}")
    assert done.returncode == 255
    assert done.stdout.startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{{name: default version: 1} due to error: "
    )
    assert done.stdout.endswith("}, }\n")
    assert "Traceback" not in done.stderr
    assert "] Loading servable: {name: default version: 1} failed: " in done.stderr
    assert "] Unload all remaining servables in the manager." in done.stderr


def test_1_3_a_failed_load_is_retried(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    saved_models.copy("no_pb", tmp_path / "m")
    flags = ["--max_num_load_retries=2", "--load_retry_interval_micros=1000", f"--model_base_path={tmp_path / 'm'}"]
    done = run("--port=1", *flags)
    assert done.returncode == 255
    what = "Loading servable: {name: default version: 1}"
    assert done.stderr.count(f"] {what} failed: NOT_FOUND: ") == 3
    for expected in ("retry: 1", "retry: 2", "exhausted max_num_retries: 2"):
        assert done.stderr.count(f"] Retrying of {what} {expected}\n") == 1


def test_1_3_a_model_repaired_during_the_retries_starts(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    version = saved_models.copy("no_pb", tmp_path / "m")
    retries = ["--max_num_load_retries=1000", "--load_retry_interval_micros=50000"]
    with embedded_server(f"--model_base_path={tmp_path / 'm'}", *retries, wait=False) as server:
        server.wait_until(lambda: " failed: NOT_FOUND" in server.stderr, "a failed load")
        good = saved_models.path("half_plus_two_tf2") / "saved_model.pb"
        (version / "saved_model.unfinished").write_bytes(good.read_bytes())
        (version / "saved_model.unfinished").rename(version / "saved_model.pb")
        server.wait_until_serving()


def test_1_3_good_models_do_not_save_a_start(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "models.config"
    entries = [("good", "half_plus_two"), ("bad", "garbage_pb")]
    config.write_text(
        "model_config_list {"
        + "".join(
            f'config {{ name: "{name}" base_path: "{saved_models.base_path(model)}" model_platform: "tensorflow" }}'
            for name, model in entries
        )
        + "}"
    )
    done = run("--port=1", "--max_num_load_retries=0", f"--model_config_file={config}")
    assert done.returncode == 255
    assert "1 servable(s) did not become available: {{{name: bad version: 1} due to error: " in last_line(done)


@pytest.mark.parametrize("content", ["", "model_config_list {}"])
def test_1_3_configurations_without_models_start_at_once(tmp_path: pathlib.Path, content: str) -> None:
    config = tmp_path / "models.config"
    config.write_text(content)
    with embedded_server(f"--model_config_file={config}") as server:
        with pytest.raises(grpc.RpcError) as caught:
            server.predict(predict_request(spec("m", label="stable"), x=X))
        log = server.stderr
    if content:
        expected = (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: stable")
    else:
        expected = (grpc.StatusCode.UNAVAILABLE, "Model labels does not init yet.stable")
        assert "] Taking no action for empty config." in log
    assert (caught.value.code(), caught.value.details()) == expected


def test_1_3_port_in_use_by_somebody_else(saved_models: SavedModels) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        done = run(f"--port={port}", f"--model_base_path={saved_models.base_path('half_plus_two')}")
    assert done.returncode == 255
    assert last_line(done) == "Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"


def test_1_3_two_servers_do_not_share_a_port(saved_models: SavedModels) -> None:
    base = f"--model_base_path={saved_models.base_path('half_plus_two')}"
    with embedded_server(base) as first:
        done = run(f"--port={first.ports()['grpc']}", "--bind_address=127.0.0.1", base)
    assert done.returncode == 255
    assert last_line(done) == "Failed to start server. Error: INVALID_ARGUMENT: Failed to BuildAndStart gRPC server"


def test_1_3_two_servers_share_a_port_where_the_flag_says_so(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('half_plus_two')}", "--bind_address=127.0.0.1"]
    flags += ["--grpc_channel_arguments=grpc.so_reuseport=1"]
    with embedded_server(*flags) as first:
        with embedded_server(*flags, f"--port={first.ports()['grpc']}", "--port_file=") as second:
            assert "] Running gRPC ModelServer" in second.stderr


def test_1_3_rest_port_in_use_leaves_grpc_running(saved_models: SavedModels) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        base = f"--model_base_path={saved_models.base_path('half_plus_two')}"
        with embedded_server(
            base, "--port_file=", "--port=0", f"--grpc_socket_path={_socket()}", f"--rest_api_port={port}"
        ) as server:
            server.wait_until(
                lambda: f"Failed to start HTTP Server at localhost:{port}" in server.stderr, "the complaint"
            )
            assert f"] Couldn't bind to port {port}\n" in server.stderr
            assert server.process.poll() is None


def _socket() -> str:
    return f"/tmp/embedded_server_{os.getpid()}.sock"


def test_1_3_equal_ports_leave_grpc_running(saved_models: SavedModels) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"--model_base_path={saved_models.base_path('half_plus_two')}"
    with embedded_server(base, "--port_file=", f"--port={port}", f"--rest_api_port={port}") as server:
        server.wait_until(
            lambda: "server_options.http_port cannot be same as grpc_port." in server.stderr, "the complaint"
        )


def test_1_2_unix_socket(saved_models: SavedModels, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s"
    base = f"--model_base_path={saved_models.base_path('half_plus_two')}"
    with embedded_server(base, "--port_file=", "--port=0", f"--grpc_socket_path={path}") as server:
        assert f"] Running gRPC ModelServer at UNIX socket {path} ..." in server.stderr
        with grpc.insecure_channel(f"unix:{path}") as channel:
            request = predict_request(spec("default"), x=X).SerializeToString()
            assert channel.unary_unary(PREDICTION + "Predict", bytes, bytes)(request, timeout=60)


def test_1_3_a_bad_monitoring_file_leaves_grpc_running_without_rest(saved_models: SavedModels) -> None:
    base = f"--model_base_path={saved_models.base_path('half_plus_two')}"
    with embedded_server(base, "--monitoring_config_file=/no/such/file", wait=False) as server:
        server.wait_until(lambda: "Failed to start server." in server.stdout, "the complaint")
        assert server.stdout == "Failed to start server. Error: NOT_FOUND: /no/such/file; No such file or directory\n"
        assert status(server, spec("default")) == [(1, "AVAILABLE", 0, "")]


def test_no_tensorflow_wheel_is_one_sentence(tmp_path: pathlib.Path) -> None:
    script = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'tensorflow' else find(name, *more)\n"
        "from infra_validator.embedded_server.main import main; sys.exit(main(['--model_base_path=/x']))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (255, "")
    assert done.stdout.count("\n") == 1
    assert "pip install 'infra-validator[embedded]'" in done.stdout


def test_python_tensorflow_is_never_imported(saved_models: SavedModels) -> None:
    base = saved_models.base_path("half_plus_two")
    env = {**os.environ, "PYTHONVERBOSE": "1"}
    with embedded_server(f"--model_base_path={base}", env=env) as server:
        server.predict(predict_request(spec("default"), x=X))
        imported = server.stderr
    assert "import 'grpc'" in imported
    for name in ("tensorflow", "numpy"):
        assert f"import '{name}'" not in imported


# ------------------------------------------------------------------------------------------------------- 1.6 signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_1_6_signals_kill_at_once_without_a_word(saved_models: SavedModels, number: signal.Signals) -> None:
    with embedded_server(f"--model_base_path={saved_models.base_path('half_plus_two')}") as server:
        before = server.stderr
        server.process.send_signal(number)
        assert server.wait_for_exit() == -number
        assert server.stderr == before


def test_ours_shutdown_grace_lets_requests_finish(saved_models: SavedModels) -> None:
    flags = [f"--model_base_path={saved_models.base_path('slow')}", "--shutdown_grace_seconds=60"]
    with embedded_server(*flags) as server:
        answers: list[float] = []

        def ask() -> None:
            request = predict_request(spec("default"), seconds=tensor([1.0], []))
            answers.extend(server.predict(request).outputs["slept"].float_val)

        server.predict(predict_request(spec("default"), seconds=tensor([0.0], [])))
        asking = threading.Thread(target=ask)
        asking.start()
        _wait_for_a_running_request(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait_for_exit() == -signal.SIGTERM
        asking.join()
        assert answers == [1.0]


def _wait_for_a_running_request(server: EmbeddedServerProcess) -> None:
    """Until the slow request's thread sleeps inside TensorFlow: a second request overtakes it."""
    server.predict(predict_request(spec("default"), seconds=tensor([0.0], [])))
    server.predict(predict_request(spec("default"), seconds=tensor([0.2], [])))


def test_ours_port_file_is_whole_and_says_who_wrote_it(saved_models: SavedModels) -> None:
    with embedded_server(f"--model_base_path={saved_models.base_path('half_plus_two')}") as server:
        content = json.loads(server.port_file.read_text())
        assert set(content) == {"grpc", "rest", "pid"}
        assert [path.name for path in server.port_file.parent.iterdir() if "ports" in path.name] == ["ports.json"]


def test_ours_port_file_that_cannot_be_written(saved_models: SavedModels) -> None:
    base = f"--model_base_path={saved_models.base_path('half_plus_two')}"
    done = run("--port_file=/no/such/directory/ports", base)
    assert done.returncode == 255
    assert "No such file or directory" in last_line(done)
    assert "Traceback" not in done.stderr
