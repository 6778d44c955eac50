"""Recipes of docs/containers.md that need the command's own image: a Dockerfile's stage, and an init container."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from nanonap.base.paths import PROJECT
from tests.cli.installed import Installed
from tests.cli.rootfs import make_rootfs, settings
from tests.lab import engines
from tests.patcher.images.made import Tar, docker_archive

PAGE = (PROJECT / "docs/containers.md").read_text(encoding="utf-8")
STOCK, OWN = "localhost/your-service:1", "localhost/nanonap"
PLAN = ("-plan", "100us*200")


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    """The one that can do all of the page: docker before 28 mounts no image."""
    with engines.reached("podman") as command:
        yield command


@pytest.fixture(scope="module")
def images(engine: str, core: Installed, sleepbench: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The service's image, and the command's, of this machine's Python."""
    tmp_path = tmp_path_factory.mktemp("images")
    root = tmp_path / "root"
    make_rootfs(core, root)
    changes = [f"--change={line}" for line in settings()]
    tar = subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "-c", "."], check=True, capture_output=True)
    ask(engine, "import", *changes, "-", OWN, given=tar.stdout)
    layer = Tar().folder("app").add("app/service", sleepbench.read_bytes()).bytes()
    ask(engine, "load", "-i", docker_archive(tmp_path / "s.tar", [layer], tags=[STOCK], Entrypoint=["/app/service"]))


def ask(*words: str | Path, given: bytes | None = None) -> bytes:
    done = subprocess.run([str(each) for each in words], input=given, capture_output=True, check=False, env=os.environ)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def slept(engine: str, *words: str) -> float:
    line, _, body = ask(engine, "run", "--rm", "--network=none", *words, *PLAN).partition(b"\n")
    header = json.loads(line)
    return float(median(np.frombuffer(body, "<i8").reshape(len(header["columns"]), header["n"])[1]))


def test_a_stage_of_a_dockerfile(engine: str, images: None, tmp_path: Path) -> None:
    block = PAGE.partition("### A stage of a Dockerfile\n```\n")[2].partition("```")[0]
    text = block.replace("your-service:1", STOCK).replace("FROM nanonap ", f"FROM {OWN} ")
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(text)
    ask(engine, "build", "--network=none", "--tag=localhost/made", context)
    assert slept(engine, "localhost/made") < slept(engine, STOCK) / 2


def test_an_init_container_patches_into_a_volume(engine: str, images: None) -> None:
    """As the page's commands for podman."""
    block = PAGE.partition("The same with podman:\n```\n")[2].partition("```")[0]
    text = block.replace("your-service:1", STOCK).replace(" nanonap \\", f" {OWN} \\")
    create, init, _ = text.replace("\\\n", "").splitlines()
    for line in (create, init.replace("podman run", "podman run --network=none")):
        ask("sh", "-c", line)
    assert (
        slept(engine, "--volume=patched:/patched:ro", "--entrypoint=/patched/service", STOCK) < slept(engine, STOCK) / 2
    )
