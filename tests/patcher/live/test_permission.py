"""Who may not look into a process is told which of the kernel's rules keeps him out."""

import ctypes
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from patcher.live import process
from patcher.live.errors import NotPermitted
from patcher.live.process import target_of
from tests.patience import wait_until

NOBODY, OTHER = 65534, 65533
PR_SET_DUMPABLE = 4
CLONE_NEWUSER = 0x1000_0000  # linux/sched.h


@pytest.fixture(autouse=True)
def _as_root() -> None:
    if os.geteuid():
        pytest.skip("other users' processes are needed: run the tests as root")


def told_to(user: int, pid: int, *, namespace: bool = False) -> str:
    """What the refusal says to a user without capabilities, or with all of them in a user namespace of his own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setgid(user)
        os.setuid(user)
        try:
            if namespace and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER):
                raise OSError(ctypes.get_errno(), "unshare")
            process.check_reachable(target_of(pid))
            os.write(writing, b"may")
        except (NotPermitted, OSError) as error:
            os.write(writing, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        return stream.read().decode()


@pytest.fixture
def sleeper() -> Iterator[Callable[..., int]]:
    """Start a program as a user, and give its number."""
    started: list[subprocess.Popen[bytes]] = []

    def start(user: int, path: str | Path = "/bin/sleep") -> int:
        each = subprocess.Popen([path, "1000"], user=user, group=user, cwd="/")
        started.append(each)
        wait_until(lambda: Path(f"/proc/{each.pid}/cmdline").read_bytes().startswith(os.fsencode(path)))
        return each.pid

    yield start
    for each in started:
        each.kill()
        each.wait()


def _copied(folder: Path) -> Path:
    """A program of this test's own, where every user comes to."""
    for each in (folder, *folder.parents):
        each.chmod(each.stat().st_mode | 0o111)
    return Path(shutil.copy2("/bin/sleep", folder / "sleep"))


def test_another_users_process(sleeper: Callable[..., int]) -> None:
    assert "another user's (user ID 65533, this is 65534)" in told_to(NOBODY, sleeper(OTHER))


def test_another_user_namespace(sleeper: Callable[..., int]) -> None:
    """All capabilities are there, and count for nothing outside; the process is the same user's."""
    said = told_to(NOBODY, sleeper(NOBODY), namespace=True)
    if "unshare" in said:
        pytest.skip(f"users get no user namespace here ({said}): sysctl kernel.apparmor_restrict_unprivileged_userns=0")
    assert "another user namespace" in said


def test_a_set_user_id_program(sleeper: Callable[..., int], tmp_path: Path) -> None:
    program = _copied(tmp_path)
    os.chown(program, OTHER, OTHER)
    program.chmod(0o4755)
    assert "set-user-ID (user IDs 65534 65533)" in told_to(NOBODY, sleeper(NOBODY, program))


def test_file_capabilities(sleeper: Callable[..., int], tmp_path: Path) -> None:
    program = _copied(tmp_path)
    program.chmod(0o755)
    effective, bind = 1, 1 << 10  # linux/capability.h: struct vfs_cap_data, revision 2; CAP_NET_BIND_SERVICE
    os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000000 | effective, bind, 0, 0, 0))
    assert "file capabilities" in told_to(NOBODY, sleeper(NOBODY, program))


def test_an_undumpable_process() -> None:
    child = os.fork()
    if not child:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
        signal.pause()
    try:
        wait_until(lambda: "Uid:\t65534" in Path(f"/proc/{child}/status").read_text())
        assert "undumpable" in told_to(NOBODY, child)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_ones_own_process_may_be_looked_into(sleeper: Callable[..., int]) -> None:
    assert told_to(NOBODY, sleeper(NOBODY)) == "may"


@pytest.mark.parametrize(("scope", "said"), [("1", "a parent alone"), ("2", "root alone"), ("3", "to everybody")])
def test_yama_is_named(sleeper: Callable[..., int], monkeypatch: pytest.MonkeyPatch, scope: str, said: str) -> None:
    """Most kernels here have no Yama: what its file would say is put in its place."""
    monkeypatch.setattr(process, "_read", lambda _path: f"{scope}\n")
    monkeypatch.setattr(process, "check_reachable", lambda target: _refuse(target.pid))
    assert said in told_to(NOBODY, sleeper(NOBODY))


def _refuse(pid: int) -> None:
    raise NotPermitted(process.why_not(pid))
