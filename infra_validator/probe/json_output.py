"""``--output json``: one object on stdout.

Written without the json module, which python3-minimal, and so many an image, does not have, and which is slow to import.
"""

from __future__ import annotations

from infra_validator.probe import exit_codes
from infra_validator.probe.asking import ProbeResult
from infra_validator.probe.model_status import END, VersionStatus
from infra_validator.probe.settings import Settings
from infra_validator.probe.transport.rpc_status import code_name


def as_json(settings: Settings, code: int, answers: list[ProbeResult]) -> str:
    """One line of JSON: the run's exit code, and for each model its own with what the server said of the versions."""
    return dumps(
        {
            "addr": str(settings.address),
            "exit_code": code,
            "result": exit_codes.TABLE[code][0],
            "models": [_model(answer) for answer in answers],
        }
    )


def dumps(value: object) -> str:
    """JSON in ASCII of None, numbers, strings, lists and dicts."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_string(str(key))}: {dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumps, value)) + "]"
    return str(value) if isinstance(value, int) else _string(str(value))


def _string(text: str) -> str:
    return '"' + "".join(char if " " <= char <= "~" and char not in '"\\' else _escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _model(answer: ProbeResult) -> dict[str, object]:
    return {
        "model": answer.model.name,
        "version": answer.model.version,
        "label": answer.model.label or None,
        "exit_code": answer.code,
        "result": exit_codes.TABLE[answer.code][0],
        "message": answer.line,
        "versions": [_version(status) for status in answer.versions],
    }


def _version(status: VersionStatus) -> dict[str, object]:
    ended = None
    if status.state == END:
        ended = "failed" if status.failed else "retired"
    return {
        "version": status.version,
        "state": status.state_name,
        "ended": ended,
        "error_code": code_name(status.error_code),
        "error_message": status.error_message,
    }
