"""A model server that starts in some ten milliseconds: it replays recorded answers, or misbehaves. The standard library only.

    python -I -S quick_server.py MODE ANSWERS --port=N

``ANSWERS`` is a directory with ``status``, ``metadata``, ``predict`` and ``predict-LIE``: messages as they are sent. Modes: ``good``;
``lies_LIE``; ``exits`` with 1 at once; ``dies_at_predict``; ``deaf``: takes connections and says nothing.
"""

import _thread
import os
import signal
import socket
import sys

DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
PREFACE = 24  # octets


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(*pairs: tuple[bytes, bytes]) -> bytes:
    """A header block of plain literals."""
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs)


def answer(stream: int, content: bytes) -> bytes:
    opening = headers((b":status", b"200"), (b"content-type", b"application/grpc"))
    message = b"\0" + len(content).to_bytes(4, "big") + content
    parts = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    return (
        frame(HEADERS, END_HEADERS, stream, opening)
        + b"".join(frame(DATA, 0, stream, part) for part in parts)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, headers((b"grpc-status", b"0")))
    )


def converse(connection: socket.socket, mode: str, answers: dict[str, bytes]) -> None:
    """Answer one connection's calls until it is closed. What is asked is told by what stands in the request."""
    stream = connection.makefile("rb")
    if len(stream.read(PREFACE)) < PREFACE:
        return
    connection.sendall(frame(SETTINGS, 0, 0))
    asked: dict[int, bytes] = {}
    while True:
        start = stream.read(9)
        if len(start) < 9:
            return
        payload = stream.read(int.from_bytes(start[:3], "big"))
        kind, flags, number = start[3], start[4], int.from_bytes(start[5:9], "big")
        if kind in (SETTINGS, PING) and not flags & ACK:
            connection.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == DATA:
            asked[number] = asked.get(number, b"") + payload
        if kind not in (DATA, HEADERS) or not flags & END_STREAM:
            continue
        request = asked.pop(number, b"")
        if b"signature_def" in request:
            content = answers["metadata"]
        elif b"serving_default" in request:
            if mode == "dies_at_predict":
                os.kill(os.getpid(), signal.SIGSEGV)
            content = answers[f"predict-{mode[5:]}" if mode.startswith("lies_") else "predict"]
        else:
            content = answers["status"]
        connection.sendall(answer(number, content))


def main(mode: str, directory: str, *flags: str) -> None:
    if mode == "exits":
        sys.stderr.write("cannot go on: the moon is full\n")
        os._exit(1)
    answers = {}
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            answers[name] = file.read()
    (port,) = [int(flag.partition("=")[2]) for flag in flags if flag.startswith("--port=")]
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("0.0.0.0", port))
        door.listen(64)
        kept = []
        while True:
            connection, _ = door.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if mode == "deaf":
                kept.append(connection)
            else:
                _thread.start_new_thread(converse, (connection, mode, answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
