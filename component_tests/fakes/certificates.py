"""Certificates of the tests, made with the ``openssl`` command."""

from __future__ import annotations

import pathlib
import subprocess


def _openssl(folder: pathlib.Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def make_certificates(folder: pathlib.Path) -> pathlib.Path:
    """Makes ``ca.pem``, and ``server.pem``/``server.key`` and ``client.pem``/``client.key`` signed by it, in the folder.

    The server's certificate is for ``localhost``, ``tfs.example`` and 127.0.0.1.
    """
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(
        folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test CA"
    )
    for name in ("server", "client"):
        (folder / f"{name}.cnf").write_text("subjectAltName=DNS:localhost,DNS:tfs.example,IP:127.0.0.1\n")
        _openssl(folder, "req", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.cnf")
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signing)
    return folder
