"""The embedded model server that ``infra-validator validate`` starts before its own imports, since both take as long.

It is a spare (``local_process/spares.py``) that waits for what it is to serve. Whether the command will need one is a guess from its
arguments: where it is wrong, the spare is ended, and nobody has waited for it. What is wrong with the arguments is for the command to say.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra_validator.core.errors import SpecError
from infra_validator.model_server_runners.local_process import spares
from infra_validator.model_server_runners.local_process.server_environment import server_environment
from infra_validator.serving_binaries import embedded_program
from infra_validator.validation.slots import AT_ONCE

_READ = ("--model", "--serving-spec", "--validation-spec")
_NO_SERVER_WITH = ("--dry-run", "--address", "--models", "--help", "-h")
_LONGEST_SPEC = 1 << 16  # bytes


@contextlib.contextmanager
def server_ahead(argv: Sequence[str]) -> Iterator[None]:
    """Have the server start, if the arguments of ``validate`` plainly ask for one; what nobody took is ended."""
    environment = _environment(argv) if sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 else None
    with socket.socket(socket.AF_UNIX) as place:
        started = environment is not None and _is_first(place) and spares.start(environment)
        try:
            yield
        finally:
            if started:
                spares.end()


def _is_first(place: socket.socket) -> bool:
    """Whether no other command of this user, with this directory of temporary files, has a server ahead: one is not in the count of
    servers at once (validation/slots.py), many would undo it."""
    if os.environ.get(AT_ONCE, "0") != "0":
        return False
    name = f"infra_validator.ahead.{os.geteuid()}.{tempfile.gettempdir()[-60:]}"
    try:
        place.bind("\0" + name)  # a name that ends with the socket
    except (OSError, ValueError):
        return False
    return True


def _environment(argv: Sequence[str]) -> dict[str, str] | None:
    """The whole environment of the embedded server that is asked for; None where none is, or it is not plain to see."""
    if any(argument.partition("=")[0] in _NO_SERVER_WITH for argument in argv):
        return None
    values: dict[str, str] = {}
    rest = iter(argv)
    for argument in rest:
        name, given, value = argument.partition("=")
        if name in _READ:
            values[name] = value if given else next(rest, "")
    if not os.path.isdir(values.get("--model", "")):
        return None
    limits = _text(values.get("--validation-spec", ""))
    if limits is None or "cold" in limits:
        return None  # a limit of the cold start wants a start from nothing
    spec = _mapping(_parsed(values.get("--serving-spec", "")))
    local = _mapping(_field(spec, "local_process"))
    if spec is None or local is None or _mapping(_field(spec, "tensorflow_serving")) is None:
        return None
    if _field(local, "sandbox") not in (None, "", "off"):
        return None  # it holds the model that is served
    if _field(local, "binary_path") or shutil.which("tensorflow_model_server"):
        return None
    more, wanted = _field(local, "env") or {}, _field(local, "env_from") or []
    try:
        return {**server_environment(os.environ, wanted), **embedded_program.environment(), **more}
    except (SpecError, TypeError):
        return None


def _field(mapping: Mapping[str, Any] | None, name: str) -> Any:
    """A field of a spec by its snake_case or camelCase name."""
    first, *others = name.split("_")
    return None if mapping is None else mapping.get(name, mapping.get(first + "".join(map(str.capitalize, others))))


def _mapping(given: object) -> Mapping[str, Any] | None:
    return given if isinstance(given, dict) else None


def _parsed(given: str) -> object:
    """A spec as data, as far as it can be read."""
    text = _text(given)
    try:
        return json.loads(text or "")
    except RecursionError:
        return None
    except ValueError:
        pass
    import yaml

    try:
        return yaml.safe_load(text or "")
    except (yaml.YAMLError, RecursionError, ValueError):
        return None


def _text(given: str) -> str | None:
    """The text of a spec, which is given itself or as the path of an ordinary file; None where that cannot be read."""
    try:
        if not os.path.isfile(given):
            return given
        with open(given, encoding="utf-8") as file:
            return file.read(_LONGEST_SPEC)
    except (OSError, ValueError):
        return None
