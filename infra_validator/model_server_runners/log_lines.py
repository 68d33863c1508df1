"""Which lines of a long log a report keeps: the last ones, and of what a server writes of each question of ours the first and the last.

A server that logs its requests would otherwise leave nothing else to read of a model that is waited for.
"""

from __future__ import annotations

import re
from collections import Counter

#: How many times as many lines as are kept are worth reading.
READ_TIMES = 40

#: What uvicorn, MLServer and KServe write when they are asked for readiness, or for the model repository's index.
_QUESTIONS = re.compile(
    r"\"GET /v2/(?:models/\S+|health)/(?:ready|live) HTTP|\"POST /v2/repository/index HTTP"
    r"|/inference\.GRPCInferenceService/(?:ModelReady|ServerReady|ServerLive|RepositoryIndex)"
    r"|is different than model's folder name"
)
_CHANGES = re.compile(r"\d+")  # times, ports
_FEW = 2  # lines alike that are kept
_MOST = 1_000_000  # characters of lines without an end


def last_lines(text: str, count: int) -> str:
    """The last ``count`` lines of ``text``. Where it has more, of lines about questions that are alike but for numbers only the first
    and the last are kept.
    """
    lines = text.splitlines()
    if count <= 0:
        return ""
    if len(lines) <= count:
        return "\n".join(lines)[-_MOST:]
    about = [_CHANGES.sub("0", line) if _QUESTIONS.search(line) else "" for line in lines]
    times = Counter(about)
    seen: Counter[str] = Counter()
    kept = []
    for line, question in zip(lines, about, strict=True):
        seen[question] += 1
        left_out = times[question] - _FEW if question else 0
        if left_out <= 0 or seen[question] == 1:
            kept.append(line)
        elif seen[question] == times[question]:
            kept += [f"[{left_out} lines like this one were left out]", line]
    return "\n".join(kept[-count:])[-_MOST:]
