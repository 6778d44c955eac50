"""Images in real engines: saved, patched, loaded, run under the default seccomp profile, and given back."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

import patcher
from nanonap.base.paths import PROJECT
from tests.lab import engines
from tests.patcher.images.conftest import CAPABILITY
from tests.patcher.images.made import Layout, Tar, docker_archive, gzipped

STOCK = "localhost/nanonap-images:stock"
PLAN = ("-plan", "100us*200")


@pytest.fixture(scope="module", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    with engines.reached(request.param) as command:
        yield command


def ask(*words: str | Path, given: bytes | None = None) -> bytes:
    done = subprocess.run([str(each) for each in words], input=given, capture_output=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def slept(engine: str, name: str, *words: str) -> float:
    """The median of its sleeps of 100 µs, in ns, in a container with the engine's own profile."""
    line, _, body = ask(engine, "run", "--rm", "--network", "none", name, *words, *PLAN).partition(b"\n")
    header = json.loads(line)
    requested, actual = np.frombuffer(body, "<i8").reshape(len(header["columns"]), header["n"])[:2]
    assert set(requested) == {100_000}
    assert (actual >= requested).all()
    return float(median(actual))


def about(engine: str, name: str) -> Any:
    return json.loads(ask(engine, "image", "inspect", name))[0]


@pytest.fixture
def stock(engine: str, service: bytes, tmp_path: Path) -> Iterator[str]:
    """An image with the measured program, in the engine; it and all others are gone in the end."""
    base = Tar().folder("etc").add("etc/conf", b"x").bytes()
    archive = docker_archive(
        tmp_path / "stock.tar", [base, Tar().add("app", service).bytes()], tags=[STOCK], Entrypoint=["/app"]
    )
    ask(engine, "load", "-i", archive)
    yield STOCK
    ask(engine, "rmi", "--force", *set(ask(engine, "images", "--quiet", "--no-trunc").decode().split()))


def test_a_patched_image_sleeps_short_and_differs_in_what_is_documented_alone(engine: str, stock: str) -> None:
    name, again = "localhost/nanonap-images:patched", "localhost/nanonap-images:back"
    done = patcher.patch_image(f"{engine}:{stock}", f"{engine}:{name}", slack_ns=1)
    assert slept(engine, name) < slept(engine, stock) / 2
    before, after = about(engine, stock), about(engine, name)
    labels = after["Config"].pop("Labels")
    assert list(labels) == ["nanonap.patch"]
    before["Config"].pop("Labels", None)
    assert after["Config"] == before["Config"]
    for key in ("Architecture", "Os", "Created"):
        assert after[key] == before[key]
    assert after["RootFS"]["Layers"][0] == before["RootFS"]["Layers"][0]
    assert after["Id"].removeprefix("sha256:") == done.images[0].after.config.removeprefix("sha256:")
    shown = [ask(engine, "history", "--format", "{{.CreatedBy}} {{.Size}}", each) for each in (stock, name)]
    assert shown[0] == shown[1]
    ask(engine, "run", "--name", "nanonap-images", "--network", "none", name, "-plan", "1ms*1")
    try:
        touched = ask(engine, "diff", "nanonap-images").decode().split()
        assert [each for each in touched if "app" in each] == []
        if engine == "docker":
            assert touched == []
    finally:
        ask(engine, "rm", "--force", "nanonap-images")
    [checked] = patcher.verify_image(f"{engine}:{name}")
    assert [str(each.path) for each in checked.programs] == ["/app"]
    back = patcher.revert_image(f"{engine}:{name}", f"{engine}:{again}")
    assert back.images[0].same
    assert about(engine, again)["Id"] == about(engine, stock)["Id"]


def test_a_layer_on_top_runs_and_is_in_the_history(engine: str, stock: str) -> None:
    name = "localhost/nanonap-images:top"
    patcher.patch_image(f"{engine}:{stock}", f"{engine}:{name}", slack_ns=1, append_layer=True)
    assert slept(engine, name) < slept(engine, stock) / 2
    history = ask(engine, "history", "--format", "{{.CreatedBy}}", name).decode()
    assert history.startswith("nanonap ")


def test_a_pipe_from_save_to_load(engine: str, stock: str) -> None:
    invoke = shutil.which("invoke", path=str(Path(sys.executable).parent))
    script = f"{engine} save {stock} | {invoke} patch --image - --out - --slack-ns 1 | {engine} load"
    told = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script], cwd=PROJECT, env=os.environ, capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert b"patched       /app" in told.stderr
    assert about(engine, stock)["Config"]["Labels"].keys() == {"nanonap.patch"}


def test_what_an_engine_refuses_is_told_in_its_words(engine: str, tmp_path: Path) -> None:
    with pytest.raises(patcher.EngineFailed, match="nanonap-no-such-image"):
        patcher.patch_image(f"{engine}:nanonap-no-such-image:1", tmp_path / "out.tar")
    assert list(tmp_path.iterdir()) == []


def shell() -> Tar:
    """Debian's shell and the libraries that it needs."""
    needed = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    tar = Tar().add("bin/sh", Path("/bin/sh").read_bytes())
    for each in sorted(set(re.findall(r"(/\S+) \(0x", needed))):
        tar.add(each.lstrip("/"), Path(each).read_bytes())
    return tar


def shapes(service: bytes, patched: bytes, folder: Path) -> dict[str, Path]:
    """Images as they are about: by what they are made from."""
    system = Tar().folder("usr").folder("usr/bin").symlink("bin", "usr/bin").folder("etc").add("etc/passwd", b"")
    base = system.bytes()
    app, tool = Tar().add("app", service).bytes(), Tar().add("tool", service).bytes()
    under = Tar().add("usr/bin/app", service).bytes()
    capable = Tar().add("app", service, pax_headers={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")})
    found: dict[str, Path] = {}

    def saved(name: str, layers: Sequence[bytes], **config: Any) -> None:
        found[name] = docker_archive(folder / f"{name}.tar", layers, tags=[f"localhost/shape:{name}"], **config)

    saved("scratch", [app], Entrypoint=["/app"])
    saved("distroless", [base, under], Entrypoint=["/bin/app"])
    saved("capability", [base, capable.bytes()], Entrypoint=["/app"])
    saved("hidden", [base, Tar().add("app", b"old").bytes(), app], Entrypoint=["/app"])
    saved("several", [app, tool], Entrypoint=["/tool"])
    saved("patched", [Tar().add("app", patched).bytes()], Entrypoint=["/app"])
    saved("not-go", [Tar().add("app", Path("/bin/true").read_bytes()).bytes()], Entrypoint=["/app"])
    script = b'#!/bin/sh\nexec /app "$@"\n'
    saved("shell", [shell().add("entry.sh", script).bytes(), app], Entrypoint=["/entry.sh"])
    layout = Layout(folder / "layout")
    amd = layout.image([base, under], gzipped, Entrypoint=["app"])
    arm = layout.image([base], architecture="arm64")
    index = {"schemaVersion": 2, "manifests": [amd, arm]}
    named = layout.blob(json.dumps(index).encode(), "application/vnd.oci.image.index.v1+json")
    annotations = {"io.containerd.image.name": "localhost/shape:index"}
    layout.done({**named, "annotations": annotations})
    found["index"] = layout.archive(folder / "index.tar")
    return found


REFUSED: dict[str, type[Exception]] = {"patched": patcher.AlreadyPatched, "not-go": patcher.NotGo}
PATHS = {"shell": ["/app"]}


def test_images_of_many_shapes_are_patched_run_verified_and_given_back(
    engine: str, service: bytes, patched: bytes, tmp_path: Path
) -> None:
    found = shapes(service, patched, tmp_path)
    ask(engine, "load", "-i", found["scratch"])
    stock_ns = slept(engine, "localhost/shape:scratch")
    for name, source in found.items():
        out, back = tmp_path / f"{name}.out.tar", tmp_path / f"{name}.back.tar"
        options: Any = {"path": PATHS.get(name, []), "all": name == "several", "slack_ns": 1}
        if name in REFUSED:
            with pytest.raises(REFUSED[name]):
                patcher.patch_image(source, out, **options)
            assert not out.exists()
            continue
        done = patcher.patch_image(source, out, **options)
        assert len(done.images[0].programs) == 1 + (name == "several")
        assert [len(each.programs) for each in patcher.verify_image(out)] == [len(done.images[0].programs)]
        ask(engine, "load", "-i", out)
        shown = f"localhost/shape:{name}"
        assert slept(engine, shown) < stock_ns / 2
        assert slept(engine, shown) < 500_000
        assert patcher.revert_image(out, back).images[0].same
        if name != "index":
            ask(engine, "load", "-i", back)
            assert about(engine, shown)["Id"].removeprefix("sha256:") == done.images[0].before.config.partition(":")[2]
    with tarfile.open(tmp_path / "index.back.tar") as tar:
        assert "manifest.json" in tar.getnames()
