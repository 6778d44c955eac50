"""What the reader of a file may not do, though the file made it do it: write, call out, gain rights."""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nanonap.base.paths import PROJECT
from patcher import isolation
from patcher.child import Limits
from patcher.errors import InternalFault
from patcher.isolation import isolated
from tests.patcher.test_begun import each_is_begun

WRITER = Limits(cpu_seconds=60, memory=1 << 30, address_space=16 << 30, file_size=4096)
_NOBODY = 65534
_PR_GET_NO_NEW_PRIVS = 39  # linux/prctl.h


def job(function: Callable[..., object]) -> str:
    return f"{__name__}:{function.__name__}"


@pytest.fixture(params=["forked", "spawned", "begun"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ways to start the reader."""
    monkeypatch.setattr(isolation, "_alone", lambda: request.param != "spawned")
    each_is_begun(monkeypatch) if request.param == "begun" else None


def writes(path: Path, size: int) -> str:
    path.write_bytes(bytes(size))
    return "written"


def writes_without_a_name(_: Path) -> str:
    """Landlock has no say in a file that has no place in the file system."""
    os.write(os.memfd_create("file"), b"1")
    return "written"


@pytest.mark.usefixtures("way")
def test_the_reader_writes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with pytest.raises(InternalFault, match=r"File too large|Permission denied"):
        isolated(file, job(writes), str, size=1)
    assert not file.exists() or not file.stat().st_size
    with pytest.raises(InternalFault, match="File too large"):
        isolated(file, job(writes_without_a_name), str)


def makes(path: Path) -> str:
    path.touch()
    return "done"


def makes_a_folder(path: Path) -> str:
    path.mkdir()
    return "done"


def truncates(path: Path) -> str:
    os.truncate(path.parent / "kept", 0)
    return "done"


def removes(path: Path) -> str:
    (path.parent / "kept").unlink()
    return "done"


def renames(path: Path) -> str:
    (path.parent / "kept").rename(path)
    return "done"


def runs(_: Path) -> str:
    subprocess.run(["true"], check=True)
    return "done"


def signals(_: Path, to: int) -> str:
    os.kill(to, 0)
    return "done"


def has_landlock() -> int:
    """Its version; below 1 where there is none (landlock(7))."""
    return int(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("act", [makes, makes_a_folder, truncates, removes, renames, runs, signals])
def test_the_reader_changes_nothing_and_runs_nothing(tmp_path: Path, act: Callable[..., str]) -> None:
    needed = {truncates: 3, signals: 6}.get(act, 1)
    if has_landlock() < needed:
        pytest.skip(f"this kernel has no Landlock of version {needed}; boot one with CONFIG_SECURITY_LANDLOCK and lsm=")
    (tmp_path / "kept").write_text("as it was")
    given: dict[str, Any] = {"to": os.getpid()} if act is signals else {}
    assert isolated(tmp_path / "file", job(act), str, WRITER, **given) == "done"  # a job that may write is not held
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    (tmp_path / "kept").write_text("as it was")
    with pytest.raises(InternalFault, match=r"Permission denied|Operation not permitted"):
        isolated(tmp_path / "file", job(act), str, **given)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("kept", "as it was")]


@pytest.mark.usefixtures("way")
def test_a_job_that_writes_has_a_limit_of_its_own(tmp_path: Path) -> None:
    assert isolated(tmp_path / "file", job(writes), str, WRITER, size=4096) == "written"
    with pytest.raises(InternalFault, match="File too large"):
        isolated(tmp_path / "file", job(writes), str, WRITER, size=4097)


def raises_its_limit(path: Path) -> str:
    import resource

    os.setresuid(_NOBODY, _NOBODY, _NOBODY)  # root may raise any
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    return writes(path, 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_the_limit_cannot_be_raised_again(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(InternalFault, match="not allowed to raise maximum limit"):
        isolated(tmp_path / "file", job(raises_its_limit), str)


def connects(_: Path, port: int) -> str:
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    return "connected"


def sends_a_datagram(_: Path, port: int) -> str:
    """Landlock has no say in these."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"1", ("127.0.0.1", port))
    return "sent"


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.usefixtures("way")
def test_the_reader_has_no_network(tmp_path: Path, listener: int) -> None:
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode and (
        os.geteuid() == 0
        or subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this kernel grants no network namespace; run as root, or: sysctl user.max_user_namespaces=1000")
    assert sends_a_datagram(tmp_path, listener) == "sent"
    with pytest.raises(InternalFault, match="Network is unreachable"):
        isolated(tmp_path, job(sends_a_datagram), str, port=listener)
    assert connects(tmp_path, listener) == "connected"
    with pytest.raises(InternalFault, match=r"Network is unreachable|Permission denied"):
        isolated(tmp_path, job(connects), str, port=listener)


AS_ANOTHER_USER = """
import os, sys
from pathlib import Path
from patcher.errors import InternalFault
from patcher.isolation import isolated
from tests.patcher.test_confinement import sends_a_datagram
port = int(sys.argv[1])
assert sends_a_datagram(Path("/"), port) == "sent"  # and what that imports is there, where the other may not read
os.setegid(65534)
os.seteuid(65534)
try:
    isolated(Path("/"), "tests.patcher.test_confinement:sends_a_datagram", str, port=port)
except InternalFault as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_user_without_rights_has_a_reader_without_network_too(listener: int) -> None:
    allowed = Path("/proc/sys/user/max_user_namespaces").read_text().strip() != "0"
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if not allowed or (restricted.exists() and restricted.read_text().strip() != "0"):
        pytest.skip("users get no user namespace here: sysctl kernel.apparmor_restrict_unprivileged_userns=0")
    command = [sys.executable, "-c", AS_ANOTHER_USER, str(listener)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "Network is unreachable" in done.stdout


def finds_open(_: Path) -> tuple[str, ...]:
    return tuple(str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if os.path.lexists(each))


@pytest.mark.usefixtures("way")
def test_the_reader_has_nothing_open_but_the_way_of_its_answer(tmp_path: Path) -> None:
    (tmp_path / "own").touch()
    with (tmp_path / "own").open("r+b"), socket.socketpair()[0]:
        found = isolated(tmp_path, job(finds_open), tuple[str, ...])
    others = [each for each in found if each != os.devnull and not each.startswith("/proc/")]
    assert [each.partition(":")[0] for each in others] == ["pipe"]


def asks_for_rights(path: Path) -> str:
    user = subprocess.run([path, "-u"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{user} {ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)}"


@pytest.mark.usefixtures("way")
def test_the_reader_gains_no_rights(tmp_path: Path) -> None:
    """A program that is set-user-ID to another gives the reader its own user alone."""
    program = Path(shutil.copy2(shutil.which("id") or "/usr/bin/id", tmp_path / "id"))
    if os.geteuid() == 0:
        os.chown(program, _NOBODY, _NOBODY)
        program.chmod(0o6755)
        assert asks_for_rights(program) == f"{_NOBODY} 0"
    user, kept = isolated(program, job(asks_for_rights), str, WRITER).split()  # no other may run a program at all
    assert kept == "1"
    assert os.geteuid() != 0 or int(user) == 0
