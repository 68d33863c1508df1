"""The memory limit of the container, as control groups of both versions tell it."""

from __future__ import annotations

import pathlib

import pytest

from infra_validator.model_runtime.sizes.container_memory import memory_limit

MEMINFO = "MemTotal:       16000000 kB\nMemFree: 1 kB\n"
MACHINE = 16000000 * 1024


def _tree(tmp_path: pathlib.Path, files: dict[str, str]) -> tuple[str, str]:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(tmp_path / "proc"), str(tmp_path / "cg")


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, MACHINE),
        ({"proc/self/cgroup": "0::/\n", "cg/memory.max": "2000\n"}, 2000),
        ({"proc/self/cgroup": "0::/\n", "cg/memory.max": "max\n"}, MACHINE),
        ({"proc/self/cgroup": "0::/a/b\n", "cg/a/memory.max": "3000", "cg/a/b/memory.max": "max"}, 3000),
        ({"proc/self/cgroup": "0::/elsewhere\n", "cg/memory.max": "4000"}, 4000),
        ({"proc/self/cgroup": "5:cpu:/x\n4:memory:/p\n", "cg/memory/p/memory.limit_in_bytes": "5000"}, 5000),
        ({"proc/self/cgroup": "4:memory:/p\n", "cg/memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ({"proc/self/cgroup": "0::/\n", "cg/memory.max": "99999999999999"}, MACHINE),
    ],
    ids=["none", "v2", "v2 max", "v2 above us", "v2 of the host", "v1", "v1 none", "more than the machine has"],
)
def test_the_smallest_limit_counts(tmp_path: pathlib.Path, files: dict[str, str], limit: int) -> None:
    assert memory_limit(*_tree(tmp_path, files)) == limit


def test_here_it_is_some_bytes() -> None:
    assert 2**20 < memory_limit() < 2**60
