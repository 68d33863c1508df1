"""How a folder hands on its public names: a name's file is imported when the name is first used, so importing the folder is cheap."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def lazy_names(package: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """What a folder's ``__init__.py`` binds to ``__getattr__`` (PEP 562).

    Args:
      package: the ``__name__`` of the folder.
      names: public name -> the module in the folder that holds it, e.g. ``kubernetes.runner``.

    Returns:
      A function from a name to what it names; it raises AttributeError for a name that is not public.
    """

    def get(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return get
