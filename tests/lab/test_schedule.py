"""The order of runs: seeded, shuffled, interleaved, and within the time allowed."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nanonap.lab.plan.arms import ARM_NAMES, DEFAULT_ARMS, Arm
from nanonap.lab.plan.conditions import COST, DEFAULT_REQUESTED_NS, PRIMARY, Condition, conditions, is_apart, parse_load
from nanonap.lab.plan.schedule import SIZES, Budget, Run, Size, fits, make_schedule
from nanonap.lab.quota.limits import Quota

ARMS = [Arm(name, Path("/sleepbench"), "sleep", None, None, "1.27.3", "") for name in ARM_NAMES if name != "control"]
CONDITIONS = conditions(None, None)
DEFAULT = SIZES["default"]

# The machine is shared: no test here is about its own speed.
sizes = st.sampled_from(list(SIZES.values()))
seeds = st.integers(0, 2**31)
chosen_arms = st.lists(st.sampled_from(ARMS), min_size=1, unique_by=lambda arm: arm.name)
chosen_conditions = st.lists(st.sampled_from(CONDITIONS), min_size=1, unique=True)
durations = st.lists(st.integers(1_000, 10_000_000_000), min_size=1, max_size=6, unique=True)


@given(chosen_arms, chosen_conditions, sizes, seeds)
def test_a_block_has_every_arm_once_under_each_of_its_conditions(
    arms: list[Arm], wanted: list[Condition], size: Size, seed: int
) -> None:
    for number, block in enumerate(make_schedule(arms, wanted, DEFAULT_REQUESTED_NS, size, seed)):
        pairs = [(run.arm.name, run.condition) for run in block]
        assert len(pairs) == len(set(pairs))
        for condition in {run.condition for run in block}:
            assert {name for name, own in pairs if own == condition} == {arm.name for arm in arms}
        assert {run.block for run in block} <= {number}


@given(chosen_conditions, sizes, seeds)
def test_every_condition_has_its_number_of_blocks_and_is_in_the_first(
    wanted: list[Condition], size: Size, seed: int
) -> None:
    schedule = make_schedule(ARMS, wanted, DEFAULT_REQUESTED_NS, size, seed)
    assert {run.condition for run in schedule[0]} == set(wanted)
    for condition in wanted:
        blocks = sum(any(run.condition == condition for run in block) for block in schedule)
        many = condition in (PRIMARY, COST) or not {PRIMARY, COST} & set(wanted)
        assert blocks == (size.blocks if many else size.loaded_blocks)


@given(seeds)
def test_the_same_seed_gives_the_same_schedule_and_another_another(seed: int) -> None:
    def order(chosen: int) -> list[tuple[str, str, int]]:
        schedule = make_schedule(ARMS, CONDITIONS, DEFAULT_REQUESTED_NS, DEFAULT, chosen)
        return [(run.arm.name, str(run.condition), run.seed) for block in schedule for run in block]

    assert order(seed) == order(seed)
    assert order(seed) != order(seed + 1)


def test_blocks_are_not_all_in_the_same_order() -> None:
    schedule = make_schedule(ARMS, [PRIMARY], DEFAULT_REQUESTED_NS, DEFAULT, 1)
    assert len({tuple(run.arm.name for run in block) for block in schedule}) > 1


@given(durations, sizes, seeds)
def test_every_requested_duration_is_in_every_plan_shortest_first(requested: list[int], size: Size, seed: int) -> None:
    for run in make_schedule(ARMS[:1], [PRIMARY], requested, size, seed)[0]:
        assert [requested_ns for requested_ns, _ in run.plan] == sorted(requested)
        assert all(samples >= 1 for _, samples in run.plan)


def test_the_default_mode_has_ten_blocks_of_the_quiet_condition_or_more() -> None:
    assert DEFAULT.blocks >= 10
    assert SIZES["full"].blocks >= 20


def test_runs_with_neighbours_or_under_quota_are_bounded_in_time() -> None:
    for run in make_schedule(ARMS, CONDITIONS, DEFAULT_REQUESTED_NS, DEFAULT, 1)[0]:
        options = run.options(gomaxprocs=2)
        assert run.max_time_ns > 0
        assert options[options.index("-max-time") + 1] == f"{run.max_time_ns}ns"
        if run.condition not in (PRIMARY, COST):
            assert run.max_time_ns == DEFAULT.loaded_max_ns


def test_the_cost_workload_is_fifty_sleepers_on_absolute_schedules_of_a_millisecond() -> None:
    block = make_schedule(ARMS, [COST], DEFAULT_REQUESTED_NS, DEFAULT, 1)[0]
    options = block[0].options(gomaxprocs=2)
    text = " ".join(options)
    assert "-sleepers 50 -pace absolute -phase 20us" in text
    assert options[options.index("-plan") + 1] == f"1ms*{DEFAULT.cost_samples}"
    assert block[0].planned == 50 * DEFAULT.cost_samples


def _blocks(count: int) -> list[list[Run]]:
    return make_schedule(ARMS[:2], [PRIMARY], [100_000], DEFAULT, 1)[:count]


def test_blocks_that_would_end_too_late_are_not_affordable() -> None:
    budget = Budget(DEFAULT)
    blocks = _blocks(4)
    for run in blocks[0]:
        budget.add(run, took_ns=10_000_000_000)
    room_ns = DEFAULT.limit_ns - DEFAULT.reserve_ns
    assert budget.estimate_ns(blocks[1]) == 20_000_000_000
    assert budget.affordable(blocks, elapsed_ns=room_ns - 61_000_000_000) == 3
    assert budget.affordable(blocks, elapsed_ns=room_ns - 61_000_000_000, afterwards_ns=2_000_000_000) == 2
    assert budget.affordable(blocks, elapsed_ns=room_ns) == 0


def test_before_anything_ran_the_plan_is_the_estimate() -> None:
    run = _blocks(1)[0][0]
    assert Budget(DEFAULT, overhead_ns=5).estimate_ns([run]) == run.expected_ns + 5


def test_the_modes_plan_to_end_within_their_limits() -> None:
    for size in SIZES.values():
        full = size.name == "full"
        arms = [arm for arm in ARMS if full or arm.name in DEFAULT_ARMS]
        wanted = conditions(None, None, every_cost=full)
        schedule = make_schedule(arms, wanted, DEFAULT_REQUESTED_NS, size, 1)
        counted = [run for run in schedule[0] if is_apart(str(run.condition.load))]
        budget = Budget(size)
        assert budget.affordable(schedule, 0, budget.estimate_ns(counted)) == len(schedule), size.name


def test_the_floor_which_has_no_collector_is_left_out_beside_allocators() -> None:
    floor = replace(ARMS[0], name="floor", method="floor")
    beside = Condition(Quota(), parse_load("gc:1"))
    blocks = make_schedule([ARMS[0], floor], [PRIMARY, beside], (1_000_000,), SIZES["quick"], seed=1)
    made = {(run.arm.name, str(run.condition.load)) for block in blocks for run in block}
    assert made == {("stock", "quiet"), ("floor", "quiet"), ("stock", "gc:1")}


def test_arms_are_left_out_where_they_cannot_run_or_say_nothing() -> None:
    def arm(name: str, method: str = "sleep", strategy: str | None = None) -> Arm:
        return replace(ARMS[0], name=name, method=method, strategy=strategy)

    many = Condition(Quota(), parse_load("sleepers:10000"))
    assert fits(arm("stock"), many)
    assert fits(arm("netpoll+slack1", strategy="netpoll"), many)
    # One thread, or one processor, a sleeper.
    assert not fits(arm("sleep", strategy="sleep"), many)
    assert not fits(arm("nanosleep", "nanosleep"), many)
    assert not fits(arm("floor", "floor"), many)
    for alone in (arm("control", "floor"), arm("cyclictest", "cyclictest")):
        assert fits(alone, PRIMARY)
        assert not fits(alone, COST)


def test_the_control_arm_asks_for_one_millisecond_whatever_is_measured() -> None:
    arms = [ARMS[0], replace(ARMS[0], name="control", method="floor")]
    [block, *_] = make_schedule(arms, [PRIMARY, COST], (50_000, 100_000), SIZES["quick"], seed=1)
    [control] = [run for run in block if run.arm.name == "control"]
    assert [requested_ns for requested_ns, _ in control.plan] == [1_000_000]


def test_ten_thousand_sleepers_wake_as_often_a_second_as_fifty() -> None:
    def per_second(load: str) -> float:
        [run] = make_schedule(ARMS[:1], [Condition(Quota(), parse_load(load))], (1,), SIZES["quick"], seed=1)[0]
        [(interval_ns, samples)] = run.plan
        assert samples >= 4
        return run.planned / (samples * interval_ns / 1e9)

    assert per_second("sleepers:50") == per_second("sleepers:1000") == per_second("sleepers:10000") == 50_000
