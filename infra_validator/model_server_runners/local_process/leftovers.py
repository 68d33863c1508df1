"""Temporary directories and processes of local model servers that nobody stopped: how they are labelled, found and removed.

The watchdog removes what an executor leaves that was killed. What is left even so (the machine lost power, somebody killed the watchdog)
``infra-validator gc`` removes: only what bears our label, belongs to this user, and whose owner is known to be dead or whose
time is over.
"""

from __future__ import annotations

import os
import tempfile

from infra_validator.core.deadline import SYSTEM_CLOCK, Clock
from infra_validator.model_server_runners.cleanup.labels import Label, Leftover, mark_of
from infra_validator.model_server_runners.cleanup.temporary_directory import PREFIX
from infra_validator.model_server_runners.cleanup.watchdog import kill_marked, marked_processes, remove_tree


def collect_garbage(base: str | None = None, *, remove: bool = True, clock: Clock = SYSTEM_CLOCK) -> list[Leftover]:
    """Find, and unless told otherwise remove, what expired runs of this user left on this machine.

    Args:
      base: where the temporary directories are; None: the system's place for them.
      remove: False only looks.
      clock: where time is read.
    """
    base = base or tempfile.gettempdir()
    found = []
    for entry in sorted(os.scandir(base), key=lambda entry: entry.name):
        if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
            continue
        if entry.stat(follow_symlinks=False).st_uid != os.getuid():
            continue
        label = Label.read(entry.path)
        why = label.expired(clock) if label else ""
        if label and why:
            found.append(_collect(entry.path, label, why, remove))
    return found


def _collect(path: str, label: Label, why: str, remove: bool) -> Leftover:
    mark = mark_of(label.run_id)
    processes = tuple(marked_processes(mark))
    problem = ""
    if remove:
        try:
            if processes:
                kill_marked(mark)
            remove_tree(path)
        except OSError as error:
            problem = f"{error.strerror}: {error.filename}"
    return Leftover(path, why, processes, problem)
