"""A patched image is the image but for the program's bytes and the documented fields; a revert gives it back."""

import gzip
import io
import itertools
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import patcher
from nanonap.base.paths import PROJECT
from patcher.images import label
from patcher.images.documents import digest_of
from patcher.images.packing import tried
from patcher.images.streams import Budget, Plain, Raw
from tests.patcher.images.conftest import Case
from tests.patcher.images.made import Layout, Seen, Tar, docker_archive, go_json, inside, look


def test_outside_the_program_the_layers_stream_is_the_same_byte_for_byte(
    rich: Case, service: bytes, patched: bytes
) -> None:
    assert rich.layers[1].count(service) == 1
    assert look(rich.out).layers() == [rich.layers[0], rich.layers[1].replace(service, patched)]


def test_layers_that_did_not_change_are_carried_over_by_digest(rich: Case) -> None:
    before, after = look(rich.source), look(rich.out)
    [base, top], [same, new] = before.manifest()["layers"], after.manifest()["layers"]
    assert same == base
    assert after.blobs[same["digest"]] == before.blobs[base["digest"]]
    assert new["digest"] != top["digest"]
    assert top["digest"] not in after.blobs


def test_the_documents_differ_in_what_is_documented_alone(rich: Case) -> None:
    before, after = look(rich.source), look(rich.out)
    old, new = before.config(), after.config()
    labels = new["config"].pop("Labels")
    assert labels.pop(label.BASE_DIGEST) == before.index["manifests"][0]["digest"]
    told = json.loads(labels.pop(label.LABEL))
    assert (labels, told["programs"][0]["path"], told["programs"][0]["slack_ns"]) == (
        {"kept": "<yes>"},
        "/usr/bin/app",
        1,
    )
    del old["config"]["Labels"]
    assert new["rootfs"]["diff_ids"][0] == old["rootfs"]["diff_ids"][0]
    assert {**new, "rootfs": old["rootfs"]} == old
    without = {"config": 0, "layers": 0}
    assert {**before.manifest(), **without} == {**after.manifest(), **without}
    [left], [right] = before.index["manifests"], after.index["manifests"]
    assert {**left, "digest": 0, "size": 0} == {**right, "digest": 0, "size": 0}


def test_documents_keep_the_style_in_which_they_were_written(rich: Case) -> None:
    seen = look(rich.out)
    raw = seen.get(seen.manifest()["config"])
    assert raw == go_json(seen.config())
    assert b"\\u003c" in raw


def test_the_answer_names_what_was_done(rich: Case) -> None:
    seen = look(rich.out)
    [image] = rich.done.images
    assert image.after.manifest == seen.index["manifests"][0]["digest"]
    assert image.after.config == seen.manifest()["config"]["digest"]
    [program], [layer] = image.programs, image.layers
    assert program.path == "/usr/bin/app"
    assert program.manifest.proof.passed == program.manifest.proof.cases > 0
    assert (layer.index, layer.after) == (1, seen.manifest()["layers"][1]["digest"])
    assert layer.same_again


def test_a_revert_gives_the_image_back_byte_for_byte(rich: Case, tmp_path: Path) -> None:
    done = patcher.revert_image(rich.out, tmp_path / "back")
    assert [each.same for each in done.images] == [True]
    assert files(tmp_path / "back") == files(rich.source)
    checked = patcher.revert_image(rich.out, None, check=True)
    assert (checked.written, checked.images) == (False, done.images)


def files(folder: Path) -> dict[str, bytes]:
    own = {each for each in folder.rglob("*") if each.is_file() and each.name != "oci-layout"}
    return {str(each.relative_to(folder)): each.read_bytes() for each in own}


def test_the_patched_program_is_verified_and_patched_only_once(rich: Case, tmp_path: Path) -> None:
    [image] = patcher.verify_image(rich.out)
    [program] = image.programs
    assert (str(program.path), program.by) == ("/usr/bin/app", "record")
    with pytest.raises(patcher.AlreadyPatched, match=r"/usr/bin/app in .*already patched \(.*\); revert it first$"):
        patcher.patch_image(rich.out, tmp_path / "again")
    assert list(tmp_path.iterdir()) == []


def test_inspect_lists_every_go_program_once(rich: Case) -> None:
    [before], [after] = patcher.inspect_image(rich.source), patcher.inspect_image(rich.out)
    assert [(each.path, each.layer) for each in before.programs] == [("/usr/bin/again", 1)]
    assert before.programs[0].seen is not None
    assert before.programs[0].seen.patched is None
    assert after.patched == ("/usr/bin/app",)
    assert after.programs[0].seen is not None
    assert after.programs[0].seen.patched is not None


@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=pytest.mark.long)])
def test_an_archive_of_dockers_keeps_its_streams_and_names(
    rich: Case, service: bytes, patched: bytes, tmp_path: Path, packed: bool
) -> None:
    source = docker_archive(tmp_path / "saved.tar", rich.layers, tags=("app:1", "host:5000/app:2"), Cmd=["/bin/again"])
    if packed:
        source.write_bytes(gzip.compress(source.read_bytes(), 1))
    done = patcher.patch_image(source, tmp_path / "out.tar", slack_ns=1)
    seen = look(tmp_path / "out.tar")
    assert seen.layers() == [rich.layers[0], rich.layers[1].replace(service, patched)]
    assert done.images[0].programs[0].path == "/usr/bin/again"
    listed = listed_in(tmp_path / "out.tar")
    assert [each["RepoTags"] for each in listed] == [["app:1", "host:5000/app:2"]]
    assert listed[0]["Config"] == f"blobs/{done.images[0].after.config.replace(':', '/')}"
    back = patcher.revert_image(tmp_path / "out.tar", tmp_path / "back.tar")
    assert back.images[0].same
    assert back.images[0].after.config == done.images[0].before.config
    assert look(tmp_path / "back.tar").layers() == list(rich.layers)


def listed_in(archive: Path) -> list[dict[str, Any]]:
    import tarfile

    with tarfile.open(archive) as tar:
        stream = tar.extractfile("manifest.json")
        assert stream is not None
        found: list[dict[str, Any]] = json.loads(stream.read())
        return found


@pytest.mark.long
def test_the_command_patches_a_pipe_into_a_pipe(rich: Case, service: bytes, tmp_path: Path) -> None:
    docker_archive(tmp_path / "saved.tar", rich.layers, Entrypoint=["/bin/app"])
    words = [str(Path(sys.executable).with_name("invoke")), "patch", "--image", "-", "--out", "-", "--slack-ns", "1"]
    done = subprocess.run(
        ["sh", "-c", 'cat "$0" | "$@" | cat', tmp_path / "saved.tar", *words],
        cwd=PROJECT, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"patched       /usr/bin/app (netpoll, slack 1 ns)" in done.stderr
    (tmp_path / "out.tar").write_bytes(done.stdout)
    assert inside(look(tmp_path / "out.tar").layers()[1], "usr/bin/app") != service


def raw_deflate(level: int, memory: int = 8) -> Callable[[bytes], bytes]:
    def pack(plain: bytes) -> bytes:
        deflate = zlib.compressobj(level, zlib.DEFLATED, 31, memory)
        return deflate.compress(plain) + deflate.flush()

    return pack


@pytest.mark.parametrize(("level", "memory"), [(1, 8), (6, 8), (9, 8), (6, 9)])
@pytest.mark.parametrize("size", [100, 1 << 19])
def test_the_level_of_zlib_is_found_by_trying(tmp_path: Path, level: int, memory: int, size: int) -> None:
    plain = b"".join(b"%d %x\n" % (each * each, each) for each in range(size // 10))
    stream = stream_of(tmp_path / "blob", raw_deflate(level, memory)(plain))
    assert stream.digest() == digest_of(plain)
    recipe = tried(stream.members[0])
    assert recipe is not None
    made = zlib.compressobj(recipe.level, zlib.DEFLATED, -15, recipe.memory)
    assert (tmp_path / "blob").read_bytes()[10:-8] == made.compress(plain) + made.flush()


def test_what_zlib_did_not_write_is_not_taken_for_its_work(tmp_path: Path) -> None:
    plain = os.urandom(100) * 20_000
    packed = subprocess.run(["gzip", "-n"], input=plain, capture_output=True, check=True).stdout
    stored = zlib.compressobj(0, zlib.DEFLATED, 31)
    for each in (packed, stored.compress(plain) + stored.flush()):
        stream = stream_of(tmp_path / "blob", each)
        assert stream.digest() == digest_of(plain)
        assert tried(stream.members[0]) is None


def stream_of(path: Path, data: bytes) -> Plain:
    path.write_bytes(data)
    return Plain(Raw(str(path), os.open(path, os.O_RDONLY), 0, len(data), Budget()))


@pytest.mark.long
def test_a_layer_in_several_gzip_members_keeps_them_and_their_headers(service: bytes, tmp_path: Path) -> None:
    layer = Tar().add("a", b"a" * 100_000).add("app", service).add("z", b"z" * 5000).bytes()
    cuts = [0, 50_000, 200_000, len(layer)]

    def pack(plain: bytes) -> bytes:
        members = io.BytesIO()
        for low, high in itertools.pairwise(cuts):
            with gzip.GzipFile(f"part{low}", "wb", 9, members, mtime=low) as member:
                member.write(plain[low:high])
        return members.getvalue()

    layout = Layout(tmp_path / "image")
    done = patcher.patch_image(layout.done(layout.image([layer], pack, Cmd=["/app"])), tmp_path / "out")
    seen: Seen = look(tmp_path / "out")
    assert len(seen.layers()[0]) == len(layer)
    stream = stream_of(tmp_path / "blob", seen.blobs[done.images[0].layers[0].after])
    stream.digest()
    assert [each.start for each in stream.members] == cuts[:3]
    before = stream_of(tmp_path / "before", pack(layer))
    before.digest()
    assert [each.header for each in stream.members] == [each.header for each in before.members]


def test_a_layer_that_cannot_be_made_again_is_told_and_gives_its_contents_back(service: bytes, tmp_path: Path) -> None:
    layer = Tar().add("app", service).bytes()

    def pack(plain: bytes) -> bytes:
        return subprocess.run(["gzip", "-n", "-1"], input=plain, capture_output=True, check=True).stdout

    layout = Layout(tmp_path / "image")
    done = patcher.patch_image(layout.done(layout.image([layer], pack, Cmd=["/app"])), tmp_path / "out")
    assert not done.images[0].layers[0].same_again
    back = patcher.revert_image(tmp_path / "out", tmp_path / "back").images[0]
    assert (back.same, back.same_config) == (False, True)
    assert [(each.same, each.same_content) for each in back.layers] == [(False, True)]
    assert look(tmp_path / "back").layers() == [layer]
    assert look(tmp_path / "back").config() == look(tmp_path / "image").config()
