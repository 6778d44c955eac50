"""The documents of an image: JSON that others wrote, of which only what must change does."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

from patcher.images.errors import BadImage

Document = dict[str, Any]
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)
_SUFFIXES = {"tar": "", "gzip": "+gzip", "zstd": "+zstd"}


def digest_of(data: bytes) -> str:
    """``sha256:…``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parsed(data: bytes, name: str) -> Document:
    """A JSON object. Raises BadImage."""
    document = parsed_any(data, name)
    if not isinstance(document, dict):
        raise BadImage(f"{name}: a JSON object is expected")
    return document


def parsed_any(data: bytes, name: str) -> object:
    """A JSON document. Raises BadImage."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadImage(f"{name}: no JSON document ({error})") from error


def part(document: Document, key: str, kind: type, name: str) -> Any:  # noqa: ANN401 - of the kind
    """A part of a document. Raises BadImage where it is missing or of another kind."""
    value = document.get(key)
    if type(value) is not kind:
        raise BadImage(f"{name}: “{key}” is missing, or no {kind.__name__}")
    return value


def optional(document: Document, key: str, kind: type, name: str) -> Any:  # noqa: ANN401 - of the kind
    """The same of a part that may be missing or null: an empty one."""
    return kind() if document.get(key) is None else part(document, key, kind, name)


def strings(document: Document, key: str, name: str) -> list[str]:
    """A list of strings, empty where it is missing. Raises BadImage."""
    found: list[str] = optional(document, key, list, name)
    if not all(isinstance(each, str) for each in found):
        raise BadImage(f"{name}: “{key}” is no list of strings")
    return found


def objects(document: Document, key: str, name: str) -> list[Document]:
    """A list of objects. Raises BadImage."""
    found: list[Document] = part(document, key, list, name)
    if not all(isinstance(each, dict) for each in found):
        raise BadImage(f"{name}: “{key}” is no list of objects")
    return found


def digest(text: object, name: str) -> str:
    """A digest that may be a file's name. Raises BadImage."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise BadImage(f"{name}: a digest is expected, sha256:… (found {str(text)[:80]!r})")
    return text


def descriptor(media_type: str, data: bytes) -> Document:
    """What points to a blob."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def layer_type(kind: str) -> str:
    """The media type of a layer that is compressed so."""
    return OCI_LAYER + _SUFFIXES[kind]


def written(document: Document, like: bytes) -> bytes:
    """A document in the style of another that was JSON: indented and escaped as that is, where that can be told."""
    before = parsed(like, "a document")
    for each in _STYLES:
        if each(before) == like:
            return each(document)
    return compact(document)


def compact(document: object) -> bytes:
    """Without blanks, names in the order in which they stand."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _styles() -> list[Callable[[object], bytes]]:
    """Compact or indented, with a line's end behind or not, escaped as Go's encoding/json does or not at all."""
    escaped = [(each, f"\\u{ord(each):04x}") for each in "<>&\u2028\u2029"]

    def style(indent: int | str | None, end: bytes, go: bool) -> Callable[[object], bytes]:
        separators = (",", ":" if indent is None else ": ")

        def write(document: object) -> bytes:
            text = json.dumps(document, indent=indent, separators=separators, ensure_ascii=False)
            for plain, escape in escaped if go else ():
                text = text.replace(plain, escape)
            return text.encode("utf-8", "surrogatepass") + end

        return write

    return [style(indent, end, go) for indent in (None, 2, 3, 4, "\t") for end in (b"", b"\n") for go in (True, False)]


_STYLES = _styles()
