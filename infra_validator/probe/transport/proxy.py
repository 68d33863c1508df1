"""Whether a proxy stands before an address, by the environment variables that Go's gRPC reads."""

from __future__ import annotations

import os

from infra_validator.probe.transport.address import Address


def proxy_for(address: Address) -> str:
    """The proxy's URL; empty for none. This machine is never asked through a proxy."""
    if address.local:
        return ""
    for name in ("grpc_proxy", "HTTPS_PROXY", "https_proxy"):
        proxy = os.environ.get(name, "")
        if proxy:
            return "" if _excluded(address.host) else proxy
    return ""


def _excluded(host: str) -> bool:
    for name in ("no_grpc_proxy", "NO_PROXY", "no_proxy"):
        for entry in os.environ.get(name, "").split(","):
            entry = entry.strip().lower().split(":")[0].lstrip("*").lstrip(".")
            if entry and (host.lower() == entry or host.lower().endswith("." + entry)):
                return True
        if "*" in [entry.strip() for entry in os.environ.get(name, "").split(",")]:
            return True
    return False
