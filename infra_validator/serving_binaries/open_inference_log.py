"""The cause of a failure as the log of an Open Inference server tells it.

Servers in Python have worker processes, which hold the model. Where one ends by an error before any model has to do with it, the
server goes on without it, answers for a model that it does not have, and only its log tells why.
"""

from __future__ import annotations

import re

from infra_validator.core.errors import shorten
from infra_validator.core.reason_codes import ReasonCode

_LONGEST_DETAIL = 500

#: What multiprocessing prints of a process that ended by an error: its name, the trace, the error.
_ENDED = re.compile(
    r"^Process (?P<process>\S+):\nTraceback \(most recent call last\):\n(?P<frames>(?:  .*\n)+)(?P<error>\S.*)", re.M
)
_FILE = re.compile(r'^  File "(?P<path>[^"]+)"', re.M)

#: Files of a server's own that run before, or without, a model; else a model's code, or that of its runtime, may be at fault.
_WITHOUT_A_MODEL = re.compile(
    r"/lib/python3\.\d+/(?:multiprocessing|asyncio|threading|runpy|contextlib|selectors)\b"
    r"|/mlserver/parallel/worker\.py$|/mlserver/utils\.py$|/uvloop/"
)
_EVENT_LOOP = "There is no current event loop"


def explain(log: str) -> tuple[ReasonCode, str] | None:
    """What the log says of a part of the server that ended without the model's doing; None where it says nothing of the kind."""
    for ended in _ENDED.finditer(log):
        if all(_WITHOUT_A_MODEL.search(file["path"]) for file in _FILE.finditer(ended["frames"])):
            told = f"Its process {ended['process']} ended: {shorten(ended['error'].strip(), _LONGEST_DETAIL)}"
            if _EVENT_LOOP in told and "/uvloop/" in ended["frames"]:
                told += " MLServer 1.7 does not run on uvloop 0.22 or newer; install uvloop<0.22."
            return ReasonCode.SERVER_BROKEN, told
    return None
