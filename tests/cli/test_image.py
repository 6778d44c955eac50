"""The container image of the command patches a file in a mounted folder, as no root and with no network."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from tests.cli.installed import Installed
from tests.cli.rootfs import make_rootfs, settings
from tests.lab import engines
from tests.patience import PATIENCE_S

USER = 65532  # the Dockerfile's


@pytest.fixture(scope="module")
def engine() -> Iterator[dict[str, str]]:
    """The environment that leads to a Docker daemon of the tests' own."""
    with engines.dockerd() as environment:
        yield {**{name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"}, **environment}


@pytest.fixture(scope="module")
def image(engine: dict[str, str], core: Installed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the Dockerfile makes, but of this machine's Python: no base image is fetched."""
    root = tmp_path_factory.mktemp("image") / "root"
    make_rootfs(core, root)
    changes = [word for line in settings() for word in ("--change", line)]
    with subprocess.Popen(["tar", "-C", root, "--owner=0", "--group=0", "-c", "."], stdout=subprocess.PIPE) as tar:
        docker(engine, "import", *changes, "-", "nanonap", stdin=tar.stdout)
    assert tar.returncode == 0
    return "nanonap"


def docker(engine: dict[str, str], *words: str, stdin: IO[bytes] | None = None) -> str:
    done = subprocess.run(
        ["docker", *words], env=engine, stdin=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_in_a_mounted_folder_is_patched_and_reverted(
    engine: dict[str, str], image: str, sleepbench: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    program = Path(shutil.copy2(sleepbench, folder / "their-service"))
    patched = folder / "their-service.netpoll"
    os.chown(folder, USER, USER)
    start = ["run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", f"--volume={folder}:/work", image]
    assert docker(engine, *start, "--version").startswith("nanonap ")
    assert "nanonap revert their-service.netpoll" in docker(engine, *start, "patch", "--binary", program.name)
    assert patched.stat().st_uid == USER
    assert json.loads(Path(f"{patched}.patch.json").read_text())["strategy"] == "netpoll"
    ran = subprocess.run([patched, "-plan", "100us*3"], capture_output=True, check=True)
    assert json.loads(ran.stdout.splitlines()[0])["n"] == 3
    docker(engine, *start, "verify", patched.name)
    docker(engine, *start, "revert", patched.name)
    assert patched.read_bytes() == program.read_bytes()


def test_the_lab_is_not_in_it(engine: dict[str, str], image: str) -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", image, "quota"], env=engine, capture_output=True, text=True,
        check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (20, "")
    assert "pip install 'nanonap[lab]'" in done.stderr
