"""Several jobs for a host: one after the other, each begun once, whatever is lost; and programs by processor."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nanonap.base.errors import UsageError
from nanonap.base.paths import TRIED
from nanonap.lab.fleet.bench import measured_files
from nanonap.lab.fleet.campaign import Members
from nanonap.lab.fleet.hosted import Described
from nanonap.lab.ground.errors import NothingBuilt
from nanonap.toolchain.build import build
from nanonap.toolchain.targets import AMD64, ARM64
from patcher import inspect
from tests import warm
from tests.lab.fleet.drive import OPTIONS
from tests.lab.made import ENVIRONMENT, GO
from tests.patience import PATIENCE_S, wait_until

DRIVE = """
import json, sys
from pathlib import Path
from nanonap.lab.fleet.settings import settle
settle()
from nanonap.lab.fleet.campaign import Campaign, Wanted, members
from nanonap.lab.fleet.client import Fleet
address, folder, away_s = sys.argv[1:]
fleet = Fleet(address, private=True)
client = fleet.connect()
[host] = members(client).hosts
jobs = [
    Wanted(host, what, {"begun": folder + "/begun", "what": what, "go": f"{folder}/{what}"}, {}, JOB)
    for what in ("one", "two", "three")
]
for ended in Campaign(fleet, client, jobs, float(away_s)).answers():
    print(json.dumps([ended.wanted.what, ended.problem, ended.adopted]), flush=True)
""".replace("JOB", repr("tests.lab.fleet.chores:noted"))


@pytest.fixture
def address() -> Iterator[str]:
    """A scheduler on the loopback."""
    with warm.start([warm.INVOKE, "fleet", "scheduler", "--port", "0"]) as scheduler:
        try:
            yield _served(scheduler)
        finally:
            scheduler.send_signal(signal.SIGTERM)


def _served(started: warm.Started) -> str:
    wait_until(lambda: started.poll() is not None or bool(started.said()[0]), lambda: started.said()[1])
    return started.said()[0].strip()


@contextmanager
def _worker(address: str, room: Path) -> Iterator[warm.Started]:
    words = ("--scheduler", address, "--name", "a", "--port", "0", "--room", room)
    with warm.start([warm.INVOKE, "fleet", "worker", *words]) as worker:
        try:
            assert _served(worker).startswith("tcp://"), worker.said()
            yield worker
        finally:
            worker.send_signal(signal.SIGTERM)


@contextmanager
def _client(address: str, folder: Path, away_s: int) -> "Iterator[subprocess.Popen[str]]":
    words = [sys.executable, "-c", DRIVE, address, str(folder), str(away_s)]
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        try:
            yield client
        finally:
            client.kill()


def _begun(folder: Path) -> list[str]:
    return (folder / "begun").read_text().split() if (folder / "begun").exists() else []


def test_a_hosts_jobs_follow_one_another_and_a_killed_worker_begins_none_again(address: str, tmp_path: Path) -> None:
    with _worker(address, tmp_path / "room") as worker, _client(address, tmp_path, 60) as client:
        (tmp_path / "one").touch()
        wait_until(lambda: client.poll() is not None or _begun(tmp_path) == ["one", "two"])
        worker.kill()
        (tmp_path / "two").touch()
        (tmp_path / "three").touch()
        with _worker(address, tmp_path / "room"):
            out, err = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, err
    assert [json.loads(line) for line in out.splitlines()] == [["one", None, 0], ["two", None, 1], ["three", None, 0]]
    assert _begun(tmp_path) == ["one", "two", "three"]


def test_what_waits_for_a_host_that_stays_away_is_lost_with_it(address: str, tmp_path: Path) -> None:
    with _worker(address, tmp_path / "room") as worker, _client(address, tmp_path, 1) as client:
        wait_until(lambda: client.poll() is not None or _begun(tmp_path) == ["one"])
        worker.kill()
        out, err = client.communicate(timeout=PATIENCE_S)
    (tmp_path / "one").touch()  # its keeper waits for it
    assert client.returncode == 0, err
    why = "it was lost, and not back within 1 s"
    assert [json.loads(line)[:2] for line in out.splitlines()] == [["one", why], ["two", why], ["three", why]]
    assert _begun(tmp_path) == ["one"]


def _host(arch: str) -> Described:
    return Described("a", {}, {"arch": arch}, "")


def test_a_host_has_the_programs_of_its_processor_and_a_guest_those_of_its_own() -> None:
    there = Members({"a": _host("x86_64"), "b": _host("aarch64")})
    assert [there.target(name, "auto") for name in "ab"] == [AMD64, ARM64]
    assert [there.target("b", backend) for backend in ("guest", "guest-backports")] == [AMD64, AMD64]
    assert there.target("a", "guest-arm64") == ARM64


def test_a_host_of_another_processor_is_given_programs_for_it(tmp_path: Path) -> None:
    built = tmp_path / "build" / GO / "arm64-default"
    built.mkdir(parents=True)
    for each in build(GO, "default", programs=("sleepbench", "slackexec"), out=TRIED, target=ARM64):
        (built / each.path.name).hardlink_to(each.path)
    options = {**OPTIONS, "arms": "stock,netpoll,floor+slack1"}
    found = measured_files(options, ARM64, tmp_path / "build", tmp_path / "patched")
    assert {place.rpartition("/")[0] for place in found} == {
        f"build/{GO}/arm64-default", f"patched/{GO}/arm64-default"
    }  # fmt: skip
    programs = [path for place, path in found.items() if path.name.startswith("sleepbench") and path.suffix != ".json"]
    assert {inspect(path).go.arch for path in programs} == {"arm64"}
    assert len(programs) == 3
    with pytest.raises(UsageError, match="--arms sleep: its strategy has no code for arm64"):
        measured_files({**OPTIONS, "arms": "stock,sleep"}, ARM64, tmp_path / "build", tmp_path / "patched")
    with pytest.raises(NothingBuilt, match=r"build --go .* --arch arm64"):
        measured_files(options, ARM64, tmp_path / "empty", tmp_path / "patched")
