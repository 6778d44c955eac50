"""Images that lie: every digest, size and document is checked, bombs end early, nothing is written."""

import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import patcher
from nanonap.base.errors import NanonapError, UsageError
from patcher.errors import InputNotFound, SameFile
from patcher.images import streams
from patcher.images.errors import BadImage, ImageTooLarge
from patcher.images.patching import patch_image
from patcher.images.store import opened
from patcher.images.streams import Budget
from tests.patcher.images.lies import LIES, TAR, layer_of
from tests.patcher.images.made import Layout, Tar, damaged, docker_archive, gzipped
from tests.patcher.images.test_files import GO


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What looks like an image with a Go program."""
    layout = Layout(tmp_path_factory.mktemp("image") / "image")
    return layout.done(layout.image([Tar().add("app", GO).bytes()], Cmd=["/app"]))


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_told_in_one_line_and_nothing_is_written(image: Path, tmp_path: Path, lie: str) -> None:
    change, error, told = LIES[lie]
    source = damaged(image, tmp_path / "image", change)
    out = tmp_path / "out"
    with pytest.raises(error, match=re.escape(told)) as caught:
        patch_image(source, out)
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["image"]
    archive = tmp_path / "image.tar"
    if lie not in ("a pipe for a document", "a link for a document"):
        with tarfile.open(archive, "w") as tar:
            tar.add(source, "")
        with pytest.raises((BadImage, ImageTooLarge)):
            patch_image(archive, out)
        assert not out.exists()


def test_a_bomb_ends_before_it_is_through(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_FREE", 1 << 20)
    bomb = gzipped(bytes(80 << 20))
    source = damaged(image, tmp_path / "image", layer_of(lambda: bomb, b""))
    budget = Budget()
    monkeypatch.setattr("patcher.images.places.Budget", lambda: budget)
    with pytest.raises(ImageTooLarge, match="expands to more than 200 times its size"):
        patch_image(source, tmp_path / "out")
    assert budget.plain < 30 << 20


DOCKER: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], str]] = {
    "no list": (lambda _: {}, "no list of images"),
    "an empty list": (lambda _: [], "no list of images"),
    "no configuration": (lambda each: each[0].pop("Config"), "“Config” is missing"),
    "a configuration elsewhere": (lambda each: each[0].update(Config="/etc/passwd"), "has no /etc/passwd"),
    "a layer elsewhere": (lambda each: each[0].update(Layers=["../../etc/passwd"]), "has no ../../etc/passwd"),
    "a layer that is a folder": (lambda each: each[0].update(Layers=["0" * 64]), "has no 0000"),
    "layers that are numbers": (lambda each: each[0].update(Layers=[1]), "no list of strings"),
}


@pytest.mark.parametrize("lie", DOCKER)
def test_an_archive_of_dockers_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    change, told = DOCKER[lie]
    source = docker_archive(tmp_path / "saved.tar", [TAR], Cmd=["/app"])
    changed = Tar()
    with tarfile.open(source) as tar:
        for entry in tar:
            stream = tar.extractfile(entry)
            content = stream.read() if stream else b""
            if entry.name == "manifest.json":
                document = json.loads(content)
                given = change(document)
                content = json.dumps(given if isinstance(given, list | dict) else document).encode()
            changed.add(entry.name, content, entry.type)
    source.write_bytes(changed.bytes())
    with pytest.raises(BadImage, match=re.escape(told)):
        patch_image(source, tmp_path / "out.tar")
    assert [each.name for each in tmp_path.iterdir()] == ["saved.tar"]


def test_links_in_an_archive_lead_to_its_own_files_alone(tmp_path: Path) -> None:
    """As older engines write them: a layer that two images share is a link in the second."""
    tar = Tar().add("a/layer.tar", b"x").symlink("b/layer.tar", "../a/layer.tar").symlink("c", "/etc/passwd")
    tar.symlink("d", "e").symlink("e", "d").hard("f", "b/layer.tar").symlink("g", "../../../../etc/passwd")
    (tmp_path / "saved.tar").write_bytes(tar.bytes())
    with opened(tmp_path / "saved.tar", "IMAGE", Budget()) as store:
        for name in ("b/layer.tar", "f"):
            found = store.file(name)
            assert found is not None
            assert found.content() == b"x"
        assert [store.file(name) for name in ("c", "d", "g", "/etc/passwd", "../../etc/passwd")] == [None] * 5


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        (("nosuch.tar", "out"), InputNotFound, "no such file"),
        (("docker:", "out"), UsageError, "no name behind docker:"),
        (("docker:-x", "out"), UsageError, "no name behind docker:"),
        (("docker://example.com/app:1", "out"), UsageError, "is registry:example.com/app:1 here"),
        (("", "out"), UsageError, "without a name"),
    ],
)
def test_places_that_are_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str], error: type[NanonapError], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=told):
        patch_image(*words)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_there_is_kept(image: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    saved = docker_archive(tmp_path / "saved.tar", [TAR], Cmd=["/app"])
    for source, out, error in (
        (image, taken, patcher.OutputExists),
        (saved, saved, SameFile),
        (saved, tmp_path / "no" / "out.tar", patcher.OutputNotWritable),
    ):
        with pytest.raises(error):
            patch_image(source, out)
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["file", "saved.tar", "taken"]
