"""What the reader of a file may not do, though the file made it do it: write, call out, gain rights, lie."""

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import patcher
from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable
from patcher import isolation
from patcher.answers import encode
from patcher.child import Limits
from patcher.errors import InternalFault, ReaderTooLarge
from patcher.inspection import Inspection
from patcher.isolation import isolated
from patcher.patching import Planned

WRITER = Limits(cpu_seconds=60, memory=1 << 30, address_space=16 << 30, file_size=4096)
_NOBODY = 65534
_PR_GET_NO_NEW_PRIVS = 39  # linux/prctl.h


def job(function: Callable[..., object]) -> str:
    return f"{__name__}:{function.__name__}"


@pytest.fixture(params=["forked", "spawned"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to start the reader."""
    monkeypatch.setattr(isolation, "_alone", lambda: request.param == "forked")


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


def sends(_: Path, text: str) -> NoReturn:
    """As a reader does that a file has taken over: it writes what it likes where the answer goes."""
    (answers,) = pipes()
    os.write(answers, text.encode())
    os._exit(0)


def pipes() -> list[int]:
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # of the folder itself, which is closed again
            if each.readlink().name.startswith("pipe:"):
                found.append(int(each.name))
    return found


def answered(path: Path, kind: type[Any], document: object) -> None:
    isolated(path, job(sends), kind, text=document if isinstance(document, str) else json.dumps(document))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "\ud800",
        "[" * 100_000,
        '{"result": ' + "9" * 10_000 + "}",
        "{}",
        '{"error": "KeyError", "message": "x"}',
        '{"error": "ShapeMismatch"}',
        '{"error": "ShapeMismatch", "message": 7}',
        '{"error": ["ShapeMismatch"], "message": "x"}',
    ],
    ids=str.__len__,
)
def test_what_is_no_answer_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InternalFault, match=r"an answer that cannot be .*nothing was written") as refused:
        answered(tmp_path, str, text.encode("utf-8", "replace").decode())
    assert "\n" not in str(refused.value)


Damage = Callable[[Any], object]


def _at(*path: str | int) -> Callable[[Any], Any]:
    def found(document: Any) -> Any:
        for each in path:
            document = document[each]
        return document

    return found


def _set(*path: str | int, to: object) -> Damage:
    return lambda document: _at(*path[:-1])(document).__setitem__(path[-1], to)


def _without(*path: str | int) -> Damage:
    return lambda document: _at(*path[:-1])(document).__delitem__(path[-1])


INSPECTIONS: dict[str, Damage] = {
    "no object": lambda document: document.clear(),
    "negative address": _set("syscalls", 0, "address", to=-1),
    "address of 65 bits": _set("syscalls", 0, "address", to=1 << 64),
    "address of text": _set("syscalls", 0, "address", to="0x401000"),
    "address of half": _set("syscalls", 0, "address", to=0.5),
    "address that is true": _set("sleep_paths", 0, "address", to=True),
    "name of number": _set("usleep_callers", 0, "function", to=7),
    "list that is none": _set("syscalls", to={"0": {}}),
    "object that is none": _set("go", "settings", to=[]),
    "text that is null": _set("sha256", to=None),
    "settings of numbers": _set("go", "settings", to={"GOOS": 7}),
    "no layout": _without("layout"),
    "no reason": _without("strategies", "sleep", "reason"),
}
PLANS: dict[str, Damage] = {
    "offset behind the file": _set("manifest", "edits", 0, "offset", to=1 << 40),
    "negative offset": _set("manifest", "edits", 0, "offset", to=-8),
    "bytes that are none": _set("manifest", "edits", 0, "new", to="zz"),
    "more bytes than there were": _set("manifest", "edits", 0, "new", to="90" * 4096),
    "another strategy": _set("manifest", "strategy", to="sleep"),
    "another slack": _set("manifest", "slack_ns", to=7),
    "another wait": _set("manifest", "wait", "spin_ns", to=70_000),
    "no filters": _without("filters"),
}


@pytest.fixture(scope="module")
def inspection(sleepbench: Path) -> Any:
    return encode(patcher.inspect(sleepbench))


@pytest.fixture(scope="module")
def plan(sleepbench: Path) -> Any:
    return encode(isolated(sleepbench, "patcher.patching:planned", Planned, strategy="netpoll", slack_ns=None))


def damaged(document: Any, damage: Damage) -> Any:
    copy = json.loads(json.dumps(document))
    damage(copy)
    return {"result": copy}


@pytest.mark.parametrize("damage", INSPECTIONS.values(), ids=INSPECTIONS)
def test_an_inspection_of_a_wrong_shape_is_refused(sleepbench: Path, inspection: Any, damage: Damage) -> None:
    answered(sleepbench, Inspection, damaged(inspection, dict))
    with pytest.raises(InternalFault, match=r"an answer that cannot be \(the answer.*(expected|lacks)"):
        answered(sleepbench, Inspection, damaged(inspection, damage))


@pytest.mark.parametrize("damage", PLANS.values(), ids=PLANS)
def test_a_plan_that_cannot_be_is_not_written(
    program: Path, plan: Any, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = program.with_name("out")

    def taken_over(path: Path, _job: str, kind: type[Any], **_: object) -> object:
        return isolated(path, job(sends), kind, text=json.dumps(damaged(plan, damage)))

    monkeypatch.setattr("patcher.patching.isolated", taken_over)
    with pytest.raises(InternalFault, match="an answer that cannot be"):
        patcher.patch(program, out)
    assert list(program.parent.iterdir()) == [program]


def test_an_answer_without_end_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ReaderTooLarge):
        isolated(tmp_path, job(talks), str)


def talks(_: Path) -> str:
    return "x" * (5 << 20)


def test_an_error_that_no_reader_raises_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InternalFault, match="an answer that cannot be"):
        answered(tmp_path, str, {"error": QuotaUnavailable.__name__, "message": "x", "parameters": []})
