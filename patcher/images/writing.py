"""The documents of a new image: what changed is pointed to anew, what did not is carried over by its digest."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

from patcher.images import documents
from patcher.images.documents import Document
from patcher.images.reading import NAME, REF, Image, Layer, Node, images
from patcher.images.rewriting import Rewritten
from patcher.images.sink import Sink
from patcher.images.store import Store
from patcher.images.streams import Plain

_DOCKER_HUB = "docker.io/"


@dataclass(frozen=True)
class Made:
    """What becomes of an image: its new configuration, its new layers by their places, and one on top.

    ``fewer``: without the layer that is on top. ``manifest``: what it is to be, byte for byte, where that is known.
    """

    config: bytes
    layers: dict[int, Rewritten]
    top: Rewritten | None = None
    fewer: bool = False
    manifest: bytes | None = None


@dataclass
class Written:
    """What was written: of every image its new digest, and the notes on what was left out."""

    digests: dict[int, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)


class Writer:
    """Writes an image's tree into a sink."""

    def __init__(self, store: Store, sink: Sink, made: dict[int, Made], tag: str | None) -> None:
        """``made``: by the id() of an image. ``tag``: the name to give, instead of those that it has."""
        self._store, self._sink, self._made, self._tag = store, sink, made, tag
        self._listed: dict[int, Document] = {}
        self.written = Written()

    def write(self, root: Node) -> None:
        """All of it, the index last."""
        stale = {image.digest for _, image in images(root) if id(image) in self._made}
        document, changed = self._children(root, stale)
        if self._tag is not None:
            document, changed = {**document, "manifests": _under(self._tag, document["manifests"])}, True
        index = documents.compact(document) if root.raw is None else root.raw
        if root.raw is not None and changed:
            index = documents.written(document, root.raw)
        self._sink.finish(index, documents.compact(self._listed_images(root)))

    def _children(self, node: Node, stale: set[str]) -> tuple[Document, bool]:
        """An index's document with what its children became, and whether that changed anything."""
        found: list[Document] = []
        for each in node.children:
            if each.refers_to in stale:
                kind = each.document.get("artifactType") or "an attestation, signature or list of contents"
                self.written.dropped.append(f"{each.descriptor.get('digest')} ({kind}) is about {each.refers_to}")
                continue
            found += self._node(each, stale)
        if found == node.document["manifests"]:
            return node.document, False
        return {**node.document, "manifests": found}, True

    def _node(self, node: Node, stale: set[str]) -> list[Document]:
        """The descriptors that lead to a node from now on."""
        if node.image is not None:
            return self._image(node, node.image)
        if node.children:
            document, changed = self._children(node, stale)
            if changed and node.raw is not None:
                return [self._put(documents.written(document, node.raw), node.descriptor)]
        for each in node.blobs:
            self._carry(each)
        if node.raw is not None:
            self._sink.put(node.raw)
        return [node.descriptor]

    def _put(self, raw: bytes, before: Document) -> Document:
        return _pointed(before, {"digest": self._sink.put(raw), "size": len(raw)})

    def _carry(self, descriptor: Document) -> None:
        """A blob as it lies; one that is not there is left to those who can fetch it."""
        digest = documents.digest(descriptor.get("digest"), self._store.name)
        blob = self._store.blob(digest)
        if blob is not None:
            self._sink.copy(blob, digest)

    def _image(self, node: Node, image: Image) -> list[Document]:
        made = self._made.get(id(image), Made(image.config_raw, {}))
        kept = image.layers[:-1] if made.fewer else image.layers
        layers = [self._layer(image, index, layer, made) for index, layer in enumerate(kept)]
        if made.top is not None:
            layers.append(_descriptor(made.top, image))
        self._sink.put(made.config)
        self._listed[id(image)] = {
            "Config": _place(documents.digest_of(made.config)),
            "RepoTags": self._names(image) or None,
            "Layers": [_place(each["digest"]) for each in layers],
        }
        raw = made.manifest or self._manifest(image, made, layers)
        self.written.digests[id(image)] = documents.digest_of(raw)
        if image.manifest_raw is not None:
            return [self._put(raw, node.descriptor)]
        return list(self._named(self._put(raw, {"mediaType": documents.OCI_MANIFEST}), image))

    def _manifest(self, image: Image, made: Made, layers: list[Document]) -> bytes:
        config = documents.descriptor(image.config_type, made.config)
        if image.manifest is None or image.manifest_raw is None:
            return documents.compact(
                {"schemaVersion": 2, "mediaType": documents.OCI_MANIFEST, "config": config, "layers": layers}
            )
        if id(image) not in self._made:
            return image.manifest_raw
        config = _pointed(image.manifest["config"], config)
        return documents.written({**image.manifest, "config": config, "layers": layers}, image.manifest_raw)

    def _layer(self, image: Image, index: int, layer: Layer, made: Made) -> Document:
        new = made.layers.get(index)
        if new is not None and layer.descriptor is not None:
            return _moved(layer.descriptor, layer.diff_id, new)
        if new is not None:
            return _descriptor(new, image)
        if layer.blob is None:
            return layer.descriptor or {}
        if layer.descriptor is not None:
            self._sink.copy(layer.blob, layer.descriptor["digest"])
            return layer.descriptor
        digest, size = self._sink.copy(layer.blob, None)
        kind = Plain(layer.blob.read()).kind
        return {"mediaType": documents.layer_type(kind), "digest": digest, "size": size}

    def _names(self, image: Image) -> list[str]:
        return [familiar(each) for each in (image.tags if self._tag is None else [self._tag]) if ":" in each]

    def _named(self, descriptor: Document, image: Image) -> Iterator[Document]:
        """One descriptor for each name, as docker writes them."""
        system, _, rest = image.platform.partition("/")
        architecture, _, variant = rest.partition("/")
        platform = {"architecture": architecture, "os": system} | ({"variant": variant} if variant else {})
        for each in self._names(image) or [""]:
            annotations = {NAME: full(each), REF: each.rpartition(":")[2]} if each else None
            yield {**descriptor, **({"annotations": annotations} if annotations else {}), "platform": platform}

    def _listed_images(self, root: Node) -> list[Document]:
        """For `docker load`, which takes one platform of each: the one that most machines have."""
        listed: list[Document] = []
        for each in root.children:
            found = [image for _, image in images(each)]
            found.sort(key=lambda image: image.platform != "linux/amd64")
            for image in found[:1]:
                entry = dict(self._listed[id(image)])
                annotations = documents.optional(each.descriptor, "annotations", dict, self._store.name)
                if not entry["RepoTags"] and NAME in annotations:
                    entry["RepoTags"] = [familiar(str(annotations[NAME]))]
                if entry not in listed:
                    listed.append(entry)
        return listed


def _under(tag: str, manifests: list[Document]) -> list[Document]:
    """Each thing that an index names once, with this name instead of those that it has."""
    found: list[Document] = []
    for each in manifests:
        annotations = {**(each.get("annotations") or {}), NAME: full(tag), REF: tag.rpartition(":")[2]}
        if (new := {**each, "annotations": annotations}) not in found:
            found.append(new)
    return found


def _descriptor(new: Rewritten, image: Image) -> Document:
    kind = documents.layer_type(new.kind)
    if image.manifest is not None and image.config_type == documents.DOCKER_CONFIG:
        kind = documents.DOCKER_LAYER + {"tar": "", "gzip": ".gzip", "zstd": ".zstd"}[new.kind]
    return {"mediaType": kind, "digest": new.digest, "size": new.size}


def _moved(descriptor: Document, diff_id: str, new: Rewritten) -> Document:
    """A layer's descriptor with its new digest, wherever an annotation has the old one, too."""
    changed = _pointed(copy.deepcopy(descriptor), {"digest": new.digest, "size": new.size})
    names = {diff_id: new.diff_id, descriptor["digest"]: new.digest}
    annotations = changed.get("annotations")
    if isinstance(annotations, dict):
        changed["annotations"] = {key: names.get(str(value), value) for key, value in annotations.items()}
    return changed


def _pointed(before: Document, new: Document) -> Document:
    """A descriptor that points elsewhere: a copy of the content that it may hold is no longer right."""
    return {key: value for key, value in before.items() if key != "data"} | new


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def full(name: str) -> str:
    """``docker.io/library/app:1`` for ``app:1``: a name as registries know it."""
    first, slash, _ = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return _DOCKER_HUB + name if slash else f"{_DOCKER_HUB}library/{name}"


def familiar(name: str) -> str:
    """``app:1`` for ``docker.io/library/app:1``: a name as docker shows it."""
    return name.removeprefix(_DOCKER_HUB).removeprefix("library/") if name.startswith(_DOCKER_HUB) else name
