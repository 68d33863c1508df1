"""The local process platform, with real programs: what only this platform has. What all platforms promise is in contract/."""

from __future__ import annotations

import errno
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import grpc
import pytest

from component_tests.fakes.planners import Planner, misbehaving
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.core.errors import AttemptFailed, InfrastructureError
from infra_validator.core.network.held_port import HeldPort
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.core.states import Life, Observation
from infra_validator.model_server_runners.cleanup.labels import Label
from infra_validator.model_server_runners.cleanup.processes import stat
from infra_validator.model_server_runners.cleanup.stop_method import StopMethod
from infra_validator.model_server_runners.cleanup.temporary_directory import not_made
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.specs import ServingSpec

SECONDS = 30.0
ROOT = pathlib.Path(__file__).parents[3]

Make = Callable[..., LocalProcessRunner]


@pytest.fixture
def temporary(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The system's place for temporary files."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return path


@pytest.fixture
def make(tmp_path: pathlib.Path, temporary: pathlib.Path) -> Iterator[Make]:
    """Makes runners of a planner and of fields of the spec; whatever the test did, they are stopped and nothing is left."""
    runners: list[LocalProcessRunner] = []
    model = tmp_path / "model"
    model.mkdir()

    def make(planner: Planner, **config: object) -> LocalProcessRunner:
        spec = ServingSpec.of({"tensorflow_serving": {}, "local_process": config})
        runner = LocalProcessRunner(str(model), planner, spec)
        runner.stop_grace_seconds = 0.3
        runners.append(runner)
        return runner

    yield make
    for runner in runners:
        runner.Stop()
        assert runner.stop_problems == []
    assert list(temporary.iterdir()) == []


def shell(script: str, *args: str) -> Planner:
    return Planner(("/bin/sh", "-c", script, "server"), args)


def end_of(runner: LocalProcessRunner) -> Observation:
    def gone() -> Observation | None:
        seen = runner.Observe()
        return seen if seen.life is Life.GONE else None

    return wait_until(gone, Deadline.after(SECONDS), news=runner.news)


def line_of(runner: LocalProcessRunner, start: str) -> str:
    """The rest of the line of the log that starts so, once it is there."""

    def line() -> str | None:
        lines = runner.GetLogs().splitlines()
        return next((text.removeprefix(start) for text in lines if text.startswith(start)), None)

    return wait_until(line, Deadline.after(SECONDS))


# -------------------------------------------------------------------- programs that cannot be run


def absent(directory: pathlib.Path) -> str:
    return str(directory / "absent")


def not_executable(directory: pathlib.Path) -> str:
    (directory / "script").write_text("#!/bin/sh\n")
    return str(directory / "script")


def a_directory(directory: pathlib.Path) -> str:
    (directory / "directory").mkdir()
    return str(directory / "directory")


def no_interpreter(directory: pathlib.Path) -> str:
    path = directory / "script"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    return str(path)


def no_program_at_all(directory: pathlib.Path) -> str:
    path = directory / "text"
    path.write_bytes(b"\x7fNOT an ELF\n")
    path.chmod(0o755)
    return str(path)


def a_link_to_itself(directory: pathlib.Path) -> str:
    (directory / "link").symlink_to("link")
    return str(directory / "link")


def a_link_to_nowhere(directory: pathlib.Path) -> str:
    (directory / "link").symlink_to("nowhere")
    return str(directory / "link")


def under_a_file(directory: pathlib.Path) -> str:
    (directory / "file").touch()
    return str(directory / "file" / "server")


@pytest.mark.parametrize(
    ("program", "reason", "words"),
    [
        (absent, ReasonCode.BINARY_NOT_FOUND, "there is no such file"),
        (not_executable, ReasonCode.BINARY_NOT_EXECUTABLE, "Permission denied"),
        (a_directory, ReasonCode.BINARY_NOT_EXECUTABLE, "is a directory"),
        (no_interpreter, ReasonCode.BINARY_NOT_EXECUTABLE, "its interpreter"),
        (no_program_at_all, ReasonCode.BINARY_NOT_EXECUTABLE, "Exec format error"),
        (a_link_to_itself, ReasonCode.BINARY_NOT_EXECUTABLE, "symbolic links"),
        (a_link_to_nowhere, ReasonCode.BINARY_NOT_EXECUTABLE, "what the link points to"),
        (under_a_file, ReasonCode.BINARY_NOT_EXECUTABLE, "Not a directory"),
    ],
)
def test_a_program_that_cannot_be_run_blames_no_model(
    make: Make, tmp_path: pathlib.Path, program: Callable[[pathlib.Path], str], reason: ReasonCode, words: str
) -> None:
    path = program(tmp_path)
    with pytest.raises(InfrastructureError, match=words) as caught:
        make(Planner((path,))).Start()
    assert caught.value.reason is reason
    assert path in str(caught.value)


def test_an_argument_that_cannot_be_handed_over(make: Make) -> None:
    with pytest.raises(InfrastructureError) as caught:
        make(Planner(("/bin/true",), ("a\0b",))).Start()
    assert caught.value.reason is ReasonCode.SERVER_NOT_STARTED


# -------------------------------------------------------------------- the directory


def test_the_model_is_linked_not_copied(make: Make, tmp_path: pathlib.Path) -> None:
    with open(tmp_path / "model" / "variables", "wb") as file:
        file.truncate(2**30)
    runner = make(shell('ls -l "$1" && exec sleep 3600', "${model_base_path}"))
    runner.Start()
    assert f"1 -> {tmp_path / 'model'}" in line_of(runner, "l")
    used = sum(path.lstat().st_blocks * 512 for path in pathlib.Path(runner.directory).rglob("*"))
    assert used < 2**20
    runner.Stop()
    assert (tmp_path / "model" / "variables").stat().st_size == 2**30


def test_files_of_the_plan_and_the_environment_of_the_spec(make: Make) -> None:
    planner = Planner(
        ("/bin/sh", "-c", 'cat "$1"; echo "A is $A, B is $B"; exec sleep 3600', "server"),
        ("${files_dir}/models.config",),
        {"A": "the plan's", "B": "the plan's"},
        {"models.config": "base path ${model_base_path} for 5 $$\n"},
    )
    runner = make(planner, env={"B": "the spec's"})
    runner.Start()
    assert line_of(runner, "base path ") == f"{runner.directory}/models/m for 5 $"
    assert line_of(runner, "A is ") == "the plan's, B is the spec's"


def test_the_validator_s_secrets_do_not_reach_the_server(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("WANTED", "seen")
    planner = Planner(("/bin/sh", "-c", 'env; echo "all told"; exec sleep 3600'), ())
    runner = make(planner, env_from=["WANTED"])
    runner.Start()
    line_of(runner, "all told")
    assert line_of(runner, "WANTED=") == "seen"
    assert "hunter2" not in runner.GetLogs()


def test_the_directory_is_private_and_labelled(make: Make) -> None:
    runner = make(misbehaving("mute"))
    runner.Start()
    assert os.stat(runner.directory).st_mode & 0o777 == 0o700
    label = Label.read(runner.directory)
    assert label is not None
    assert label.pid == os.getpid()
    assert label.expired() == ""


def test_a_temporary_directory_that_cannot_be_made(
    make: Make, temporary: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "absent"))
    with pytest.raises(InfrastructureError) as caught:
        make(misbehaving("good")).Start()
    assert caught.value.reason is ReasonCode.SERVER_NOT_STARTED
    assert "TMPDIR" in caught.value.next_step


def test_no_place_for_temporary_files_at_all(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(InfrastructureError, match="No usable temporary directory"):
        make(misbehaving("good")).Start()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(number: int) -> None:
    error = not_made("/tmp/x", OSError(number, os.strerror(number)))
    assert error.reason is ReasonCode.NO_SPACE
    assert "/tmp/x" in str(error)


FULL_DISK = """
set -e
mount -t tmpfs -o size=64k,nr_inodes=$1 tmpfs "$0"
shift
TMPDIR="$0" exec "$@"
"""

START_ON_FULL_DISK = """
import pathlib, tempfile
from component_tests.fakes.planners import misbehaving
from infra_validator.core.errors import InfrastructureError
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.specs import ServingSpec

runner = LocalProcessRunner("/", misbehaving("good"), ServingSpec.of({"tensorflow_serving": {}, "local_process": {}}))
try:
    runner.Start()
except InfrastructureError as error:
    print(error.reason.name)
runner.Stop()
print(runner.stop_problems, repr(runner.GetLogs()), list(pathlib.Path(tempfile.gettempdir()).iterdir()))
"""


@pytest.mark.parametrize("inodes", [3, 4, 5, 6, 7])  # each of the files that a start makes is once the one too many
def test_a_disk_that_is_really_full(tmp_path: pathlib.Path, inodes: int) -> None:
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", FULL_DISK, str(tmp_path), str(inodes)]
    allowed = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if allowed.returncode != 0:
        pytest.skip(f"no file system of our own can be mounted here: {allowed.stderr.strip()}")
    result = subprocess.run(
        [*command, sys.executable, "-c", START_ON_FULL_DISK], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.splitlines() == ["NO_SPACE", "[] '' []"]


# -------------------------------------------------------------------- ports


def listener(port: int = 0, address: str = "127.0.0.1") -> socket.socket:
    server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen()
    return server


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1"])
def test_an_occupied_port_is_refused_before_anything_is_made(make: Make, temporary: pathlib.Path, address: str) -> None:
    with listener(address=address) as server:
        port = server.getsockname()[1]
        runner = make(misbehaving("good", chooses_its_port=False), grpc_port=port)
        with pytest.raises(InfrastructureError) as caught:
            runner.Start()
        assert caught.value.reason is ReasonCode.PORT_NOT_AVAILABLE
        assert str(port) in str(caught.value)
        assert list(temporary.iterdir()) == []


def test_a_fixed_port_is_used(make: Make) -> None:
    held = HeldPort()
    held.release()
    runner = make(misbehaving("good", chooses_its_port=False), grpc_port=held.port)
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    assert runner.GetEndpoint() == f"127.0.0.1:{held.port}"
    with grpc.insecure_channel(runner.GetEndpoint()) as channel:
        grpc.channel_ready_future(channel).result(SECONDS)


def test_a_held_port_is_given_to_nobody_but_can_be_listened_on() -> None:
    held = HeldPort()
    try:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", held.port))
        with listener(held.port) as server:
            assert server.getsockname()[1] == held.port
    finally:
        held.release()


def test_held_ports_differ() -> None:
    held = [HeldPort() for _ in range(50)]
    assert len({one.port for one in held}) == 50
    for one in held:
        one.release()


def test_a_port_taken_while_the_server_loads_is_not_the_model_s_fault(make: Make) -> None:
    runner = make(misbehaving("port_in_use", chooses_its_port=False))
    runner.Start()
    assert end_of(runner).reason is ReasonCode.PORT_NOT_AVAILABLE
    with pytest.raises(InfrastructureError) as caught:
        runner.WaitUntilRunning(Deadline.after(SECONDS))
    assert caught.value.reason is ReasonCode.PORT_NOT_AVAILABLE


def test_somebody_else_s_server_on_our_port_is_noticed(make: Make) -> None:
    runner = make(misbehaving("mute", chooses_its_port=False))
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    port = int(runner.GetEndpoint().rpartition(":")[2])
    assert runner.Observe().life is Life.RUNNING
    with listener(port):
        seen = runner.Observe()
    assert seen.reason is ReasonCode.SERVER_NOT_OURS
    assert str(port) in seen.detail


def test_a_second_server_that_shares_the_port_is_noticed(make: Make, tmp_path: pathlib.Path) -> None:
    runner = make(misbehaving("shares_port", chooses_its_port=False))
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    port = int(runner.GetEndpoint().rpartition(":")[2])
    line_of(runner, "Running gRPC ModelServer")
    other = subprocess.Popen(
        [sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", "shares_port", f"--port={port}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stderr is not None
        assert "Running gRPC ModelServer" in other.stderr.readline()
        assert runner.Observe().reason is ReasonCode.SERVER_NOT_OURS
    finally:
        other.kill()
        other.communicate()


def test_a_child_that_listens_is_ours(make: Make) -> None:
    server = shlex.join([sys.executable, "-m", "component_tests.fakes.servers.misbehaving_servers", "deaf"])
    runner = make(
        Planner(
            ("/bin/sh", "-c", f'{server} "$1" "$2"; true', "wrapper"),
            ("--port=${grpc_port}", "--bind_address=${bind_address}"),
            {"PYTHONPATH": str(ROOT)},
        )
    )
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    address, _, port = runner.GetEndpoint().rpartition(":")

    def connected() -> bool | None:
        with socket.socket() as client:
            return client.connect_ex((address, int(port))) == 0 or None

    wait_until(connected, Deadline.after(SECONDS))
    assert runner.Observe().life is Life.RUNNING


def test_a_port_file_that_is_half_written_is_waited_for(make: Make) -> None:
    script = """
        echo '{"grpc": 12' > "$1"; echo half
        while [ ! -e "$2" ]; do sleep 0.01; done
        echo '{"grpc": 1234}' > "$1"; exec sleep 3600
    """
    runner = make(shell(script, "${port_file}", "${files_dir}/go"))
    runner.Start()
    line_of(runner, "half")
    with pytest.raises(AttemptFailed, match="has not told its port"):
        runner.WaitUntilRunning(Deadline.after(0.1))
    pathlib.Path(runner.directory, "files", "go").touch()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    assert runner.GetEndpoint() == "127.0.0.1:1234"


# -------------------------------------------------------------------- the log


def test_a_gigabyte_of_output_does_not_fill_the_disk(make: Make) -> None:
    runner = make(misbehaving("chatty"))
    runner.Start()
    log = pathlib.Path(runner.directory, "server.log")
    largest = 0

    def told() -> bool | None:
        nonlocal largest
        largest = max(largest, log.stat().st_blocks * 512)
        return runner.Observe().life is Life.RUNNING or None

    wait_until(told, Deadline.after(120), longest_pause=0.005)
    assert largest < 2**28
    last = line_of(runner, "that was")
    assert last == " all"
    assert len(runner.GetLogs()) < 2**16


def test_as_many_lines_are_kept_as_the_spec_says(make: Make) -> None:
    runner = make(shell("seq 100; exit 3"), log_tail_lines=3)
    runner.Start()
    end_of(runner)
    assert runner.GetLogs() == "98\n99\n100"


def test_bytes_that_are_no_text_are_no_problem(make: Make) -> None:
    runner = make(shell(r"printf 'a\377b\0c\r\n'; exit 3"))
    runner.Start()
    end_of(runner)
    assert runner.GetLogs() == "a\N{REPLACEMENT CHARACTER}bc"


# -------------------------------------------------------------------- memory, stopping


def test_a_server_above_its_memory_limit_is_ended_and_says_so(make: Make) -> None:
    runner = make(misbehaving("eats_memory"), memory_limit="200m")
    runner.Start()
    seen = end_of(runner)
    assert seen.reason is ReasonCode.SERVER_OUT_OF_MEMORY
    assert "the limit is 200 MiB" in seen.detail


def test_a_server_below_its_memory_limit_is_left_alone(make: Make) -> None:
    runner = make(misbehaving("good"), memory_limit="2g")
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    line_of(runner, "Running gRPC")
    assert runner.Observe().life is Life.RUNNING


@pytest.mark.parametrize(
    ("script", "reason", "detail"),
    [
        ("exit 255", ReasonCode.SERVER_EXITED, "exit code 255"),
        ("kill -TERM $$", ReasonCode.SERVER_KILLED, "signal SIGTERM"),
        ("kill -ABRT $$", ReasonCode.SERVER_KILLED, "signal SIGABRT"),
        ("kill -37 $$", ReasonCode.SERVER_KILLED, "signal 37"),
    ],
)
def test_an_end_is_told_by_name(make: Make, script: str, reason: ReasonCode, detail: str) -> None:
    runner = make(shell(script))
    runner.Start()
    seen = end_of(runner)
    assert (seen.reason, seen.detail) == (reason, detail)


REAPED_BY_SOMEBODY = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps all children now

from component_tests.fakes.planners import misbehaving
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.specs import ServingSpec

runner = LocalProcessRunner("/", misbehaving("exits_1"), ServingSpec.of({"tensorflow_serving": {}, "local_process": {}}))
runner.Start()
try:
    runner.WaitUntilRunning(Deadline.after(60))
except AttemptFailed as failure:
    print(failure.reason.name, failure.detail)
runner.Stop()
print(runner.stop_problems, runner.GetLogs())
"""


def test_a_program_that_reaps_our_children_does_not_confuse_us(temporary: pathlib.Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", REAPED_BY_SOMEBODY], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.startswith("SERVER_EXITED unknown exit status")
    assert result.stdout.endswith("[] cannot go on: the moon is full\n")
    assert result.stderr == ""


IN_A_SMALL_GROUP = """
import os, sys, tempfile
with open(sys.argv[1] + "/cgroup.procs", "w") as file:
    file.write(str(os.getpid()))

from component_tests.fakes.planners import misbehaving
from infra_validator.core.deadline import Deadline
from infra_validator.core.errors import AttemptFailed
from infra_validator.model_server_runners.local_process.runner import LocalProcessRunner
from infra_validator.specs import ServingSpec

runner = LocalProcessRunner("/", misbehaving("eats_memory"), ServingSpec.of({"tensorflow_serving": {}, "local_process": {}}))
runner.Start()
try:
    runner.WaitUntilRunning(Deadline.after(60))
    while runner.WaitUntilRunning(Deadline.after(60)):
        runner.news.wait(runner.news.count, 0.05)
except AttemptFailed as failure:
    print(failure.reason.name, failure.detail)
runner.Stop()
"""


@pytest.fixture
def small_group() -> Iterator[str]:
    """A memory control group of 300 MiB without swap."""
    version_1 = pathlib.Path("/sys/fs/cgroup/memory")
    base = version_1 if version_1.exists() else pathlib.Path("/sys/fs/cgroup")
    path = base / f"infra-validator-test-{os.getpid()}"
    try:
        path.mkdir()
        (path / ("memory.limit_in_bytes" if base is version_1 else "memory.max")).write_text(str(300 * 2**20))
    except OSError as error:
        if path.exists():
            path.rmdir()
        pytest.skip(f"no memory control group of our own can be made here: {error}")
    yield str(path)
    wait_until(lambda: not (path / "cgroup.procs").read_text() or None, Deadline.after(SECONDS))
    path.rmdir()


def test_the_kernel_s_out_of_memory_killer_is_recognised(small_group: str, temporary: pathlib.Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", IN_A_SMALL_GROUP, small_group], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout == "SERVER_OUT_OF_MEMORY signal SIGKILL: the kernel's out-of-memory killer was at work\n"


@pytest.mark.parametrize(
    ("mode", "method"),
    [
        ("good", StopMethod.TERM),
        ("ignores_sigterm", StopMethod.KILL),
        ("forks", StopMethod.KILL),
        ("exits_1", StopMethod.NONE),
    ],
)
def test_how_it_was_stopped_is_recorded(make: Make, mode: str, method: StopMethod) -> None:
    runner = make(misbehaving(mode))
    runner.Start()
    if method is StopMethod.NONE:
        end_of(runner)
    else:
        runner.WaitUntilRunning(Deadline.after(SECONDS))
    runner.Stop()
    assert runner.stopped_by is method


def test_a_server_that_stops_by_itself_gets_its_grace(make: Make) -> None:
    script = "trap 'echo flushing; sleep 0.2; echo flushed; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    runner = make(shell(script))
    runner.stop_grace_seconds = SECONDS
    runner.Start()
    line_of(runner, "ready")
    runner.Stop()
    assert runner.stopped_by is StopMethod.TERM


def test_a_stopped_server_is_ended(make: Make) -> None:
    runner = make(misbehaving("good"))
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    os.kill(runner.pid, signal.SIGSTOP)

    def stopped() -> bool | None:
        seen = stat(runner.pid)
        return (seen is not None and seen.state == "T") or None

    wait_until(stopped, Deadline.after(SECONDS))
    runner.Stop()
    assert runner.stopped_by is StopMethod.KILL


def test_it_works_beside_grpc_threads(make: Make) -> None:
    runner = make(misbehaving("good"))
    runner.Start()
    runner.WaitUntilRunning(Deadline.after(SECONDS))
    with grpc.insecure_channel(runner.GetEndpoint()) as channel:
        grpc.channel_ready_future(channel).result(SECONDS)  # gRPC's threads run now
        second = make(misbehaving("good"))
        second.Start()
        second.WaitUntilRunning(Deadline.after(SECONDS))
        second.Stop()


def test_many_at_once_get_ports_of_their_own(make: Make) -> None:
    runners = [make(misbehaving("mute", chooses_its_port=False)) for _ in range(8)]
    for runner in runners:
        runner.Start()
        runner.WaitUntilRunning(Deadline.after(SECONDS))
    assert len({runner.GetEndpoint() for runner in runners}) == 8
