"""What of the validator's environment a local model server gets: a short list, since the model under test is untrusted code.

The validator's own environment holds what no model may see: credentials of clouds, tokens, proxies with passwords in them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from infra_validator.core.errors import SpecError

#: Names, and patterns of names, of what a server needs to find its files, speak its language and use its hardware.
PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV",
    "CUDA_*", "NVIDIA_*", "TF_*", "XLA_*", "OMP_*", "MKL_*", "KMP_*", "MALLOC_*",
)  # fmt: skip


def server_environment(ours: Mapping[str, str], wanted: Sequence[str] = ()) -> dict[str, str]:
    """The part of an environment that is passed on.

    Args:
      ours: the validator's environment.
      wanted: more names, from ``local_process.env_from``.

    Raises:
      SpecError: one of ``wanted`` is not set.
    """
    for name in wanted:
        if name not in ours:
            raise SpecError(
                "serving_spec.local_process.env_from",
                f"{name} is not set in the validator's environment",
                next_step="Set it, or take it out of the list; local_process.env gives a value.",
            )
    return {
        name: value
        for name, value in ours.items()
        if name in wanted or any(fnmatch.fnmatchcase(name, one) for one in PASSED_ON)
    }
