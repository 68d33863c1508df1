"""The file that a model server's output goes to: appended by the server, kept short by us.

A pipe that nobody reads stops a server; a file that nobody shortens fills the disk. So the disk space of all but the file's end
is given back again and again while the server runs (a hole in the file), which loses nothing of the end, whatever the server writes
meanwhile.
"""

from __future__ import annotations

import os
import threading

from infra_validator.core.errors import shorten
from infra_validator.model_server_runners.log_lines import last_lines

_LONGEST_FILE = 4 * 2**20  # bytes
_BLOCK = 512  # bytes; the unit of st_blocks
_TAIL = 256 * 2**10  # bytes that are looked at for the last lines
_LONGEST_LINE = 2000  # characters


class ServerLog:
    """A server's output.

    Args:
      path: the file; it is made.

    Attributes:
      path: the file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._before = b""
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """What to hand to the server as its output and error output."""
        return self._file

    def trim(self) -> bool:
        """Give back disk space if the file has grown long; returns whether it had. Called again and again while the server runs."""
        with self._lock:
            if self._file < 0 or os.fstat(self._file).st_blocks * _BLOCK <= _LONGEST_FILE:
                return False
            if not _give_back(self._file, os.fstat(self._file).st_size - _TAIL):
                # A file system without holes. What is written between the reading and the cutting is lost.
                self._before = self._read_tail()
                os.ftruncate(self._file, 0)
            return True

    def tail(self, lines: int) -> str:
        """The last ``lines`` lines (log_lines.py), without a newline at the end; undecodable bytes are replaced, endless lines cut."""
        with self._lock:
            data = self._before + (self._read_tail() if self._file >= 0 else b"")
        text = data[-_TAIL:].decode(errors="replace").replace("\0", "")
        return last_lines("\n".join(shorten(line, _LONGEST_LINE) for line in text.splitlines()), lines)

    def close(self) -> None:
        """Close our end. May be called twice; what was read by ``tail`` is not kept."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _read_tail(self) -> bytes:
        return os.pread(self._file, _TAIL, max(0, os.fstat(self._file).st_size - _TAIL))


def _give_back(file: int, length: int) -> bool:
    """Make the first ``length`` bytes of a file a hole; False where the file system cannot."""
    import ctypes

    keep_size, punch_hole = 1, 2
    try:
        fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    except AttributeError:
        return False
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return bool(fallocate(file, keep_size | punch_hole, 0, length) == 0)
