"""HPACK (RFC 7541): enough to write request headers and to read whatever headers a server sends.

Written for the probe because importing ``h2`` and ``hpack`` costs more than the whole probe may (benchmarks/probe.py measures
it). The decoder is bounded: it never produces more than ``_LARGEST_LIST`` octets of headers, whatever it is fed.
"""

from __future__ import annotations

Header = tuple[bytes, bytes]

_LARGEST_LIST = 64 * 1024  # octets of decoded headers in one block, counted as RFC 7541 counts a table (+32 each)
_LARGEST_TABLE = 4096  # octets; HTTP/2's default, which we never raise

# RFC 7541, appendix A; the first entry has index 1.
_STATIC: tuple[Header, ...] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)

# RFC 7541, appendix B: the length in bits of each octet's Huffman code. The code is canonical: codes of one length follow
# each other in the order of the octets, so that the lengths say it all. (The end-of-string code is thirty ones.)
_CODE_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b08060606"
    "0505050606060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e06"
    "0f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414161616171617171717171817"
    "181816171817171717151617161717181615141616171715171616181516171715151615171617171416161617161617"
    "1a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a"
)


class HpackError(Exception):
    """A header block that breaks RFC 7541, or our limits."""


def encode(headers: list[Header]) -> bytes:
    """A header block with every header as a literal that enters no table, so that it needs no memory of former blocks."""
    block = bytearray()
    for name, value in headers:
        block.append(0)
        for text in (name, value):
            block += _encode_integer(len(text), 7)
            block += text
    return bytes(block)


def _encode_integer(value: int, bits: int) -> bytes:
    largest = (1 << bits) - 1
    if value < largest:
        return bytes((value,))
    out = bytearray((largest,))
    value -= largest
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Decoder:
    """Reads header blocks of one connection; keeps the dynamic table between them. Of no use after an HpackError."""

    def __init__(self) -> None:
        self._dynamic: list[Header] = []  # newest first
        self._size = 0
        self._limit = _LARGEST_TABLE

    def decode(self, block: bytes) -> list[Header]:
        """The headers of one block.

        Raises:
          HpackError: the block is broken or too large; the connection must be closed.
        """
        headers: list[Header] = []
        size, at = 0, 0
        while at < len(block):
            first = block[at]
            if first & 0xE0 == 0x20:  # the peer's encoder changes the size of the table
                if headers:
                    raise HpackError("a table size update after a header")
                limit, at = _integer(block, at, 5)
                if limit > _LARGEST_TABLE:
                    raise HpackError(f"a table of {limit} octets")
                self._limit = limit
                self._evict()
                continue
            if first & 0x80:
                index, at = _integer(block, at, 7)
                header = self._entry(index)
            else:
                remember = first & 0x40
                index, at = _integer(block, at, 6 if remember else 4)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at)
                header = (name, value)
                if remember:
                    self._dynamic.insert(0, header)
                    self._size += _size_of(header)
                    self._evict()
            size += _size_of(header)
            if size > _LARGEST_LIST:
                raise HpackError(f"more than {_LARGEST_LIST} octets of headers")
            headers.append(header)
        return headers

    def _entry(self, index: int) -> Header:
        if 1 <= index <= len(_STATIC):
            return _STATIC[index - 1]
        if len(_STATIC) < index <= len(_STATIC) + len(self._dynamic):
            return self._dynamic[index - len(_STATIC) - 1]
        raise HpackError(f"header index {index}, which is in no table")

    def _evict(self) -> None:
        while self._size > self._limit:
            self._size -= _size_of(self._dynamic.pop())


def _size_of(header: Header) -> int:
    return len(header[0]) + len(header[1]) + 32


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """(the integer that starts in the low ``bits`` of the octet at ``at``, where it ends)."""
    largest = (1 << bits) - 1
    value = block[at] & largest
    at += 1
    if value < largest:
        return value, at
    for shift in range(0, 35, 7):
        if at >= len(block):
            raise HpackError("an integer that is cut off")
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise HpackError("an integer that is too long")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise HpackError("a string that is cut off")
    huffman = block[at] & 0x80
    length, at = _integer(block, at, 7)
    end = at + length
    if end > len(block):
        raise HpackError("a string that is cut off")
    text = block[at:end]
    return (_decode_huffman(text) if huffman else text), end


_codes: dict[tuple[int, int], int] = {}  # (length in bits, code) -> octet; made when the first Huffman string comes


def _huffman_codes() -> dict[tuple[int, int], int]:
    if not _codes:
        code, length = 0, 0
        for octet in sorted(range(256), key=lambda octet: (_CODE_LENGTHS[octet], octet)):
            code <<= _CODE_LENGTHS[octet] - length
            length = _CODE_LENGTHS[octet]
            _codes[length, code] = octet
            code += 1
    return _codes


def _decode_huffman(text: bytes) -> bytes:
    codes = _huffman_codes()
    out = bytearray()
    code, length = 0, 0
    for octet in text:
        for shift in range(7, -1, -1):
            code = code << 1 | octet >> shift & 1
            length += 1
            found = codes.get((length, code))
            if found is not None:
                out.append(found)
                code, length = 0, 0
            elif length >= 30:
                raise HpackError("a Huffman code that does not exist")
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("a Huffman string with wrong padding")
    return bytes(out)
