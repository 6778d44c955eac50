"""Patched programs keep sleeping right where a sandbox refuses their new system call; strace shows what they call."""

import errno
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import patcher
from nanonap.toolchain.releases import NEWEST, installed_releases
from tests.conftest import BuildProgram
from tests.patcher.tracing import Call, finished, named, request, timeout_ms, timeout_ns, traced
from tests.soon import soon
from tests.toolchain.conftest import Run, read_run

REFUSE = Path(__file__).with_name("refuse.py")
# Of prctl only the option that the entry stub uses: sleepbench itself reads its timer slack by prctl.
EPOLL_PWAIT2, CLOCK_NANOSLEEP, SET_TIMERSLACK = "441", "230", "157/29"
PRECISE = patcher.Wait()
QUANTUM_NS, DENSE_NS, SPIN_NS = 500_000, 32_768, 40_000
ARMS: dict[str, tuple[str, int | None, patcher.Wait]] = {
    "netpoll": ("netpoll", None, PRECISE),
    "netpoll+slack1": ("netpoll", 1, PRECISE),
    "netpoll+slack1+quantum": ("netpoll", 1, patcher.Wait(quantum_ns=QUANTUM_NS)),
    "netpoll+quantum+dense": ("netpoll", None, patcher.Wait(QUANTUM_NS, DENSE_NS)),
    "netpoll+slack1+spin": ("netpoll", 1, patcher.Wait(spin_ns=SPIN_NS)),
    "sleep": ("sleep", None, PRECISE),
    "usleep": ("usleep", None, PRECISE),
    "stock+slack1": ("slack", 1, PRECISE),
}
NETPOLLS = tuple(name for name, (strategy, _, _) in ARMS.items() if strategy == "netpoll")
AFFECTED = {
    EPOLL_PWAIT2: NETPOLLS,
    CLOCK_NANOSLEEP: ("sleep", "usleep"),
    SET_TIMERSLACK: ("netpoll+slack1", "stock+slack1"),
}
REFUSALS = [
    (arm, call, refusal) for call, arms in AFFECTED.items() for arm in arms for refusal in (errno.ENOSYS, errno.EPERM)
]
PLAN = ("-plan", "50us*20,1ms*10,2500us*10", "-sleepers", "3", "-warmup", "2")
PLANNED_NS = (50_000, 1_000_000, 2_500_000)
SAMPLES = 3 * 40
OWN_SLACK_NS = int(Path("/proc/self/timerslack_ns").read_text())  # inherited by what a test starts

Arms = Callable[[str], Path]


@pytest.fixture(scope="module")
def arm(build_program: BuildProgram, tmp_path_factory: pytest.TempPathFactory) -> Arms:
    stock, folder = build_program("sleepbench"), tmp_path_factory.mktemp("arms")

    def make(name: str) -> Path:
        if name == "stock":
            return stock
        out = folder / name
        if not out.exists():
            make_arm(name, stock, out)
        return out

    return make


def make_arm(name: str, stock: Path, out: Path) -> None:
    strategy, slack_ns, wait = ARMS[name]
    patcher.patch(stock, out, strategy, slack_ns=slack_ns, wait=wait, accept_thread_cost=True)


def method(name: str) -> tuple[str, ...]:
    """Strategy usleep changes runtime.usleep alone, so that is what must be called to see it."""
    return ("-method", "usleep") if name == "usleep" else ()


def refusing(call: str, refusal: int) -> list[str]:
    return [sys.executable, str(REFUSE), call, str(refusal)]


def assert_right(run: Run, samples: int) -> None:
    assert run.header["n"] == samples
    assert not run.header["truncated"]
    assert (run.columns["actual_ns"] >= run.columns["requested_ns"]).all()


@pytest.mark.parametrize("name", ["stock", *ARMS])
def test_every_arm_sleeps_right_where_nothing_is_refused(arm: Arms, name: str) -> None:
    done = finished(arm(name), *PLAN, *method(name))
    assert_right(read_run(done.stdout), SAMPLES)
    assert done.stderr == b""


@pytest.mark.parametrize(("name", "call", "refusal"), REFUSALS)
def test_a_patched_program_sleeps_right_where_its_call_is_refused(
    arm: Arms, name: str, call: str, refusal: int
) -> None:
    command = [*refusing(call, refusal), str(arm(name)), *PLAN, *method(name)]
    done = finished(*command)
    run = read_run(done.stdout)
    assert_right(run, SAMPLES)
    assert done.stderr == b""
    if call == SET_TIMERSLACK:
        assert run.header["timer_slack_ns"] != 1


@pytest.mark.parametrize("go", soon([each for each in installed_releases(say=False) if each != NEWEST], long=(0,)))
def test_every_release_sleeps_right_whatever_is_refused(build_program: BuildProgram, tmp_path: Path, go: str) -> None:
    stock = build_program("sleepbench", go)
    for name in ARMS:
        make_arm(name, stock, tmp_path / name)
        done = finished(tmp_path / name, *PLAN, *method(name))
        assert_right(read_run(done.stdout), SAMPLES)
    for name, call, refusal in REFUSALS:
        done = finished(*refusing(call, refusal), str(tmp_path / name), *PLAN, *method(name))
        assert_right(read_run(done.stdout), SAMPLES)
        assert done.stderr == b""


@pytest.mark.parametrize("refusal", [errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize("slack", [("netpoll", 1), ("slack", 1)])
def test_a_program_survives_where_all_of_prctl_is_refused(
    build_program: BuildProgram, tmp_path: Path, slack: tuple[str, int], refusal: int
) -> None:
    out = tmp_path / "survive"
    patcher.patch(build_program("survive"), out, slack[0], slack_ns=slack[1])
    command = [*refusing("157", refusal), str(out), "-mode", "gc", "-sleepers", "20", "-for", "500ms"]
    answer = json.loads(finished(*command).stdout)
    assert answer["ok"]
    assert (answer["early"], answer["corrupted"]) == (0, 0)
    assert answer["sleeps"] > 20


def test_stock_calls_neither_of_the_new_calls(arm: Arms, tmp_path: Path) -> None:
    run, threads = traced(tmp_path / "log", arm("stock"), *PLAN)
    assert_right(run, SAMPLES)
    assert named(threads, "epoll_pwait2") == named(threads, "clock_nanosleep") == []
    assert named(threads, "epoll_pwait")


@pytest.mark.parametrize("name", ["netpoll", "netpoll+slack1"])
def test_netpoll_asks_epoll_pwait2_for_positive_timeouts_and_no_others(arm: Arms, tmp_path: Path, name: str) -> None:
    run, threads = traced(tmp_path / "log", arm(name), *PLAN)
    assert_right(run, SAMPLES)
    new = [timeout_ns(each) for each in named(threads, "epoll_pwait2")]
    assert len(new) > 20
    assert min(new) > 0
    assert any(each % 1_000_000 for each in new)
    assert {timeout_ms(each) for each in named(threads, "epoll_pwait")} <= {-1, 0}


def test_with_a_quantum_no_wait_is_shorter_and_a_longer_one_is_not_rounded(arm: Arms, tmp_path: Path) -> None:
    run, threads = traced(tmp_path / "log", arm("netpoll+slack1+quantum"), *PLAN)
    assert_right(run, SAMPLES)
    asked = [timeout_ns(each) for each in named(threads, "epoll_pwait2")]
    assert len(asked) > 20
    assert min(asked) == QUANTUM_NS
    assert any(each > QUANTUM_NS and each % QUANTUM_NS for each in asked)


def test_with_dense_only_the_shortest_waits_last_a_quantum(arm: Arms, tmp_path: Path) -> None:
    run, threads = traced(tmp_path / "log", arm("netpoll+quantum+dense"), *PLAN)
    assert_right(run, SAMPLES)
    asked = [timeout_ns(each) for each in named(threads, "epoll_pwait2")]
    assert len(asked) > 20
    assert min(asked) >= DENSE_NS
    assert any(DENSE_NS <= each < QUANTUM_NS for each in asked)


def test_with_a_margin_waits_are_shorter_and_then_polled_through(arm: Arms, tmp_path: Path) -> None:
    run, threads = traced(tmp_path / "log", arm("netpoll+slack1+spin"), *PLAN)
    assert_right(run, SAMPLES)
    asked = [timeout_ns(each) for each in named(threads, "epoll_pwait2")]
    assert 0 in asked  # strace slows every call down, so that few fit into the margin
    longest = max(PLANNED_NS)
    assert longest // 2 < max(asked) <= longest - longest // 128 - SPIN_NS
    assert {timeout_ms(each) for each in named(threads, "epoll_pwait")} <= {-1, 0}


@pytest.mark.parametrize("refusal", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("name", NETPOLLS)
def test_a_refused_epoll_pwait2_is_followed_by_the_stock_wait_and_asked_once(
    arm: Arms, tmp_path: Path, name: str, refusal: str
) -> None:
    filtered = refusing(EPOLL_PWAIT2, getattr(errno, refusal))
    run, threads = traced(tmp_path / "log", *filtered, arm(name), *PLAN)
    assert_right(run, SAMPLES)
    pairs = [pair for thread in threads for pair in itertools.pairwise(thread) if pair[0].name == "epoll_pwait2"]
    assert len(pairs) > 20
    for new, stock in pairs:
        assert new.result.startswith(f"-1 {refusal} ")
        assert stock.name == "epoll_pwait"
        assert stock.arguments.partition(",")[0] == new.arguments.partition(",")[0]
        assert timeout_ms(stock) >= 1  # strace does not show the timeout of a refused call; the proof compares them


def test_sleep_waits_in_clock_nanosleep_as_long_as_asked(arm: Arms, tmp_path: Path) -> None:
    run, threads = traced(tmp_path / "log", arm("sleep"), *PLAN)
    assert_right(run, SAMPLES)
    asked = Counter(request(each) for each in not_resumed(threads))
    assert asked == {(0, 50_000): 3 * 22, (0, 1_000_000): 3 * 10, (0, 2_500_000): 3 * 10}


def not_resumed(threads: list[list[Call]]) -> list[Call]:
    """The waits that were asked for; a wait behind an interrupted one is for what remained of it."""
    found = []
    for thread in threads:
        interrupted = False
        for call in thread:
            if call.name == "clock_nanosleep":
                found += [] if interrupted else [call]
                interrupted = "ERESTART" in call.result
    return found


def test_usleep_turns_every_nanosleep_into_clock_nanosleep(arm: Arms, tmp_path: Path) -> None:
    run, stock = traced(tmp_path / "stock", arm("stock"), *PLAN, "-method", "usleep")
    assert_right(run, SAMPLES)
    run, patched = traced(tmp_path / "patched", arm("usleep"), *PLAN, "-method", "usleep")
    assert_right(run, SAMPLES)
    assert named(stock, "clock_nanosleep") == named(patched, "nanosleep") == []
    assert len(named(stock, "nanosleep")) >= SAMPLES
    asked = Counter(request(each) for each in named(patched, "clock_nanosleep"))
    assert asked[0, 1_000_000] >= 30
    assert asked[0, 2_500_000] >= 30


def test_usleep_does_not_change_what_time_sleep_calls(arm: Arms, tmp_path: Path) -> None:
    run, threads = traced(tmp_path / "log", arm("usleep"), *PLAN)
    assert_right(run, SAMPLES)
    assert len([each for each in named(threads, "epoll_pwait") if timeout_ms(each) > 0]) > 20
    assert (0, 2_500_000) not in {request(each) for each in named(threads, "clock_nanosleep")}


@pytest.mark.parametrize("refusal", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("name", ["sleep", "usleep"])
def test_a_refused_clock_nanosleep_is_followed_by_nanosleep(arm: Arms, tmp_path: Path, name: str, refusal: str) -> None:
    filtered = refusing(CLOCK_NANOSLEEP, getattr(errno, refusal))
    run, threads = traced(tmp_path / "log", *filtered, arm(name), *PLAN, *method(name))
    assert_right(run, SAMPLES)
    pairs = [pair for thread in threads for pair in itertools.pairwise(thread) if pair[0].name == "clock_nanosleep"]
    assert len(pairs) >= SAMPLES
    for new, stock in pairs:
        assert new.result.startswith(f"-1 {refusal} ")
        assert (stock.name, request(stock)) == ("nanosleep", request(new))


@pytest.mark.parametrize(("name", "slack_ns"), [("stock", OWN_SLACK_NS), ("stock+slack1", 1), ("netpoll+slack1", 1)])
def test_a_slack_is_set_once_and_covers_every_thread(arm: Arms, tmp_path: Path, name: str, slack_ns: int) -> None:
    run, threads = traced(tmp_path / "log", arm(name), *PLAN)
    set_calls = [each for each in named(threads, "prctl") if each.arguments.startswith("PR_SET_TIMERSLACK")]
    assert [each.arguments for each in set_calls] == ["PR_SET_TIMERSLACK, 1"] * (name != "stock")
    assert run.header["timer_slack_ns"] == slack_ns
