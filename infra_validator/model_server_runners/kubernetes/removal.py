"""Deletes the pod of a validator that is gone: ``python -I -S removal.py``, told by its input, goes on in the background.

The watchdog runs it. It needs the standard library only: on a busy machine importing the official client alone takes longer than the
left-overs of a killed validator may live. Its input is one JSON object, since everybody may read a command line::

    {"pod": "https://10.0.0.1:6443/api/v1/namespaces/ml/pods/iv-5f", "authorization": "Bearer ...",
     "tls": {"verify": true, "ca": "PEM", "ca_file": "", "certificate": "PEM of the client's certificate and key"},
     "seconds": 900, "otherwise": ["python", "-c", "..."]}

What it cannot do (``pod`` is empty: there is a proxy; or the credentials are refused by now, or the server's certificate is) is left to
the official client, the command ``otherwise``.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
import urllib.parse
from typing import Any

APPEARS_SECONDS = 10.0  # a pod that was just being created when its maker was killed shows up later
CALL_SECONDS = 8.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 10.0
DELETE_NOW = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}
AWAY = (429, 500, 502, 503, 504)  # what the table in api/errors.py tries again


class CannotSay(Exception):
    """This program is not enough."""


def open_connection(url: urllib.parse.SplitResult, tls: dict[str, Any]) -> http.client.HTTPConnection:
    """A connection to the API server, not connected yet."""
    host = url.hostname or ""
    if url.scheme == "http":
        return http.client.HTTPConnection(host, url.port, timeout=CALL_SECONDS)
    import ssl

    context = ssl.create_default_context(cafile=tls["ca_file"] or None, cadata=tls["ca"] or None)
    if not tls["verify"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls["certificate"]:
        held = os.memfd_create("certificate")  # the library reads files only, and this one is on no disk
        os.write(held, tls["certificate"].encode())
        context.load_cert_chain(f"/proc/self/fd/{held}", password="")
        os.close(held)
    return http.client.HTTPSConnection(host, url.port, timeout=CALL_SECONDS, context=context)


def delete(connection: http.client.HTTPConnection, path: str, authorization: str) -> int:
    """One call; the status of the answer, 0 if there is none.

    Raises:
      CannotSay: who answers is not known by its certificate.
    """
    headers = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "infra-validator"}
    if authorization:
        headers["Authorization"] = authorization
    try:
        connection.request("DELETE", path, json.dumps(DELETE_NOW), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except ValueError as error:  # ssl.SSLCertVerificationError, which is an OSError besides: nobody is away
        raise CannotSay(error) from error
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def delete_in_the_end(told: dict[str, Any]) -> None:
    """Delete the pod, however long the API server is away.

    Raises:
      CannotSay: it refuses, or speaks another language.
    """
    url = urllib.parse.urlsplit(told["pod"])
    connection = open_connection(url, told["tls"])
    began = time.monotonic()
    pause = FIRST_PAUSE
    while time.monotonic() < began + told["seconds"]:
        status = delete(connection, url.path, told["authorization"])
        if status in (200, 202) or (status == 404 and time.monotonic() > began + APPEARS_SECONDS):
            return
        if status and status != 404 and status not in AWAY:
            raise CannotSay(status)
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


def main() -> None:
    told = json.load(sys.stdin)
    if os.fork():  # a watchdog gives a command ten seconds, and an API server may be away for longer
        os._exit(0)
    os.setsid()
    try:
        if not told["pod"]:
            raise CannotSay
        delete_in_the_end(told)
    except Exception:  # whatever it is, the official client may know better
        os.execv(told["otherwise"][0], told["otherwise"])


if __name__ == "__main__":
    main()
