"""The guest's image: made once, by its recipe's hash."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import nanonap.lab.guest.image
import nanonap.lab.guest.kinds
from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.guest.image import check_host, image, recipe_key
from nanonap.lab.guest.kinds import DOCKER, JOBS, KINDS, PLAIN, RECIPE, Kind
from tests.patience import PATIENCE_S, wait_until


def test_what_is_missing_is_named_with_the_command_that_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(QuotaUnavailable) as caught:
        check_host("guest")
    assert caught.value.remedy.startswith("apt-get install --no-install-recommends qemu-system-x86 mmdebstrap")


def test_another_processors_guest_needs_another_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(QuotaUnavailable, match="not installed: qemu-system-arm") as caught:
        check_host("guest-arm64", JOBS)
    assert caught.value.remedy.startswith("apt-get install --no-install-recommends qemu-system-arm mmdebstrap")


def test_a_whole_guest_is_of_this_processor_and_one_of_packages_that_are_only_unpacked_of_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(QuotaUnavailable, match="the guest is linux/amd64, this is riscv64"):
        check_host("guest")
    monkeypatch.setattr(nanonap.lab.guest.image, "_where", lambda command: command)
    check_host("guest-arm64", JOBS)


def test_another_recipe_is_another_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = [recipe_key(kind) for kind in KINDS]
    assert len(set(before)) == len(KINDS)
    recipe = shutil.copytree(RECIPE, tmp_path / "recipe", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(nanonap.lab.guest.kinds, "RECIPE", recipe)
    assert [recipe_key(kind) for kind in KINDS] == before
    with (recipe / "docker/daemon.json").open("a") as stream:
        stream.write("\n")
    assert recipe_key(PLAIN) == before[0]
    assert recipe_key(DOCKER) != before[1]
    with (recipe / "jobs/init.sh").open("a") as stream:
        stream.write("\n")
    assert recipe_key(PLAIN) == before[0]
    assert recipe_key(JOBS) != before[2]
    with (recipe / "initramfs.sh").open("a") as stream:
        stream.write("# changed\n")
    assert recipe_key(PLAIN) != before[0]


def test_a_new_image_leaves_those_of_other_kinds_and_removes_what_no_recipe_makes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def make(backend: str, target: Path, kind: Kind) -> None:
        target.mkdir()

    monkeypatch.setattr(nanonap.lab.guest.image, "check_host", lambda backend, kind: None)
    monkeypatch.setattr(nanonap.lab.guest.image, "_make", make)
    (tmp_path / "0123456789abcdef").mkdir()
    made = [image("guest", tmp_path, kind).folder for kind in KINDS]
    assert {path for path in tmp_path.iterdir() if path.is_dir()} == set(made)


@pytest.mark.usefixtures("what_a_guest_needs")
def test_the_image_is_made_once_and_says_what_is_in_it() -> None:
    made = image("guest")
    before = made.root.stat()
    assert image("guest").root.stat().st_ino == before.st_ino
    versions = dict(line.split(" ", 1) for line in made.packages.read_text().splitlines())
    assert {"python3", "systemd", "busybox-static"} <= versions.keys()
    assert any(name.startswith("linux-image-") for name in versions)
    assert not list(made.folder.parent.glob(".making-*"))


@pytest.mark.usefixtures("what_a_guest_needs")
def test_an_image_that_cannot_be_made_is_said_in_mmdebstraps_words_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(nanonap.lab.guest.image, "SUITE", "no-such-release")
    with pytest.raises(QuotaUnavailable, match="no-such-release"):
        image("guest", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.usefixtures("what_a_guest_needs")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_whatever_ends_the_making_nothing_of_it_is_left(number: signal.Signals, tmp_path: Path) -> None:
    make = "import sys, pathlib, nanonap.lab.guest.image as image; image.image('guest', pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    maker = subprocess.Popen([sys.executable, "-c", make, tmp_path], env=environment, stderr=subprocess.DEVNULL)
    # As root it unpacks below the folder; as a user, in /tmp.
    wanted = ".making-*/mmdebstrap.*" if os.geteuid() == 0 else ".making-*"
    wait_until(lambda: maker.poll() is not None or bool(list(tmp_path.glob(wanted))))
    maker.send_signal(number)
    assert maker.wait(PATIENCE_S) != 0
    wait_until(lambda: [path.name for path in tmp_path.iterdir()] == [".lock"])
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
