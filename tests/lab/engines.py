"""Container engines for tests: started by them, on a socket and in a folder of their own, and gone after them."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.lab.ground.watchdog import guard
from nanonap.trials.corpus.daemon import remove_cgroups
from tests.patience import PATIENCE_S, wait_until

# For tests that are killed: a daemon that is asked to end ends its containers.
_END = 'kill "$1" && while kill -0 "$1"; do sleep 0.1; done; umount --lazy "$2/data"'
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
lock_type = "file"
tmp_dir = "{root}/tmp"
"""
_STORAGE_CONF = """
[storage]
driver = "vfs"
graphroot = "{root}/storage"
runroot = "{root}/run"
"""


_REGISTRY_YML = """
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}/storage}}}}
http: {{addr: "127.0.0.1:0"}}
"""
_LISTENING = re.compile(rb"listening on (127\.0\.0\.1:\d+)")


def needs(command: str, package: str) -> None:
    """Skip where a command is missing, or where this user is not root."""
    if shutil.which(command) is None:
        pytest.skip(f"needs {command}: apt-get install --no-install-recommends {package}")
    if os.geteuid() != 0:
        pytest.skip(f"needs root, to start {command} in a folder of its own")


@contextlib.contextmanager
def dockerd() -> Iterator[dict[str, str]]:
    """A daemon of our own; gives the environment that leads to it."""
    needs("dockerd", "docker.io")
    needs("runc", "runc")
    with _folder() as root:
        parent = f"nanonap-engine-{os.getpid()}"
        (root / "daemon.json").write_text("{}")
        socket, log = f"unix://{root}/d.sock", root / "log"
        options = [f"--config-file={root}/daemon.json", f"--data-root={root}/data", f"--exec-root={root}/exec"]
        options += [f"--pidfile={root}/pid", f"--host={socket}", f"--cgroup-parent=/{parent}"]
        options += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
        with log.open("wb") as stream:
            daemon = subprocess.Popen(["dockerd", *options], stdout=stream, stderr=stream, start_new_session=True)
        end = ["sh", "-c", _END, "sh", str(daemon.pid), str(root)]
        guard.watch_command(end)
        try:
            environment = {"DOCKER_HOST": socket}
            _await(daemon, environment, log)
            yield environment
        finally:
            daemon.terminate()
            daemon.wait(PATIENCE_S)
            guard.forget_command(end)
            remove_cgroups(parent)


@contextlib.contextmanager
def podman() -> Iterator[dict[str, str]]:
    """Folders and settings of our own: podman has no daemon."""
    needs("podman", "podman")
    needs("runc", "runc")
    with _folder() as root:
        (root / "containers.conf").write_text(_CONTAINERS_CONF.format(root=root))
        (root / "storage.conf").write_text(_STORAGE_CONF.format(root=root))
        try:
            yield {
                "CONTAINERS_CONF": str(root / "containers.conf"),
                "CONTAINERS_STORAGE_CONF": str(root / "storage.conf"),
            }
        finally:
            # After each container its monitor starts a podman that tidies up behind it and still writes in the storage.
            wait_until(lambda: not _users_of(root))
            remove_cgroups("libpod_parent")  # empty ones: another podman's containers keep theirs


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """A registry of our own on the loopback, without TLS; gives ``127.0.0.1:PORT``."""
    needs("docker-registry", "docker-registry")
    needs("skopeo", "skopeo")
    with _folder() as root:
        (root / "registry.yml").write_text(_REGISTRY_YML.format(root=root))
        log = root / "log"
        with log.open("wb") as stream:
            words = ["docker-registry", "serve", str(root / "registry.yml")]
            server = subprocess.Popen(words, stdout=stream, stderr=stream, start_new_session=True)
        guard.watch_session(server.pid)
        try:
            wait_until(lambda: bool(_LISTENING.search(log.read_bytes())) or server.poll() is not None, log.read_text)
            found = _LISTENING.search(log.read_bytes())
            assert found is not None, log.read_text()
            yield found[1].decode()
        finally:
            server.terminate()
            server.wait(PATIENCE_S)
            guard.forget_session(server.pid)


@contextlib.contextmanager
def reached(command: str) -> Iterator[str]:
    """An engine of our own, "docker" or "podman", that this process's environment leads to; gives its command."""
    start = dockerd if command == "docker" else podman
    with start() as environment, pytest.MonkeyPatch.context() as patch:
        patch.delenv("DOCKER_CONTEXT", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield command


def containers(command: str) -> list[str]:
    """The names of all containers of the engine that this environment leads to."""
    listed = subprocess.run(
        [command, "ps", "--all", "--format={{.Names}}"], check=True, capture_output=True, text=True, timeout=PATIENCE_S
    )
    return listed.stdout.split()


def _await(daemon: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    asked = ["docker", "version", "--format={{json .Server}}"]
    while time.monotonic() < deadline and daemon.poll() is None:
        done = subprocess.run(asked, env=os.environ | environment, capture_output=True, text=True, check=False)
        if done.returncode == 0 and json.loads(done.stdout) is not None:
            return
        time.sleep(0.1)
    pytest.fail(f"dockerd did not start: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # A socket's path may have 107 bytes: a test's own folder can be too deep.
    root = Path(tempfile.mkdtemp(prefix="nanonap-engine-"))
    guard.watch_path(root)
    try:
        yield root
    finally:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        for point in reversed([line.split()[4] for line in mounts.splitlines() if f" {root}/" in line]):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(root)
        guard.forget_path(root)


def _users_of(root: Path) -> list[int]:
    """The processes that name the folder in their command or in their environment."""
    users = []
    for process in Path("/proc").glob("[1-9]*"):
        with contextlib.suppress(OSError):  # ended while it was looked at
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if os.fsencode(root) in told and int(process.name) != os.getpid():
                users.append(int(process.name))
    return users
