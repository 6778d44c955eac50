"""Damaged container images: documents and tar streams that lie, with all digests right, so that the lie is met."""

import copy
import functools
import gzip
import io
import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanonap.base.dice import seeded
from nanonap.base.paths import TRIED
from nanonap.toolchain.build import build
from nanonap.toolchain.wheels import DEFAULT_GO
from patcher.images import documents
from patcher.images.documents import Document, digest_of
from patcher.images.tar import BLOCK

KINDS = ("index", "manifest", "configuration", "tar headers", "tar", "compressed layer", "archive")
_HOSTILE: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 70, 1e300, "", "x", "/", "../../x", "sha256:" + "0" * 64, "\ud800", "\0", "-x", [], {},
    [[]], [None], [{}], {"digest": 5}, ["/app"] * 3, "application/vnd.oci.image.index.v1+json",
)  # fmt: skip
_FIELDS = ((0, 100), (100, 8), (124, 12), (148, 8), (156, 1), (157, 100), (257, 8), (345, 155))  # of a tar header
_NUMBERS = (
    b"77777777777\0",
    b"\x80" + bytes(10) + b"\1",
    b"\xff" * 12,
    b"-1",
    b"00000000001\0",
    b"99999999999\0",
    bytes(12),
)


@dataclass(frozen=True)
class ImageMutant:
    """One damaged image, as an archive's bytes."""

    kind: str
    data: bytes

    def write(self, path: Path) -> None:
        """The archive."""
        path.write_bytes(self.data)


@functools.cache
def _layer() -> bytes:
    """A layer with the measured program in it, and what else layers hold."""
    packed = io.BytesIO()
    program = build(DEFAULT_GO, "default", out=TRIED)[0].path.read_bytes()
    kinds = ((b"5", "usr/bin"), (b"2", "bin"), (b"1", "again"), (b"3", "null"), (b"0", ".wh.gone"), (b"0", "n" * 200))
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("usr/bin/app")
        entry.size, entry.mode, entry.pax_headers = len(program), 0o755, {"SCHILY.xattr.user.x": "y"}
        tar.addfile(entry, io.BytesIO(program))
        for kind, name in kinds:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, {"bin": "usr/bin", "again": "usr/bin/app"}.get(name, "")
            tar.addfile(entry)
    return packed.getvalue()


def draw_image(seed: str, kind: str) -> ImageMutant:
    """The mutant of a seed and a kind: the same whenever it is drawn."""
    draws = seeded(f"image {kind} {seed}")
    layer = bytearray(_layer())
    if kind == "tar headers":
        _damage_headers(draws, layer)
    elif kind == "tar":
        _flip(draws, layer)
    blob = bytearray(gzip.compress(bytes(layer), 1, mtime=0) if draws.random() < 0.5 else layer)
    plain = bytes(layer)
    if kind == "compressed layer":
        _flip(draws, blob)
        blob += draws.choice((b"", b"", b"x", bytes(512), blob[:40]))
    config: Document = {
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/bin/app"], "Cmd": ["x"], "Env": ["PATH=/bin"], "WorkingDir": "/", "Labels": {}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)]}, "history": [{"created_by": "x"}],
    }  # fmt: skip
    files: dict[str, bytes] = {}

    def put(data: bytes, media_type: str) -> Document:
        files[f"blobs/{digest_of(data).replace(':', '/')}"] = data
        return documents.descriptor(media_type, data)

    def damaged(document: Document, own: str) -> bytes:
        if kind == own:
            for _ in range(draws.choice((1, 1, 2, 5))):
                _damage(draws, document)
        return json.dumps(document).encode()

    manifest: Document = {"schemaVersion": 2, "mediaType": documents.OCI_MANIFEST, "annotations": {"a": "b"}}
    manifest["config"] = put(damaged(config, "configuration"), documents.OCI_CONFIG)
    manifest["layers"] = [put(bytes(blob), documents.layer_type("gzip"))]
    listed = put(damaged(manifest, "manifest"), documents.OCI_MANIFEST)
    index = {"schemaVersion": 2, "manifests": [{**listed, "annotations": {"org.opencontainers.image.ref.name": "x"}}]}
    files |= {"index.json": damaged(index, "index"), "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    archive = bytearray(_archive(files))
    if kind == "archive":
        draws.choice((_flip, _damage_headers))(draws, archive)
    return ImageMutant(kind, bytes(archive))


def _archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _damage(draws: random.Random, document: Any) -> None:  # noqa: ANN401 - JSON
    """Somewhere in a document another value, one less, or one twice."""
    here = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = draws.choice(keys)
        below = here[key]
        if isinstance(below, dict | list) and below and draws.random() < 0.7:
            here = below
            continue
        way = draws.random()
        if way < 0.2:
            del here[key]
        elif way < 0.3 and isinstance(here, list):
            here *= draws.choice((2, 50))
        else:
            here[key] = copy.deepcopy(draws.choice(_HOSTILE))  # or damage to it would last
        return


def _damage_headers(draws: random.Random, tar: bytearray) -> None:
    """Fields of headers, most with the checksum made right again."""
    heads = [at for at in range(0, len(tar), BLOCK) if tar[at + 257 : at + 262] == b"ustar"]
    for _ in range(draws.choice((1, 1, 2, 4))):
        at = draws.choice(heads)
        offset, size = draws.choice(_FIELDS)
        new = draws.choice(
            (draws.randbytes(size), draws.choice(_NUMBERS), draws.choice((b"x", b"L", b"S", b"g", b"../x")))
        )
        tar[at + offset : at + offset + min(size, len(new))] = new[:size]
        if offset != 148:
            tar[at + 148 : at + 156] = b" " * 8
            tar[at + 148 : at + 156] = b"%06o\0 " % sum(tar[at : at + BLOCK])


def _flip(draws: random.Random, data: bytearray) -> None:
    way = draws.random()
    if way < 0.3:
        del data[draws.randrange(len(data)) :]
        return
    for _ in range(draws.choice((1, 3, 30))):
        at = draws.randrange(min(len(data), draws.choice((2000, len(data)))))
        data[at] = draws.randrange(256)
