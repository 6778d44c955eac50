"""A traceback taken while goroutines sleep in the new code shows each of them, frame by frame, as stock does."""

import re
from collections import Counter

import pytest

from tests.endtoend.asleep import SLEEPERS, quit_asleep
from tests.endtoend.survivors import DIES, PATCHES, RELEASES, STOCK, Survivors
from tests.endtoend.tracebacks import BROKEN, Counted, read_goroutines, sleepers

SLEEP_CALL = re.compile(r"^time\.Sleep\(.*\)$", re.MULTILINE)


def of_crew(counted: Counted) -> Counted:
    """Without main's goroutine, which the panic may meet on its way to sleep."""
    return Counter({key: count for key, count in counted.items() if "main.main" not in key[1]})


def in_system_calls(counted: Counted) -> Counted:
    """The same goroutines, in a system call where stock has them parked."""
    return Counter({("syscall", frames): count for (_, frames), count in counted.items()})


@pytest.mark.parametrize("go", RELEASES)
@pytest.mark.parametrize("variant", PATCHES)
def test_a_quit_signal_shows_every_sleeper_as_stock_does(survivors: Survivors, variant: str, go: str) -> None:
    _, of_stock = quit_asleep(survivors(STOCK, go), STOCK)
    status, traceback = quit_asleep(survivors(variant, go), variant)
    assert status == DIES
    assert not [sign for sign in BROKEN if sign in traceback]
    expected = sleepers(read_goroutines(of_stock))
    assert expected.total() == SLEEPERS + 1
    assert {state for state, _ in expected} == {"sleep"}
    expected = in_system_calls(expected) if variant == "sleep" else expected
    assert sleepers(read_goroutines(traceback)) == expected


@pytest.mark.parametrize("go", RELEASES)
@pytest.mark.parametrize("variant", PATCHES)
def test_a_panic_shows_every_sleeper_as_stock_does(survivors: Survivors, variant: str, go: str) -> None:
    options = ("-mode", "panic", "-requested", "1h", "-sleepers", str(SLEEPERS))
    stock, patched = survivors(STOCK, go).run(*options), survivors(variant, go).run(*options)
    assert patched.returncode == DIES
    assert "panic: survive: a panic while others sleep\n" in patched.stderr
    assert not [sign for sign in BROKEN if sign in patched.stderr]
    expected = of_crew(sleepers(read_goroutines(stock.stderr)))
    assert expected.total() == SLEEPERS
    expected = in_system_calls(expected) if variant == "sleep" else expected
    assert of_crew(sleepers(read_goroutines(patched.stderr))) == expected


@pytest.mark.parametrize("go", RELEASES)
@pytest.mark.parametrize("variant", PATCHES)
def test_a_traceback_tells_the_duration_that_was_asked_for(survivors: Survivors, variant: str, go: str) -> None:
    _, of_stock = quit_asleep(survivors(STOCK, go), STOCK)
    _, traceback = quit_asleep(survivors(variant, go), variant)
    told = Counter(SLEEP_CALL.findall(of_stock))
    assert told.total() >= SLEEPERS
    assert Counter(SLEEP_CALL.findall(traceback)) == told
