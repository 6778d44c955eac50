"""A guest's life on the host: nothing of it stays, however its owner ends, and a failed boot is explained."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import nanonap.lab.guest.machine
import nanonap.lab.guest.qemu
from nanonap.base.paths import PROJECT
from nanonap.base.processes import started
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.guest.image import image
from nanonap.lab.guest.machine import Machine
from tests.patience import PATIENCE_S, wait_until

pytestmark = pytest.mark.usefixtures("what_a_guest_needs")
BOOT = """
from nanonap.lab.guest.image import image
from nanonap.lab.guest.machine import Machine
Machine(image("guest"), "bare", "guest", "tcg")
"""


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _qemu_of(pid: int) -> int | None:
    for child in _children(pid):
        if Path(f"/proc/{child}/comm").read_text().startswith("qemu"):
            return child
    return None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_its_owner_qemu_and_its_folder_go(number: signal.Signals, tmp_path: Path) -> None:
    image("guest")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path)}
    owner = subprocess.Popen([sys.executable, "-c", BOOT], env=environment, stderr=subprocess.DEVNULL)
    # Its console is there: QEMU runs, and would go on without an owner.
    wait_until(lambda: owner.poll() is not None or bool(list(tmp_path.glob("nanonap-guest-*/console"))))
    qemu = _qemu_of(owner.pid)
    assert qemu is not None
    start = started(qemu)
    owner.send_signal(number)
    assert owner.wait(PATIENCE_S) != 0
    wait_until(lambda: started(qemu) != start and not list(tmp_path.glob("nanonap-guest-*")))


def test_a_boot_that_fails_is_said_with_the_consoles_last_words_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(nanonap.lab.guest.machine.INITS, "bare", "/no/such/init")
    monkeypatch.setattr(nanonap.lab.guest.qemu, "_LAST_CONSOLE", tmp_path / "console")
    made = image("guest")
    guard.watch_path(tmp_path / "nothing")  # the watchdog is a child as well
    before = _children(os.getpid())
    with pytest.raises(QuotaUnavailable, match="ended while it booted") as caught:
        Machine(made, "bare", "guest", "tcg")
    assert str(tmp_path / "console") in caught.value.remedy
    assert "/no/such/init" in (tmp_path / "console").read_text()
    assert _children(os.getpid()) == before
    assert not list(tmp_path.glob("nanonap-guest-*"))


def test_a_boot_that_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(nanonap.lab.guest.machine.BOOT_PATIENCE_S, "tcg", 0.5)
    monkeypatch.setattr(nanonap.lab.guest.qemu, "_LAST_CONSOLE", tmp_path / "console")
    with pytest.raises(QuotaUnavailable, match=r"did not boot within"):
        Machine(image("guest"), "bare", "guest", "tcg")
    assert not list(tmp_path.glob("nanonap-guest-*"))


def test_a_closed_guest_does_not_answer_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nanonap.lab.guest.qemu, "_LAST_CONSOLE", tmp_path / "console")
    machine = Machine(image("guest"), "bare", "guest", "tcg")
    machine.close()
    machine.close()
    with pytest.raises(QuotaUnavailable, match="did not answer"):
        machine.ask({})
