"""What an outsider may hand in: cut archives, one name for several images, layers twice, full disks, Ctrl-C."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import patcher
from nanonap.base.errors import DiskFull, NanonapError, UsageError
from nanonap.base.interrupts import SAID
from nanonap.base.paths import PROJECT
from patcher.errors import InputNotFound
from patcher.images import registry
from patcher.images.choosing import Layers
from patcher.images.errors import BadImage
from patcher.images.patching import patch_image
from patcher.images.reading import images, read
from patcher.images.store import opened
from patcher.images.streams import Budget
from tests.patcher.conftest import Invoke
from tests.patcher.images.made import Layout, Tar, as_it_is, docker_archive, gzipped, look
from tests.patcher.images.test_files import GO, C
from tests.patcher.images.test_places import command
from tests.patcher.test_bad_input import assert_refused
from tests.patcher.test_bad_output import in_a_tmpfs
from tests.patience import PATIENCE_S, wait_until
from tests.warm import INVOKE


@pytest.mark.parametrize("size", [512, 5000, -11_000])
def test_an_archive_that_was_cut_off_says_so(tmp_path: Path, size: int) -> None:
    saved = docker_archive(tmp_path / "saved.tar", [Tar().add("app", GO).bytes()], Cmd=["/app"])
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(BadImage, match=r"ends early|no container image"):
        patch_image(saved, tmp_path / "out.tar")
    assert [each.name for each in tmp_path.iterdir()] == ["saved.tar"]


STDIN: dict[str, tuple[str, type[NanonapError], str]] = {
    "nothing": ("touch it", BadImage, "empty: see what the command said that was to write it"),
    "a folder": ("mkdir it", InputNotFound, "cannot be read"),
    "half of an archive": ("head -c 5000 saved.tar > it", BadImage, "ends early, after 5000 bytes"),
    "half of a compressed one": ("gzip < saved.tar | head -c 200 > it", BadImage, "gzip data that ends early"),
}


@pytest.mark.parametrize("sent", STDIN)
def test_a_stream_that_is_no_archive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    make, error, told = STDIN[sent]
    docker_archive(tmp_path / "saved.tar", [Tar().add("app", GO).bytes()], Cmd=["/app"])
    subprocess.run(["sh", "-c", make], cwd=tmp_path, check=True)
    monkeypatch.setattr("os.dup", lambda _: os.open(tmp_path / "it", os.O_RDONLY))
    monkeypatch.setattr("os.isatty", lambda _: False)
    with pytest.raises(error, match=told):
        patch_image("-", tmp_path / "out.tar")
    assert not (tmp_path / "out.tar").exists()


def test_a_terminal_is_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda _: True)
    with pytest.raises(UsageError, match="standard input is a terminal"):
        patch_image("-", tmp_path / "out.tar")


@pytest.mark.parametrize("kind", ["docker", "podman", "registry"])
def test_one_name_for_several_images_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    layout = Layout(tmp_path / "image")
    tags = [{"annotations": {"org.opencontainers.image.ref.name": f"app:{each}"}} for each in (1, 2)]
    made = [layout.image([Tar().add(name, GO).bytes()], as_it_is, Cmd=["/x"]) for name in ("x", "y")]
    source = layout.done(*({**each, **tag} for each, tag in zip(made, tags, strict=True)))
    with pytest.raises(UsageError, match=r"one name for 2 images \(app:1, app:2\)"):
        patch_image(source, f"{kind}:example.com/app:1")
    with pytest.raises(UsageError, match="has another digest, which is known when it is made: name a tag"):
        patch_image(source, f"{kind}:example.com/app@sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("localhost:5000/app:1", True),
        ("localhost/app", True),
        ("127.0.0.1:5000/a/b", True),
        ("127.1.2.3/app", True),
        ("127.0.0.1", False),  # an image of that name in docker's own registry
        ("localhost:5000", False),
        ("127.0.0.1.example.com/app", False),
        ("localhost.example.com/app", False),
        ("example.com/127.0.0.1/app", False),
        ("10.0.0.1:5000/app", False),
    ],
)
def test_only_of_a_registry_on_this_machine_no_certificate_is_asked(tmp_path: Path, name: str, own: bool) -> None:
    sent, fetched = registry.sending(name, tmp_path, tmp_path), registry.fetching(name, tmp_path)
    assert [any("tls" in each for each in words) for words in (sent, fetched)] == [own, own]
    assert (fetched[-2], sent[-1]) == (f"docker://{name}", f"docker://{name}")


def test_what_skopeo_says_is_told_without_its_logs_trimmings() -> None:
    refused = "http: server gave HTTP response to HTTPS client"
    said = rf'time="2026-11-30T22:49:00Z" level=fatal msg="Get \"https://h/\": {refused}"'
    told = f'Get "https://h/": {refused}; name a registry without TLS in registries.conf'
    assert registry.plain_words(said).startswith(told)
    assert registry.plain_words("an older one's words") == "an older one's words"


def test_of_a_layer_that_an_image_has_twice_the_upper_one_is_seen(tmp_path: Path) -> None:
    layout, layer = Layout(tmp_path / "image"), Tar().add("app", GO).bytes()
    place = layout.done(layout.image([layer, layer, Tar().add("other", C).bytes()], as_it_is))
    with opened(place, "IMAGE", Budget()) as store:
        [(_, image)] = images(read(store))
        layers = Layers()
        app = layers.files(image).inside[b"app"]
        assert layers.holding(image, app)[0] == 1  # type: ignore[arg-type]


@pytest.mark.long
def test_an_odd_image_is_patched_where_a_container_sees_the_program(
    service: bytes, patched: bytes, tmp_path: Path
) -> None:
    """Layers without entries, one twice, a path twice in it, and two images under one tag."""
    twice = Tar().add("app", b"old").add("../app".removeprefix("../"), service).add("z/../app2", b"").bytes()
    layout = Layout(tmp_path / "image")
    layers = [twice, bytes(1024), b"", twice, Tar().bytes()]
    odd = layout.image(layers, gzipped, Cmd=["/app"])
    other = layout.image([Tar().add("c", C).bytes()], Cmd=["/c"])
    tag = {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    source = layout.done({**odd, **tag}, {**other, **tag})
    done = patcher.patch_image(source, tmp_path / "out", slack_ns=1)
    assert [each.index for each in done.images[0].layers] == [3]
    seen = look(tmp_path / "out")
    assert seen.layers(0) == [*layers[:3], twice.replace(service, patched), layers[4]]
    assert seen.index["manifests"][1] == {**other, **tag}
    checked, left = patcher.verify_image(tmp_path / "out")
    assert [str(each.path) for each in checked.programs] == ["/app"]
    assert (left.programs, str(left.reason).partition(": ")[2][:13]) == ((), "what it start")
    back = patcher.revert_image(tmp_path / "out", tmp_path / "back")
    assert back.images[0].same
    assert look(tmp_path / "back").index == look(source).index


@pytest.mark.long
@pytest.mark.parametrize("out", ["out.tar", "oci:out"])
def test_a_disk_without_room_is_told_and_nothing_is_left(
    service: bytes, invoke: Invoke, tmp_path: Path, out: str
) -> None:
    noise = Tar().add("app", service).add("noise", os.urandom(4 << 20)).bytes()
    saved = docker_archive(tmp_path / "saved.tar", [noise], Cmd=["/app"])
    kind, colon, name = out.rpartition(":")
    for options, status, told in (("size=1m", DiskFull.exit_code, "no room"), ("ro", 22, "writ")):
        full = tmp_path / "full"
        words = ["patch", "--image", saved, "--out", f"{kind}{colon}{full / name}"]
        answer = invoke(*words, wrapper=in_a_tmpfs(options, full))
        assert answer.out == ""  # what lies there in the end
        assert_refused(answer, status, told)


@pytest.mark.long
def test_temporary_files_without_room_name_the_way_out(
    service: bytes, invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = docker_archive(tmp_path / "saved.tar", [Tar().add("app", service).bytes()], Cmd=["/app"])
    full = tmp_path / "full"
    monkeypatch.setenv("TMPDIR", str(full))
    for out in ("docker:app:1", tmp_path / "out.tar"):
        answer = invoke("patch", "--image", saved, "--out", out, wrapper=in_a_tmpfs("size=1m", full))
        assert answer.out == ""
        assert_refused(answer, DiskFull.exit_code, "have TMPDIR name another folder")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["full", "saved.tar"]


@pytest.mark.long
def test_ctrl_c_while_docker_loads_ends_it_and_leaves_nothing(
    service: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = docker_archive(tmp_path / "saved.tar", [Tar().add("app", service).bytes()], Cmd=["/app"])
    meanwhile = tmp_path / "meanwhile"
    meanwhile.mkdir()
    body = f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 900"
    command(tmp_path / "bin" / "docker", body)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(meanwhile))
    words = [INVOKE, "patch", "--image", str(saved), "--out", "docker:app:2"]
    with subprocess.Popen(words, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until((tmp_path / "pid").exists)
        assert list(meanwhile.iterdir())
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, said) == (130, "", f"{SAID}\n")
    assert list(meanwhile.iterdir()) == []
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    assert shutil.which("docker") == f"{tmp_path}/bin/docker"
