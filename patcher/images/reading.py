"""An image's documents, from its index down to the layers, every digest checked: what there is to patch, and how."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from nanonap.base.errors import UsageError
from patcher.images import documents
from patcher.images.documents import CONFIGS, Document, digest, objects, optional, part, strings
from patcher.images.errors import BadImage, ImageTooLarge
from patcher.images.store import Blob, Store

_MOST_MANIFESTS, _MOST_LAYERS, _DEEPEST = 1000, 1000, 4
_REFERENCE = "vnd.docker.reference.digest"  # of an attestation (BuildKit, docs/attestations/attestation-storage.md)
NAME, REF = "io.containerd.image.name", "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Layer:
    """One layer. ``blob`` is None where the image only tells where it can be had (a foreign layer).

    ``descriptor`` is its manifest's, None where there is no manifest.
    """

    blob: Blob | None
    descriptor: Document | None
    diff_id: str


@dataclass(frozen=True)
class Digests:
    """What an image is known by: its manifest, if there is one, and its configuration (the image's ID of docker)."""

    manifest: str | None
    config: str


@dataclass(frozen=True)
class Image:
    """One image for one platform: its documents as they lie and parsed, and its layers from the lowest up."""

    name: str
    config_raw: bytes
    config: Document
    config_type: str
    layers: tuple[Layer, ...]
    manifest_raw: bytes | None
    manifest: Document | None
    tags: tuple[str, ...]

    @property
    def platform(self) -> str:
        """``linux/amd64``, and a variant behind it if there is one."""
        names = [self.config.get(each) for each in ("os", "architecture", "variant")]
        return "/".join(each for each in names if isinstance(each, str) and each) or "unknown"

    @property
    def digest(self) -> str:
        """The manifest's, or where there is none the configuration's, which docker calls the image's ID."""
        return self.digests.manifest or self.digests.config

    @property
    def digests(self) -> Digests:
        """Both of its digests."""
        manifest = None if self.manifest_raw is None else documents.digest_of(self.manifest_raw)
        return Digests(manifest, documents.digest_of(self.config_raw))


@dataclass(frozen=True)
class Node:
    """A document that an index names, and what it leads to.

    ``blobs`` are what else belongs to a manifest that is no image's; ``raw`` is None where the document is not there.
    """

    descriptor: Document
    raw: bytes | None
    document: Document
    children: tuple["Node", ...] = ()
    image: Image | None = None
    blobs: tuple[Document, ...] = ()

    @property
    def refers_to(self) -> str | None:
        """The digest of the image that this is about: an attestation, a signature, a list of contents."""
        annotations = self.descriptor.get("annotations")
        annotations = annotations if isinstance(annotations, dict) else {}
        subject = self.document.get("subject")
        tag = str(annotations.get(REF, ""))
        found = annotations.get(_REFERENCE) or (subject.get("digest") if isinstance(subject, dict) else None)
        if found is None and tag.startswith("sha256-") and "." in tag:  # cosign's way
            found = tag.partition(".")[0].replace("-", ":", 1)
        return found if isinstance(found, str) else None


@dataclass
class _Counted:
    manifests: int = 0
    seen: dict[str, Node] = field(default_factory=dict)


def read(store: Store) -> Node:
    """The index of an image, with all that it leads to. Raises BadImage or ImageTooLarge."""
    layout, index, listed = map(store.file, ("oci-layout", "index.json", "manifest.json"))
    if layout is not None and index is not None:
        documents.parsed(layout.content(), layout.name)
        raw = index.content()
        return _index(store, {}, raw, documents.parsed(raw, index.name), _Counted(), 0)
    if listed is not None:
        return _docker(store, listed)
    if store.file("repositories") is not None:
        raise BadImage(f"{store.name}: an archive in docker's old format (before 1.10); save it with a newer engine")
    raise BadImage(f"{store.name}: no container image: neither an OCI layout (index.json) nor an archive of docker's")


def images(node: Node) -> Iterator[tuple[Node, Image]]:
    """Every image of an index, in order, once each."""
    seen = set[int]()

    def below(here: Node) -> Iterator[tuple[Node, Image]]:
        if here.image is not None and id(here.image) not in seen:
            seen.add(id(here.image))
            yield here, here.image
        for each in here.children:
            yield from below(each)

    yield from below(node)


def check_one(node: Node, out: str) -> None:
    """Raises UsageError where several images would get the one name that an engine or a registry is to give."""
    found = {each.image.digest if each.image else str(each.descriptor.get("digest")): each for each in node.children}
    meant = [each for each in found.values() if each.refers_to is None]
    if len(meant) > 1:
        names = [name for each in meant for _, image in images(each) for name in image.tags[:1]]
        raise UsageError(
            f"{out}: one name for {len(meant)} images ({', '.join(names[:5]) or 'without names'}): name one of them by "
            "its tag, or send them to a folder or an archive",
            parameters=("image", "out"),
        )


def _index(store: Store, descriptor: Document, raw: bytes, document: Document, counted: _Counted, depth: int) -> Node:
    if depth > _DEEPEST:
        raise ImageTooLarge(f"{store.name}: indexes within each other, more than {_DEEPEST} deep")
    children = []
    for each in objects(document, "manifests", f"an index in {store.name}"):
        counted.manifests += 1
        if counted.manifests > _MOST_MANIFESTS:
            raise ImageTooLarge(f"{store.name}: more than {_MOST_MANIFESTS} manifests")
        children.append(_node(store, each, counted, depth + 1))
    return Node(descriptor, raw, document, tuple(children))


def _node(store: Store, descriptor: Document, counted: _Counted, depth: int) -> Node:
    own = digest(descriptor.get("digest"), f"an index in {store.name}")
    if own in counted.seen:
        before = counted.seen[own]
        return Node(descriptor, before.raw, before.document, before.children, before.image, before.blobs)
    blob = store.blob(own)
    if blob is None:  # an image for another platform that was not fetched
        return Node(descriptor, None, {})
    raw = _checked(blob, descriptor)
    document = documents.parsed(raw, blob.name)
    if "manifests" in document:
        node = _index(store, descriptor, raw, document, counted, depth)
    elif "config" in document and "layers" in document:
        node = _manifest(store, descriptor, raw, document, blob.name)
    elif document.get("schemaVersion") == 1:
        raise BadImage(f"{blob.name}: a manifest in docker's schema 1; push the image anew with a newer engine")
    else:
        blobs = objects(document, "blobs", blob.name) if "blobs" in document else []
        node = Node(descriptor, raw, document, blobs=tuple(blobs))
    counted.seen[own] = node
    return node


def _manifest(store: Store, descriptor: Document, raw: bytes, document: Document, name: str) -> Node:
    config = part(document, "config", dict, name)
    layers = objects(document, "layers", name)
    node = Node(descriptor, raw, document, blobs=(config, *layers))
    if config.get("mediaType") not in CONFIGS or node.refers_to is not None:
        return node
    blob = store.blob(digest(config.get("digest"), name))
    if blob is None:
        raise BadImage(f"{name}: its configuration is missing")
    config_raw = _checked(blob, config)
    parsed = documents.parsed(config_raw, blob.name)
    if "rootfs" not in parsed:  # what is stored as an image and is none, as attestations are
        return node
    found: list[tuple[Blob | None, Document | None]] = []
    for each in layers:
        own = store.blob(digest(each.get("digest"), name))
        if own is None and not each.get("urls"):
            raise BadImage(f"{name}: its layer {each['digest']} is missing")
        if own is not None and own.size != each.get("size"):
            raise BadImage(f"{own.name}: has {own.size} bytes, not {each.get('size')} as its manifest says")
        found.append((own, each))
    annotations = optional(descriptor, "annotations", dict, name)
    tags = tuple(str(annotations[key]) for key in (NAME, REF) if key in annotations)[:1]
    image = Image(
        f"{store.name}",
        config_raw,
        parsed,
        config["mediaType"],
        _layers(parsed, found, blob.name),
        raw,
        document,
        tags,
    )
    return Node(descriptor, raw, document, image=image, blobs=(config, *layers))


def _docker(store: Store, listed: Blob) -> Node:
    """What `docker save` writes (moby, image/tarexport): manifest.json names configurations, layers and tags."""
    items = documents.parsed_any(listed.content(), listed.name)
    if not isinstance(items, list) or not items or not all(isinstance(each, dict) for each in items):
        raise BadImage(f"{listed.name}: no list of images")
    if len(items) > _MOST_MANIFESTS:
        raise ImageTooLarge(f"{store.name}: more than {_MOST_MANIFESTS} images")
    children = []
    for each in items:
        blob = store.needed(part(each, "Config", str, listed.name))
        raw = blob.content()
        told = blob.name.partition(" in ")[0].removesuffix(".json").rpartition("/")[2]
        if len(told) == 64 and documents.digest_of(raw) != f"sha256:{told}":
            raise BadImage(f"{blob.name}: its digest is not its name's")
        config = documents.parsed(raw, blob.name)
        blobs: list[tuple[Blob | None, Document | None]] = [
            (store.needed(name), None) for name in strings(each, "Layers", listed.name)
        ]
        layers = _layers(config, blobs, blob.name)
        tags = tuple(strings(each, "RepoTags", listed.name))
        image = Image(store.name, raw, config, documents.OCI_CONFIG, layers, None, None, tags)
        children.append(Node({}, None, {}, image=image))
    return Node({}, None, {"schemaVersion": 2, "mediaType": documents.OCI_INDEX, "manifests": []}, tuple(children))


def _layers(config: Document, found: list[tuple[Blob | None, Document | None]], name: str) -> tuple[Layer, ...]:
    ids = strings(part(config, "rootfs", dict, name), "diff_ids", name)
    if len(ids) != len(found):
        raise BadImage(f"{name}: tells of {len(ids)} layers, its manifest of {len(found)}")
    if len(ids) > _MOST_LAYERS:
        raise ImageTooLarge(f"{name}: more than {_MOST_LAYERS} layers")
    return tuple(Layer(blob, each, digest(own, name)) for (blob, each), own in zip(found, ids, strict=True))


def _checked(blob: Blob, descriptor: Document) -> bytes:
    """A document that is what its descriptor says. Raises BadImage."""
    raw = blob.content()
    if documents.digest_of(raw) != descriptor.get("digest") or len(raw) != descriptor.get("size"):
        raise BadImage(
            f"{blob.name}: not the {descriptor.get('digest')} of {descriptor.get('size')} bytes that it is named as"
        )
    return raw
