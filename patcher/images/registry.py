"""Images in registries, by skopeo, which follows its own settings: registries.conf, policy.json, auth.json.

A registry's manifests are fetched and sent byte for byte, so their digests are the registry's own. skopeo's `oci:`
would make docker's manifests OCI's; `dir:` keeps them (containers-transports(5)), and is made a layout here.
"""

import ipaddress
import json
import re
from pathlib import Path

from patcher.images import documents
from patcher.images.documents import digest_of, parsed
from patcher.images.reading import NAME, REF
from patcher.images.writing import full

_BLOB = re.compile(r"([0-9a-f]{64})(?:\.manifest\.json)?")  # directory_transport.go of containers/image
_LOGGED = re.compile(r'time="[^"]*" level=\w+ msg="(.*)"')
_WITHOUT_TLS = "server gave HTTP response to HTTPS client"  # net/http, transport.go


def fetching(name: str, folder: Path) -> list[str]:
    """The command that brings an image with all its platforms into a folder that is not there yet."""
    own = ["--src-tls-verify=false"] if on_loopback(name) else []
    return ["skopeo", "copy", "--all", "--remove-signatures", *own, f"docker://{name}", f"dir:{folder}"]


def sending(name: str, folder: Path, digest: Path) -> list[str]:
    """The command that sends the image of a layout's folder; the digest that it gets there is written to a file."""
    own = ["--dest-tls-verify=false"] if on_loopback(name) else []
    return ["skopeo", "copy", "--all", *own, f"--digestfile={digest}", f"oci:{folder}", f"docker://{name}"]


def on_loopback(name: str) -> bool:
    """Whether an image's registry is on this machine: like docker, we ask such a one without TLS, too."""
    host, slash, _ = name.partition("/")
    host = host.partition(":")[0]
    try:
        return bool(slash) and (host == "localhost" or ipaddress.IPv4Address(host).is_loopback)
    except ValueError:
        return False


def plain_words(line: str) -> str:
    """What skopeo said, without its log's trimmings, and with the way out where a registry is without TLS."""
    logged = _LOGGED.fullmatch(line)
    told = logged[1].replace('\\"', '"') if logged else line
    hint = "; name a registry without TLS in registries.conf, with insecure = true" if _WITHOUT_TLS in told else ""
    return told + hint


def make_layout(folder: Path, name: str, tag: str | None) -> None:
    """Make what `skopeo copy … dir:` wrote an OCI layout, its image under a tag if there is one. Raises BadImage."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for each in sorted(folder.iterdir()):
        if own := _BLOB.fullmatch(each.name):
            each.rename(blobs / own[1])
    raw = (folder / "manifest.json").read_bytes()
    (folder / "manifest.json").rename(blobs / digest_of(raw).partition(":")[2])
    document = parsed(raw, f"the manifest of {name}")
    kind = documents.OCI_INDEX if "manifests" in document else documents.OCI_MANIFEST
    listed = documents.descriptor(str(document.get("mediaType") or kind), raw)
    if tag is not None:
        listed["annotations"] = {NAME: full(tag), REF: tag.rpartition(":")[2]}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}), encoding="ascii")
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="ascii")
