"""Fixtures of all tests; what tests on real platforms need to run, and what its absence means."""

from __future__ import annotations

import atexit
import functools
import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from component_tests.fakes.chromium import program as chromium_program
from component_tests.fakes.published_schema import verdicts_follow_the_schema  # noqa: F401 - used by every test
from component_tests.fakes.saved_models import ROOT, SavedModels, made_once
from infra_validator.model_server_runners.local_process.sandbox import Sandbox

OWN_FILES = os.path.join(tempfile.gettempdir(), f"ivt-{os.getpid()}")

# The tests start hundreds of processes; where Python may not keep what it has compiled, each compiles its libraries anew (seconds).
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Tests that run side by side do not wait for each other's servers; those of the slots say what their validations do.
os.environ.setdefault("INFRA_VALIDATOR_SERVERS_AT_ONCE", "0")

# An example may take as long as a machine with other work makes it. The environments of single platforms have no examples.
if importlib.util.find_spec("hypothesis"):
    hypothesis = importlib.import_module("hypothesis")
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")

# Whoever starts the tests in a shell's background has SIGINT ignored, which every server and command of a test would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def saved_models() -> SavedModels:
    """Real SavedModels, good and broken; made once (TensorFlow's import), then kept in ``.cache``."""
    return made_once()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Each run has a directory of its own for its files: runs that share one (make -j) clear away each other's."""
    if not hasattr(config, "workerinput") and config.option.basetemp is None:
        config.option.basetemp = OWN_FILES


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where all went well nobody looks at the files; what failed is there to be looked at."""
    if session.config.option.basetemp == OWN_FILES and exitstatus == pytest.ExitCode.OK:
        atexit.register(shutil.rmtree, OWN_FILES, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-platforms",
        action="store_true",
        help="a platform that is not there fails its tests instead of skipping them",
    )
    parser.addoption(
        "--with-kubernetes",
        action="store_true",
        help="run the tests on the cluster of KUBECONFIG's current context; what is missing there fails them",
    )
    parser.addoption(
        "--kubernetes-image",
        default="tensorflow/serving:2.19.0",
        help="an image of TensorFlow Serving, name:tag, that the cluster's nodes have or can pull",
    )


#: Files outside a folder called tfx whose tests import it.
IMPORT_TFX = ("test_official_client.py",)


@functools.cache
def why_no_docker() -> str:
    """Why no Docker daemon can be used; empty if one can."""
    try:
        result = subprocess.run(["docker", "version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


def python_of(environment: str) -> str:
    """The interpreter of an environment of tools/bootstrap.py: ``caikit``, ``mlserver``, ``kserve``, ``triton``, ``docs``, ``release``."""
    return os.environ.get(f"{environment.upper()}_PYTHON") or str(ROOT / f".venv-{environment}" / "bin" / "python")


def why_no(environment: str) -> str:
    """Why an environment cannot be used; empty if it can."""
    python = python_of(environment)
    return "" if os.path.exists(python) else f"{python} does not exist; make env-{environment} makes it"


def why_no_chromium() -> str:
    """Why pages cannot be looked at; empty if they can."""
    missing = [*(() if chromium_program() else ("chromium",)), *(() if shutil.which("npm") else ("npm",))]
    return f"there is no {' and no '.join(missing)}; so the packages are called in Debian" if missing else ""


def why_no_kubectl() -> str:
    """Why kubectl cannot be used; empty if it can."""
    return (
        "" if shutil.which("kubectl") else "there is no kubectl; the package is kubernetes-client in Debian and Ubuntu"
    )


def why_no_decision_forests() -> str:
    """Why no forest can be made; empty if one can."""
    found = importlib.util.find_spec("tensorflow_decision_forests")
    return (
        "" if found else "TensorFlow Decision Forests is not installed; make test-matrix ROWS=decision-forests does it"
    )


@functools.cache
def why_no_bubblewrap() -> str:
    """Why no server can run in a sandbox; empty if one can."""
    return Sandbox(["/bin/true"], os.environ, model="/usr", directory="/usr", writable=tempfile.gettempdir()).why_not()


@functools.cache
def import_tfx() -> None:
    """Import TFX once, with the warnings that its libraries give each other about versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("tfx.v1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that import TFX (15 to 60 s) begin, as the longest."""
    items.sort(key=lambda item: item.get_closest_marker("tfx") is None)
    for item in items:
        if item.get_closest_marker("tfx") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(
                pytest.mark.timeout(900)
            )  # the import is part of the first one's time, on a busy machine minutes of it


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay on one worker, and the files that import TFX on one and the same: the import is paid once."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class TfxOnOneWorker(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "tfx" if file.endswith(IMPORT_TFX) or "/tfx/" in file else file

    return TfxOnOneWorker(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("tfx") is not None:
        import_tfx()
    if item.get_closest_marker("kubernetes") is not None and not item.config.getoption("--with-kubernetes"):
        pytest.skip("needs a cluster: --with-kubernetes")
    needs: list[tuple[str, Callable[[], str]]] = [
        ("docker", why_no_docker),
        ("kubectl", why_no_kubectl),
        ("chromium", why_no_chromium),
        ("bubblewrap", why_no_bubblewrap),
        ("decision_forests", why_no_decision_forests),
    ]
    needs += [
        (name, functools.partial(why_no, name))
        for name in ("caikit", "mlserver", "kserve", "triton", "docs", "release")
    ]
    for marker, why_not in needs:
        if item.get_closest_marker(marker) is None:
            continue
        problem = why_not()
        if problem and item.config.getoption("--require-platforms"):
            pytest.fail(f"no {marker}: {problem}", pytrace=False)
        if problem:
            pytest.skip(f"no {marker}: {problem}")
