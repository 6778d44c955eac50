"""A job on a host's disk, without any network: begun once, adopted, stopped, and ended when nobody follows it."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from nanonap.lab.fleet.hosted import missing, put, settle
from nanonap.lab.fleet.jobs import Answer, Asked, Host, Job
from nanonap.lab.plan.arms import sha256_of
from tests.lab.fleet.drive import OPTIONS
from tests.lab.made import Roots
from tests.patience import PATIENCE_S, wait_until

#: Ends at once, by an error of the bench's own.
EMPTY = Asked("1-a", OPTIONS)
NOTHING_BUILT = 40


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return settle(tmp_path / "room")


def test_a_job_is_claimed_once(host: Host) -> None:
    assert [Job(host.room, "1-a").claimed() for _ in range(3)] == [True, False, False]


def test_a_file_travels_once_by_its_hash_and_a_damaged_one_again(host: Host, tmp_path: Path) -> None:
    (program := tmp_path / "program").write_bytes(b"something to run")
    sha256 = sha256_of(program)
    assert missing([sha256]) == [sha256]
    put(sha256, program.read_bytes())
    assert missing([sha256]) == []
    (host.room / "files" / sha256).write_bytes(b"something else")
    assert missing([sha256]) == [sha256]


def test_the_bench_runs_once_and_its_status_is_there_for_whoever_asks(host: Host) -> None:
    first = host.measure(EMPTY)
    assert (first.status, first.adopted, first.lost) == (NOTHING_BUILT, False, None), first
    assert "not built yet" in first.error
    status = (host.room / "jobs" / "1-a" / "status.json").stat()
    again = host.measure(replace(EMPTY, adopt=True))
    assert (again.status, again.adopted) == (NOTHING_BUILT, True)
    assert (host.room / "jobs" / "1-a" / "status.json").stat().st_ino == status.st_ino
    host.end("1-a")
    assert [*host.room.glob("jobs/*")] == []


@pytest.mark.parametrize("adopt", [True, False])
def test_what_was_stopped_before_it_began_does_not_begin(host: Host, adopt: bool) -> None:
    host.end("1-a")
    answer = host.measure(replace(EMPTY, adopt=adopt))
    assert answer.lost == "it was stopped before it began"
    assert [*host.room.glob("jobs/*")] == []


def test_nothing_begins_for_one_who_only_adopts(host: Host) -> None:
    assert "had not begun" in (host.measure(replace(EMPTY, adopt=True)).lost or "")
    assert [*host.room.glob("jobs/*")] == []


def test_a_job_without_keeper_and_status_is_lost_and_not_begun_again(host: Host) -> None:
    """As after a restart of the host."""
    job = Job(host.room, "1-a")
    assert job.claimed()
    (job.folder / "keeper").write_text("1-1")
    answer = host.measure(EMPTY)
    assert answer.lost == "it ended without a result: killed, or the host restarted"
    assert not job.status.exists()


@pytest.mark.long
@pytest.mark.parametrize("how", ["lease", "end"])
def test_a_job_that_nobody_wants_ends(host: Host, roots: Roots, how: str) -> None:
    tree = {}
    for root, name in ((roots.build, "build"), (roots.patched, "patched")):
        for path in root.rglob("sleepbench*"):
            if path.is_file():
                tree[f"{name}/{path.relative_to(root)}"] = sha256_of(path)
                put(sha256_of(path), path.read_bytes())
    asked = Asked("1-a", OPTIONS, tree, lease_s=2 if how == "lease" else 600)
    job, answers = Job(host.room, "1-a"), list[Answer]()
    if how == "lease":
        assert job.claimed()
        job.begin(asked)
    else:
        (following := threading.Thread(target=lambda: answers.append(host.measure(asked)))).start()
        wait_until(lambda: bool([*job.folder.glob("result/parts/*.parquet")]), job.status.read_text)
        host.end("1-a")
        following.join(PATIENCE_S)
        assert answers[0].lost is not None
    left = [job.folder / "claim"] if how == "lease" else []
    wait_until(lambda: not job.lives() and [*job.folder.glob("*")] == left)


def test_a_lease_is_renewed_by_whoever_follows(host: Host) -> None:
    job = Job(host.room, "1-a")
    assert job.claimed()
    job.begin(EMPTY)
    before = job.lease.stat().st_mtime_ns
    time.sleep(0.01)
    job.follow()
    assert job.status.exists()
    assert job.lease.stat().st_mtime_ns > before


def test_what_nobody_fetched_is_tidied_away_in_the_end(host: Host) -> None:
    assert host.measure(EMPTY).status == NOTHING_BUILT
    host.tidy()
    assert [*host.room.glob("jobs/*")] != []
    host.tidy(older_s=-1)
    assert [*host.room.glob("jobs/*")] == []
