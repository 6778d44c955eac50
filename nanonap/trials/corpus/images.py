"""Real work on container images."""

import io
import json
import tarfile
import tempfile

from nanonap.trials.corpus.work import Evidence, digest_of
from nanonap.trials.corpus.workplace import Workplace, digest, expect


def skopeo(at: Workplace) -> Evidence:
    """Copy a container image between layouts."""
    image = at.folder / "image"
    blobs = image / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, object]:
        name = digest_of(content)
        (blobs / name).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{name}", "size": len(content)}

    layer = blob(bytes(10240), "layer.v1.tar")  # two blocks of zeros and more: an empty archive
    root = {"type": "layers", "diff_ids": [layer["digest"]]}
    config = blob(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": root}).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "config": config, "layers": [layer]}
    listed = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    listed["annotations"] = {"org.opencontainers.image.ref.name": "made"}
    (image / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}), encoding="ascii")
    (image / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="ascii")
    at.run("copy", "--insecure-policy", "oci:image:made", "dir:folder")
    at.run("copy", "--insecure-policy", "dir:folder", "oci:again:made")
    seen = json.loads(at.run("inspect", "oci:again:made"))
    expect("the image's system", seen["Os"], "linux")
    return {"folder": digest(at.folder / "folder"), "layers": str(len(seen["Layers"]))}


def podman(at: Workplace) -> Evidence:
    """Import a file system as an image, tag it, look at it, save it and remove it."""
    with tarfile.open(at.folder / "files.tar", "w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"text\n"))
    # The path of what it keeps while it runs may have 50 characters.
    with tempfile.TemporaryDirectory(prefix="nanonap-") as run:
        settings = at.folder / "containers.conf"
        settings.write_text(f'[engine]\nlock_type = "file"\ntmp_dir = "{run}"\n', encoding="ascii")
        options = [f"--root={at.folder / 'root'}", f"--runroot={run}", "--storage-driver=vfs", "--events-backend=none"]

        def ask(*words: str) -> bytes:
            return at.run(*options, *words, own={"CONTAINERS_CONF": str(settings), "XDG_RUNTIME_DIR": run})

        ask("import", "files.tar", "made:1")
        ask("tag", "made:1", "again:2")
        (image,) = json.loads(ask("image", "inspect", "made:1"))
        ask("save", "--output=saved.tar", "made:1")
        with tarfile.open(at.folder / "saved.tar") as archive:
            expect("an image is saved", "manifest.json" in archive.getnames(), True)
        ask("rmi", "--force", "made:1", "again:2")
        expect("images that are left", ask("images", "--quiet"), b"")
    return {"layers": " ".join(image["RootFS"]["Layers"]), "system": image["Os"]}
