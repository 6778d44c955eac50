"""A tar stream read from its start, header by header: where each entry's data lies, and nothing is ever rewritten.

The formats are POSIX's ustar and pax, and GNU's (long names, sparse files); what they leave open is read as Go's
archive/tar does, which every engine uses.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from patcher.images.errors import BadImage, ImageTooLarge
from patcher.images.streams import Plain

BLOCK = 512
REGULAR, HARD, SYMBOLIC, DIRECTORY, OTHER = "file", "hard link", "symbolic link", "folder", "other"
_KINDS = {b"0": REGULAR, b"\0": REGULAR, b"7": REGULAR, b"S": REGULAR, b"1": HARD, b"2": SYMBOLIC, b"5": DIRECTORY}
_WITHOUT_DATA = b"123456"  # archive/tar, isHeaderOnlyType
_LONGEST = 1 << 20  # bytes of an extended header or a long name
_LONGEST_NAME = 1 << 12  # PATH_MAX of Linux
_LARGEST = 1 << 40  # bytes of a file
_MOST_PIECES = 1 << 16  # of a sparse file
_ZEROS = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its name and link as they stand there, its data's place and size in the stream.

    ``headers`` are all header blocks that belong to it. ``sparse``: the data is that of a file with holes.
    """

    name: bytes
    kind: str
    link: bytes
    offset: int
    size: int
    sparse: bool
    headers: bytes


def entries(stream: Plain) -> Iterator[Entry]:
    """Every entry, in order; whoever gets one may read its data from the stream before asking for the next.

    Raises BadImage where a header is none.
    """
    name = stream.raw.name
    while (entry := _entry(stream, name)) is not None:
        end = entry.offset + -(-entry.size // BLOCK) * BLOCK
        yield entry
        for _ in stream.pieces(end - stream.at):
            pass


def _entry(stream: Plain, name: str) -> Entry | None:
    """The next entry with what its extended headers say; None at the archive's end."""
    headers, records, long = bytearray(), dict[bytes, bytes](), dict[bytes, bytes]()
    while True:
        block = stream.read(BLOCK)
        if not block or block == _ZEROS:
            if headers:
                raise BadImage(f"{name}: an extended tar header without its entry")
            return None
        _check(name, block)
        headers += block
        if len(headers) > 4 * _LONGEST:
            raise ImageTooLarge(f"{name}: extended tar headers of more than {4 * _LONGEST >> 20} MiB")
        kind, size = block[156:157], _number(name, block[124:136])
        if kind not in b"xgLK":
            break
        if size > _LONGEST:
            raise ImageTooLarge(f"{name}: an extended tar header of {size} bytes")
        body = stream.read(-(-size // BLOCK) * BLOCK)
        if len(body) < size:
            raise BadImage(f"{name}: ends early, within an extended tar header")
        headers += body
        if kind == b"x":
            records.update(_records(name, body[:size]))
        elif kind in b"LK":
            long[kind] = body[:size].partition(b"\0")[0]
    return _made(stream, name, block, bytes(headers), records, long)


def _made(
    stream: Plain, name: str, block: bytes, headers: bytes, records: dict[bytes, bytes], long: dict[bytes, bytes]
) -> Entry:
    own = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and (prefix := block[345:500].partition(b"\0")[0]):
        own = prefix + b"/" + own
    flag = block[156:157]
    path = records.get(b"path") or long.get(b"L") or own
    kind = _KINDS.get(flag, OTHER)
    if flag in b"\x000" and path.endswith(b"/"):
        kind = DIRECTORY
    size = _decimal(name, records[b"size"]) if b"size" in records else _number(name, block[124:136])
    if flag in _WITHOUT_DATA:
        size = 0
    sparse = flag == b"S" or any(key.startswith(b"GNU.sparse.") for key in records)
    if flag == b"S":
        headers += _more_map(stream, name, block)
    path = records.get(b"GNU.sparse.name") or path
    link = records.get(b"linkpath") or long.get(b"K") or block[157:257].partition(b"\0")[0]
    if len(path) > _LONGEST_NAME or len(link) > _LONGEST_NAME:
        raise BadImage(f"{name}: a name of more than {_LONGEST_NAME} bytes")
    if size > _LARGEST:
        raise ImageTooLarge(f"{name}: an entry of {size} bytes")
    return Entry(path, kind, link, stream.at, size, sparse, headers)


def _more_map(stream: Plain, name: str, block: bytes) -> bytes:
    """The blocks of an old GNU sparse map that do not fit into the header (struct sparse_header of GNU tar)."""
    found, more = bytearray(), block[482]
    while more:
        block = stream.read(BLOCK)
        if len(block) < BLOCK or len(found) > _MOST_PIECES * 24:
            raise BadImage(f"{name}: a map of a sparse file that does not end")
        found += block
        more = block[504]
    return bytes(found)


def _check(name: str, block: bytes) -> None:
    """The checksum, of signed or unsigned bytes as both were in use."""
    if len(block) == BLOCK:
        rest = block[:148] + b" " * 8 + block[156:]
        sums = (sum(rest), sum(each - 256 * (each > 127) for each in rest))
        with contextlib.suppress(BadImage):  # text, or anything: there is no number then
            if _number(name, block[148:156]) in sums:
                return
    raise BadImage(f"{name}: not a tar archive, or a damaged one: the checksum of a header is wrong")


def _number(name: str, digits: bytes) -> int:
    """A field of a header: octal, or in base 256 where the first bit is set (GNU)."""
    if digits[0] & 0x80:
        value = int.from_bytes(digits, "big") & (1 << 8 * len(digits) - 1) - 1
        if value >> 63:
            raise BadImage(f"{name}: a number in a tar header that is negative or too large")
        return value
    text = digits.strip(b" \0")
    if text.strip(b"01234567"):
        raise BadImage(f"{name}: a number in a tar header that is none")
    return int(text or b"0", 8)


def _decimal(name: str, text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise BadImage(f"{name}: a number in an extended tar header that is none")
    return int(text)


def _records(name: str, body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """``LENGTH KEY=VALUE\\n``, over and over (pax(1))."""
    at = 0
    while at < len(body):
        digits, blank, _ = body[at : at + 10].partition(b" ")
        length = _decimal(name, digits) if blank else 0
        record = body[at + len(digits) + 1 : at + length]
        key, equals, value = record.partition(b"=")
        if length < 5 or at + length > len(body) or not equals or not value.endswith(b"\n"):
            raise BadImage(f"{name}: an extended tar header that is malformed")
        yield key, value[:-1]
        at += length
