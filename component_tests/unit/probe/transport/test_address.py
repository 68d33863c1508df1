"""Addresses: what each form means, and which are wrong before anything is sent; whether a proxy stands before one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.probe.transport.address import AddressError, parse_address
from infra_validator.probe.transport.proxy import proxy_for


@pytest.mark.parametrize(
    ("text", "host", "port", "authority"),
    [
        ("localhost:9000", "localhost", "9000", "localhost:9000"),
        (":8500", "localhost", "8500", "localhost:8500"),
        ("0.0.0.0:8500", "localhost", "8500", "localhost:8500"),
        ("[::]:8500", "localhost", "8500", "localhost:8500"),
        ("127.0.0.1:1", "127.0.0.1", "1", "127.0.0.1:1"),
        ("[::1]:8500", "::1", "8500", "[::1]:8500"),
        ("[fe80::1%eth0]:8500", "fe80::1%eth0", "8500", "[fe80::1%eth0]:8500"),
        (
            "serving.models.svc.cluster.local:8500",
            "serving.models.svc.cluster.local",
            "8500",
            "serving.models.svc.cluster.local:8500",
        ),
        ("localhost:http", "localhost", "http", "localhost:http"),
        ("dns:///host:8500", "host", "8500", "host:8500"),
        ("dns://8.8.8.8/host:8500", "host", "8500", "host:8500"),
        ("passthrough:///:8500", "localhost", "8500", "localhost:8500"),
    ],
)
def test_tcp(text: str, host: str, port: str, authority: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.path, address.authority) == (host, port, "", authority)


@pytest.mark.parametrize(
    ("text", "path", "target"),
    [
        ("unix:/run/tfs.sock", "/run/tfs.sock", "unix:/run/tfs.sock"),
        ("unix:///run/tfs.sock", "/run/tfs.sock", "unix:/run/tfs.sock"),
        ("unix:tfs.sock", "tfs.sock", "unix:tfs.sock"),
        ("unix-abstract:tfs", "\0tfs", "unix-abstract:tfs"),
        ("unix:@tfs", "\0tfs", "unix-abstract:tfs"),
    ],
)
def test_unix(text: str, path: str, target: str) -> None:
    address = parse_address(text)
    assert (address.path, address.target, address.authority) == (path, target, "localhost")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing port"),
        ("host", "missing port"),
        ("host:", "missing port"),
        ("[::1]", "missing port"),
        ("[::1", "missing ']'"),
        ("[::1]8500", "missing ']'"),
        ("::1", "too many colons"),
        ("::1:8500", "too many colons"),
        ("host:0", "invalid port"),
        ("host:65536", "invalid port"),
        ("host:-1", "invalid port"),
        ("http://host:8500", "scheme 'http'"),
        ("grpc://host:8500", "scheme 'grpc'"),
        ("dns://host:8500", "missing port"),
        ("unix:", "1 to 107"),
        ("unix:" + "x" * 200, "1 to 107"),
        ("ho st:1", "no blanks"),
        ("host/path:1", "no blanks, slashes"),
        ("user@host:1", "no blanks"),
    ],
)
def test_wrong(text: str, words: str) -> None:
    with pytest.raises(AddressError, match=words):
        parse_address(text)


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert address.path or (address.host and address.port)


@pytest.mark.parametrize(
    ("address", "environment", "proxy"),
    [
        ("host:1", {}, ""),
        ("host:1", {"HTTPS_PROXY": "http://p:3128"}, "http://p:3128"),
        ("host:1", {"https_proxy": "http://p:3128"}, "http://p:3128"),
        ("host:1", {"grpc_proxy": "http://g:1", "HTTPS_PROXY": "http://p:3128"}, "http://g:1"),
        ("host:1", {"HTTP_PROXY": "http://p:3128", "http_proxy": "http://p:3128"}, ""),
        ("host:1", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "other, host"}, ""),
        ("a.host:1", {"HTTPS_PROXY": "http://p:3128", "no_proxy": ".host"}, ""),
        ("ahost:1", {"HTTPS_PROXY": "http://p:3128", "no_proxy": "host"}, "http://p:3128"),
        ("host:1", {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, ""),
        ("localhost:1", {"HTTPS_PROXY": "http://p:3128"}, ""),
        (":1", {"HTTPS_PROXY": "http://p:3128"}, ""),
        ("127.0.0.2:1", {"HTTPS_PROXY": "http://p:3128"}, ""),
        ("[::1]:1", {"HTTPS_PROXY": "http://p:3128"}, ""),
        ("[::ffff:127.0.0.1]:1", {"HTTPS_PROXY": "http://p:3128"}, ""),
        ("unix:/x", {"HTTPS_PROXY": "http://p:3128"}, ""),
    ],
)
def test_proxies(address: str, environment: dict[str, str], proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_proxies(monkeypatch, environment)
    assert proxy_for(parse_address(address)) == proxy


#: entry of NO_PROXY, address, whether the entry means it; by the rules of golang.org/x/net/http/httpproxy
NO_PROXY = [
    ("10.0.0.0/8", "10.1.2.3:8500", True),
    ("10.0.0.0/8", "11.1.2.3:8500", False),
    ("10.0.0.0/8", "[::ffff:10.1.2.3]:8500", True),
    ("10.0.0.0/8", "ten.example:8500", False),
    ("10.0.0.0/33", "10.0.0.0:8500", False),
    ("0.0.0.0/0", "10.1.2.3:8500", True),
    ("::/0", "10.1.2.3:8500", False),
    ("::ffff:10.0.0.0/104", "10.1.2.3:8500", True),
    ("fd00::/8", "[fd12::1]:8500", True),
    ("fd00::/8", "[fe80::1]:8500", False),
    ("10.1.2.3", "10.1.2.3:8500", True),
    ("::ffff:10.1.2.3", "10.1.2.3:8500", True),
    ("10.1.2.3:8500", "10.1.2.3:8500", True),
    ("10.1.2.3:8501", "10.1.2.3:8500", False),
    ("fd12::1", "[fd12::1]:8500", True),
    ("[fd12::1]:8500", "[fd12:0::1]:8500", True),
    ("[fd12::1]:8501", "[fd12::1]:8500", False),
    ("example.com", "example.com:8500", True),
    ("example.com", "a.example.com:8500", True),
    ("example.com", "anexample.com:8500", False),
    (".example.com", "a.b.example.com:8500", True),
    (".example.com", "example.com:8500", False),
    ("*.example.com", "a.example.com:8500", True),
    ("*.example.com", "example.com:8500", False),
    ("*example.com", "a.example.com:8500", False),
    ("Example.COM:8500", "EXAMPLE.com:8500", True),
    ("example.com:8501", "example.com:8500", False),
    (".example.com:8500", "a.example.com:8500", True),
    ("b\u00fccher.example", "xn--bcher-kva.example:8500", True),
    (":8500", "example.com:8500", False),
    ("other, 10.0.0.0/8 ,x", "10.1.2.3:8500", True),
    ("other,*", "example.com:8500", True),
    (",", "example.com:8500", False),
]


@pytest.mark.parametrize(("entry", "address", "excluded"), NO_PROXY)
def test_no_proxy_is_read_as_go_reads_it(
    entry: str, address: str, excluded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": entry})
    assert (proxy_for(parse_address(address)) == "") == excluded


def set_proxies(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in (
        "grpc_proxy",
        "no_grpc_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "NO_PROXY",
        "no_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
