"""TensorFlow's C API through ctypes, and its tensors. Only this file and ``session.py`` hold foreign pointers.

The libraries come from the TensorFlow wheel; the Python package ``tensorflow`` is found but never imported, which is what
makes a start take a second instead of fifteen. Importing this module loads nothing: :func:`load_library` does.

Ownership, in one place:

* ``Session`` owns its TF_Session and TF_Graph; ``close()`` (or the end of a ``with``) frees both, once. Whoever loads a session
  closes it, and only after the last ``run`` has returned.
* ``Tensor`` owns its TF_Tensor and frees it when the Python object dies. A tensor that was made from a Python buffer without a
  copy keeps that buffer alive until TensorFlow lets go of the memory, which may be after the Python object died.
* ``memory()`` of a tensor is a view that must not outlive the tensor.
* Every TF_Status, TF_Buffer and TF_SessionOptions lives inside one method here and is freed there.

Errors of TensorFlow are raised as :class:`StatusError` with TensorFlow's own code and text.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import threading
from collections.abc import Sequence
from typing import Any

from infra_validator.core.systems import LINUX, why_not_here
from infra_validator.embedded_server.status import Code, StatusError

POINTER = ctypes.c_void_p
STRING = 7  # DT_STRING
_TSTRING_BYTES = 24  # sizeof(TF_TString); TF_DataTypeSize answers 0 for strings


class TensorFlowMissingError(Exception):
    """There is no TensorFlow wheel to take the C library from. The text is one sentence for the user."""


class Output(ctypes.Structure):
    _fields_ = [("operation", POINTER), ("index", ctypes.c_int)]


class Buffer(ctypes.Structure):
    _fields_ = [("data", POINTER), ("length", ctypes.c_size_t), ("deallocator", POINTER)]


_DEALLOCATOR = ctypes.CFUNCTYPE(None, POINTER, ctypes.c_size_t, POINTER)

# name: result, arguments. Of the quick ones: the interpreter lock stays held during the call, since giving it up and taking it
# back costs more than the call and, between many threads, up to a switch interval each time.
_QUICK: dict[str, tuple[Any, list[Any]]] = {
    "TF_Version": (ctypes.c_char_p, []),
    "TF_NewStatus": (POINTER, []),
    "TF_DeleteStatus": (None, [POINTER]),
    "TF_GetCode": (ctypes.c_int, [POINTER]),
    "TF_Message": (ctypes.c_char_p, [POINTER]),
    "TF_NewBuffer": (POINTER, []),
    "TF_DeleteBuffer": (None, [POINTER]),
    "TF_NewSessionOptions": (POINTER, []),
    "TF_SetConfig": (None, [POINTER, ctypes.c_char_p, ctypes.c_size_t, POINTER]),
    "TF_DeleteSessionOptions": (None, [POINTER]),
    "TF_NewGraph": (POINTER, []),
    "TF_GraphOperationByName": (POINTER, [POINTER, ctypes.c_char_p]),
    "TF_OperationOpType": (ctypes.c_char_p, [POINTER]),
    "TF_OperationNumOutputs": (ctypes.c_int, [POINTER]),
    "TF_AllocateTensor": (POINTER, [ctypes.c_int, POINTER, ctypes.c_int, ctypes.c_size_t]),
    "TF_DeleteTensor": (None, [POINTER]),
    "TF_TensorType": (ctypes.c_int, [POINTER]),
    "TF_NumDims": (ctypes.c_int, [POINTER]),
    "TF_Dim": (ctypes.c_int64, [POINTER, ctypes.c_int]),
    "TF_TensorByteSize": (ctypes.c_size_t, [POINTER]),
    "TF_TensorElementCount": (ctypes.c_int64, [POINTER]),
    "TF_TensorData": (POINTER, [POINTER]),
    "TF_StringGetDataPointer": (POINTER, [POINTER]),
    "TF_StringGetSize": (ctypes.c_size_t, [POINTER]),
    "TF_DataTypeSize": (ctypes.c_size_t, [ctypes.c_int]),
}
# The interpreter lock is released during these.
_SLOW: dict[str, tuple[Any, list[Any]]] = {
    "TF_LoadSessionFromSavedModel": (
        POINTER,
        [POINTER, POINTER, ctypes.c_char_p, POINTER, ctypes.c_int, POINTER, POINTER, POINTER],
    ),
    "TF_LoadLibrary": (POINTER, [ctypes.c_char_p, POINTER]),
    "TF_CloseSession": (None, [POINTER, POINTER]),
    "TF_DeleteSession": (None, [POINTER, POINTER]),
    "TF_DeleteGraph": (None, [POINTER]),
    "TF_SessionRun": (
        None,
        [
            *(POINTER, POINTER),  # session, options
            *(POINTER, POINTER, ctypes.c_int),  # inputs and their values
            *(POINTER, POINTER, ctypes.c_int),  # outputs and their values
            *(POINTER, ctypes.c_int),  # targets
            *(POINTER, POINTER),  # metadata, status
        ],
    ),
    "TF_NewTensor": (
        POINTER,
        [ctypes.c_int, POINTER, ctypes.c_int, POINTER, ctypes.c_size_t, _DEALLOCATOR, POINTER],
    ),
    "TF_TensorFromProto": (None, [POINTER, POINTER, POINTER]),
}
_FROM_PROTO_QUICK = (
    4096  # bytes of a serialized tensor up to which parsing is quicker than giving up the interpreter lock
)


class _Library:
    """The bound functions, as attributes without the ``TF_`` prefix."""

    def __init__(self, path: str) -> None:
        # RTLD_LOCAL (the default): with RTLD_GLOBAL, symbols of other extension modules would be bound to TensorFlow's.
        slow, quick = ctypes.CDLL(path), ctypes.PyDLL(path)
        for library, table in ((slow, _SLOW), (quick, _QUICK)):
            for name, (result, arguments) in table.items():
                self._bind(library, name, name.removeprefix("TF_"), result, arguments)
        self._bind(quick, "TF_TensorFromProto", "TensorFromProtoQuick", *_SLOW["TF_TensorFromProto"])

    def _bind(self, library: ctypes.CDLL, symbol: str, name: str, result: Any, arguments: list[Any]) -> None:
        function = getattr(library, symbol)
        function.restype, function.argtypes = result, arguments
        setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:  # for the type checker only: every name is set in __init__
        raise AttributeError(name)


_library: _Library | None = None
_loading = threading.Lock()


def library_path() -> str:
    """Where the wheel's C library is.

    Raises:
      TensorFlowMissingError: no wheel, or one without the library, or not Linux.
    """
    elsewhere = why_not_here("The embedded model server", LINUX)
    if elsewhere:
        raise TensorFlowMissingError(elsewhere)
    spec = importlib.util.find_spec("tensorflow")
    for directory in (spec.submodule_search_locations or []) if spec else []:
        path = os.path.join(directory, "libtensorflow_cc.so.2")
        if os.path.exists(path):
            return path
    raise TensorFlowMissingError(
        "The embedded model server needs the C library of the TensorFlow wheel, which is not installed here: "
        "pip install 'infra-validator[embedded]'"
    )


def load_library() -> str:
    """Load TensorFlow's C library, once per process; returns its version, e.g. ``2.16.2``. 0.15 to 0.4 s the first time.

    Raises:
      TensorFlowMissingError: there is none.
    """
    global _library
    with _loading:
        if _library is None:
            _library = _Library(library_path())
    version: bytes = _library.Version()
    return version.decode()


def functions() -> _Library:
    """TensorFlow's C functions, without their prefix ``TF_``; loads the library if need be."""
    if _library is None:
        load_library()
    assert _library is not None
    return _library


class Status:
    """A TF_Status for the length of a ``with``; leaving it raises what it holds."""

    __slots__ = ("pointer",)

    def __enter__(self) -> Status:
        self.pointer = functions().NewStatus()
        return self

    def check(self) -> None:
        tf = functions()
        code = tf.GetCode(self.pointer)
        if code:
            text: bytes = tf.Message(self.pointer)
            # Bytes that are no UTF-8 (of a client's strings, quoted in the text) come through unchanged.
            raise StatusError(Code(code) if code <= 16 else Code.UNKNOWN, text.decode("utf-8", "surrogateescape"))

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.check()
        finally:
            functions().DeleteStatus(self.pointer)


# --------------------------------------------------------------------------------------------------------- tensors

_kept: dict[int, object] = {}  # buffers that TensorFlow reads in place, until it lets go
_tickets = itertools.count(1)


def _forget(_data: int, _length: int, ticket: int) -> None:
    _kept.pop(ticket or 0, None)


_let_go = _DEALLOCATOR(_forget)


class Tensor:
    """A tensor in TensorFlow's memory. Immutable; frees itself."""

    __slots__ = ("_memory", "pointer")

    def __init__(self, pointer: int) -> None:
        """Take over ``pointer``, a TF_Tensor that nobody else frees."""
        self.pointer = pointer

    def __del__(self) -> None:
        if _library is not None:
            _library.DeleteTensor(self.pointer)

    @classmethod
    def from_proto(cls, serialized: bytes, offset: int = 0, length: int | None = None) -> Tensor:
        """The tensor of a serialized tensorflow.TensorProto in ``serialized[offset:offset + length]``.

        TensorFlow's own decoding: missing values repeat the last one, and so on.

        Raises:
          StatusError: INVALID_ARGUMENT, with TensorFlow's short text.
        """
        tf = functions()
        length = len(serialized) - offset if length is None else length
        buffer = Buffer(address(serialized) + offset, length, None)
        parse = tf.TensorFromProtoQuick if length <= _FROM_PROTO_QUICK else tf.TensorFromProto
        tensor = cls(tf.AllocateTensor(1, None, 0, 4))  # a float scalar, replaced by what is parsed
        with Status() as status:
            parse(ctypes.byref(buffer), tensor.pointer, status.pointer)
        return tensor

    @classmethod
    def from_memory(cls, dtype: int, shape: Sequence[int], content: bytes, offset: int = 0) -> Tensor:
        """A tensor of a fixed-size dtype over ``content[offset:]`` in host byte order, which the caller has measured.

        TensorFlow reads ``content`` in place if it is aligned to 64 bytes there, and copies it once if not.
        """
        length = element_size(dtype)
        for dim in shape:
            length *= dim
        assert 0 <= length <= len(content) - offset, "the content is shorter than the shape says"
        dims = (ctypes.c_int64 * len(shape))(*shape)
        ticket = next(_tickets)
        _kept[ticket] = content
        pointer = functions().NewTensor(dtype, dims, len(shape), address(content) + offset, length, _let_go, ticket)
        return cls(pointer)

    @property
    def dtype(self) -> int:
        """The number of its tensorflow.DataType."""
        return int(functions().TensorType(self.pointer))

    @property
    def shape(self) -> tuple[int, ...]:
        tf, pointer = functions(), self.pointer
        return tuple(tf.Dim(pointer, axis) for axis in range(tf.NumDims(pointer)))

    def memory(self) -> memoryview:
        """Its elements (fixed-size dtypes), row by row in host byte order; valid while the tensor lives."""
        tf = functions()
        length = tf.TensorByteSize(self.pointer)
        if not length:
            return memoryview(b"")
        array = (ctypes.c_char * length).from_address(tf.TensorData(self.pointer))
        array._tensor = self  # keeps the tensor alive as long as the view
        return memoryview(array).cast("B")

    def strings(self) -> list[bytes]:
        """Its elements, row by row; of a tensor of strings."""
        tf = functions()
        count = tf.TensorElementCount(self.pointer)
        if not count:  # such a tensor may have no memory, and TF_TensorData then crashes
            return []
        size_of, data_of, first = tf.StringGetSize, tf.StringGetDataPointer, tf.TensorData(self.pointer)
        places = range(first, first + count * _TSTRING_BYTES, _TSTRING_BYTES)
        return [ctypes.string_at(data_of(place), size_of(place)) for place in places]


def address(data: bytes) -> int:
    """Where a bytes object's content is; valid while the object lives."""
    return ctypes.cast(ctypes.c_char_p(data), POINTER).value or 0


_sizes: dict[int, int] = {}


def element_size(dtype: int) -> int:
    """Bytes of one element; 0 for types that have no fixed size or do not exist."""
    if dtype not in _sizes:
        known = 0 < dtype <= 32 and dtype != STRING
        _sizes[dtype] = int(functions().DataTypeSize(dtype)) if known else 0
    return _sizes[dtype]
