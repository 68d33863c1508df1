"""Libraries with operations are loaded while no session is at work: TensorFlow's registry may else wait for itself for good."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from component_tests.fakes.saved_models import SavedModels
from infra_validator.embedded_server.engine import op_libraries
from infra_validator.embedded_server.engine.op_libraries import SessionsAtWork, load_packages_for, loaded_packages
from infra_validator.embedded_server.status import Code, StatusError

WITHIN = 60.0  # seconds; nothing here waits so long unless it is broken
MISSING = StatusError(Code.NOT_FOUND, "Op type not registered 'CaseFoldUTF8' in binary running on vm.")


def test_a_library_waits_for_sessions_and_sessions_for_it() -> None:
    at_work = SessionsAtWork()
    told: list[str] = []
    wants, came = threading.Event(), threading.Event()

    def library() -> None:
        wants.set()
        with at_work.none(WITHIN):
            told.append("library")
            assert not came.wait(0.1)
            told.append("loaded")

    def late() -> None:
        with at_work:
            came.set()
            told.append("late")

    loading, asking = threading.Thread(target=library), threading.Thread(target=late)
    with at_work, at_work:  # two at once
        loading.start()
        wants.wait(WITHIN)
        while not at_work._library:
            time.sleep(0.001)
        asking.start()
        told.append("early")
    for thread in (loading, asking):
        thread.join(WITHIN)
    assert told == ["early", "library", "loaded", "late"]


def test_a_session_that_hangs_holds_a_library_up_no_longer_than_said() -> None:
    at_work = SessionsAtWork()
    with at_work, at_work.none(0.01):
        pass
    with at_work:
        pass


def test_whoever_failed_before_another_loaded_the_packages_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op_libraries, "_loaded", set())
    monkeypatch.setattr(op_libraries, "_installed", lambda: ["/nowhere/a.so", "/nowhere/b.so"])
    monkeypatch.setattr(op_libraries, "load", lambda path: None)
    had = loaded_packages()
    assert load_packages_for(MISSING, had)
    assert load_packages_for(MISSING, had), "the other model that failed at the same time"
    assert not load_packages_for(MISSING, loaded_packages())
    assert not load_packages_for(StatusError(Code.NOT_FOUND, "no such file"), had)


#: In a process of its own: TensorFlow's C library stays in whatever has loaded it.
REAL_SESSION = """
import sys, threading
from infra_validator.embedded_server.engine.op_libraries import sessions_at_work
from infra_validator.embedded_server.engine.session import Session
from infra_validator.embedded_server.engine.tensors import from_elements
from infra_validator.protos import tensorflow_pb2 as tf

directory, within = sys.argv[1], float(sys.argv[2])
session = Session.load(directory, ["serve"])
x, y, value = session.endpoints(["x:0"]), session.endpoints(["y:0"]), from_elements(tf.DT_FLOAT, [1], [1.0])
for name, work in (("load", lambda: Session.load(directory, ["serve"])), ("run", lambda: session.run(x, [value], y))):
    thread = threading.Thread(target=work)
    with sessions_at_work.none(within):
        thread.start()
        thread.join(0.3)
        print(name, "waits" if thread.is_alive() else "does not wait")
    thread.join(within)
    print(name, "goes on" if not thread.is_alive() else "hangs")
"""


def test_a_real_session_stands_back_while_a_library_is_loaded(saved_models: SavedModels) -> None:
    """Its loading and its runs: both look for kernels."""
    command = [sys.executable, "-c", REAL_SESSION, str(saved_models.path("half_plus_two")), str(WITHIN)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * WITHIN, check=False)
    assert done.stdout.splitlines() == ["load waits", "load goes on", "run waits", "run goes on"], done.stderr
