"""What a container sees of its layers, and which program is meant: whiteouts, links, working folders, search paths."""

import os
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nanonap.base.errors import NanonapError, UsageError
from patcher.errors import InputNotFound, NotARegularFile, NotGo
from patcher.images.choosing import Layers, Program, chosen
from patcher.images.errors import BadImage, ImageTooLarge
from patcher.images.reading import Image, images, read
from patcher.images.store import opened
from patcher.images.streams import Budget
from patcher.images.tree import Folder
from tests.patcher.images.made import Layout, Tar, as_it_is

#: What is taken for a Go program until it is read: an ELF header and, somewhere, Go's build information.
GO = b"\x7fELF\x02\x01" + bytes(5000) + b"\xff Go buildinf:" + bytes(100)
C = b"\x7fELF\x02\x01" + bytes(5000)


class Opened:
    """An image of these layers, and its files."""

    def __init__(self, folder: Path, layers: Sequence[Tar], **config: Any) -> None:
        layout = Layout(folder / "image")
        place = layout.done(layout.image([each.bytes() for each in layers], as_it_is, **config))
        with opened(place, "IMAGE", Budget()) as store:
            [(_, image)] = images(read(store))
            self.image: Image = image
            self.files: Folder = Layers().files(image)

    def chosen(self, *paths: str, every: bool = False) -> list[str]:
        return [each.path for each in self.programs(*paths, every=every)]

    def programs(self, *paths: str, every: bool = False) -> list[Program]:
        return chosen(self.files, self.image, paths, every=every)


def test_the_topmost_file_that_is_seen_counts(tmp_path: Path) -> None:
    lower = Tar().add("app", GO).add("other", GO)
    upper = Tar().add("app", GO + b"!")
    seen = Opened(tmp_path, [lower, upper])
    [app] = seen.programs("/app")
    assert app.file.size == len(GO) + 1
    assert seen.chosen(every=True) == ["/app", "/other"]


def test_what_a_whiteout_takes_away_is_gone_and_what_comes_back_is_there(tmp_path: Path) -> None:
    lower = Tar().add("d/app", GO).add("d/e/app", GO).add("opaque/app", GO).add("kept", GO).add("d2/x", GO)
    whiteouts = Tar().add(".wh.d").add("opaque/new", GO).add("opaque/.wh..wh..opq").add("d2/.wh.none")
    seen = Opened(tmp_path, [lower, whiteouts, Tar().add("d/e/app", GO)])
    assert seen.chosen(every=True) == ["/d/e/app", "/d2/x", "/kept", "/opaque/new"]
    for gone in ("/d/app", "/opaque/app"):
        with pytest.raises(InputNotFound, match=f"{gone} in IMAGE: no such file"):
            seen.chosen(gone)


def test_a_whiteout_hides_nothing_of_its_own_layer(tmp_path: Path) -> None:
    layer = Tar().add("d/app", GO).add("d/.wh.app").add("d/.wh..wh..opq")
    assert Opened(tmp_path, [Tar().add("d/old", GO), layer]).chosen(every=True) == ["/d/app"]


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    lower = Tar().add("a/app", GO).add("b", GO)
    seen = Opened(tmp_path, [lower, Tar().add("a", GO).add("b/app", GO)])
    assert seen.chosen(every=True) == ["/a", "/b/app"]


def test_links_lead_through_the_image_alone(tmp_path: Path) -> None:
    tar = Tar().symlink("bin", "usr/bin").add("usr/bin/app", GO).symlink("usr/bin/up", "../../../../usr/bin/app")
    tar.symlink("a", "/usr/bin/up").symlink("etc", "/").symlink("here", ".").symlink("host", "/proc/self/exe")
    tar.symlink("x", "y").symlink("y", "x").symlink("dir", "usr")
    seen = Opened(tmp_path, [tar])
    for path in ("/bin/app", "/a", "/etc/bin/../bin/up", "/here/here/a", "a", "/../a"):
        assert seen.chosen(path) == ["/usr/bin/app"]
    assert seen.chosen("/a", "/bin/app", "/usr/bin/up") == ["/usr/bin/app"]
    for path in ("/host", "/nosuch", "/bin/app/x", "/bin/app/.."):
        with pytest.raises(InputNotFound, match="no such file"):
            seen.chosen(path)
    with pytest.raises(InputNotFound, match="links that lead to each other"):
        seen.chosen("/x")
    for path in ("/dir", "/", "/usr/.."):
        with pytest.raises(NotARegularFile, match="not a regular file"):
            seen.chosen(path)


def test_links_that_grow_end_with_an_error(tmp_path: Path) -> None:
    tar = Tar()
    for number in range(30):
        tar.symlink(f"l{number}", "/".join([f"l{number + 1}"] * 100))
    with pytest.raises(InputNotFound, match="links"):
        Opened(tmp_path, [tar]).chosen("/l0")


def test_hard_links_are_one_program_also_from_another_layer(tmp_path: Path) -> None:
    lower = Tar().add("z/app", GO).hard("b", "z/app").hard("./a", "./b")
    seen = Opened(tmp_path, [lower, Tar().hard("c", "/z/app")])
    assert seen.chosen(every=True) == ["/a"]
    assert len({id(each.file) for each in [*seen.programs("/b"), *seen.programs("/c"), *seen.programs("/z/app")]}) == 1
    assert seen.chosen("/b", "/c") == ["/b"]


def test_what_has_a_name_and_no_content_is_no_program(tmp_path: Path) -> None:
    tar = Tar().add("device", kind=tarfile.CHRTYPE).add("pipe", kind=tarfile.FIFOTYPE)
    for path in ("/device", "/pipe"):
        with pytest.raises(NotARegularFile, match="not a regular file"):
            Opened(
                tmp_path / path[1:], [tar if path == "/device" else Tar().add("pipe", kind=tarfile.FIFOTYPE)]
            ).chosen(path)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"Entrypoint": ["/opt/app"]}, "/opt/app"),
        ({"Entrypoint": ["tool"], "Cmd": ["x"]}, "/usr/bin/tool"),
        ({"Entrypoint": ["/entry.sh"], "Cmd": ["tool"]}, "/usr/bin/tool"),
        ({"Cmd": ["./app"], "WorkingDir": "/opt"}, "/opt/app"),
        ({"Cmd": ["opt/app"], "WorkingDir": "/"}, "/opt/app"),
        ({"Cmd": ["opt/app"], "WorkingDir": None}, "/opt/app"),
        ({"Cmd": ["app"], "Env": ["A=b", "PATH=/nosuch:/opt"]}, "/opt/app"),
        ({"Cmd": ["tool"], "Env": None}, "/usr/bin/tool"),
    ],
)
def test_without_a_path_the_program_that_is_started_is_meant(
    tmp_path: Path, config: dict[str, Any], found: str
) -> None:
    tar = Tar().add("opt/app", GO).add("usr/bin/tool", GO).add("entry.sh", b"#!/bin/sh\n")
    assert Opened(tmp_path, [tar], **config).chosen() == [found]


@pytest.mark.parametrize("config", [{"Cmd": ["/bin/sh", "-c", "app"]}, {}, {"Cmd": ["nosuch"]}, {"Cmd": ["/c"]}])
def test_where_no_go_program_is_started_all_are_listed(tmp_path: Path, config: dict[str, Any]) -> None:
    seen = Opened(tmp_path, [Tar().add("opt/app", GO).add("bin/sh", C).add("c", C).add("b", GO)], **config)
    with pytest.raises(UsageError, match=r"its Go programs are /b, /opt/app: name one, or take all") as told:
        seen.chosen()
    assert told.value.parameters == ("path", "all")


def test_an_image_without_go_programs_says_so(tmp_path: Path) -> None:
    seen = Opened(tmp_path, [Tar().add("c", C)], Cmd=["/c"])
    with pytest.raises(NotGo, match=r"what it starts \(/c\) is no Go program, and there is no other"):
        seen.chosen()
    with pytest.raises(NotGo, match="no Go program in it"):
        seen.chosen(every=True)


def test_a_name_with_odd_bytes_is_found_by_them(tmp_path: Path) -> None:
    name = os.fsdecode(b"o\xffd\nd")
    assert Opened(tmp_path, [Tar().add(name, GO)]).chosen(f"/{name}") == [f"/{name}"]


@pytest.mark.parametrize(
    ("tar", "error", "told"),
    [
        (lambda: Tar().add("../../etc/cron.d/x", b"x"), BadImage, "leads out of the image"),
        (lambda: Tar().add("a/../../x", b"x"), BadImage, "leads out of the image"),
        (lambda: Tar().add("a", b"").hard("b", "../a"), BadImage, "leads out of the image"),
        (lambda: Tar().add("d/" * 300 + "x", b""), BadImage, "folders deep"),
        (lambda: Tar().add("n" * 5000, b""), BadImage, "name of more than"),
        (lambda: Tar().add("x", b"", pax_headers={"comment": "c" * (2 << 20)}), ImageTooLarge, "extended tar header"),
        (lambda: Tar().add("x", b"", pax_headers={"size": "-1"}), BadImage, "number in an extended tar header"),
        (lambda: Tar().add("x", b"", pax_headers={"size": "9" * 19}), BadImage, "number in an extended tar header"),
        (lambda: Tar().add("x", b"", pax_headers={"size": "9" * 17}), ImageTooLarge, "an entry of"),
    ],
)
def test_entries_that_no_engine_would_take_are_refused(
    tmp_path: Path, tar: Any, error: type[NanonapError], told: str
) -> None:
    with pytest.raises(error, match=re.escape(told)):
        Opened(tmp_path, [tar()])


def test_more_entries_than_an_image_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patcher.images.tree.MOST_ENTRIES", 9)
    with pytest.raises(ImageTooLarge, match="more than 9 entries"):
        Opened(
            tmp_path,
            [Tar().add("a").add("b").add("c").add("d").add("e"), Tar().add("f").add("g").add("h").add("i").add("j")],
        )
