"""Engines and registries that are not there, or are asked by their commands."""

import os
from pathlib import Path

import pytest

import patcher
from tests.patcher.conftest import Invoke
from tests.patcher.images.made import Tar, docker_archive, inside, look
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
    _command(tmp_path / "bin" / "docker", f'[ "$1" = save ] && cp {saved} "$3"')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(patcher.NanonapError, match=r"/app in docker:app:1: built for another processor"):
        patcher.patch_image("docker:app:1", "docker:app:2")
    _command(tmp_path / "bin" / "docker", "echo one; echo the daemon is out of order >&2; exit 5")
    with pytest.raises(patcher.EngineFailed, match="docker:app:1: docker save failed: the daemon is out of order"):
        patcher.patch_image("docker:app:1", "docker:app:2")


def _command(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.long
def test_a_registry_is_read_and_written_by_skopeo(
    service: bytes, patched: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for skopeo that keeps an archive as a registry would."""
    saved = docker_archive(tmp_path / "registry.tar", [Tar().add("app", service).bytes()], Cmd=["/app"])
    log, pushed = tmp_path / "log", tmp_path / "pushed.tar"
    script = f'echo "$@" >> {log}; case "$3" in docker:*) cp {saved} "${{4#*:}}";; *) cp "${{3#*:}}" {pushed};; esac'
    _command(tmp_path / "bin" / "skopeo", script)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    patcher.patch_image("registry:example.com/app:1", "registry:example.com/app:2", slack_ns=1)
    asked = [line.split() for line in log.read_text().splitlines()]
    assert [each[:2] for each in asked] == [["copy", "-a"]] * 2
    assert (asked[0][2], asked[1][3]) == ("docker://example.com/app:1", "docker://example.com/app:2")
    assert inside(look(pushed).layers()[0], "app") == patched


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
