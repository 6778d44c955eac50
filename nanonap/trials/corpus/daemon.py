"""Real work of dockerd: it runs a container, in folders, a cgroup and on a socket of its own."""

import contextlib
import http.client
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanonap.trials.corpus.work import Evidence
from nanonap.trials.corpus.workplace import WorkFailed, Workplace, expect

_CGROUPS = Path("/sys/fs/cgroup")
_PATIENCE_S = 120


def dockerd(at: Workplace) -> Evidence:
    """Import an image, run a container of it, read what it says, remove both. Needs root, and runc and containerd."""
    if os.geteuid():
        raise WorkFailed("dockerd runs containers for root alone: run this as root")
    busybox = shutil.which("busybox", path=at.environment()["PATH"])
    if busybox is None:
        raise WorkFailed("busybox is not among what was unpacked")
    image = _archive(Path(busybox).read_bytes())
    with _folder() as root:
        group, ask = f"nanonap-{root.name}", _Asking(root / "d.sock")
        (root / "daemon.json").write_text("{}", encoding="ascii")
        options = [f"--config-file={root}/daemon.json", f"--data-root={root}/data", f"--exec-root={root}/exec"]
        options += [f"--pidfile={root}/pid", f"--host=unix://{root}/d.sock", f"--cgroup-parent=/{group}"]
        options += ["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
        try:
            with at.serving(*options, ready=lambda: ask("GET", "/_ping")) as rounds:
                for _ in rounds:
                    said = _run_one(ask, image)
        finally:
            remove_cgroups(group)
    return said


def _run_one(ask: "_Asking", image: bytes) -> Evidence:
    ask("POST", "/images/create?fromSrc=-&repo=made&tag=1", image)
    layers = json.loads(ask("GET", "/images/made:1/json"))["RootFS"]["Layers"]
    command = ["/busybox", "sh", "-c", "echo said; exec /busybox sleep 0.05"]
    wanted = {"Image": "made:1", "Cmd": command, "HostConfig": {"NetworkMode": "none"}}
    place = f"/containers/{json.loads(ask('POST', '/containers/create', wanted))['Id']}"
    ask("POST", f"{place}/start")
    status = json.loads(ask("POST", f"{place}/wait"))["StatusCode"]
    said = ask("GET", f"{place}/logs?stdout=1")[8:].decode()  # behind a header of the stream's
    ask("DELETE", place)
    ask("DELETE", "/images/made:1")
    expect("containers that are left", ask("GET", "/containers/json?all=1"), b"[]\n")
    return {"layers": " ".join(layers), "said": said, "status": str(status)}


class _Asking:
    """The daemon's API (https://docs.docker.com/engine/api/) on a Unix socket."""

    def __init__(self, place: Path) -> None:
        """``place``: the socket."""
        self._place = place

    def __call__(self, method: str, path: str, body: bytes | dict[str, Any] = b"") -> bytes:
        """The answer's body. Raises OSError and WorkFailed."""
        kind = "application/json" if isinstance(body, dict) else "application/x-tar"
        line = http.client.HTTPConnection("localhost", timeout=_PATIENCE_S)
        line.sock = socket.socket(socket.AF_UNIX)
        line.sock.settimeout(_PATIENCE_S)
        with contextlib.closing(line):
            line.sock.connect(str(self._place))
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            line.request(method, path, data, {"Content-Type": kind})
            answer = line.getresponse()
            text = answer.read()
        if answer.status >= 300:
            raise WorkFailed(f"{method} {path}: status {answer.status}: {text.decode('utf-8', 'replace').strip()}")
        return text


def _archive(program: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("busybox")
        entry.size, entry.mode = len(program), 0o755
        archive.addfile(entry, io.BytesIO(program))
    return out.getvalue()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Whose path is short, for a socket's may have 107 bytes; what is still mounted in there goes first."""
    root = Path(tempfile.mkdtemp(prefix="nanonap-"))
    try:
        yield root
    finally:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
        for point in reversed([line.split()[4] for line in mounts.splitlines() if f" {root}/" in line]):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


def remove_cgroups(name: str) -> None:
    """Those of a name, of either version, with the empty ones below; where a process is left they stay."""
    for folder in (*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")):
        for each, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):
                Path(each).rmdir()
