"""survive's modes hold on stock binaries, and say so in the form that tests of patched ones rely on."""

import gzip
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import BuildProgram


@pytest.fixture(scope="module")
def survive(build_program: BuildProgram) -> Path:
    return build_program("survive")


def run(*command: str | Path) -> dict[str, Any]:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    figures: dict[str, Any] = json.loads(answer.stdout)
    assert figures["ok"]
    assert figures["sleeps"] > 0
    assert (figures["early"], figures["corrupted"]) == (0, 0)
    return figures


MORE_THAN_ZERO = {
    "gc": ("gcs",),
    "grow": ("gcs", "moved", "moved_asleep"),
    "signals": ("sent",),
    "io": ("messages", "deadlines"),
    "exec": ("children",),
}


@pytest.mark.parametrize("mode", MORE_THAN_ZERO)
def test_a_stock_program_survives(survive: Path, mode: str) -> None:
    figures = run(survive, "-mode", mode, "-for", "500ms", "-sleepers", "50")
    assert (figures["mode"], figures["sleepers"], figures["requested_ns"]) == (mode, 50, 1_000_000)
    assert all(figures[key] > 0 for key in MORE_THAN_ZERO[mode])
    assert all(count > 0 for count in figures.get("delivered", {}).values())


def test_ten_thousand_sleep_on_few_threads(survive: Path) -> None:
    figures = run(survive, "-mode", "many", "-for", "1s", "-requested", "100ms")
    assert figures["completed"] == figures["sleepers"] == 10_000
    assert 0 < figures["threads_peak"] < 100


@pytest.mark.parametrize(("mode", "seen"), [("profile", b"runtime.gcBgMarkWorker"), ("ticks", b"runtime.findRunnable")])
def test_a_profile_is_written_whole(survive: Path, tmp_path: Path, mode: str, seen: bytes) -> None:
    options = ("-mode", mode, "-for", "500ms", "-sleepers", "20", "-profile", tmp_path / "cpu.pprof")
    subprocess.run([survive, *options], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    profile = gzip.decompress((tmp_path / "cpu.pprof").read_bytes())
    assert seen in profile


def test_a_panic_shows_every_sleeper(survive: Path) -> None:
    command = [str(survive), "-mode", "panic", "-requested", "1h", "-sleepers", "50"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert json.loads(answer.stdout)["mode"] == "panic"
    assert answer.stderr.count("\ntime.Sleep(") >= 50


def test_a_quit_signal_meets_every_sleeper_asleep(survive: Path) -> None:
    command = [str(survive), "-mode", "wait", "-requested", "1h", "-for", "1h", "-sleepers", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGQUIT)
        _, traceback = process.communicate()
    assert process.returncode == 2
    assert traceback.count("\ntime.Sleep(") >= 50


def test_waiting_ends_by_itself_with_its_figures(survive: Path) -> None:
    answer = subprocess.run([survive, "-mode", "wait", "-for", "50ms"], capture_output=True, text=True, check=True)
    ready, figures = answer.stdout.splitlines()
    assert ready == "ready"
    assert json.loads(figures)["ok"]


@pytest.mark.parametrize(
    "options",
    [("-mode", "nap"), ("-sleepers", "0"), ("-for", "0s"), ("-mode", "profile"), ("-profile", "file"), ("word",)],
    ids=" ".join,
)
def test_bad_options_are_one_line_and_status_2(survive: Path, options: tuple[str, ...]) -> None:
    answer = subprocess.run([survive, *options], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
