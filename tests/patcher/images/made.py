"""Images that the tests make: real programs in layers of real tar formats, as a layout, an archive, or docker's."""

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from patcher.images.documents import digest_of

Pack = Callable[[bytes], bytes]
Document = dict[str, Any]


def gzipped(plain: bytes) -> bytes:
    return gzip.compress(plain, 6, mtime=0)


def as_it_is(plain: bytes) -> bytes:
    return plain


def zstd(plain: bytes) -> bytes:
    zstandard = pytest.importorskip("zstandard")
    packed: bytes = zstandard.ZstdCompressor(level=9).compress(plain)
    return packed


TYPES: dict[Pack, str] = {gzipped: "+gzip", as_it_is: "", zstd: "+zstd"}


@dataclass
class Tar:
    """A layer's tar, entry by entry."""

    format: int = tarfile.PAX_FORMAT
    stream: io.BytesIO = field(default_factory=io.BytesIO)

    def __post_init__(self) -> None:
        self._tar = tarfile.open(fileobj=self.stream, mode="w", format=self.format)  # noqa: SIM115

    def add(self, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", **more: Any) -> "Tar":
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size, info.mtime = kind, link, len(content), 1_700_000_000
        info.mode = 0o755
        for key, value in more.items():
            setattr(info, key, value)
        self._tar.addfile(info, io.BytesIO(content))
        return self

    def folder(self, name: str, **more: Any) -> "Tar":
        return self.add(name, kind=tarfile.DIRTYPE, **more)

    def symlink(self, name: str, target: str) -> "Tar":
        return self.add(name, kind=tarfile.SYMTYPE, link=target)

    def hard(self, name: str, target: str) -> "Tar":
        return self.add(name, kind=tarfile.LNKTYPE, link=target)

    def bytes(self) -> bytes:
        self._tar.close()
        return self.stream.getvalue()


def config_of(layers: Sequence[bytes], *, architecture: str = "amd64", **run: Any) -> Document:
    """An image's configuration, as BuildKit writes it."""
    return {
        "created": "2026-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "WorkingDir": "/", **run},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in layers]},
        "history": [{"created_by": f"layer <{number}>"} for number in range(len(layers))],
    }


def go_json(document: object) -> bytes:
    """As Go's encoding/json writes it: compact, and with some characters as escapes."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode()


@dataclass
class Layout:
    """An OCI layout that grows in a folder."""

    folder: Path
    manifests: list[Document] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.folder / "blobs/sha256").mkdir(parents=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes, kind: str) -> Document:
        digest = digest_of(data)
        (self.folder / "blobs" / digest.replace(":", "/")).write_bytes(data)
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def image(
        self,
        layers: Sequence[bytes],
        pack: Pack = gzipped,
        *,
        docker: bool = False,
        of_layer: str | None = None,
        **config: Any,
    ) -> Document:
        """Add an image's blobs; gives the manifest's descriptor. ``of_layer``: another media type of the layers."""
        whole = config_of(layers, **config)
        if docker:
            kinds = ("container.image.v1+json", "distribution.manifest.v2+json", "image.rootfs.diff.tar.gzip")
            of_config, of_manifest, usual = (f"application/vnd.docker.{each}" for each in kinds)
        else:
            of_config, of_manifest = (f"application/vnd.oci.image.{each}.v1+json" for each in ("config", "manifest"))
            usual = f"application/vnd.oci.image.layer.v1.tar{TYPES.get(pack, '')}"
        manifest = {
            "schemaVersion": 2,
            "mediaType": of_manifest,
            "config": self.blob(go_json(whole), of_config),
            "layers": [self.blob(pack(each), of_layer or usual) for each in layers],
        }
        platform = {"architecture": whole["architecture"], "os": "linux"}
        return {**self.blob(go_json(manifest), of_manifest), "platform": platform}

    def done(self, *manifests: Document) -> Path:
        """Write the index."""
        index = {"schemaVersion": 2, "manifests": list(manifests)}
        (self.folder / "index.json").write_bytes(go_json(index))
        return self.folder

    def archive(self, path: Path) -> Path:
        """The layout as an archive, as skopeo and podman write it."""
        with tarfile.open(path, "w") as tar:
            for each in sorted(self.folder.rglob("*")):
                tar.add(each, str(each.relative_to(self.folder)), recursive=False)
        return path


def docker_archive(path: Path, layers: Sequence[bytes], *, tags: Sequence[str] = ("app:1",), **config: Any) -> Path:
    """What `docker save` wrote before version 25: a layer in a folder of its own, the list last."""
    raw = go_json(config_of(layers, **config))
    tar = Tar(tarfile.USTAR_FORMAT)
    names = []
    for number, each in enumerate(layers):
        names.append(f"{number:064x}/layer.tar")
        tar.folder(f"{number:064x}").add(f"{number:064x}/VERSION", b"1.0").add(names[-1], each)
    name = f"{digest_of(raw).removeprefix('sha256:')}.json"
    tar.add(name, raw)
    tar.add("manifest.json", go_json([{"Config": name, "RepoTags": list(tags) or None, "Layers": names}]))
    path.write_bytes(tar.bytes())
    return path


@dataclass
class Seen:
    """An image read with the standard library alone: its index, and per image its documents and layers' tars."""

    index: Document
    blobs: dict[str, bytes]

    def get(self, descriptor: Document) -> bytes:
        data = self.blobs[descriptor["digest"]]
        assert digest_of(data) == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    def manifest(self, number: int = 0) -> Document:
        document: Document = json.loads(self.get(self.index["manifests"][number]))
        return document

    def config(self, number: int = 0) -> Document:
        document: Document = json.loads(self.get(self.manifest(number)["config"]))
        return document

    def layers(self, number: int = 0) -> list[bytes]:
        found = []
        ids = self.config(number)["rootfs"]["diff_ids"]
        for each, own in zip(self.manifest(number)["layers"], ids, strict=True):
            packed = self.get(each)
            plain = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
            assert digest_of(plain) == own
            found.append(plain)
        return found


def look(path: Path) -> Seen:
    """Read a layout's folder or archive."""
    files: dict[str, bytes] = {}
    if path.is_dir():
        files = {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}
    else:
        with tarfile.open(path) as tar:
            for entry in tar:
                stream = tar.extractfile(entry)
                files[entry.name] = stream.read() if stream else b""
    assert json.loads(files["oci-layout"])["imageLayoutVersion"] == "1.0.0"
    blobs = {name.removeprefix("blobs/").replace("/", ":"): data for name, data in files.items() if "blobs/" in name}
    for digest, data in blobs.items():
        assert digest_of(data) == digest
    return Seen(json.loads(files["index.json"]), blobs)


def inside(layer: bytes, name: str) -> bytes:
    """A file's content in a layer."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        stream = tar.extractfile(name)
        assert stream is not None
        return stream.read()


def damaged(folder: Path, into: Path, change: Callable[[Path], None]) -> Path:
    """A copy of a layout with something done to it."""
    shutil.copytree(folder, into)
    change(into)
    return into
