"""What people may write for quotas, loads, durations and arms, and what they are told when they may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanonap.base.errors import UsageError
from nanonap.lab.plan.arms import ARM_NAMES, DEFAULT_ARMS, floor_of, select
from nanonap.lab.plan.conditions import COST, PRIMARY, Condition, conditions, parse_load, requested_durations
from nanonap.lab.plan.schedule import SIZES
from nanonap.lab.quota.limits import Quota, parse_memory, parse_quota, parse_weight


@pytest.mark.parametrize(
    ("text", "quota_ns", "period_ns"),
    [
        ("50%", 50_000_000, 100_000_000),
        ("50%/10ms", 5_000_000, 10_000_000),
        ("150%", 150_000_000, 100_000_000),
        ("12.5%", 12_500_000, 100_000_000),
        ("1%", 1_000_000, 100_000_000),
        ("100%/1ms", 1_000_000, 1_000_000),
        ("10%/1s", 100_000_000, 1_000_000_000),
        ("250m", 25_000_000, 100_000_000),
        ("2cpu", 200_000_000, 100_000_000),
        ("500m/20ms", 10_000_000, 20_000_000),
    ],
)
def test_a_quota_is_a_share_of_one_cpu_over_a_period(text: str, quota_ns: int, period_ns: int) -> None:
    assert parse_quota(text) == Quota(quota_ns, period_ns)


def test_none_is_no_quota() -> None:
    assert parse_quota("none") == Quota()
    assert not parse_quota("none").limited


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.5%", "at least 1ms"),
        ("50%/1ms", "at least 1ms"),
        ("0%", "without CPU time"),
        ("0", "without CPU time"),
        ("-1", "no limit write none"),
        ("-50%", "no limit write none"),
        ("50GHz", "is not a quota"),
        ("50%+burst=60ms", "up to the quota, 50ms"),
        ("50%/10ms+burst=5.1ms", "up to the quota, 5ms"),
        ("50%+burst=0ms", "whole, positive"),
        ("50%+burst=100ns", "whole µs"),
        ("50%+burst=", "is not a quota"),
        ("none+burst=5ms", "is not a quota"),
        ("33.33333%", "whole µs"),
        ("50%/2s", "from 1ms to 1s"),
        ("50%/500us", "from 1ms to 1s"),
        ("50%/1.0000005s", "from 1ms to 1s"),
        ("50", "is not a quota"),
        ("half", "is not a quota"),
        ("50%/", "is not a quota"),
        ("9" * 35 + "%", "is not a quota"),
        ("1." + "1" * 40 + "%", "is not a quota"),
        ("5m", "longer period"),
        ("", "is not a quota"),
    ],
)
def test_a_quota_that_the_kernel_would_refuse_is_refused_with_the_limit(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_quota(text)


@given(
    quota_us=st.integers(1_000, 8_000_000),
    period_us=st.sampled_from([1_000, 5_000, 10_000, 100_000, 250_000, 1_000_000]),
    burst_us=st.integers(0, 4_000_000),
)
def test_a_quota_written_out_reads_back_as_itself(quota_us: int, period_us: int, burst_us: int) -> None:
    quota = Quota(quota_us * 1_000, period_us * 1_000, burst_us * 1_000 if burst_us <= quota_us else 0)
    assert parse_quota(str(quota)) == quota


@pytest.mark.parametrize(
    "text", ["quiet", "burn:1", "burn:16", "sibling:2", "gc:1", "sleepers:50", "aligned:10000", "idle"]
)
def test_a_load_written_out_reads_back_as_itself(text: str) -> None:
    assert str(parse_load(text)) == text


@pytest.mark.parametrize(
    "text", ["burn", "burn:0", "burn:-1", "quiet:1", "burn:5000", "sleepers:10001", "aligned", "idle:1", "noise", ""]
)
def test_a_load_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"quiet, burn:1|from 1 to 1000|from 1 to 10000"):
        parse_load(text)


def test_by_default_both_quotas_meet_both_loads_and_the_cost_workload_runs_without_quota() -> None:
    half = parse_quota("50%")
    burn = parse_load("burn:1")
    expected = {PRIMARY, COST, Condition(Quota(), burn), Condition(half, PRIMARY.load), Condition(half, burn)}
    assert set(conditions(None, None)) == expected


def test_the_cost_workload_needs_to_be_asked_for_when_loads_are_named() -> None:
    assert conditions("none", "quiet") == (PRIMARY,)
    assert COST in conditions("none", "sleepers:50")
    assert COST not in conditions("50%", None)


def test_requested_durations_are_sorted_and_not_repeated() -> None:
    assert requested_durations("1ms,50us,1000us") == (50_000, 1_000_000)


@pytest.mark.parametrize("text", ["", ",", "0", "5", "-1ms", "1h", "20s"])
def test_durations_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        requested_durations(text)


def test_arms_come_in_their_own_order_whatever_the_order_asked() -> None:
    assert select("floor,stock") == ("stock", "floor")
    assert select(None) == DEFAULT_ARMS
    assert select("all") == select(None, every=True) == ARM_NAMES


def test_an_unknown_arm_is_named_beside_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"no such arm: nonsense; choose from stock, .*floor\+slack1"):
        select("stock,nonsense")
    with pytest.raises(UsageError):
        select(" , ")


def test_an_arm_is_compared_with_the_floor_at_its_own_slack() -> None:
    assert floor_of("netpoll") == "floor"
    assert floor_of("rebuilt") == "floor"
    for arm in ("netpoll+slack1", "netpoll+slack1+spin", "rebuilt+slack1", "stock+prctl"):
        assert floor_of(arm) == "floor+slack1"


def test_no_two_sleepers_out_of_step_are_ever_due_at_an_instant() -> None:
    for count in (1, 50, 1_000, 10_000):
        load = parse_load(f"sleepers:{count}")
        assert load.interval_ns >= count * load.phase_ns
        assert load.interval_ns >= 1_000_000
        in_step = parse_load(f"aligned:{count}")
        assert (in_step.phase_ns, in_step.interval_ns) == (0, load.interval_ns)


def test_a_full_bench_has_every_cost_workload() -> None:
    loads = {str(each.load) for each in conditions(None, None, every_cost=True)}
    assert {"idle", "sleepers:1", "sleepers:50", "sleepers:1000", "sleepers:10000", "aligned:50"} <= loads
    assert {str(each.load) for each in conditions(None, None, named="cost")} == loads - {"quiet", "burn:1"}


def test_gomaxprocs_makes_conditions_of_its_own() -> None:
    made = conditions("50%", "quiet", "1,2")
    assert [each.gomaxprocs for each in made] == [1, 2]
    assert "GOMAXPROCS 2" in str(made[1])


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1,,x", "5000"])
def test_a_gomaxprocs_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="gomaxprocs"):
        conditions("50%", "quiet", text)


def test_a_named_set_stands_for_its_quotas_and_loads() -> None:
    quotas = {str(each.quota) for each in conditions(None, None, named="kubernetes")}
    assert quotas == {"10%", "25%", "50%", "100%", "200%"}


def test_a_named_set_that_is_unknown_or_mixed_with_quotas_is_refused() -> None:
    with pytest.raises(UsageError, match="article, kubernetes"):
        conditions(None, None, named="nomad")
    with pytest.raises(UsageError, match="leave --quota and --load out"):
        conditions("50%", None, named="article")


@pytest.mark.parametrize("text", ["0", "10001", "-5", "heavy", "1.5"])
def test_a_weight_outside_the_kernels_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="from 1 to 10000"):
        parse_weight(text)


@pytest.mark.parametrize("text", ["0", "100", "1.5G", "64MB", "-1", "1048577", "lots"])
def test_a_memory_limit_that_the_kernel_would_change_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="memory-max"):
        parse_memory(text)


def test_memory_is_given_in_powers_of_1024() -> None:
    assert (parse_memory("64M"), parse_memory("1G"), parse_memory("2048K")) == (64 << 20, 1 << 30, 2 << 20)


def test_the_default_conditions_are_those_that_the_report_answers_about() -> None:
    assert str(PRIMARY) == "quota none, load quiet"
    assert str(COST) == "quota none, load sleepers:50"
    assert set(SIZES) == {"quick", "default", "full"}
