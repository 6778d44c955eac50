"""path for real: one quick run on this machine, what it leaves behind, and what it does where something is missing."""

import os
import re
import shutil
import signal
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import polars as pl
import pytest

import patcher
from nanonap.lab.experiments.kit.base import Setting
from nanonap.lab.experiments.path.data import MANY, PERFED, RUNTIME, STRACED, TRACEPOINTS
from nanonap.lab.experiments.path.experiment import SleepPath
from nanonap.lab.experiments.path.programs import linked
from nanonap.lab.experiments.path.recorder import enable
from nanonap.lab.experiments.path.shown import CALL, FIRED, GOROUTINE
from nanonap.lab.experiments.path.strace import read_strace
from nanonap.lab.experiments.path.told import Teller, told_rows
from nanonap.lab.experiments.path.trace import ASLEEP, CLOCKS_APART_NS, SYSCALL
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.quota.docker import DockerBackend
from nanonap.lab.quota.none import NoBackend
from nanonap.toolchain.releases import release_toolchain
from nanonap.toolchain.wheels import DEFAULT_GO
from tests.conftest import BuildProgram
from tests.patience import PATIENCE_S

US, MS = 1_000, 1_000_000
ARMS = {"usleep": None, "sleep": None, "netpoll": None, "netpoll+slack1": 1}
#: Works with `true`, as the trial does, and with nothing else.
BROKEN = """out=$1; shift; : > "$out"; [ "$1" = true ]"""
#: strace, of whose record so many runs lose the ends of the sleeps.
LOSSY = """out=$1; shift; strace -f -ttt -T -e trace=gettid,epoll_pwait -o "$out" "$@"; status=$?
[ "$1" = true ] && exit; echo run >> "$RUNS"; [ "$(wc -l < "$RUNS")" -gt "$LOSES" ] || sed -i /gettid/d "$out"
exit $status"""


@pytest.fixture(scope="module")
def quick(build_program: BuildProgram, tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Path]:
    """One quick run for all, and its folder."""
    folder, program = tmp_path_factory.mktemp("path"), build_program("sleepbench")
    arms = {arm: folder / f"sleepbench.{arm}" for arm in ARMS}
    for arm, path in arms.items():
        patcher.patch(program, path, arm.partition("+")[0], slack_ns=ARMS[arm], accept_thread_cost=True)
    setting = Setting(True, NoBackend(), program, arms, Stop(), lambda text: None, folder)
    return SleepPath().run(setting), folder


def need(data: pl.DataFrame, *sources: str) -> None:
    """Skip where one of these cannot be had at all; a record that is there but does not add up is a failure."""
    missing = data.filter(pl.col("kind") == "missing", pl.col("source").is_in(sources))
    if missing.filter(pl.col("arm").is_null()).height:
        pytest.skip("; ".join(missing["missing"].unique()))
    assert missing["missing"].to_list() == []


@pytest.mark.long
@pytest.mark.parametrize("source", [TRACEPOINTS, STRACED, PERFED])
def test_every_arm_waits_where_it_was_patched_to(quick: tuple[pl.DataFrame, Path], source: str) -> None:
    data, _ = quick
    need(data, source)
    sleeps = data.filter(pl.col("kind") == "sleep", pl.col("source") == source)
    waits = {"stock": "epoll_pwait", "usleep": "epoll_pwait", "sleep": "clock_nanosleep"}
    for arm in ("stock", *ARMS):
        of_arm = sleeps.filter(pl.col("arm") == arm, pl.col("requested_ns") > 10 * MS)
        assert set(of_arm["call"]) == {waits.get(arm, "epoll_pwait2")}, arm


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "arm", "requested_ns", "argument"),
    [(TRACEPOINTS, "stock", 500 * US, "1 ms"), (STRACED, "sleep", 5 * MS, "5 ms")],
)
def test_a_call_gets_the_limit_of_its_sleep(
    quick: tuple[pl.DataFrame, Path], source: str, arm: str, requested_ns: int, argument: str
) -> None:
    data, _ = quick
    need(data, source)
    chosen = (pl.col("source") == source, pl.col("arm") == arm, pl.col("requested_ns") == requested_ns)
    arguments = data.filter(pl.col("kind") == "sleep", *chosen)["argument"]
    # A signal may interrupt a wait: what is left is a call of its own.
    assert arguments.str.split(" + ").list.first().mode().to_list() == [argument]


@pytest.mark.long
def test_stocks_goroutine_waits_and_that_of_sleep_is_in_a_system_call(quick: tuple[pl.DataFrame, Path]) -> None:
    states = quick[0].filter(pl.col("kind") == "sleep", pl.col("source").is_in([TRACEPOINTS, RUNTIME]))
    stock, asleep = (states.filter(pl.col("arm") == arm)["states"].to_list() for arm in ("stock", "sleep"))
    assert all(ASLEEP in each and SYSCALL not in each for each in stock)
    assert all(SYSCALL in each and ASLEEP not in each for each in asleep)
    many = quick[0].filter(pl.col("arm") == "stock", pl.col("sleepers") == MANY)
    assert max(many["threads"].to_list()) < MANY


@pytest.mark.long
def test_what_runs_for_real_is_judged_and_shown(quick: tuple[pl.DataFrame, Path], tmp_path: Path) -> None:
    data, _ = quick
    data.write_parquet(tmp_path / "data.parquet")
    again = pl.read_parquet(tmp_path / "data.parquet")
    found = {each.claim: each for each in SleepPath().judge(data)}
    assert SleepPath().judge(again) == list(found.values())
    # Whether three runs settle the rest depends on what else the machine does.
    assert found["T2"].figures["timerproc"] == 0
    assert found["T2"].outcome != "holds"
    assert len(SleepPath().tables(data)) == 4


@pytest.mark.long
def test_what_the_kernel_recorded_is_judged_and_drawn(quick: tuple[pl.DataFrame, Path]) -> None:
    data, _ = quick
    need(data, TRACEPOINTS)
    found = {each.claim: each for each in SleepPath().judge(data)}
    assert found["T1"].figures["stock"]["value"] < 0.5
    assert found["T5"].figures["nanosleep"]["value"] < found["T5"].figures["epoll"]["value"]
    assert ", 1 ms, " in found["T1"].sentence
    figure = SleepPath().draw(data)
    assert figure is not None
    assert sum("recorded under tracing" in axes.get_xlabel() for axes in figure.axes) == 2


@pytest.mark.long
def test_the_shown_sleep_is_one_story_on_one_clock(quick: tuple[pl.DataFrame, Path]) -> None:
    need(quick[0], TRACEPOINTS)
    spans = quick[0].filter(pl.col("kind") == "span")
    for arm in ("stock", "netpoll+slack1"):
        of_arm = spans.filter(pl.col("arm") == arm)
        actual_ns = of_arm["actual_ns"][0]
        begin_ns, end_ns = of_arm.filter(pl.col("lane") == CALL).select("begin_ns", "end_ns").row(0)
        (fired_ns,) = of_arm.filter(pl.col("name") == FIRED)["begin_ns"]
        woken = of_arm.filter(pl.col("lane") == GOROUTINE, pl.col("name") == "Runnable", pl.col("begin_ns") > 0)
        # The kernel's text is cut to whole µs, and netpoll's timer is set 1/128 short; the trace's moments come out a
        # little early.
        assert -US <= begin_ns < fired_ns < end_ns < actual_ns + US
        assert 100 * US - 2 * US <= fired_ns <= woken["begin_ns"][0] + CLOCKS_APART_NS


@pytest.mark.long
def test_go_tool_trace_opens_what_is_kept(quick: tuple[pl.DataFrame, Path]) -> None:
    _, folder = quick
    assert {each.name for each in folder.glob("trace-*.out")} == {f"trace-{arm}.out" for arm in ("stock", *ARMS)}
    toolchain = release_toolchain(DEFAULT_GO)
    command = [str(toolchain.go), "tool", "trace", "-http=127.0.0.1:0", str(folder / "trace-stock.out")]
    environment = {name: value for name, value in toolchain.environment().items() if name not in ("DISPLAY", "BROWSER")}
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        try:
            assert server.stderr is not None
            address = next(filter(None, (re.search(r"http://([\d.]+):(\d+)", line) for line in server.stderr)))
            connection = HTTPConnection(address[1], int(address[2]), timeout=PATIENCE_S)
            connection.request("GET", "/")
            page = connection.getresponse()
            assert page.status == 200
            assert b"trace" in page.read()
            connection.close()
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def test_a_trace_that_cannot_be_written_is_said(build_program: BuildProgram, tmp_path: Path) -> None:
    command = [str(build_program("sleepbench")), "-plan", "1ms*1", "-trace", str(tmp_path / "none" / "trace")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, b"no such file" in done.stderr) == (1, True)


def test_a_container_is_refused(build_program: BuildProgram, tmp_path: Path) -> None:
    elsewhere = object.__new__(DockerBackend)  # it needs no engine to be refused
    setting = Setting(True, elsewhere, build_program("sleepbench"), {}, Stop(), lambda text: None, tmp_path)
    with pytest.raises(QuotaUnavailable, match="--backend none"):
        SleepPath().run(setting)


def test_a_tracer_that_fails_with_the_program_alone_is_missing(build_program: BuildProgram, tmp_path: Path) -> None:
    program = linked(tmp_path, "stock", build_program("sleepbench"))
    teller = Teller(STRACED, (("sh", "-c", BROKEN, "tracer"),), read_strace, "mend it")
    (row,) = told_rows(teller, [(program, 3)], ((MS, 1),), tmp_path, Stop())
    assert (row["kind"], row["source"], row["arm"]) == ("missing", STRACED, "stock")
    assert "exit status 1" in row["missing"]


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace: apt-get install strace")
@pytest.mark.parametrize(("loses", "sleeps"), [(1, 2), (9, 0)])
def test_a_run_of_which_the_tracer_loses_events_is_made_again(
    build_program: BuildProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loses: int, sleeps: int
) -> None:
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("LOSES", str(loses))
    program = linked(tmp_path, "stock", build_program("sleepbench"))
    teller = Teller(STRACED, (("sh", "-c", LOSSY, "tracer"),), read_strace, "mend it")
    rows = list(told_rows(teller, [(program, 1)], ((MS, 3),), tmp_path, Stop()))
    assert [row["kind"] for row in rows].count("sleep") == sleeps  # of three the first has no beginning
    assert [row["missing"] for row in rows if row["kind"] == "missing"] == [
        "its record does not show the end of every sleep: 0 for 3 sleeps"
    ] * (loses > 3)


def test_a_kernel_before_epoll_pwait2_is_recorded_without_it(tmp_path: Path) -> None:
    """The events of such a kernel, as files: this one has them all."""
    waits = [f"syscalls/sys_{end}_{name}" for end in ("enter", "exit") for name in ("epoll_pwait", "clock_nanosleep")]
    for event in (*waits, "timer/hrtimer_start", "timer/hrtimer_expire_entry"):
        (tmp_path / event).mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="_nanosleep"):  # a call that is not recorded must not count as none
        enable(tmp_path, "sleepbench")
    for end in ("enter", "exit"):
        (tmp_path / f"syscalls/sys_{end}_nanosleep").mkdir()
    enable(tmp_path, "sleepbench")
    assert {str(each.parent.relative_to(tmp_path)) for each in tmp_path.rglob("enable")} == {
        *waits,
        *(f"syscalls/sys_{end}_nanosleep" for end in ("enter", "exit")),
        "timer/hrtimer_start",
        "timer/hrtimer_expire_entry",
    }
    assert (tmp_path / "syscalls/sys_exit_epoll_pwait/filter").read_text() == 'comm == "sleepbench"'
