"""The undo record: what a patched binary carries so that it can be reverted where its manifest is lost.

It lies in free bytes of the file behind a segment's content, as the stubs outside functions do, and is one of the
patch's edits. It holds the strategy and, for every edit, its place and old bytes; what they give back is right only
if its SHA-256 is the recorded input's.

    magic (8 bytes) | length of what follows the checksum (u16) | CRC-32 of that (u32) | zlib-compressed JSON
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nanonap import __version__
from patcher.edit.edit import Edit
from patcher.file.changes import Change
from patcher.file.content import Content
from patcher.file.facts import FileFacts
from patcher.wait import PRECISE, Wait, wait_of

MAGIC = b"\x7fnnap\x01\r\n"
_HEAD = struct.Struct("<8sHI")
_MOST_HITS = 64  # a patched file has one record; a made-up one may repeat the magic for ever
_LONGEST = 1 << 16  # bytes of JSON; a record has some hundreds


@dataclass(frozen=True)
class Record:
    """One record: ``restored`` are the changes that give the input back, the record's own place among them."""

    strategy: str
    slack_ns: int | None
    tool: str
    input: FileFacts
    restored: tuple[Change, ...]
    wait: Wait = PRECISE


def encode(
    strategy: str, slack_ns: int | None, source: FileFacts, edits: Iterable[Edit], wait: Wait = PRECISE
) -> bytes:
    """The record's bytes for these edits; its own place is known from where it is found."""
    document = {
        "tool": __version__,
        "strategy": strategy,
        "slack_ns": slack_ns,
        **{name: value for name, value in wait.to_json().items() if value is not None},
        "input": source.sha256,
        "old": [[each.offset, each.old.hex()] for each in edits],
    }
    body = zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 9)
    return _HEAD.pack(MAGIC, len(body), zlib.crc32(body)) + body


def find(data: Content) -> Iterator[Record]:
    """Every whole record in a file's content; there is more than one only where somebody put it there."""
    at = data.find(MAGIC)
    for _ in range(_MOST_HITS):
        if at == -1:
            return
        record = _decode(data, at)
        if record is not None:
            yield record
        at = data.find(MAGIC, at + 1)


def _decode(data: Content, at: int) -> Record | None:
    if at + _HEAD.size > len(data):
        return None
    _magic, length, checksum = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + length
    body = data[at + _HEAD.size : end]
    if len(body) != length or zlib.crc32(body) != checksum:
        return None
    try:
        document = json.loads(zlib.decompressobj().decompress(body, _LONGEST))
        slack = document["slack_ns"]
        restored = [(int(offset), bytes.fromhex(old)) for offset, old in document["old"]]
        if any(offset < 0 or offset + len(old) > len(data) for offset, old in restored):
            return None
        return Record(
            strategy=str(document["strategy"]),
            slack_ns=None if slack is None else int(slack),
            tool=str(document["tool"]),
            input=FileFacts(str(document["input"]), len(data)),
            restored=(*restored, (at, bytes(end - at))),
            wait=wait_of(document),
        )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None
