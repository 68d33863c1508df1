"""Command line flags in the syntax, and with the messages, of Go's ``flag`` package.

One or two dashes; ``-flag=value`` and ``-flag value``; ``--`` or the first argument without a dash ends the flags; a boolean
flag takes a value with ``=`` only.
"""

from __future__ import annotations

from infra_validator.probe.go.duration import format_duration, parse_duration
from infra_validator.probe.go.text import quote

_PARSE_ERROR = "parse error"
_OUT_OF_RANGE = "value out of range"
_LONGEST_WAIT = 2_000_000.0  # seconds, 23 days: poll(2), which sockets wait with, counts milliseconds in 31 bits
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class FlagError(Exception):
    """A wrong flag; the text is Go's."""


class HelpAsked(Exception):
    """``-h`` or ``-help`` was given."""


class Flag:
    """One flag; the classes below have its value."""

    type_name = ""

    def __init__(self, name: str, usage: str) -> None:
        self.name = name
        self.usage = usage
        self.given = False

    def set(self, text: str) -> None:
        """Take the value. Raises ValueError with Go's words."""
        raise NotImplementedError

    def default(self) -> str:
        """The default in the usage text; empty for a zero value, which Go does not print."""
        raise NotImplementedError


class StringFlag(Flag):
    type_name = "string"

    def __init__(self, name: str, value: str, usage: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(name, usage)
        self.value = value
        self._default = value
        self._choices = choices

    def set(self, text: str) -> None:
        if self._choices and text not in self._choices:
            raise ValueError("must be one of " + ", ".join(self._choices))
        self.value = text

    def default(self) -> str:
        return quote(self._default) if self._default else ""


class StringsFlag(Flag):
    """A flag that may be given more than once."""

    type_name = "value"

    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.value: list[str] = []

    def set(self, text: str) -> None:
        self.value.append(text)

    def default(self) -> str:
        return ""


class Int64Flag(Flag):
    type_name = "int"

    def __init__(self, name: str, value: int, usage: str) -> None:
        super().__init__(name, usage)
        self.value = value
        self._default = value

    def set(self, text: str) -> None:
        self.value = parse_int64(text)

    def default(self) -> str:
        return str(self._default) if self._default else ""


class DurationFlag(Flag):
    """The value is in nanoseconds, as in Go; ``seconds`` is for everybody else."""

    type_name = "duration"

    def __init__(self, name: str, value: int, usage: str) -> None:
        super().__init__(name, usage)
        self.value = value
        self._default = value

    @property
    def seconds(self) -> float:
        """The duration in seconds, at most ``_LONGEST_WAIT``."""
        return min(self.value / 1e9, _LONGEST_WAIT)

    def set(self, text: str) -> None:
        try:
            self.value = parse_duration(text)
        except ValueError:
            raise ValueError(_PARSE_ERROR) from None

    def default(self) -> str:
        return format_duration(self._default) if self._default else ""


class BoolFlag(Flag):
    def __init__(self, name: str, usage: str) -> None:
        super().__init__(name, usage)
        self.value = False

    def set(self, text: str) -> None:
        if text not in _TRUE and text not in _FALSE:
            raise ValueError(_PARSE_ERROR)
        self.value = text in _TRUE

    def default(self) -> str:
        return ""


def parse_int64(text: str) -> int:
    """An int64 as Go's ``strconv.ParseInt(text, 0, 64)`` reads it: 0x, 0o, 0b, a leading 0 for octal, underscores."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not digits.isascii() or digits != digits.strip() or digits[:1] in ("-", "+"):
        raise ValueError(_PARSE_ERROR)
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":
        digits = "0o" + digits[1:]
    try:
        value = int(digits, 0)
    except ValueError:
        raise ValueError(_PARSE_ERROR) from None
    value = -value if text[:1] == "-" else value
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(_OUT_OF_RANGE)
    return value


def parse(flags: tuple[Flag, ...], arguments: list[str]) -> list[str]:
    """Set the flags from the command line (without the program's name).

    Returns:
      What is left when the flags end.

    Raises:
      FlagError: as Go reports it.
      HelpAsked: ``-h`` or ``-help``.
    """
    known = {flag.name: flag for flag in flags}
    rest = list(arguments)
    while rest and len(rest[0]) > 1 and rest[0][0] == "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        body = argument[2:] if argument.startswith("--") else argument[1:]
        if not body or body[0] in "-=":
            raise FlagError(f"bad flag syntax: {argument}")
        name, has_value, value = body.partition("=")
        flag = known.get(name)
        if flag is None:
            if name in ("h", "help"):
                raise HelpAsked()
            raise FlagError(f"flag provided but not defined: -{name}")
        if isinstance(flag, BoolFlag):
            _set(flag, value if has_value else "true", "invalid boolean value %s for -%s: %s")
            continue
        if not has_value:
            if not rest:
                raise FlagError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        _set(flag, value, "invalid value %s for flag -%s: %s")
    return rest


def _set(flag: Flag, value: str, message: str) -> None:
    try:
        flag.set(value)
    except ValueError as error:
        raise FlagError(message % (quote(value), flag.name, error)) from None
    flag.given = True


def usage(program: str, flags: tuple[Flag, ...]) -> str:
    """The usage text, as Go's ``PrintDefaults`` lays it out."""
    lines = [f"Usage of {program}:"]
    for flag in sorted(flags, key=lambda flag: flag.name):
        default = flag.default()
        lines.append(f"  -{flag.name} {flag.type_name}".rstrip())
        lines.append(f"    \t{flag.usage}" + (f" (default {default})" if default else ""))
    return "\n".join(lines) + "\n"
