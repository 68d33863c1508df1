"""What says that this process has nothing left to work with: RESOURCES_EXHAUSTED, and what does not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from infra_validator.core.errors import of_exhaustion, of_exhaustion_now
from infra_validator.core.reason_codes import ReasonCode


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        *(OSError(code, os.strerror(code)) for code in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)),
        ImportError("/lib/cygrpc.so: failed to map segment from shared object"),
        ImportError("libz.so.1: cannot create shared object descriptor: Cannot allocate memory"),
        ImportError("libz.so.1: cannot open shared object file: Too many open files"),
    ],
    ids=repr,
)
def test_nothing_is_left(error: Exception) -> None:
    failure = of_exhaustion(error)
    assert failure is not None
    assert failure.reason is ReasonCode.RESOURCES_EXHAUSTED
    assert (str(error) or "MemoryError") in failure.detail


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("no"),
        OSError(errno.ENOENT, "No such file or directory"),
        ImportError("libfoo.so: cannot open shared object file: No such file or directory"),
        ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
        ModuleNotFoundError("No module named 'grpc'"),
    ],
    ids=repr,
)
def test_something_else_is_wrong(error: Exception) -> None:
    assert of_exhaustion(error) is None


def test_what_is_exhausted_now_is_asked_of_the_system() -> None:
    assert of_exhaustion_now() is None
    code = (
        "import resource\n"
        "from infra_validator.core.errors import of_exhaustion_now\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**20, 2**20))\n"
        "print(of_exhaustion_now().reason.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "RESOURCES_EXHAUSTED\n", done.stderr
