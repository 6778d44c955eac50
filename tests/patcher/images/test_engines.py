"""Images in real engines: saved, patched, loaded, run under the default seccomp profile, and given back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

import patcher
from nanonap.base.paths import PROJECT
from tests.lab import engines
from tests.patcher.images.made import Tar, docker_archive
from tests.patcher.images.shapes import Shape, not_go, shapes

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


def slept(engine: str, *words: str) -> float:
    """The median of its sleeps of 100 µs, in ns, in a container with the engine's own profile."""
    line, _, body = ask(engine, "run", "--rm", "--network", "none", *words, *PLAN).partition(b"\n")
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


@dataclass(frozen=True)
class Done:
    """A shape's image patched and given back."""

    shape: Shape
    out: Path
    back: Path
    stock_id: str


@pytest.fixture(scope="module")
def done(service: bytes, patched: bytes, tmp_path_factory: pytest.TempPathFactory) -> list[Done]:
    """All shapes patched, verified and reverted."""
    folder, found = tmp_path_factory.mktemp("shapes"), []
    for each in shapes(service, patched, folder):
        out, back = folder / f"{each.name}.out.tar", folder / f"{each.name}.back.tar"
        [image] = patcher.patch_image(each.source, out, slack_ns=1, **each.options).images
        assert tuple(sorted(one.path for one in image.programs)) == each.programs
        assert [len(one.programs) for one in patcher.verify_image(out)] == [len(each.programs)]
        [reverted] = patcher.revert_image(out, back).images
        assert (reverted.same, reverted.same_config) == (each.same, True)
        found.append(Done(each, out, back, image.before.config))
    with pytest.raises(patcher.NotGo):
        patcher.patch_image(not_go(folder), folder / "out.tar")
    return found


@pytest.mark.long
def test_images_of_many_shapes_run_and_are_what_they_were_again(done: list[Done]) -> None:
    for each in ("docker", "podman"):
        with engines.reached(each) as command:
            run_all(command, done)


def run_all(engine: str, done: list[Done]) -> None:
    stock_ns: float | None = None
    for each in done:
        if each.shape.name == "zstd" and not reads_zstd(engine):
            for path in (each.back, each.out):  # the stock one neither
                loaded = subprocess.run([engine, "load", "-i", path], capture_output=True, check=False)
                assert (loaded.returncode, b"ApplyLayer" in loaded.stderr) == (1, True), loaded
            continue
        name = f"localhost/shape:{each.shape.name}"
        if stock_ns is None:
            ask(engine, "load", "-i", each.shape.source)
            stock_ns = slept(engine, name)
        ask(engine, "load", "-i", each.out)
        for one in each.shape.asked:
            options = [] if one.entrypoint is None else ["--entrypoint", one.entrypoint]
            if one.answer is None:
                assert slept(engine, *options, name) < stock_ns / 2
            else:
                start = [engine, "run", "--rm", "--interactive", "--network", "none", *options, name, *one.words]
                assert ask(*start, given=one.given or b"") == one.answer
        if each.shape.name != "index":
            ask(engine, "load", "-i", each.back)
            assert about(engine, name)["Id"].removeprefix("sha256:") == each.stock_id.removeprefix("sha256:")


def reads_zstd(engine: str) -> bool:
    """Docker does from 23.0 on (moby, pull request 41759)."""
    if engine != "docker":
        return True
    version = ask(engine, "version", "--format={{.Server.Version}}").decode()
    return int(version.partition(".")[0]) >= 23
