"""Engines and registries that are not there, or are asked by their commands."""

import os
from pathlib import Path

import pytest

import patcher
from tests.patcher.conftest import Invoke
from tests.patcher.images.made import Tar, docker_archive
from tests.patcher.images.test_files import GO
from tests.patcher.test_bad_input import assert_refused


@pytest.mark.parametrize("kind", ["docker", "podman", "registry"])
def test_a_command_that_is_not_there_is_told_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(patcher.EngineFailed, match=r"there is no (docker|podman|skopeo) command here; install it"):
        patcher.patch_image(f"{kind}:example.com/app:1", tmp_path / "out.tar")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_refuses_the_new_image_leaves_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says no to `load`, as one without room does; the image that it would get could not be patched anyway."""
    saved = docker_archive(tmp_path / "saved.tar", [Tar().add("app", GO).bytes()], Cmd=["/app"])
    command(tmp_path / "bin" / "docker", f'[ "$1" = save ] && cp {saved} "$3"')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(patcher.NanonapError, match=r"/app in docker:app:1: built for another processor"):
        patcher.patch_image("docker:app:1", "docker:app:2")
    command(tmp_path / "bin" / "docker", "echo one; echo the daemon is out of order >&2; exit 5")
    with pytest.raises(patcher.EngineFailed, match="docker:app:1: docker save failed: the daemon is out of order"):
        patcher.patch_image("docker:app:1", "docker:app:2")


def command(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("inspect",), "name a file, or a container image by --image"),
        (("patch", "--image", "x", "--binary", "y"), "exclude each other"),
        (("patch", "--binary", "x", "--all"), "go with --image"),
        (("patch", "--image", "x"), "--out is missing"),
        (("patch", "--image", "x", "--out", "-", "--json"), "both would go to standard output"),
    ],
)
def test_options_that_do_not_fit_are_refused(invoke: Invoke, words: tuple[str, ...], told: str) -> None:
    assert_refused(invoke(*words), 2, told)
