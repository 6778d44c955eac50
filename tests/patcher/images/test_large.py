"""An image of 1 GiB passes through in little memory, and comes back byte for byte."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from patcher.images.documents import digest_of
from tests.patcher.images.made import Layout, config_of, go_json
from tests.warm import INVOKE

_GIB = 1 << 30
# A process begins with the peak of the one that it was forked from: so a small one forks it.
_MEASURE = """import os, subprocess, sys
with subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL) as process:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss * 1024)
sys.exit(process.returncode)
"""


def plain(service: bytes) -> Iterator[bytes]:
    """A layer's tar with the program and 1 GiB of data in it."""
    for name, size in (("app", len(service)), ("data", _GIB)):
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o755
        yield entry.tobuf()
        if name == "app":
            yield service + bytes(-size % 512)
        else:
            for _ in range(size >> 20):
                yield bytes(1 << 20)
    yield bytes(1024)


@pytest.mark.campaign
def test_an_image_of_a_gigabyte(service: bytes, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "image")
    own, packed, deflate = hashlib.sha256(), io.BytesIO(), zlib.compressobj(6, zlib.DEFLATED, 31)
    for piece in plain(service):
        own.update(piece)
        packed.write(deflate.compress(piece))
    packed.write(deflate.flush())
    config = config_of([], Cmd=["/app"])
    config["rootfs"]["diff_ids"] = [f"sha256:{own.hexdigest()}"]
    manifest = {
        "schemaVersion": 2,
        "config": layout.blob(go_json(config), "application/vnd.oci.image.config.v1+json"),
        "layers": [layout.blob(packed.getvalue(), "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    source = layout.done(layout.blob(go_json(manifest), "application/vnd.oci.image.manifest.v1+json"))
    out, back = tmp_path / "out", tmp_path / "back"
    for words in (
        ("patch", "--image", source, "--out", out, "--json"),
        ("verify", "--image", out, "--json"),
        ("revert", "--image", out, "--out", back, "--json"),
    ):
        command = [sys.executable, "-c", _MEASURE, INVOKE, *map(str, words)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) <= (300 << 20) + 3 * len(service)
    [manifest] = json.loads((out / "index.json").read_bytes())["manifests"]
    [layer] = json.loads((out / "blobs" / manifest["digest"].replace(":", "/")).read_bytes())["layers"]
    packed = (out / "blobs" / layer["digest"].replace(":", "/")).read_bytes()
    entry = zlib.decompressobj(31).decompress(packed, 512 + len(service))
    program = tmp_path / "program"
    program.write_bytes(entry[512:])
    program.chmod(0o755)
    ran = subprocess.run([program, "-plan", "100us*20"], capture_output=True, check=True)
    assert json.loads(ran.stdout.splitlines()[0])["n"] == 20
    blobs = sorted(each.name for each in (back / "blobs/sha256").iterdir())
    assert blobs == sorted(each.name for each in (source / "blobs/sha256").iterdir())
    assert json.loads((back / "index.json").read_bytes()) == json.loads((source / "index.json").read_bytes())
    assert digest_of((back / "blobs/sha256" / blobs[0]).read_bytes()) == f"sha256:{blobs[0]}"
