"""With GOTRACEBACK=crash every thread tells its own stack: those that wait in the new code tell it whole."""

import signal

import pytest

from tests.endtoend.asleep import CLOCK_NANOSLEEP, SLEEPERS, Thread, quit_asleep, started, wait_until
from tests.endtoend.survivors import RELEASES, Survivors
from tests.endtoend.tracebacks import BROKEN, Goroutine, read_goroutines, read_threads

SCHEDULER = ("runtime.netpoll", "runtime.findRunnable", "runtime.schedule")


@pytest.mark.parametrize("go", RELEASES)
@pytest.mark.parametrize("variant", ["netpoll", "netpoll+slack1"])
def test_the_thread_that_waits_in_netpoll_shows_its_scheduler(survivors: Survivors, variant: str, go: str) -> None:
    survivor = survivors(variant, go)
    status, dump = quit_asleep(survivor, variant, GOTRACEBACK="crash")
    assert status == -signal.SIGABRT
    assert not [sign for sign in BROKEN if sign in dump]
    there = [each.first for each in read_threads(dump) if survivor.in_stub(each.pc)]
    assert there
    assert {(each.number, each.frames[:3]) for each in there} == {(0, SCHEDULER)}


@pytest.mark.parametrize("go", RELEASES)
def test_each_thread_that_waits_in_time_sleep_shows_its_goroutine(survivors: Survivors, go: str) -> None:
    survivor = survivors("sleep", go)
    status, dump = quit_asleep(survivor, "sleep", GOTRACEBACK="crash")
    assert status == -signal.SIGABRT
    assert not [sign for sign in BROKEN if sign in dump]
    there = [each.first for each in read_threads(dump) if survivor.in_stub(each.pc)]
    assert len(there) > SLEEPERS
    assert not [each for each in there if not is_whole_sleeper(each)]


def is_whole_sleeper(goroutine: Goroutine) -> bool:
    """From time.Sleep to where every goroutine begins."""
    return goroutine.frames[0] == "time.Sleep" and "runtime.goexit" in goroutine.frames


@pytest.mark.parametrize("go", RELEASES)
def test_a_thread_that_waits_in_usleep_shows_its_callers(survivors: Survivors, go: str) -> None:
    """The system call stays inside the function, whatever lies in the padding."""
    survivor = survivors("usleep", go)

    def waits_in_stub(seen: list[Thread]) -> bool:
        return any(each.system_call == CLOCK_NANOSLEEP and survivor.in_stub(each.pc) for each in seen)

    with started(survivor, "-mode", "wait", "-for", "1h", "-sleepers", "5", GOTRACEBACK="crash") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        wait_until(process, waits_in_stub)
        process.send_signal(signal.SIGQUIT)
        _, dump = process.communicate()
    assert process.returncode == -signal.SIGABRT
    assert not [sign for sign in BROKEN if sign in dump]
    asleep = [each for each in read_goroutines(dump) if each.state == "sleep"]
    assert asleep
    assert not [each for each in asleep if "runtime.goexit" not in each.frames]
