"""A loop of one thread over nghttp2, through ctypes: what gRPC over another HTTP/2 library with native code would cost.

It knows one method and looks at no header; a request is answered in the loop, so a slow one would stop all others.
"""

from __future__ import annotations

import ctypes
import selectors
import socket
from collections.abc import Callable
from typing import Any

_P, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_DATA, _HEADERS, _END_STREAM = 0, 1, 1
_EOF, _NO_END_STREAM = 1, 2


class _FrameHeader(ctypes.Structure):
    _fields_ = [("length", _SIZE), ("stream", ctypes.c_int32), ("type", ctypes.c_uint8), ("flags", ctypes.c_uint8)]


class _NameValue(ctypes.Structure):
    _fields_ = [("name", _P), ("value", _P), ("name_length", _SIZE), ("value_length", _SIZE), ("flags", ctypes.c_uint8)]


class _Setting(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int32), ("value", ctypes.c_uint32)]


_READ = ctypes.PYFUNCTYPE(ctypes.c_ssize_t, _P, ctypes.c_int32, _P, _SIZE, ctypes.POINTER(ctypes.c_uint32), _P, _P)
_ON_FRAME = ctypes.PYFUNCTYPE(_INT, _P, ctypes.POINTER(_FrameHeader), _P)
_ON_DATA = ctypes.PYFUNCTYPE(_INT, _P, ctypes.c_uint8, ctypes.c_int32, _P, _SIZE, _P)


class _Provider(ctypes.Structure):
    _fields_ = [("source", _P), ("read", _READ)]


_kept: list[Any] = []


def _fields(*pairs: tuple[bytes, bytes]) -> Any:
    array = (_NameValue * len(pairs))()
    for entry, (name, value) in zip(array, pairs, strict=True):
        buffers = ctypes.create_string_buffer(name), ctypes.create_string_buffer(value)
        _kept.append(buffers)
        entry.name, entry.value = (ctypes.addressof(buffer) for buffer in buffers)
        entry.name_length, entry.value_length, entry.flags = len(name), len(value), 6  # the names and values stay
    return array


_OK = _fields((b":status", b"200"), (b"content-type", b"application/grpc"))
_TRAILER = _fields((b"grpc-status", b"0"))


class _Library:
    def __init__(self) -> None:
        library = ctypes.PyDLL("libnghttp2.so.14")
        self.recv, self.send = library.nghttp2_session_mem_recv, library.nghttp2_session_mem_send
        self.respond, self.trail = library.nghttp2_submit_response, library.nghttp2_submit_trailer
        self.recv.argtypes, self.recv.restype = [_P, ctypes.c_char_p, _SIZE], ctypes.c_ssize_t
        self.send.argtypes, self.send.restype = [_P, ctypes.POINTER(_P)], ctypes.c_ssize_t
        self.respond.argtypes = [_P, ctypes.c_int32, _P, _SIZE, ctypes.POINTER(_Provider)]
        self.trail.argtypes = [_P, ctypes.c_int32, _P, _SIZE]
        self.settings = library.nghttp2_submit_settings
        self.settings.argtypes = [_P, ctypes.c_uint8, _P, _SIZE]
        self.new = library.nghttp2_session_server_new
        self.new.argtypes = [ctypes.POINTER(_P), _P, _P]
        self.free = library.nghttp2_session_del
        self.free.argtypes = [_P]
        self.callbacks = _P()
        library.nghttp2_session_callbacks_new(ctypes.byref(self.callbacks))
        self.on_frame = library.nghttp2_session_callbacks_set_on_frame_recv_callback
        self.on_data = library.nghttp2_session_callbacks_set_on_data_chunk_recv_callback
        self.on_frame.argtypes, self.on_data.argtypes = [_P, _ON_FRAME], [_P, _ON_DATA]


class _Connection:
    def __init__(self, library: _Library, taken: socket.socket, predict: Callable[[bytes], bytes]) -> None:
        self._library, self.socket, self._predict = library, taken, predict
        self._bodies: dict[int, bytearray] = {}
        self._answers: dict[int, bytes] = {}
        self._on_frame, self._on_data = _ON_FRAME(self._frame), _ON_DATA(self._data)
        library.on_frame(library.callbacks, self._on_frame)
        library.on_data(library.callbacks, self._on_data)
        self._session = _P()
        library.new(ctypes.byref(self._session), library.callbacks, None)
        settings = (_Setting * 2)(_Setting(3, 1000), _Setting(4, 1 << 24))
        library.settings(self._session, 0, settings, 2)
        self._provider = _Provider(None, _READ(self._read))

    def readable(self) -> bool:
        """Take what has come and answer what is complete; False at the end of the connection."""
        data = self.socket.recv(1 << 16)
        if not data or self._library.recv(self._session, data, len(data)) < 0:
            self._library.free(self._session)
            return False
        self.flush()
        return True

    def flush(self) -> None:
        pieces, where = [], _P()
        while (length := self._library.send(self._session, ctypes.byref(where))) > 0:
            pieces.append(ctypes.string_at(where.value or 0, length))
        if pieces:
            self.socket.sendall(b"".join(pieces))

    def _data(self, _session: int, _flags: int, stream: int, data: int, length: int, _user: int) -> int:
        self._bodies.setdefault(stream, bytearray()).extend(ctypes.string_at(data, length))
        return 0

    def _frame(self, session: int, frame: Any, _user: int) -> int:
        header = frame.contents
        if header.type in (_DATA, _HEADERS) and header.flags & _END_STREAM:
            stream = header.stream
            answer = self._predict(bytes(self._bodies.pop(stream))[5:])
            self._answers[stream] = b"\0" + len(answer).to_bytes(4, "big") + answer
            self._library.respond(session, stream, _OK, 2, ctypes.byref(self._provider))
        return 0

    def _read(self, session: int, stream: int, into: int, room: int, flags: Any, _source: int, _user: int) -> int:
        answer = self._answers.pop(stream)
        part, rest = answer[:room], answer[room:]
        ctypes.memmove(into, part, len(part))
        if rest:
            self._answers[stream] = rest
        else:
            flags[0] |= _EOF | _NO_END_STREAM
            self._library.trail(session, stream, _TRAILER, 1)
        return len(part)


def serve(predict: Callable[[bytes], bytes], ready: Callable[[int], None]) -> None:
    """Answer every request with ``predict`` of its message, for ever; ``ready`` is told the port."""
    library, selector = _Library(), selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    selector.register(listener, selectors.EVENT_READ)
    ready(listener.getsockname()[1])
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                taken, _ = listener.accept()
                taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = _Connection(library, taken, predict)
                connection.flush()
                selector.register(taken, selectors.EVENT_READ, connection)
            elif not key.data.readable():
                selector.unregister(key.fileobj)
                key.data.socket.close()
