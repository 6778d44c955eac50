"""How long a container image takes to patch, against the least there is: to expand its layer and to compress it again.

The layer has the measured program and, up to its size, files of the Go toolchains, and is compressed by gzip(1), which
is no zlib: as with layers that Go wrote, its bytes cannot be made again. The limit is twice the time of `gzip -d` and
`gzip -1` of that layer. All are processes of their own, in turns.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from nanonap import INSTALLED
from nanonap.base.paths import PROJECT, TOOLCHAINS, TRIED
from nanonap.base.terminal import COMMAND, answers
from nanonap.toolchain.build import build
from nanonap.toolchain.progress import progress_bar
from nanonap.toolchain.releases import NEWEST
from nanonap.trials.errors import TooSlow
from nanonap.trials.speed import Run, run
from patcher.images import documents

SIZE = 300 << 20  # bytes that the layer expands to
MOST = 2.0  # × the time of `gzip -d` and `gzip -1`
_ROUNDS = 3


def run_image_speed(size: int = SIZE, rounds: int = _ROUNDS) -> dict[str, Any]:
    """The document for --json: seconds and CPU seconds of each, medians over the rounds, and the ratio."""
    with tempfile.TemporaryDirectory(prefix="nanonap-") as name, progress_bar() as bar:
        folder = Path(name)
        made = _layer(folder / "layer.tar", size)
        packed = folder / "layer.tar.gz"
        with packed.open("wb") as stream:
            subprocess.run(["gzip", "-n", "-c", made], stdout=stream, check=True)
        image, out = _layout(folder / "image", made, packed), folder / "out.tar"
        front = [str(Path(sys.executable).with_name(COMMAND)), *([] if INSTALLED else ["--search-root", str(PROJECT)])]
        commands = {
            "gzip -d": ["gzip", "-d", "-c", str(packed)],
            "gzip -1": ["gzip", "-1", "-c", str(made)],
            "patch": [*front, "patch", "--image", str(image), "--out", f"oci-archive:{out}", "--json"],
        }
        found: dict[str, list[Run]] = {each: [] for each in commands}
        task = bar.add_task("measuring", total=rounds * len(commands))
        for _ in range(rounds):
            for each, words in commands.items():
                bar.update(task, description=each)
                out.unlink(missing_ok=True)
                found[each].append(run(words, image))
                bar.advance(task)
    seconds = {each: median(one.wall_ns for one in runs) / 1e9 for each, runs in found.items()}
    return {
        "size": size,
        "rounds": rounds,
        "seconds": seconds,
        "cpu_seconds": {each: median(one.cpu_ns for one in runs) / 1e9 for each, runs in found.items()},
        "peak_bytes": max(one.peak for one in found["patch"]),
        "ratio": seconds["patch"] / (seconds["gzip -d"] + seconds["gzip -1"]),
    }


def _layer(path: Path, size: int) -> Path:
    program = build(NEWEST, "default", out=TRIED)[0].path
    with tarfile.open(path, "w") as tar:
        tar.add(program, "app")
        for each in sorted(TOOLCHAINS.rglob("*")):
            if path.stat().st_size >= size:
                break
            if each.is_file() and not each.is_symlink():
                tar.add(each, str(each.relative_to(TOOLCHAINS)))
    return path


def _layout(folder: Path, layer: Path, packed: Path) -> Path:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, kind: str) -> dict[str, Any]:
        (blobs / documents.digest_of(data).partition(":")[2]).write_bytes(data)
        return documents.descriptor(kind, data)

    ids = [documents.digest_of(layer.read_bytes())]
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"]}, "rootfs": {"diff_ids": ids}}
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), documents.OCI_CONFIG),
        "layers": [put(packed.read_bytes(), documents.layer_type("gzip"))],
    }
    listed = put(json.dumps(manifest).encode(), documents.OCI_MANIFEST)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


def show_image_speed(document: dict[str, Any]) -> None:
    """One line."""
    seconds = document["seconds"]
    answers().print(
        f"patch --image of a layer of {document['size'] >> 20} MiB: {seconds['patch']:.1f} s; gzip -d "
        f"{seconds['gzip -d']:.1f} s and gzip -1 {seconds['gzip -1']:.1f} s of it: {document['ratio']:.2f} ×, limit "
        f"{MOST:g} ×; {document['peak_bytes'] >> 20} MiB of memory (largest process)",
        highlight=False,
    )


def judge_image_speed(document: dict[str, Any]) -> None:
    """Raises TooSlow where the limit is not held."""
    if document["ratio"] > MOST:
        raise TooSlow(
            f"patch --image of a layer of {document['size'] >> 20} MiB: {document['ratio']:.2f} × the time of gzip -d "
            "and gzip -1; on a busy machine measure again, else see where it goes with cProfile"
        )
