"""The command ``infra-validator``: finds the subcommand and hands it the rest of the command line."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from infra_validator._version import __version__
from infra_validator.core.systems import LINUX_AND_MACOS, why_not_here

#: subcommand -> (module with ``main(argv) -> exit code``, what it does). Imported when used: a command pays for itself only. A module
#: may have an ``as_program`` besides, the same for a process that ends with it.
COMMANDS = {
    "validate": ("infra_validator.cli.validate", "validate a model: start a server, ask it, give a verdict"),
    "validate-changed": (
        "infra_validator.cli.git.changed_models",
        "validate each model that holds a changed file (pre-commit)",
    ),
    "record": ("infra_validator.cli.record", "write what a model answers down, to hold the next one against it"),
    "verify": ("infra_validator.cli.verify", "check that a model is the one that was blessed"),
    "report": ("infra_validator.cli.report", "make a page, JUnit or Markdown of verdict.json, or of several"),
    "serve": ("infra_validator.embedded_server.main", "run the embedded, TensorFlow-Serving-compatible model server"),
    "probe-sidecar": (
        "infra_validator.probe.sidecar.server",
        "answer health checks with the state of a server's models",
    ),
    "model-runtime": (
        "infra_validator.cli.model_runtime.command",
        "serve models to model-mesh; check and test its runtimes",
    ),
    "conformance": ("infra_validator.cli.conformance", "test a server's protocol, point by point"),
    "kubernetes": ("infra_validator.cli.kubernetes", "print the Role that a serving spec needs in its namespace"),
    "plugins": ("infra_validator.cli.plugins", "list what installed packages add to specs, and its fields"),
    "gc": ("infra_validator.cli.gc", "remove what killed validations left behind"),
}

_COULD_NOT_TEST, _INTERRUPTED, _OUTPUT_CUT = 3, 130, 141

_EXIT_CODES = """\
exit codes:
  0    blessed (validate); done (other commands)
  1    not blessed
  2    wrong usage or a bad spec; nothing was started
  3    could not be tested; no model is blamed
  130  interrupted (SIGINT), cleaned up
  143  terminated (SIGTERM), cleaned up"""


def usage() -> str:
    lines = ["usage: infra-validator COMMAND [ARGUMENTS]", "", "commands:"]
    lines += [f"  {name:<17} {what}" for name, (_, what) in COMMANDS.items()]
    lines += ["", _EXIT_CODES, "", "infra-validator COMMAND --help tells more about a command."]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      argv: the arguments after the program's name; None: this process is the program, its arguments are the process's, and it ends here.

    Returns:
      The exit code. Whatever goes wrong, it is 1 only for a model that is not blessed.
    """
    if argv is not None:
        return _exit_code(argv, ends_process=False)
    _settle_in()
    code = _exit_code(sys.argv[1:], ends_process=True)
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(code)  # all is written and cleaned up; taking the interpreter apart would take a tenth of a second


def _exit_code(arguments: Sequence[str], *, ends_process: bool) -> int:
    try:
        code = _run(list(arguments), ends_process=ends_process)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output went away: what `| head` does
        _give_up_output()
        return _OUTPUT_CUT
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:
        _give_up_output()
        _say_last_words(error)
        return _COULD_NOT_TEST
    return code


def _run(arguments: list[str], *, ends_process: bool) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"infra-validator {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"infra-validator: there is no command {arguments[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    elsewhere = why_not_here("infra-validator", LINUX_AND_MACOS)
    if elsewhere:
        print(f"infra-validator: {elsewhere} On Windows use WSL 2.", file=sys.stderr)
        return _COULD_NOT_TEST
    name, _ = COMMANDS[arguments[0]]
    with _begun_ahead(arguments):
        module = importlib.import_module(name)
        command = getattr(module, "as_program", module.main) if ends_process else module.main
        try:
            return int(command(arguments[1:]))
        except SystemExit as ended:  # argparse's way
            return ended.code if isinstance(ended.code, int) else 2


def _begun_ahead(arguments: list[str]) -> contextlib.AbstractContextManager[None]:
    """What is begun before a command is imported."""
    if arguments[0] != "validate":
        return contextlib.nullcontext()
    from infra_validator.cli.ahead.server import server_ahead

    return server_ahead(arguments[1:])


def _settle_in() -> None:
    """Have Ctrl-C end the process by the signal, without a traceback, until a command has something to clean up; have any text be
    printable in any locale; and have nothing that is opened later take the place of a standard stream that was closed."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """What is still buffered goes nowhere: the interpreter would try to write it once more, and exit with a code of its own."""
    with contextlib.suppress(Exception):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_last_words(error: Exception) -> None:
    """Nothing below has made a result of this error. It may be about standard error itself."""
    with contextlib.suppress(Exception):
        if isinstance(error, OSError):
            print(
                f"infra-validator: the output could not be written, or a file be used: {error}",
                file=sys.stderr,
                flush=True,
            )
        else:
            traceback.print_exception(type(error), error, error.__traceback__)
            print(
                "infra-validator: this is an error of infra-validator itself; no model is blamed.",
                file=sys.stderr,
                flush=True,
            )
    with contextlib.suppress(Exception):
        sys.stderr.flush()
