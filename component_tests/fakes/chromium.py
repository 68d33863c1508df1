"""A headless Chromium, driven by its DevTools protocol: pages as people see them, with all that they load and complain of."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

from infra_validator.core.deadline import Deadline, wait_until

_SECONDS = 60.0
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """The path of a Chromium; empty if there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), "")


class Page:
    """One tab.

    Attributes:
      complaints: what was written to the console as a warning or an error, and exceptions of scripts.
      requests: the addresses of everything that was asked for.
    """

    def __init__(self, address: str) -> None:
        import websocket  # every test run looks for a Chromium, and few have the extra that brings this

        self._socket = websocket.create_connection(address, timeout=_SECONDS, suppress_origin=True)
        self._last = 0
        self._happened: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """Give a command and return its result; what happens meanwhile is noted."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = self._next()
            if message.get("id") == self._last:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return dict(message["result"])

    def open(self, url: str) -> None:
        """Go to an address and wait until everything is there."""
        self._happened.clear()
        self.command("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self._happened):
            self._next()

    def look(self, width: int, scheme: str, *, print_: bool = False) -> None:
        """Be so many pixels wide, in a ``dark`` or a ``light`` scheme."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", media="print" if print_ else "screen", features=[feature])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; of a promise, what it promises."""
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    def screenshot(self, file: pathlib.Path) -> None:
        """The whole page as a PNG."""
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 15_000), "scale": 1}
        taken = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(taken["data"]))

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        if "method" in message:
            self._happened.append(message)
            self._note(message["method"], message["params"])
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([argument.get("value") for argument in told["args"]]))
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])


@contextlib.contextmanager
def chromium(scratch: pathlib.Path) -> Iterator[Page]:
    """A Chromium with one tab; ended with all its processes."""
    log = scratch / "chromium.log"
    command = [
        program(),
        "--headless=new",
        *(("--no-sandbox",) if os.geteuid() == 0 else ()),
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--remote-debugging-port=0",
        f"--user-data-dir={scratch / 'profile'}",
        "about:blank",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        port = wait_until(lambda: _port(log, process), Deadline.after(_SECONDS))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=_SECONDS) as answer:
            tabs = json.load(answer)
        page = Page(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))
        with contextlib.closing(page):
            yield page
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_SECONDS)


def _port(log: pathlib.Path, process: subprocess.Popen[bytes]) -> str | None:
    text = log.read_text(errors="replace")
    if process.poll() is not None:
        raise AssertionError(f"Chromium ended with {process.returncode}:\n{text}")
    found = re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", text)
    return found[1] if found else None
