"""A patch that is interrupted, at whatever moment, leaves the whole of it or nothing."""

import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import patcher
from nanonap.base.paths import PROJECT
from tests.patience import PATIENCE_S
from tests.soon import soon
from tests.warm import INVOKE

# What the command does to the output's folder, in this order; strace sends the signal as it enters the call.
MOMENTS = (
    ("openat", 1),  # the output's temporary file is made
    ("close", 1),
    ("openat", 2),  # … filled
    ("close", 2),
    ("openat", 3),  # … read back
    ("chown", 1),
    ("chmod", 1),
    ("openat", 4),  # the manifest's temporary file is made
    ("close", 4),
    ("openat", 5),
    ("fsync", 1),
    ("fsync", 2),
    ("link", 1),  # the manifest gets its name
    ("link", 2),  # the output gets its name
    ("unlink", 1),
    ("unlink", 2),
)
TRACED = "trace=openat,close,chown,chmod,fsync,link,rename,unlink"

Ordinals = dict[tuple[str, int], int]


def name_of(moment: tuple[str, int]) -> str:
    return f"{moment[0]}-{moment[1]}"


def command(program: Path, *options: str) -> list[str]:
    return [INVOKE, "patch", "--binary", str(program), "--out", str(program.with_name("out")), *options]


def strace(log: Path, *options: str) -> list[str]:
    return ["strace", "-qq", "-y", "-o", str(log), *options]


@pytest.fixture(scope="module")
def ordinals(sleepbench: Path, tmp_path_factory: pytest.TempPathFactory) -> Ordinals:
    """Moment → its number among all calls of that name that the command makes, counted in an undisturbed run.

    With --force the names are given by rename(2), else by link(2).
    """
    folder, log = tmp_path_factory.mktemp("undisturbed"), tmp_path_factory.mktemp("log") / "log"
    program = Path(shutil.copy2(sleepbench, folder / "program"))
    found: Ordinals = {}
    for options in ((), ("--force",)):
        traced = [*strace(log, "-e", TRACED), *command(program, *options)]
        subprocess.run(traced, cwd=PROJECT, capture_output=True, check=True)
        calls: Counter[str] = Counter()
        ours: Counter[str] = Counter()
        for line in log.read_text().splitlines():
            name = line.partition("(")[0]
            calls[name] += 1
            if ".part" in line:
                ours[name] += 1
                found.setdefault((name, ours[name]), calls[name])
    return found


@pytest.fixture
def clean(program: Path) -> Path:
    """The program in a folder of its own, with nothing beside it."""
    folder = program.with_name("folder")
    folder.mkdir()
    return program.rename(folder / "program")


Interrupt = Callable[..., tuple[int, str]]


@pytest.fixture
def interrupt(ordinals: Ordinals, clean: Path) -> Interrupt:
    """Run the command and send it a signal at a moment; its status and what it said."""

    def run(moment: tuple[str, int], number: signal.Signals, *options: str) -> tuple[int, str]:
        assert moment in ordinals, f"the command makes no such call any more; choose from {sorted(ordinals)}"
        log = clean.parent.with_name("log")
        inject = f"inject={moment[0]}:signal={number.name}:when={ordinals[moment]}"
        trace = strace(log, "-e", f"trace={moment[0]}", "-e", inject)
        done = subprocess.run(
            [*trace, *command(clean, *options)], cwd=PROJECT, capture_output=True, text=True, check=False
        )
        lines = log.read_text().splitlines()
        assert any(line.startswith(f"--- {number.name} ") for line in lines), "the signal was not sent"
        calls = [line for line in lines if line.startswith(f"{moment[0]}(")]
        assert ".part" in calls[ordinals[moment] - 1], "the signal was sent at another moment"
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("moment", soon(MOMENTS, *range(0, len(MOMENTS), 4)), ids=name_of)
def test_ctrl_c_leaves_the_whole_patch_or_nothing(interrupt: Interrupt, clean: Path, moment: tuple[str, int]) -> None:
    status, said = interrupt(moment, signal.SIGINT)
    assert_whole_or_absent(clean, status, said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", soon([("openat", 2), ("fsync", 1), ("link", 2)], 1), ids=name_of)
def test_a_polite_kill_and_a_closed_terminal_leave_the_whole_patch_or_nothing(
    interrupt: Interrupt, clean: Path, moment: tuple[str, int], number: signal.Signals
) -> None:
    status, said = interrupt(moment, number)
    assert_whole_or_absent(clean, status, said)


@pytest.mark.parametrize("moment", soon([("fsync", 1), ("rename", 1), ("fsync", 2), ("rename", 2)], 0, 3), ids=name_of)
def test_an_earlier_patch_is_replaced_whole_or_kept_whole(
    interrupt: Interrupt, clean: Path, moment: tuple[str, int]
) -> None:
    out = clean.with_name("out")
    patcher.patch(clean, out, "slack", slack_ns=50_000)
    interrupt(moment, signal.SIGINT, "--force")
    assert patcher.verify(out).manifest.strategy in ("slack", "netpoll")
    assert sorted(each.name for each in clean.parent.iterdir()) == ["out", "out.patch.json", "program"]


def assert_whole_or_absent(program: Path, status: int, said: str) -> None:
    left = sorted(each.name for each in program.parent.iterdir())
    assert left in (["program"], ["out", "out.patch.json", "program"])
    assert "Traceback" not in said
    if len(left) == 1:
        assert (status, said) == (130, "nanonap: interrupted; nothing half-written is left\n")
    else:
        patcher.verify(program.with_name("out"))
        assert status in (0, 130)


@pytest.mark.long
def test_signals_at_random_moments_leave_the_whole_patch_or_nothing(clean: Path) -> None:
    """Each moment is drawn from the time that an undisturbed run takes; whether it struck is not asserted."""
    begun = time.monotonic()
    subprocess.run(command(clean), cwd=PROJECT, capture_output=True, check=True)
    whole = time.monotonic() - begun
    draw = random.Random(2)  # noqa: S311 - not for secrets
    for number in [signal.SIGINT, signal.SIGTERM] * 3:
        for each in ("out", "out.patch.json"):
            clean.with_name(each).unlink(missing_ok=True)
        process = subprocess.Popen(command(clean), cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(draw.uniform(0.5, 1.05) * whole)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_S)
        left = sorted(each.name for each in clean.parent.iterdir())
        assert left in (["program"], ["out", "out.patch.json", "program"])
