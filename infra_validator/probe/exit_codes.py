"""The probe's exit codes, in one table. Up to 34 and 100 they are the original's; 35 and 40 come with flags of ours only."""

from __future__ import annotations

AVAILABLE = 0
NOT_CONNECTED = 2
WRONG_USAGE = 2  # Go's flag package exits with 2 as well
CALL_FAILED = 3
NOT_FOUND = 10
EMPTY = 11
VERSION_NOT_FOUND = 12
STATE_UNKNOWN, STATE_START, STATE_LOADING, STATE_UNLOADING, STATE_END = 30, 31, 32, 33, 34
FAILED = 35
SAMPLE_REQUEST_FAILED = 40
UNEXPECTED_STATE = 100

#: TensorFlow Serving's state number -> exit code
OF_STATE = {0: STATE_UNKNOWN, 10: STATE_START, 20: STATE_LOADING, 30: AVAILABLE, 40: STATE_UNLOADING, 50: STATE_END}

#: exit code -> (short name, when); docs/probe.md shows this table and a test compares the two.
TABLE = {
    AVAILABLE: ("AVAILABLE", "the model is available"),
    NOT_CONNECTED: ("NOT_CONNECTED", "no connection within the connect timeout; also wrong usage"),
    CALL_FAILED: ("CALL_FAILED", "the call failed: deadline, UNIMPLEMENTED, an answer that cannot be read"),
    NOT_FOUND: ("NOT_FOUND", "the server does not know the model"),
    EMPTY: ("EMPTY", "the answer names no version"),
    VERSION_NOT_FOUND: ("VERSION_NOT_FOUND", "the version, or the label, is not in the answer"),
    STATE_UNKNOWN: ("STATE_UNKNOWN", "state UNKNOWN"),
    STATE_START: ("STATE_START", "state START"),
    STATE_LOADING: ("STATE_LOADING", "state LOADING"),
    STATE_UNLOADING: ("STATE_UNLOADING", "state UNLOADING"),
    STATE_END: ("STATE_END", "state END"),
    FAILED: ("FAILED", "state END with an error (with --distinguish-failed)"),
    SAMPLE_REQUEST_FAILED: ("SAMPLE_REQUEST_FAILED", "AVAILABLE, but the sample request failed (with --infer)"),
    UNEXPECTED_STATE: ("UNEXPECTED_STATE", "a state number that nobody knows"),
}
