"""Layouts that lie, each in one thing: all other digests and sizes are right, so that this one is what is noticed."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanonap.base.errors import NanonapError
from patcher.images.documents import digest_of
from patcher.images.errors import BadImage, ImageTooLarge
from tests.patcher.images.made import Tar, go_json
from tests.patcher.images.test_files import GO

Change = Callable[[Path], None]


def of_kind(folder: Path, key: str) -> Path:
    """The document that has this key, or the layer."""
    for each in (folder / "blobs/sha256").iterdir():
        data = each.read_bytes()
        if key == "layer" and data[:2] == b"\x1f\x8b":
            return each
        if key != "layer" and data[:1] == b"{" and key in json.loads(data):
            return each
    raise AssertionError(key)


def replaced(key: str, change: Callable[[dict[str, Any]], Any]) -> Change:
    """The document with that key changed, and everything that leads to it, so that all digests are right."""

    def do(folder: Path) -> None:
        if key == "index":
            path = folder / "index.json"
            document = json.loads(path.read_bytes())
            path.write_bytes(go_json(change(document) or document))
            return
        path = of_kind(folder, key)
        raw = path.read_bytes()
        document = json.loads(raw)
        new = go_json(change(document) or document)
        path.unlink()
        _put(folder, raw, new)

    return do


def _put(folder: Path, old: bytes, new: bytes) -> None:
    (folder / "blobs" / digest_of(new).replace(":", "/")).write_bytes(new)
    for each in [*(folder / "blobs/sha256").iterdir(), folder / "index.json"]:
        data = each.read_bytes()
        if digest_of(old).encode() in data and data[:1] == b"{":
            document = json.loads(data)
            for one in [document.get("config", {}), *document.get("layers", []), *document.get("manifests", [])]:
                if one.get("digest") == digest_of(old):
                    one.update(digest=digest_of(new), size=len(new))
            if each.name != "index.json":
                each.unlink()
                _put(folder, data, go_json(document))
            else:
                each.write_bytes(go_json(document))


def layer_of(make: Callable[[], bytes], plain: bytes | None = None) -> Change:
    """Another layer's blob, with all digests right but the diff_id, which is of ``plain``."""

    def do(folder: Path) -> None:
        path = of_kind(folder, "layer")
        old, new = path.read_bytes(), make()
        path.unlink()
        _put(folder, old, new)
        own = digest_of(plain if plain is not None else new)
        replaced("rootfs", lambda document: document["rootfs"].update(diff_ids=[own]))(folder)

    return do


def _set(*keys: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[int(key)] if isinstance(document, list) else document[key]
        document[keys[-1]] = to

    return change


def first_of(document: dict[str, Any], key: str, **new: object) -> None:
    document[key][0].update(new)


def flipped(path: Path, at: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def nested(folder: Path) -> None:
    index = (folder / "index.json").read_bytes()
    for _ in range(8):
        name = digest_of(index)
        (folder / "blobs" / name.replace(":", "/")).write_bytes(index)
        index = go_json({"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": name, "size": len(index)}]})
    (folder / "index.json").write_bytes(index)


def linked(folder: Path) -> None:
    (folder / "index.json").rename(folder / "other")
    (folder / "index.json").symlink_to("other")


def piped(folder: Path) -> None:
    (folder / "index.json").unlink()
    os.mkfifo(folder / "index.json")


TAR = Tar().add("app", GO).bytes()
HEADER = bytes([*TAR[:150], TAR[150] ^ 1, *TAR[151:]])
PACKED = gzip.compress(TAR, mtime=0)

LIES: dict[str, tuple[Change, type[NanonapError], str]] = {
    "a manifest with another content": (lambda at: flipped(of_kind(at, "layers")), BadImage, "not the sha256:"),
    "a configuration with another content": (lambda at: flipped(of_kind(at, "rootfs")), BadImage, "not the sha256:"),
    "a layer with another content": (lambda at: flipped(of_kind(at, "layer")), BadImage, "damaged gzip data"),
    "a layer with another header": (lambda at: flipped(of_kind(at, "layer"), 4), BadImage, "not that of its digest"),
    "a layer that is missing": (lambda at: of_kind(at, "layer").unlink(), BadImage, "its layer sha256:"),
    "a configuration that is missing": (lambda at: of_kind(at, "rootfs").unlink(), BadImage, "is missing"),
    "a layer that is longer": (
        lambda at: _write(of_kind(at, "layer"), of_kind(at, "layer").read_bytes() + b"x"), BadImage, "bytes, not"
    ),
    "a digest that leads elsewhere": (
        replaced("index", lambda each: first_of(each, "manifests", digest="sha256:../../../etc/passwd")),
        BadImage, "a digest is expected",
    ),
    "another algorithm": (
        replaced("index", lambda each: first_of(each, "manifests", digest="md5:" + "0" * 32)),
        BadImage, "a digest is expected",
    ),
    "a size that is none": (
        replaced("index", lambda each: first_of(each, "manifests", size="5")), BadImage, "not the sha256:"
    ),
    "manifests that are none": (replaced("index", _set("manifests", to=[5])), BadImage, "no list of objects"),
    "an index that is a list": (lambda at: _write(at / "index.json", b"[]"), BadImage, "a JSON object is expected"),
    "an index that is no JSON": (lambda at: _write(at / "index.json", b"{"), BadImage, "no JSON document"),
    "an index in deep brackets": (
        lambda at: _write(at / "index.json", b'{"a":' + b"[" * 100_000), BadImage, "no JSON document"
    ),
    "an index too large": (lambda at: _write(at / "index.json", b" " * (9 << 20)), ImageTooLarge, "more than 8 MiB"),
    "indexes within each other": (nested, ImageTooLarge, "within each other"),
    "too many manifests": (
        replaced("index", lambda each: {**each, "manifests": each["manifests"] * 1001}), ImageTooLarge, "more than 1000"
    ),
    "layers that are no list": (replaced("layers", _set("layers", to={})), BadImage, "“layers” is missing"),
    "fewer diff_ids": (replaced("rootfs", _set("rootfs", "diff_ids", to=[])), BadImage, "tells of 0 layers"),
    "a wrong diff_id": (
        replaced("rootfs", _set("rootfs", "diff_ids", to=["sha256:" + "0" * 64])), BadImage, "as the image says"
    ),
    "diff_ids that are none": (replaced("rootfs", _set("rootfs", "diff_ids", to=[1])), BadImage, "no list of strings"),
    "an entrypoint that is none": (replaced("rootfs", _set("config", "Entrypoint", to="x")), BadImage, "Entrypoint"),
    "a command of numbers": (replaced("rootfs", _set("config", "Cmd", to=[1])), BadImage, "no list of strings"),
    "a configuration that is none": (replaced("rootfs", _set("config", to=[])), BadImage, "“config”"),
    "a tar header with a wrong checksum": (layer_of(lambda: HEADER), BadImage, "the checksum of a header is wrong"),
    "a tar that ends early": (layer_of(lambda: TAR[:3000]), BadImage, "ends early, within an entry"),
    "a layer that is no tar": (layer_of(lambda: b"hello" * 1000), BadImage, "not a tar archive"),
    "gzip data that ends early": (layer_of(lambda: PACKED[:-30]), BadImage, "gzip data that ends early"),
    "gzip data with something behind it": (layer_of(lambda: PACKED + b"x" * 20, TAR), BadImage, "no gzip data"),
    "gzip data with a wrong sum": (
        layer_of(lambda: PACKED[:-6] + bytes(6), TAR), BadImage, "damaged gzip data"
    ),
    "no layout": (lambda at: (at / "oci-layout").unlink(), BadImage, "no container image"),
    "a link for a document": (linked, BadImage, "cannot be read"),
    "a pipe for a document": (piped, BadImage, "not a regular file"),
    "no image at all": (replaced("index", _set("manifests", to=[])), BadImage, "there is no image"),
    "schema 1": (replaced("layers", lambda each: {"schemaVersion": 1, "fsLayers": []}), BadImage, "schema 1"),
}  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
