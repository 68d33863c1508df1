"""What the last lines of a TensorFlow Serving's log say about why it failed.

The process itself only says "exit code 255", whatever happened. What stands before the texts (time, file, line) differs between releases
and is not looked at; the texts are TensorFlow Serving's and TensorFlow's own. Patterns are compiled when a log is read: most servers work.
"""

from __future__ import annotations

import re

from infra_validator.core.reason_codes import ReasonCode

#: What the server prints when it ends because its port is in use.
PORT_TAKEN = r"Failed to BuildAndStart gRPC server|(?i:address already in use)"

_LONGEST_DETAIL = 600  # characters

_SERVABLE = r"\{+name: (?P<name>.*?) version: (?P<version>-?\d+)"

#: Where the text of a failed load stands, the most telling first.
_LOAD_FAILURES = (
    rf"Loading servable: {_SERVABLE}\}} failed: (?P<text>.*)",
    rf"Error while attempting to reserve resources to load servable {_SERVABLE}\}}: (?P<text>.*)",
    rf"Servable {_SERVABLE}\}} cannot be loaded: (?P<text>.*)",
    rf"Encountered an error for servable version {_SERVABLE}\}}: (?P<text>.*)",
    rf"did not become available: {_SERVABLE}\}}* due to error: (?P<text>.*?)\}}, (?=[{{}}])",
    rf"did not become available: {_SERVABLE}\}}* due to error: (?P<text>.*)",
    rf"(?P<text>\d+ (?:servable|model)\(s\) did not become available: {_SERVABLE}\}}.*)",
)

#: What the text of a failed load may turn out to be.
_LOAD_CAUSES = (
    (
        r"Op type not registered '[^']*' in binary(?: running on \S+?(?=\.?(?:\s|$)))?",
        ReasonCode.OP_NOT_REGISTERED,
    ),
    (
        r"OOM when allocating.*|.*[Ff]ailed to allocate memory.*|.*std::bad_alloc.*",
        ReasonCode.SERVER_OUT_OF_MEMORY,
    ),
    (r".*warmup record.*|.*verify your warmup data.*|.*log_type for warmup.*", ReasonCode.WARMUP_FAILED),
)

#: The server prints the record's bytes as they are, line ends included.
_UNREADABLE_WARMUP = "Failed to parse warmup record"
_ITS_FILE = r"(?s): .*? from (?P<path>[^\n]*/tf_serving_warmup_requests)"

_OUT_OF_MEMORY = r"std::bad_alloc|OOM when allocating .*|Cannot allocate memory"
_NOTHING_TO_LOAD = (
    r"No versions of servable .* found under base path .*"
    r"|Could not find base path .* for servable .*"
    r"|FileSystemStoragePathSource encountered a filesystem access error: .*"
)
_WRONG_FLAG = r"Couldn't interpret value .* for flag .*"
_USAGE_LINE = r"^\t--\w+=\S*\s+(?:bool|string|int32|int64|float)\t"
_WRONG_OPTIONS = r"Failed to start server\. Error: (?P<text>.*)"
_WARMUP_BEGINS = "Starting to read warmup data for model at"
_WARMUP_TOLD = re.compile(r"Number of warmup records read: (\d+)\.|No warmup data file found at ")
_WARMUP_ENDS = "Finished reading warmup data for model at"


def explain(log: str) -> tuple[ReasonCode, str] | None:
    """The cause that the end of a server's log names: its reason code, and the log's words. None if it names none.

    Args:
      log: the last lines of the server's output and error output, as they came.
    """
    for cause in (_failed_load, _out_of_memory, _taken_port, _missing_files, _wrong_arguments):
        found = cause(log)
        if found:
            reason, text = found
            return reason, text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]} ..."
    return None


def warmup_records(log: str) -> int | None:
    """How many warm-up records a server says that it replayed, the last time; None where its log does not tell."""
    told = _WARMUP_TOLD.findall(log)
    return int(told[-1] or 0) if told else None


def _failed_load(log: str) -> tuple[ReasonCode, str] | None:
    for pattern in _LOAD_FAILURES:
        failures = list(re.finditer(pattern, log))
        if failures:
            break
    else:
        return None
    failure = failures[-1]
    text = failure["text"].strip()
    warmup = re.match(_ITS_FILE, log[failure.start("text") :].partition(_UNREADABLE_WARMUP)[2])
    if warmup:
        return ReasonCode.WARMUP_FAILED, f"A record of {warmup['path']} cannot be read as a PredictionLog."
    for cause, reason in _LOAD_CAUSES:
        match = re.search(cause, text)
        if match:
            return reason, f"{match[0].rstrip('.')}."
    before = log[: failure.start()]
    if before.rfind(_WARMUP_BEGINS) > before.rfind(_WARMUP_ENDS):
        return ReasonCode.WARMUP_FAILED, text
    return ReasonCode.MODEL_LOAD_FAILED, text


def _out_of_memory(log: str) -> tuple[ReasonCode, str] | None:
    match = re.search(_OUT_OF_MEMORY, log)
    return (ReasonCode.SERVER_OUT_OF_MEMORY, match[0]) if match else None


def _taken_port(log: str) -> tuple[ReasonCode, str] | None:
    match = re.search(PORT_TAKEN, log)
    return (ReasonCode.PORT_NOT_AVAILABLE, match[0]) if match else None


def _missing_files(log: str) -> tuple[ReasonCode, str] | None:
    match = re.search(_NOTHING_TO_LOAD, log)
    return (ReasonCode.MODEL_NOT_READABLE, f"The server says: {match[0]}") if match else None


def _wrong_arguments(log: str) -> tuple[ReasonCode, str] | None:
    for pattern in (_WRONG_OPTIONS, _WRONG_FLAG):
        match = re.search(pattern, log)
        if match:
            return ReasonCode.BAD_SPEC, f"The server refuses its arguments: {match[match.lastgroup or 0]}"
    lines = log.splitlines()
    if lines and re.match(_USAGE_LINE, lines[-1]):
        return (
            ReasonCode.BAD_SPEC,
            "The server printed its usage and ended: it does not understand one of its arguments.",
        )
    return None
