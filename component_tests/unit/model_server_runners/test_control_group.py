"""The memory of a container, from files as the two versions of control groups have them, and from the daemon's words."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from infra_validator.core.deadline import Deadline
from infra_validator.core.states import MemoryReading
from infra_validator.model_server_runners.control_group import ContainerMemory

ID = "0123456789abcdef" * 4
CONTAINER = {"Id": ID, "State": {"Pid": 77}}


def _stats(**told: Any) -> Any:
    return lambda deadline: told


def _machine(tmp_path: pathlib.Path, cgroup: str, files: dict[str, str]) -> tuple[str, str]:
    """(root, proc) of a machine on which process 77 stands in a control group."""
    (tmp_path / "proc" / "77").mkdir(parents=True)
    (tmp_path / "proc" / "77" / "cgroup").write_text(cgroup)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(tmp_path / "cgroup"), str(tmp_path / "proc")


def _read(root: str, proc: str, container: Any = CONTAINER, **told: Any) -> MemoryReading:
    return ContainerMemory(container, _stats(**told), root, proc).read(Deadline.after(5))


@pytest.mark.parametrize("with_peak", [True, False])
def test_version_2(tmp_path: pathlib.Path, with_peak: bool) -> None:
    group = f"system.slice/docker-{ID}.scope"
    files = {f"{group}/memory.current": "1000\n"} | ({f"{group}/memory.peak": "5000\n"} if with_peak else {})
    reading = _read(*_machine(tmp_path, f"0::/{group}\n", files))
    assert (reading.octets, reading.peak_octets) == (1000, 5000 if with_peak else None)
    assert "version 2" in reading.source
    assert ("memory.peak" in reading.source) == with_peak


def test_version_1_and_the_hybrid_of_both(tmp_path: pathlib.Path) -> None:
    files = {
        f"memory/docker/{ID}/memory.usage_in_bytes": "1000\n",
        f"memory/docker/{ID}/memory.max_usage_in_bytes": "5000\n",
    }
    lines = f"9:name=systemd:/docker/{ID}\n5:cpu,cpuacct:/docker/{ID}\n4:memory:/docker/{ID}\n0::/docker/{ID}\n"
    reading = _read(*_machine(tmp_path, lines, files))
    assert (reading.octets, reading.peak_octets) == (1000, 5000)
    assert "version 1" in reading.source


def test_another_machines_process_of_that_number_is_not_taken_for_the_containers(tmp_path: pathlib.Path) -> None:
    machine = _machine(tmp_path, "0::/user.slice\n", {"user.slice/memory.current": "1000\n"})
    reading = _read(*machine, usage=42, max_usage=99)
    assert (reading.octets, reading.peak_octets) == (42, 99)
    assert "daemon" in reading.source


def test_version_2_of_a_daemon_elsewhere_has_no_record(tmp_path: pathlib.Path) -> None:
    reading = _read(str(tmp_path), str(tmp_path), usage=42)
    assert (reading.octets, reading.peak_octets) == (42, None)


@pytest.mark.parametrize("told", [{}, {"usage": 0}, {"usage": None}, {"usage": "much"}])
def test_a_daemon_that_does_not_tell(tmp_path: pathlib.Path, told: dict[str, Any]) -> None:
    reading = _read(str(tmp_path), str(tmp_path), {}, **told)
    assert reading.octets is None
    assert reading.problem
