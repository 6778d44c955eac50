"""Fixtures of the images' tests: one image with all that a layer may hold, patched once."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import patcher
from tests.patcher.images.made import Layout, Tar, gzipped

#: security.capability of a program that may bind low ports (cap_net_bind_service+ep), as setcap(8) writes it.
CAPABILITY = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0"


@pytest.fixture(scope="session")
def service(sleepbench: Path) -> bytes:
    return sleepbench.read_bytes()


def base_layer() -> bytes:
    tar = Tar(tarfile.GNU_FORMAT).folder("usr/").folder("usr/bin/", mode=0o700).symlink("bin", "usr/bin")
    tar.add("etc/conf", b"x = 1\n", uid=33, gid=34, mode=0o640).add("usr/bin/old", b"#!/bin/sh\n")
    return tar.add("usr/" + "long/" * 30 + "name", b"GNU long name").symlink("deep", "d/" * 80 + "x").bytes()


def top_layer(service: bytes) -> bytes:
    """In every format and with all kinds of entries, the program among them and under two names."""
    odd = b"odd \xff\n\x01 name".decode("utf-8", "surrogateescape")
    pax = {"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1"), "comment": "kept"}
    tar = Tar(tarfile.PAX_FORMAT).add(odd, b"odd").add("p" * 300, b"PAX long name", uid=3_000_000)
    tar.add("usr/bin/app", service, uname="user", pax_headers=pax).hard("usr/bin/again", "usr/bin/app")
    tar.add("dev/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3).add("run/pipe", kind=tarfile.FIFOTYPE)
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "holes"}
    sparse["GNU.sparse.realsize"] = str(1 << 20)
    tar.add("GNUSparseFile.0/holes", b"1\n1048570\n6\n".ljust(512, b"\0") + b"end\n\0\0", pax_headers=sparse)
    return tar.add(".wh.gone").add("usr/bin/.wh.old").bytes() + b"\0" * 4096


@dataclass(frozen=True)
class Case:
    """An image, and what patching it gave."""

    source: Path
    layers: tuple[bytes, bytes]
    out: Path
    done: patcher.PatchedImages


@pytest.fixture(scope="session")
def rich(service: bytes, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("rich")
    layers = (base_layer(), top_layer(service))
    layout = Layout(folder / "image")
    source = layout.done(layout.image(layers, gzipped, Entrypoint=["app"], Labels={"kept": "<yes>"}))
    out = folder / "patched"
    return Case(source, layers, out, patcher.patch_image(source, out, slack_ns=1))


@pytest.fixture(scope="session")
def patched(service: bytes) -> bytes:
    """The program as the library patches it by itself."""
    return patcher.patch_bytes(service, slack_ns=1).content
