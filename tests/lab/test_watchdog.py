"""What a bench leaves when it, or what it runs, is killed at any moment: nothing."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nanonap.base.paths import PROJECT
from nanonap.base.processes import identity, is_alive, started
from nanonap.lab.ground.watchdog import Watchdog
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.cgroup import CgroupBackend
from tests.patience import PATIENCE_S, wait_until

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PROJECT)}

# A bench in small: groups opened, entered and closed one after the other, with what a run needs around it.
CYCLE = """
import signal, sys, tempfile
from pathlib import Path
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.choose import make_backend
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.ground.watchdog import guard
from nanonap.base.errors import Interrupted

signal.signal(signal.SIGINT, signal.default_int_handler)
stop = Stop()
backend = make_backend(sys.argv[1])
with stop.listening():
    try:
        backend.prepare()
        folder = Path(tempfile.mkdtemp(prefix="nanonap-cycle-", dir=sys.argv[2]))
        guard.watch_path(folder)
        print("ready", flush=True)
        while True:
            with backend.open(Limits(parse_quota("50%"), memory_bytes=64 << 20)) as group:
                stop.run(group.command(["/bin/sh", "-c", "sleep 60 & echo inside; sleep 0.02; kill $!"]), 30)
    except Interrupted:
        pass
    finally:
        backend.close()
        guard.close()
"""


def _traces(backend: CgroupBackend, owner: str, pid: int, folder: Path) -> list[str]:
    """All that could be left of a bench: groups by its name, processes that know its folder, the folder's content."""
    left = [str(each) for parent in (backend.parent, *backend.others) for each in parent.glob(f"nanonap-{owner}-*")]
    left += [str(each) for each in folder.iterdir()]
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) not in (os.getpid(), pid):
            with contextlib.suppress(OSError):
                if str(folder).encode() in (entry / "environ").read_bytes():
                    left.append(f"process {entry.name}: {(entry / 'cmdline').read_bytes()!r}")
    return left


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _wait_until_gone(backend: CgroupBackend, owner: str, pid: int, folder: Path, after: str) -> None:
    wait_until(lambda: not _traces(backend, owner, pid, folder), lambda: (after, _traces(backend, owner, pid, folder)))


@pytest.mark.parametrize("seed", range(5))
def test_ten_benches_killed_at_random_moments_leave_nothing(backend: Backend, tmp_path: Path, seed: int) -> None:
    assert isinstance(backend, CgroupBackend)
    dice = random.Random(seed)  # noqa: S311 - a seeded choice, no secret
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-c", CYCLE, backend.name, str(folder)]
        environment = {**ENVIRONMENT, "NANONAP_TEST": str(folder)}
        bench = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        owner = identity(bench.pid)
        try:
            assert bench.stdout is not None
            assert bench.stdout.readline() == b"ready\n"
            time.sleep(dice.uniform(0, 0.1))
            victim = dice.choice(["parent", "child"])
            number_of_signal = dice.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
            if victim == "child":  # the run dies; the bench goes on, until it is told to stop
                for child in _children(bench.pid)[-1:]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, number_of_signal)
                number_of_signal = signal.SIGTERM
            bench.send_signal(number_of_signal)
            bench.wait(PATIENCE_S)
        finally:
            bench.kill()
            bench.wait()
            assert bench.stdout is not None
            bench.stdout.close()
        _wait_until_gone(backend, owner, bench.pid, folder, f"after {number_of_signal.name} to the {victim}")


RUN = """
from nanonap.lab.ground.interrupt import Stop, guard
watch = guard.watch_session
def told(pid):
    watch(pid)
    print(pid, flush=True)
guard.watch_session = told
Stop().run(["/bin/sleep", "1000"], 1000)
"""


def test_a_run_without_a_group_ends_when_its_bench_is_killed() -> None:
    bench = subprocess.Popen([sys.executable, "-c", RUN], cwd=PROJECT, env=ENVIRONMENT, stdout=subprocess.PIPE)
    with bench:
        assert bench.stdout is not None
        own = identity(int(bench.stdout.readline()))
        bench.kill()
    wait_until(lambda: not is_alive(own))


def test_what_was_taken_back_is_left_alone(tmp_path: Path) -> None:
    kept, gone = tmp_path / "kept", tmp_path / "gone"
    for path in (kept, gone):
        path.mkdir()
    watchdog = Watchdog()
    watchdog.watch_path(kept)
    watchdog.watch_path(gone)
    watchdog.forget_path(kept)
    watchdog.close()
    assert kept.exists()
    assert not gone.exists()


def test_a_watchdog_that_somebody_ended_is_followed_by_another_that_knows_all(tmp_path: Path) -> None:
    gone = [tmp_path / "first", tmp_path / "second", tmp_path / "third"]
    for path in gone:
        path.mkdir()
    watchdog = Watchdog()
    for path in gone[:2]:
        watchdog.watch_path(path)
        assert watchdog._process is not None
        watchdog._process.kill()
        watchdog._process.wait()
    watchdog.watch_path(gone[2])
    watchdog.close()
    assert not any(path.exists() for path in gone)
    watchdog.watch_path(tmp_path)
    assert watchdog._process is not None
    watchdog._process.kill()
    watchdog._process.wait()
    watchdog.close()
    assert not tmp_path.exists(), "the last one was ended, too"
    tmp_path.mkdir()


def test_a_child_whose_number_another_process_has_by_now_is_left_alone() -> None:
    other = subprocess.Popen(["sleep", "100"], start_new_session=True)
    try:
        watchdog = Watchdog()
        watchdog._say("add", "session", [other.pid, (started(other.pid) or 0) + 1])
        watchdog.close()
        assert other.poll() is None
        watchdog.watch_session(other.pid)
        watchdog.close()
        assert other.wait(PATIENCE_S) == -signal.SIGKILL
    finally:
        other.kill()
        other.wait()


def test_an_identity_tells_a_process_from_another_under_its_number() -> None:
    process = subprocess.Popen(["sleep", "100"])
    own = identity(process.pid)
    assert is_alive(own)
    pid, _, number = own.partition("-")
    assert not is_alive(f"{pid}-{int(number) + 1}")
    assert is_alive(f"{pid}-1"), "of another PID namespace: it cannot be known"
    process.kill()
    process.wait()
    assert not is_alive(own)
