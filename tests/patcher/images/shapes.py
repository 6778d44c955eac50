"""Images as they are about, by what they are made from: the measured program, and programs of npm and Debian."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nanonap.trials.corpus.obtain import Obtainer
from nanonap.trials.corpus.processes import Processes
from tests.patcher.images.conftest import CAPABILITY
from tests.patcher.images.made import Layout, Tar, docker_archive, gzipped, zstd

TYPED = b"let a: number = 1\n"


@dataclass(frozen=True)
class Asked:
    """What a container of an image is asked, and what it answers: None for the measured program, which sleeps."""

    words: tuple[str, ...] = ()
    entrypoint: str | None = None
    given: bytes | None = None
    answer: bytes | None = None


@dataclass(frozen=True)
class Shape:
    """An image in a file, under the name ``localhost/shape:NAME``."""

    name: str
    source: Path
    programs: tuple[str, ...] = ("/app",)
    options: dict[str, Any] = field(default_factory=dict)
    asked: tuple[Asked, ...] = (Asked(),)
    same: bool = True  # a revert gives all its bytes back


class Others:
    """Other people's programs, as they are fetched for the corpus."""

    def __init__(self) -> None:
        if missing := [each for each in ("npm", "apt-get") if shutil.which(each) is None]:
            pytest.skip(f"needs {' and '.join(missing)}")
        self._obtainer = Obtainer(Processes())

    def program(self, source: str, path: str) -> bytes:
        return (self._obtainer.get(source).folder / path).read_bytes()


def shapes(service: bytes, patched: bytes, folder: Path) -> Iterator[Shape]:
    """All that can be patched, but for the one of a gigabyte (test_large.py)."""
    others = Others()
    esbuild = others.program("npm:@esbuild/linux-x64@0.24.2", "package/bin/esbuild")
    lefthook = others.program("npm:lefthook-linux-x64@2.2.2", "package/bin/lefthook")
    busybox = others.program("debian:busybox-static", "bin/busybox")
    bundles = Asked(("--loader=ts",), given=TYPED, answer=b"let a = 1;\n")

    def saved(name: str, layers: Sequence[bytes], *words: str) -> Path:
        tags = [f"localhost/shape:{name}"]
        return docker_archive(folder / f"{name}.tar", layers, tags=tags, Entrypoint=list(words))

    app = Tar().add("app", service).bytes()
    base = Tar().folder("usr").folder("usr/bin").symlink("bin", "usr/bin").folder("etc").add("etc/passwd", b"").bytes()
    yield Shape("scratch", saved("scratch", [app], "/app"))
    distroless = saved("distroless", [base, Tar().add("usr/bin/esbuild", esbuild).bytes()], "/bin/esbuild")
    yield Shape("distroless", distroless, ("/usr/bin/esbuild",), asked=(bundles,))
    script = b'#!/bin/sh\nexec /app "$@"\n'
    shell = Tar().add("bin/busybox", busybox).symlink("bin/sh", "busybox").folder("etc").add("start.sh", script)
    yield Shape("busybox", saved("busybox", [shell.bytes(), app], "/start.sh"), options={"path": ["/app"]})
    two = Tar().add("usr/bin/esbuild", esbuild).add("usr/bin/lefthook", lefthook).bytes()
    yield Shape(
        "several",
        saved("several", [base, two, app], "/app"),
        ("/app", "/usr/bin/esbuild", "/usr/bin/lefthook"),
        {"all": True},
        (
            Asked(),
            Asked(bundles.words, "/bin/esbuild", TYPED, bundles.answer),
            Asked(("version",), "/bin/lefthook", answer=b"2.2.2\n"),
        ),
    )
    xattr = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}
    capable = Tar().add("app", service, pax_headers=xattr).bytes()
    yield Shape("capability", saved("capability", [base, capable], "/app"))
    yield Shape("hidden", saved("hidden", [base, Tar().add("app", b"old").bytes(), app], "/app"))
    half = Tar().add("app", patched).add("tool", service).bytes()
    asked = (Asked(), Asked(entrypoint="/tool"))
    yield Shape("half", saved("half", [half], "/app"), ("/tool",), {"all": True}, asked)
    yield Shape("index", _index(folder, base, app))
    layout = Layout(folder / "zstd")
    alone = Tar().add("app", service).add("alone").bytes()  # engines keep layers that others brought
    layout.done({**layout.image([base, alone], zstd, Entrypoint=["/app"]), **_named("zstd")})
    yield Shape("zstd", layout.archive(folder / "zstd.tar"), same=False)


def not_go(folder: Path) -> Path:
    """One that cannot be patched."""
    layer = Tar().add("app", Path("/bin/true").read_bytes()).bytes()
    return docker_archive(folder / "not-go.tar", [layer], Entrypoint=["/app"])


def _index(folder: Path, base: bytes, app: bytes) -> Path:
    layout = Layout(folder / "index")
    amd = layout.image([base, app], gzipped, Entrypoint=["/app"])
    arm = layout.image([base], architecture="arm64")
    index = json.dumps({"schemaVersion": 2, "manifests": [amd, arm]}).encode()
    layout.done({**layout.blob(index, "application/vnd.oci.image.index.v1+json"), **_named("index")})
    return layout.archive(folder / "index.tar")


def _named(name: str) -> dict[str, Any]:
    return {"annotations": {"io.containerd.image.name": f"localhost/shape:{name}"}}
