"""A traceback taken while goroutines sleep in the new code shows each of them, frame by frame, as stock does."""

from collections import Counter

import pytest

from nanonap.trials.unwinding.asleep import SLEEPERS, Ended, quit_asleep
from nanonap.trials.unwinding.checks import quit_findings
from nanonap.trials.unwinding.survivors import DIES, STOCK
from nanonap.trials.unwinding.tracebacks import (
    Counted,
    in_system_calls,
    read_goroutines,
    signs_of_breakage,
    sleepers,
)
from tests.endtoend.arms import PATCHES, PATCHES_AND_LIVE, RELEASES, Survivors
from tests.soon import soon


def of_crew(counted: Counted) -> Counted:
    """Without main's goroutine, which the panic may meet on its way to sleep."""
    return Counter({key: count for key, count in counted.items() if "main.main" not in key[1]})


@pytest.mark.parametrize(("variant", "go"), PATCHES_AND_LIVE)
def test_a_quit_signal_shows_every_sleeper_and_its_duration_as_stock_does(
    survivors: Survivors, stock_ended: Ended, variant: str, go: str
) -> None:
    assert quit_findings(quit_asleep(survivors(variant, go), variant), variant, stock_ended) == []


@pytest.mark.parametrize("go", soon(RELEASES, 0))
@pytest.mark.parametrize("variant", PATCHES)
def test_a_panic_shows_every_sleeper_as_stock_does(survivors: Survivors, variant: str, go: str) -> None:
    options = ("-mode", "panic", "-requested", "1h", "-sleepers", str(SLEEPERS))
    stock, patched = survivors(STOCK, go).run(*options), survivors(variant, go).run(*options)
    assert patched.returncode == DIES
    assert "panic: survive: a panic while others sleep\n" in patched.stderr
    assert not signs_of_breakage(patched.stderr)
    expected = of_crew(sleepers(read_goroutines(stock.stderr)))
    assert expected.total() == SLEEPERS
    expected = in_system_calls(expected) if variant == "sleep" else expected
    assert of_crew(sleepers(read_goroutines(patched.stderr))) == expected
