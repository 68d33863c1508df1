"""A mutant as other code for functions that are there already: what its file's import left in other modules need not be made again."""

from __future__ import annotations

import gc
import inspect
import itertools
import types
from collections.abc import Iterator

#: A function's place: the line of its ``def`` in the sound file, and its name.
Place = tuple[int, str]

_ALIKE = (
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_argcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_name",
)


def functions_that_differ(sound: str, mutated: str, path: str) -> dict[Place, types.CodeType]:
    """The mutant's code for every function that it changes; nothing if it changes what the import itself does."""
    found: dict[Place, types.CodeType] = {}
    codes = [compile(source, path, "exec", dont_inherit=True) for source in (sound, mutated)]
    return found if _compare(codes[0], codes[1], found) else {}


def _compare(one: types.CodeType, other: types.CodeType, found: dict[Place, types.CodeType]) -> bool:
    """Note the functions that differ; whether nothing else does. Class bodies and the file itself are run by the import."""
    if one.co_flags & inspect.CO_OPTIMIZED:
        if not _same(one, other):
            found[one.co_firstlineno, one.co_name] = other
        return one.co_freevars == other.co_freevars
    if not _same_itself(one, other):
        return False
    return all(_compare(inner, instead, found) for inner, instead in zip(_codes(one), _codes(other), strict=True))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, types.CodeType))


def _same_itself(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two codes do the same, apart from the functions and classes in them."""
    if any(getattr(one, name) != getattr(other, name) for name in _ALIKE):
        return False
    return all(
        type(first) is type(second) and (isinstance(first, types.CodeType) or first == second)
        for first, second in itertools.zip_longest(one.co_consts, other.co_consts)
    )


def _same(one: types.CodeType, other: types.CodeType) -> bool:
    return _same_itself(one, other) and all(map(_same, _codes(one), _codes(other)))


def functions_of(path: str) -> dict[Place, list[types.FunctionType]]:
    """This process's functions that a file defines."""
    found: dict[Place, list[types.FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == path:
            found.setdefault((thing.__code__.co_firstlineno, thing.__code__.co_name), []).append(thing)
    return found
