"""Where the embedded server's process finds its modules."""

from __future__ import annotations

import pytest

from infra_validator.serving_binaries.embedded_program import search_path


@pytest.mark.parametrize(
    ("package", "own", "found"),
    [
        ("/checkout", "", "/checkout"),
        ("/checkout", "/a:/b", "/checkout:/a:/b"),
        ("/env/lib/python3.12/site-packages", "", "/env/lib/python3.12/site-packages"),
        ("/env/lib/python3.12/site-packages", "/a:/b", "/a:/b:/env/lib/python3.12/site-packages"),
        ("/usr/lib/python3/dist-packages", "/a", "/a:/usr/lib/python3/dist-packages"),
    ],
)
def test_what_pythonpath_names_goes_before_what_is_installed(package: str, own: str, found: str) -> None:
    assert search_path(package, own) == found
