"""The guest for linux/arm64: what it runs, what it gives, that it gives the same each time, and that nothing stays."""

import hashlib
import json
import os
import signal
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import nanonap.lab.guest.qemu
import patcher
from nanonap.base.paths import TRIED
from nanonap.base.processes import started
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.guest.client import FAILED
from nanonap.lab.guest.jobs import Job, Outcome, run_jobs
from nanonap.lab.guest.other import GuestArm64Backend
from nanonap.lab.plan.arms import Arm
from nanonap.lab.plan.conditions import QUIET, Condition
from nanonap.lab.plan.schedule import Run
from nanonap.lab.quota.choose import choose
from nanonap.lab.quota.limits import Limits, Quota, parse_quota
from nanonap.lab.run.runner import measure
from nanonap.toolchain.build import build
from nanonap.toolchain.releases import NEWEST
from nanonap.toolchain.targets import ARM64
from tests.patience import PATIENCE_S, wait_until

US = 1_000
REQUESTED_NS = [50 * US, 100 * US, 200 * US, 500 * US, 1000 * US]
PLAN = ("-plan", ",".join(f"{each}ns*40" for each in REQUESTED_NS), "-warmup", "100", "-gomaxprocs", "1")

Built = Callable[[str], Path]


@pytest.fixture(scope="session")
def built() -> Built:
    """A program of gosrc/ for linux/arm64."""
    return lambda program: build(NEWEST, programs=(program,), out=TRIED, target=ARM64)[0].path


@pytest.fixture(scope="session")
def arms(built: Built, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    stock, folder = built("sleepbench"), tmp_path_factory.mktemp("arms")
    patched = {"netpoll": ("netpoll", None), "netpoll+slack1": ("netpoll", 1), "stock+slack1": ("slack", 1)}
    for name, (strategy, slack_ns) in patched.items():
        patcher.patch(stock, folder / name, strategy, slack_ns=slack_ns)
    return {"stock": stock, **{name: folder / name for name in patched}}


def samples(outcome: Outcome) -> tuple[dict[str, object], dict[int, list[int]]]:
    """sleepbench's header, and the actual times by the requested ones, ns."""
    assert outcome.status == 0, outcome.stderr
    line, _, body = outcome.stdout.partition(b"\n")
    header = json.loads(line)
    requested, actual = np.frombuffer(body, "<i8").reshape(len(header["columns"]), header["n"])[:2]
    return header, {int(each): actual[requested == each].tolist() for each in np.unique(requested)}


def test_a_command_keeps_its_arguments_outputs_files_and_end(arm64_guest: GuestArm64Backend) -> None:
    arguments = ["a b", "$HOME", "'; exit 1; '", "*", "ä"]
    every_byte = 'i=0; while [ $i -lt 256 ]; do printf "\\\\$(printf %03o $i)"; i=$((i+1)); done'
    done = arm64_guest.run(
        [
            Job(("sh", "-c", 'printf "%s\n" "$@" >&2; exit 3', "sh", *arguments)),
            Job(("sh", "-c", f"{every_byte}; echo $WORD $PWD > kept; mkdir folder", "sh"), {"WORD": "it's", "1x": ""}),
            Job(("sh", "-c", "ls; kill -SEGV $$")),
            Job(("sh", "-c", "sleep 1000 & echo left")),
            Job(("no-such-program",)),
            Job(
                (
                    "sh",
                    "-c",
                    "uname -m; nc -l -p 99 127.0.0.1 & sleep 1; echo x | nc 127.0.0.1 99; ps | grep -c 'sleep [1]000'",
                )
            ),
        ]
    )
    assert (done[0].status, done[0].stderr.decode().splitlines()) == (3, arguments)
    assert (done[1].stdout, done[1].files) == (bytes(range(256)), {"kept": b"it's /job\n"})
    assert (done[2].status, done[2].stdout) == (-signal.SIGSEGV, b"")
    assert done[3].stdout == b"left\n"
    assert done[4].status == 127
    assert b"no-such-program" in done[4].stderr
    assert done[5].stdout.decode().split() == ["aarch64", "x", "0"]


@pytest.mark.usefixtures("what_an_arm64_guest_needs")
def test_the_precision_is_what_the_patch_is_for_and_two_runs_give_the_same_bytes(
    arm64_guest: GuestArm64Backend, arms: dict[str, Path]
) -> None:
    jobs = {name: Job((str(path), *PLAN)) for name, path in arms.items()}
    jobs |= {
        f"floor of {name}": Job((str(arms[name]), "-method", "floor", *PLAN)) for name in ("stock", "stock+slack1")
    }
    first, second = (dict(zip(jobs, arm64_guest.run(list(jobs.values())), strict=True)) for _ in range(2))
    assert {name: each.stdout for name, each in first.items()} == {name: each.stdout for name, each in second.items()}
    medians: dict[str, dict[int, float]] = {}
    for name, outcome in first.items():
        header, actual = samples(outcome)
        assert header["goarch"] == "arm64"
        assert header["timer_slack_ns"] == (1 if "slack1" in name else 50_000)
        assert all(min(each) >= requested for requested, each in actual.items())
        medians[name] = {requested: statistics.median(each) for requested, each in actual.items()}
    precise, floor = medians["netpoll+slack1"], medians["floor of stock+slack1"]
    # The guest's clock counts instructions: these are no times of a machine.
    assert {each: precise[each] - floor[each] for each in REQUESTED_NS if precise[each] - floor[each] > 10 * US} == {}
    assert medians["stock"][100 * US] >= 6 * precise[100 * US]
    assert medians["stock"][100 * US] > medians["netpoll"][100 * US] > precise[100 * US]


def test_it_is_measured_in_and_says_what_it_is(arm64_guest: GuestArm64Backend, arms: dict[str, Path]) -> None:
    content = arms["netpoll"].read_bytes()
    arm = Arm("netpoll", arms["netpoll"], "sleep", "netpoll", None, NEWEST, hashlib.sha256(content).hexdigest())
    planned = Run(0, arm, Condition(Quota(), QUIET), ((1000 * US, 5),), 0, seed=7)
    measured = measure(planned, arm64_guest.cpus, arm64_guest, Stop())
    assert measured.output.header.n == 5
    assert (measured.gomaxprocs, measured.throttling, measured.effective) == (1, None, Limits())
    facts = arm64_guest.facts()
    assert (facts["arch"], facts["cpus_online"], facts["accelerator"]) == ("aarch64", 1, "tcg")
    assert "not this machine's" in str(arm64_guest.mark)


def test_the_other_programs_run_too(arm64_guest: GuestArm64Backend, built: Built) -> None:
    survive, waits, sampler = (str(built(each)) for each in ("survive", "waits", "statsampler"))
    done = arm64_guest.run(
        [
            Job((survive, "-mode", "io", "-for", "200ms", "-sleepers", "20")),
            Job((waits, "ticker", "50ms")),
            Job((sampler,)),
        ]
    )
    assert json.loads(done[0].stdout)["ok"]
    assert (done[1].status, done[1].stdout) == (0, b"ready\n")
    assert b"statsampler: " in done[2].stderr  # it runs, and says how it is used


def test_what_it_has_not_is_refused(arm64_guest: GuestArm64Backend) -> None:
    limits = Limits(parse_quota("50%"))
    with pytest.raises(QuotaUnavailable, match="it sets no quota, and 50% was asked for"):
        arm64_guest.open(limits)
    with pytest.raises(QuotaUnavailable, match="needs Python"):
        arm64_guest.call("os:getcwd", Stop(), 1)
    with arm64_guest.open(Limits()) as group, pytest.raises(QuotaUnavailable, match="nothing in it records"):
        _ = group.place
    choice = choose("guest-arm64")
    assert not choice.limits
    assert choice.refusal(limits) is not None
    assert choice.refusal(Limits()) is None


def test_a_guest_that_ends_early_or_late_is_said_and_nothing_stays(
    arm64_guest: GuestArm64Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(nanonap.lab.guest.qemu, "_LAST_CONSOLE", tmp_path / "console")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(QuotaUnavailable, match="the guest ended before its jobs did") as caught:
        arm64_guest.run([Job(("true",)), Job(("sh", "-c", "echo c > /proc/sysrq-trigger"))])
    assert str(tmp_path / "console") in caught.value.remedy
    assert "Kernel panic" in (tmp_path / "console").read_text()
    with pytest.raises(QuotaUnavailable, match=r"did not end within 1 s"):
        run_jobs(arm64_guest.image, [Job(("cat", "/dev/zero"))], "guest-arm64", patience_s=1)
    assert [each.name for each in tmp_path.iterdir()] == ["console"]


def test_a_command_of_the_host_ends_as_the_one_inside_and_takes_its_guest_along(
    arm64_guest: GuestArm64Backend, tmp_path: Path
) -> None:
    with arm64_guest.open(Limits()) as group:
        argv = group.command(["sh", "-c", "echo out; echo err >&2; kill -USR1 $$"])
        done = subprocess.run(argv, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGUSR1, b"out\n", b"err\n")
        wrong = [each.replace(str(arm64_guest.image.folder), str(tmp_path)) for each in group.command(["true"])]
        assert subprocess.run(wrong, capture_output=True, check=False).returncode not in (0, FAILED)
        endless = subprocess.Popen(
            group.command(["cat", "/dev/zero"]), env={**os.environ, "TMPDIR": str(tmp_path)}, start_new_session=True
        )
        wait_until(lambda: bool(list(tmp_path.glob("nanonap-guest-*/console"))))
        qemu = next(
            int(each)
            for each in Path(f"/proc/{endless.pid}/task/{endless.pid}/children").read_text().split()
            if Path(f"/proc/{each}/comm").read_text().startswith("qemu")
        )
        begun = started(qemu)
        endless.kill()
        endless.wait(PATIENCE_S)
        wait_until(lambda: started(qemu) != begun and not list(tmp_path.glob("nanonap-guest-*")))
