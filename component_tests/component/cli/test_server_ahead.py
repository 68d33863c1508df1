"""The server that ``infra-validator validate`` starts before its imports: it is the validation's, or nobody's, and never left behind."""

from __future__ import annotations

import json
import os
import pathlib
import signal
from typing import Any

import pytest

from component_tests.component.cli.test_command_line import (
    FEW,
    LOCAL,
    Command,
    nothing_left,
    requests_file,  # noqa: F401
    servers_of,
    validate,
)
from component_tests.component.cli.test_command_line import scratch as scratch
from component_tests.fakes.saved_models import SavedModels
from infra_validator import run_validation
from infra_validator.core.deadline import Deadline, wait_until
from infra_validator.model_server_runners.local_process import spares

AHEAD, FROM_NOTHING = "infra_validator.embedded_server.spare", "infra_validator.embedded_server"


def programs(scratch: pathlib.Path) -> dict[int, str]:
    """The servers of a command that run: process id -> the Python module that each of them is."""
    found = {}
    for pid in servers_of(scratch):
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if "-m" in words:
            found[pid] = words[words.index("-m") + 1]
    return found


def seen_until_its_end(command: Command, scratch: pathlib.Path) -> dict[int, str]:
    """All the servers that a command has while it runs."""
    seen: dict[int, str] = {}

    def ended() -> bool | None:
        seen.update(programs(scratch))
        return True if command.process.poll() is not None else None

    wait_until(ended, Deadline.after(120))
    return seen


def first_server(command: Command, scratch: pathlib.Path) -> str:
    """Waits until the command has a server; says what it is."""
    return wait_until(lambda: next(iter(programs(scratch).values()), None), Deadline.after(60))


def of_a_report(report: dict[str, Any]) -> dict[str, Any]:
    """What a verdict says, without what differs from run to run."""
    binary = report["serving_binaries"][0]
    return {
        **{name: report[name] for name in ("verdict", "reason_code", "evidence", "warnings")},
        "label": binary["label"],
        "attempts": len(binary["attempts"]),
        "phases": [phase["name"] for phase in binary["phases"]],
    }


@pytest.mark.parametrize(
    ("model", "form"), [("half_plus_two", "text"), ("unknown_op", "json_file"), ("nan", "yaml_file")]
)
def test_the_verdict_is_that_of_a_server_started_from_nothing(
    saved_models: SavedModels, scratch: pathlib.Path, tmp_path: pathlib.Path, model: str, form: str
) -> None:
    path = saved_models.path(model)
    spec: Any = LOCAL
    if form == "json_file":
        spec = str(tmp_path / "spec.json")
        pathlib.Path(spec).write_text(json.dumps({"tensorflowServing": {}, "localProcess": {}, "modelName": "m"}))
    elif form == "yaml_file":
        spec = str(tmp_path / "spec.yaml")
        pathlib.Path(spec).write_text("tensorflow_serving: {}\nlocal_process: {}\nmodel_name: m\n")
    command = validate(scratch, path, "--generate", "--format", "json", spec=spec)
    seen = seen_until_its_end(command, scratch)
    _, output, errors = command.end()
    told = json.loads(output)
    spares.end()
    expected = run_validation(str(path), LOCAL, request_spec={"generate": {}})
    assert of_a_report(told) == of_a_report(expected.to_dict()), errors
    assert list(seen.values()).count(AHEAD) == 1
    assert list(seen.values()).count(FROM_NOTHING) == len(expected.serving_binaries[0].attempts) - 1
    nothing_left(scratch)


def test_its_environment_is_what_the_spec_says(
    saved_models: SavedModels, scratch: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_OURS", "7")
    monkeypatch.setenv("SECRET", "8")
    local = {"env": {"OF_THE_SPEC": "9", "TF_CPP_MIN_LOG_LEVEL": "1"}, "env_from": ["OF_OURS"]}
    command = validate(scratch, saved_models.path("slow"), "--generate", spec={**LOCAL, "local_process": local})
    pid, program = wait_until(lambda: next(iter(programs(scratch).items()), None), Deadline.after(60))
    assert program == AHEAD
    environment = pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert {"OF_OURS=7", "OF_THE_SPEC=9", "TF_CPP_MIN_LOG_LEVEL=1"} <= set(environment)
    assert not any(line.startswith("SECRET=") for line in environment)
    assert command.end()[0] == 0
    nothing_left(scratch)


def test_its_memory_is_limited(saved_models: SavedModels, scratch: pathlib.Path) -> None:
    spec = {**LOCAL, "local_process": {"memory_limit": "20m"}}
    command = validate(scratch, saved_models.path("half_plus_two"), "--format", "json", spec=spec)
    assert AHEAD in seen_until_its_end(command, scratch).values()
    code, output, _ = command.end()
    assert (code, json.loads(output)["reason_code"]) == (1, "SERVER_OUT_OF_MEMORY")
    nothing_left(scratch)


@pytest.mark.parametrize(
    ("model", "more", "code"),
    [
        ("garbage_pb", [], 1),  # the model's files are looked at before a server is asked
        ("half_plus_two", ["--no-such-option"], 2),
        ("half_plus_two", ["--requests", "/no/such/file"], 2),
        ("half_plus_two", ["--validation-spec", '{"num_tries": -1}'], 2),
    ],
)
def test_a_server_that_nobody_needs_is_gone_with_the_command(
    saved_models: SavedModels, scratch: pathlib.Path, model: str, more: list[str], code: int
) -> None:
    command = validate(scratch, saved_models.path(model), *more)
    assert first_server(command, scratch) == AHEAD
    assert command.end()[0] == code
    assert (servers_of(scratch), list(scratch.iterdir())) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_command_that_is_ended_before_it_has_begun_leaves_nothing(
    saved_models: SavedModels, scratch: pathlib.Path, number: signal.Signals
) -> None:
    command = validate(scratch, saved_models.path("half_plus_two"))
    assert first_server(command, scratch) == AHEAD
    command.process.send_signal(number)
    assert command.end()[0] in (-number, 128 + number)
    nothing_left(scratch, 60)


def test_a_limit_of_the_cold_start_is_held_against_a_start_from_nothing(
    saved_models: SavedModels, scratch: pathlib.Path
) -> None:
    limits = json.dumps({**FEW, "limits": {"cold_start": {"schedule_seconds": 600}}})
    command = validate(scratch, saved_models.path("half_plus_two"), "--validation-spec", limits)
    assert set(seen_until_its_end(command, scratch).values()) == {FROM_NOTHING}
    assert command.end()[0] == 0


@pytest.mark.parametrize("more", [["--dry-run"], ["--help"]], ids=lambda more: more[0])
def test_what_starts_no_server_starts_none(saved_models: SavedModels, scratch: pathlib.Path, more: list[str]) -> None:
    command = validate(scratch, saved_models.path("half_plus_two"), *more)
    assert seen_until_its_end(command, scratch) == {}
    assert command.end()[0] == 0
    assert list(scratch.iterdir()) == []


def test_a_spec_in_a_pipe_is_left_for_the_command(saved_models: SavedModels, scratch: pathlib.Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    os.write(writer, json.dumps(LOCAL).encode())
    os.close(writer)
    path = f"/proc/{os.getpid()}/fd/{reader}"
    command = validate(scratch, saved_models.path("half_plus_two"), spec=path)
    assert set(seen_until_its_end(command, scratch).values()) == {FROM_NOTHING}
    assert command.end()[0] == 0
    os.close(reader)


def test_one_command_at_a_time_has_a_server_ahead(saved_models: SavedModels, scratch: pathlib.Path) -> None:
    model = saved_models.path("half_plus_two")
    commands = [validate(scratch, model) for _ in range(3)]
    seen = [seen_until_its_end(command, scratch) for command in commands]
    assert [command.end()[0] for command in commands] == [0, 0, 0]
    kinds = list({pid: kind for some in seen for pid, kind in some.items()}.values())
    assert AHEAD in kinds
    assert len(kinds) == 3  # every server that was started was needed
    nothing_left(scratch)


def test_a_bound_on_servers_at_once_is_kept(
    saved_models: SavedModels, scratch: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFRA_VALIDATOR_SERVERS_AT_ONCE", "1")
    command = validate(scratch, saved_models.path("half_plus_two"))
    assert set(seen_until_its_end(command, scratch).values()) == {FROM_NOTHING}
    assert command.end()[0] == 0
