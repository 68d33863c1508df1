"""Containers and volumes on a Docker daemon: how they are labelled, and how those that nobody removed are found.

Three things remove what a validation made: its own Stop; where the validator was killed, its watchdog (``removal.py``, ``remove_run``,
within two seconds where the daemon is able to); where the watchdog was killed too, or the daemon did not answer it, ``infra-validator gc``
or the next validation on that daemon (``sweep``): only what bears our label, and whose owner is known to be dead or whose time is over.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import sys
import time
import urllib.parse

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock, Deadline
from infra_validator.core.errors import InfrastructureError
from infra_validator.model_server_runners.cleanup.labels import Leftover, lives, own_process
from infra_validator.model_server_runners.local_docker import removal as docker_removal
from infra_validator.model_server_runners.local_docker.daemon import DockerDaemon
from infra_validator.model_server_runners.local_docker.removal import SWEEP_PAUSE, SWEEP_SECONDS
from infra_validator.specs import LocalDockerConfig
from infra_validator.specs.reader import read, to_dict

OWNER = "infra-validator.owner"
RUN_ID = "infra-validator.run-id"
VALIDATION = "infra-validator.validation"
HOST = "infra-validator.host"
DEADLINE = "infra-validator.deadline"
PROCESS = "infra-validator.process"

OURS = "infra-validator"

_GARBAGE_SECONDS = 60.0


def labels(
    run_id: str, lifetime_seconds: float, clock: Clock = SYSTEM_CLOCK, *, validation: str = ""
) -> dict[str, str]:
    """The labels of one run, the job's; ``infra-validator.validation`` is the run id of the whole validation.

    ``infra-validator.deadline`` is in whole seconds since 1970 UTC; ``infra-validator.host`` is the validator's machine, for people;
    ``infra-validator.process`` is the validator itself (see ``cleanup.labels.Label.process``).
    """
    return {
        OWNER: OURS,
        RUN_ID: run_id,
        **({VALIDATION: validation} if validation else {}),
        HOST: socket.gethostname(),
        DEADLINE: str(int(clock.utc() + lifetime_seconds)),
        PROCESS: own_process(),
    }


def expired(found: dict[str, str], clock: Clock = SYSTEM_CLOCK) -> str:
    """Why nobody can want something with these labels any more; empty if somebody may, or it is not ours.

    A label that cannot be read keeps it alive. Its time counts only where it cannot be seen whether its owner lives: clocks may be wrong.
    """
    owner_lives = lives(found.get(PROCESS, ""))
    if found.get(OWNER) != OURS or owner_lives:
        return ""
    made = f"made on {found.get(HOST, 'an unknown machine')}"
    if owner_lives is False:
        return f"its owner, process {found[PROCESS].split()[2]}, does not run any more; {made}"
    with contextlib.suppress(KeyError, ValueError):
        over = int(clock.utc()) - int(found[DEADLINE])
        return f"its time was over {over} s ago; {made}" if over > 0 else ""
    return ""


def sweep(
    daemon: DockerDaemon, deadline: Deadline, *, remove: bool = True, clock: Clock = SYSTEM_CLOCK
) -> list[Leftover]:
    """Find, and unless told otherwise remove, what is ours and expired: containers first, since they hold volumes."""
    leftovers = []
    for kind, name, found in daemon.labelled(f"{OWNER}={OURS}", deadline):
        why = expired(found, clock)
        if not why:
            continue
        problem = _remove(daemon, kind, name, deadline) if remove else ""
        leftovers.append(Leftover(f"{kind} {name}", why, (), problem))
    return leftovers


def collect_garbage(
    config: LocalDockerConfig | None = None, *, remove: bool = True, clock: Clock = SYSTEM_CLOCK
) -> list[Leftover]:
    """:func:`sweep` on the daemon that ``config`` or the environment names. Called by ``infra-validator gc``.

    Raises:
      InfrastructureError: the daemon cannot be talked to.
    """
    deadline = Deadline.after(_GARBAGE_SECONDS, clock)
    with contextlib.closing(DockerDaemon(config or LocalDockerConfig(), deadline)) as daemon:
        return sweep(daemon, deadline, remove=remove, clock=clock)


def remove_run(run_id: str, config: LocalDockerConfig) -> None:
    """Remove everything of one run whose maker is dead, and what the daemon was still creating for it at that moment."""
    end = Deadline.after(SWEEP_SECONDS)
    deadline = Deadline.after(SWEEP_SECONDS + config.client_timeout_seconds)
    with contextlib.closing(DockerDaemon(config, deadline)) as daemon:
        while True:
            for kind, name, _ in daemon.labelled(f"{RUN_ID}={run_id}", deadline):
                _remove(daemon, kind, name, deadline)
            if end.expired():
                return
            time.sleep(SWEEP_PAUSE)


def removal_command(run_id: str, config: LocalDockerConfig) -> list[str]:
    """The command that removes everything of one run, for the watchdog. It works from any directory and in any environment."""
    if config.client_base_url.startswith("unix://"):
        path = urllib.parse.urlsplit(config.client_base_url).path
        return [sys.executable, "-I", "-S", docker_removal.__file__, path, f"{RUN_ID}={run_id}"]
    program = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__} import main; main()"
    needed = {
        name: value
        for name, value in to_dict(config).items()
        if name in ("client_base_url", "client_api_version", "client_timeout_seconds")
    }
    package = str(pathlib.Path(__file__).parents[3])
    return [sys.executable, "-c", program, package, run_id, json.dumps(needed)]


def main() -> None:
    """What :func:`removal_command` runs."""
    _, _, run_id, config = sys.argv
    remove_run(run_id, read(LocalDockerConfig, config, "serving_spec.local_docker"))


def _remove(daemon: DockerDaemon, kind: str, name: str, deadline: Deadline) -> str:
    """Remove one thing; returns what went wrong."""
    try:
        if kind == "container":
            daemon.remove_container(name, deadline)
        else:
            daemon.remove_volume(name, deadline)
    except InfrastructureError as error:
        return error.detail
    return ""
