"""Sleeps hold while signals arrive, files are read and written, processes start; and thousands sleep at once."""

import pytest

from nanonap.trials.unwinding.survivors import STOCK
from tests.endtoend.arms import PATCHES, Survivors

MORE_THAN_ZERO = {"signals": ("sent",), "io": ("messages", "deadlines"), "exec": ("children",)}


@pytest.mark.parametrize("mode", MORE_THAN_ZERO)
@pytest.mark.parametrize("variant", PATCHES)
def test_no_sleep_ends_early_under_strain(survivors: Survivors, variant: str, mode: str) -> None:
    figures = survivors(variant).figures("-mode", mode, "-for", "1s", "-sleepers", "100")
    assert all(figures[key] > 0 for key in MORE_THAN_ZERO[mode])
    assert all(count > 0 for count in figures.get("delivered", {}).values())


# Idle threads come and go with the machine's load: "no more than stock" means no more than it can come to by chance.
FEW_THREADS = 16


@pytest.mark.parametrize("variant", [each for each in PATCHES if each.startswith("netpoll")])
def test_ten_thousand_sleep_on_as_few_threads_as_in_stock(survivors: Survivors, variant: str) -> None:
    options = ("-mode", "many", "-for", "1s", "-requested", "100ms")
    stock, patched = survivors(STOCK).figures(*options), survivors(variant).figures(*options)
    assert patched["completed"] == patched["sleepers"] == 10_000
    assert patched["threads_peak"] <= stock["threads_peak"] + FEW_THREADS


@pytest.mark.parametrize("sleepers", [100, 300])
def test_strategy_sleep_costs_a_thread_for_each_sleeper(survivors: Survivors, sleepers: int) -> None:
    options = ("-mode", "many", "-for", "500ms", "-requested", "100ms", "-sleepers", str(sleepers))
    figures = survivors("sleep").figures(*options)
    assert figures["completed"] == sleepers
    assert sleepers <= figures["threads_peak"] <= sleepers + FEW_THREADS
