"""Throttled or waiting: told by the kernel's calls, by a group's counters, or by an idle CPU beside the wait."""

import pytest

from nanonap.lab.attribution.threads import threads_of
from nanonap.lab.attribution.throttling import Stops, stops_by_counters, stops_by_idleness, stops_of
from tests.lab.attribution.story import BURNER, END_US, FOREIGN, MAIN, SLEEPER, US, Story, started

OURS, THEIRS = 0xFFFF888000000100, 0xFFFF888000000200


def in_us(stops: Stops, kind: str = "sure") -> dict[int, list[tuple[int, int]]]:
    per_cpu = getattr(stops, kind)
    return {cpu: [(start // US, end // US) for start, end in spans] for cpu, spans in per_cpu.items() if spans}


def stops(story: Story, kind: str = "sure") -> dict[int, list[tuple[int, int]]]:
    trace = story.trace()
    return in_us(stops_of(trace, threads_of(trace, MAIN)), kind)


def stopped(until_us: int = 8_000, next_up: int = 0) -> Story:
    """The burner's thread runs out of quota on CPU 1 at 2 ms, and gets its CPU again at ``until_us``."""
    story = started().wake(500, 1, 0, BURNER).switch(510, 1, 0, BURNER, "R")
    return story.switch(2_000, 1, BURNER, next_up, "R").switch(until_us, 1, next_up, BURNER, "R")


def test_the_kernels_own_calls_are_paired_per_queue() -> None:
    story = stopped().probe(1_999, 1, BURNER, "throttle", OURS).probe(7_900, 0, 0, "unthrottle", OURS)
    story.probe(9_000, 1, BURNER, "throttle", OURS)
    assert stops(story) == {1: [(1_999, 7_900), (9_000, END_US)]}
    assert story.parts(BURNER, 3_000, 8_010) == {"throttled": 4_900, "runqueue": 100, "goscheduler": 10}


def test_another_groups_stop_is_not_ours() -> None:
    story = stopped(next_up=FOREIGN).probe(3_000, 1, FOREIGN, "throttle", THEIRS)
    story.probe(7_000, 1, 0, "unthrottle", THEIRS)
    assert stops(story) == {}


def test_a_queue_that_is_found_stopped_when_a_thread_arrives_is_ours() -> None:
    story = stopped().probe(3_000, 1, 0, "throttle", OURS).probe(7_000, 1, 0, "unthrottle", OURS)
    assert stops(story) == {1: [(3_000, 7_000)]}


def test_a_queue_that_is_found_stopped_by_a_wake_up_from_another_cpu_is_that_of_the_thread_woken() -> None:
    story = stopped().wake(8_500, 1, BURNER, SLEEPER, at=0).probe(8_501, 1, BURNER, "throttle", OURS)
    story.add(8_502, 1, BURNER, "sched_wake_idle_without_ipi: cpu=0")
    story.wake(8_503, 1, BURNER, SLEEPER, "sched_wakeup", at=0).probe(9_500, 1, BURNER, "unthrottle", OURS)
    assert stops(story) == {0: [(8_501, 9_500)]}


def test_a_growth_of_the_counters_is_laid_over_the_wait_that_it_came_from() -> None:
    # The CPU is busy with others when the group is let go on: the rest of the wait is the run queue's.
    story = stopped(9_000, FOREIGN).stat(0, 100, 0).stat(7_000, 9_000, 6_000)
    assert stops(story) == {1: [(2_000, 8_000)]}
    assert story.parts(BURNER, 3_000, 9_010) == {"throttled": 5_000, "runqueue": 1_000, "goscheduler": 10}


def test_a_growth_on_two_cpus_is_the_sum_of_both_stops() -> None:
    story = stopped(8_000).wake(400, 0, 0, SLEEPER).switch(410, 0, 0, SLEEPER, "R").switch(4_000, 0, SLEEPER, 0, "R")
    story.switch(8_000, 0, 0, SLEEPER, "R").stat(0, 100, 0).stat(7_000, 9_000, 6_000 + 4_000)
    assert stops(story) == {1: [(2_000, 8_000)], 0: [(4_000, 8_000)]}


def test_a_wait_that_the_growth_cannot_have_come_from_is_not_throttled() -> None:
    # Two CPUs, two waits over the same moment; the growth fits that on CPU 1 alone.
    story = stopped(8_000).wake(400, 0, 0, SLEEPER).switch(410, 0, 0, SLEEPER, "R")
    story.switch(4_000, 0, SLEEPER, FOREIGN, "R").switch(8_500, 0, FOREIGN, SLEEPER, "R")
    story.stat(0, 100, 0).stat(7_000, 9_000, 6_000)
    assert stops(story) == {1: [(2_000, 8_000)]}


def test_a_growth_that_fits_no_wait_leaves_the_waits_before_it_in_doubt() -> None:
    story = stopped(8_000, FOREIGN).stat(0, 100, 0).stat(7_000, 9_000, 4_000)
    assert stops(story) == {}
    # It may have been let go on right after the first reading, after 4 ms.
    assert stops(story, "doubtful") == {1: [(3_000, 8_000)]}
    assert story.parts(BURNER, 2_500, 8_010) == {"runqueue": 500, "unexplained": 5_000, "goscheduler": 10}


def test_a_wait_that_the_group_ran_beside_was_not_one_stop() -> None:
    # On CPU 0 the main thread waits all the time; the sleeper's runs beside it, and the stop begins where that blocks.
    # Had the main thread's whole wait been one stop, its beginning and the growth would add up to the same end.
    story = started().wake(400, 0, 0, MAIN).switch(410, 0, 0, MAIN, "R").switch(1_000, 0, MAIN, 0, "R")
    story.wake(30_000, 0, 0, SLEEPER).switch(30_010, 0, 0, SLEEPER, "R").switch(40_000, 0, SLEEPER, 0)
    story.wake(500, 1, 0, BURNER).switch(510, 1, 0, BURNER, "R").switch(41_000, 1, BURNER, 0, "R")
    story.switch(80_000, 0, 0, MAIN, "R").switch(80_000, 1, 0, BURNER, "R")
    story.stat(0, 100, 0).stat(79_000, 81_000, 40_000 + 39_000)
    assert stops(story) == {1: [(41_000, 80_000)], 0: [(40_000, 80_000)]}


def test_a_thread_that_is_woken_within_a_stop_may_finish_in_the_kernel() -> None:
    # So it is from Linux 6.18 on: it gets the CPU, and is taken off it where it would return to the program.
    story = stopped(80_000).wake(20_000, 1, 0, SLEEPER).switch(20_010, 1, 0, SLEEPER, "R")
    story.switch(20_040, 1, SLEEPER, 0, "R").switch(80_300, 1, BURNER, SLEEPER)
    assert stops(story.stat(0, 100, 0).stat(79_000, 81_000, 78_000)) == {1: [(2_000, 80_000)]}


def test_where_cpus_were_let_go_on_apart_the_time_between_is_in_doubt() -> None:
    # CPU 1's processor is late: it is let go on 4 ms after CPU 0, whose thread runs on at once.
    story = stopped(12_000).wake(400, 0, 0, SLEEPER).switch(410, 0, 0, SLEEPER, "R").switch(4_000, 0, SLEEPER, 0, "R")
    story.switch(8_000, 0, 0, SLEEPER, "R").stat(0, 100, 0).stat(7_000, 13_000, 9_900 + 3_900)
    assert stops(story) == {1: [(2_000, 11_800)], 0: [(4_000, 7_800)]}
    assert stops(story, "doubtful") == {1: [(11_800, 12_000)], 0: [(7_800, 8_000)]}


def test_a_growth_that_may_come_from_either_of_two_cpus_is_in_doubt_on_both() -> None:
    story = stopped(9_000, FOREIGN).wake(400, 0, 0, SLEEPER).switch(410, 0, 0, SLEEPER, "R")
    story.switch(2_500, 0, SLEEPER, FOREIGN, "R").switch(9_000, 0, FOREIGN, SLEEPER, "R")
    story.stat(0, 100, 0).stat(7_000, 9_000, 6_000)
    assert stops(story) == {}
    assert stops(story, "doubtful") == {1: [(2_000, 8_000)], 0: [(2_500, 8_500)]}


def test_a_growth_that_fits_no_wait_is_settled_by_an_idle_cpu() -> None:
    # Linux 6.1 also counts the stop of a queue in which nobody waits.
    assert stops(stopped(8_000).stat(0, 100, 0).stat(7_000, 9_000, 6_000 + 3_500)) == {1: [(2_000, 8_000)]}


def test_what_is_sure_is_not_also_in_doubt() -> None:
    both = Stops()
    both.sure[0] += [(10, 20), (15, 30)]
    both.doubtful[0] += [(0, 12), (18, 19), (25, 40)]
    assert both.tidy().doubtful[0] == [(0, 10), (30, 40)]
    assert both.sure[0] == [(10, 30)]


def test_without_counters_a_wait_beside_an_idle_cpu_is_throttled_and_one_beside_a_busy_cpu_is_not() -> None:
    assert stops(stopped(8_000)) == {1: [(2_000, 8_000)]}
    assert stops(stopped(8_000, FOREIGN)) == {}
    # An idle CPU takes a moment to wake up: that is no stop.
    assert stops(stopped(2_300)) == {}


def test_an_idle_spell_within_a_wait_makes_it_throttled_up_to_its_end() -> None:
    story = stopped(9_000).switch(3_000, 1, 0, FOREIGN, "R").switch(4_000, 1, FOREIGN, 0).switch(7_000, 1, 0, FOREIGN)
    story.switch(8_999, 1, FOREIGN, 0)
    trace = story.trace()
    assert in_us(stops_by_idleness(trace, threads_of(trace, MAIN))) == {1: [(2_000, 7_000)]}


def test_a_wait_behind_a_thread_of_the_same_group_was_no_stop_until_that_was_stopped() -> None:
    story = stopped(8_000).wake(900, 1, 0, SLEEPER, "sched_wakeup").switch(8_100, 1, BURNER, SLEEPER)
    story.add(1_500, 1, BURNER, "local_timer_entry: vector=236", "d.h..")
    assert stops(story) == {1: [(2_000, 8_000)]}
    assert story.parts(SLEEPER, 1_000, 8_200) == {"throttled": 6_000, "runqueue": 1_000 + 100, "goscheduler": 100}


@pytest.mark.parametrize("together", [1, 30, 40])
def test_many_waits_at_once_are_searched_in_bounded_time(together: int) -> None:
    story = started()
    for cpu in range(40):
        tid, left = 1_000 + cpu, (2_000 if cpu < together else 40_000) + cpu
        story.fork(200 + cpu, MAIN, tid, cpu).switch(300 + cpu, cpu, 0, tid, "R").switch(left, cpu, tid, 0, "R")
        story.switch(80_000 + cpu, cpu, 0, tid, "R")
    story.stat(0, 100, 0).stat(79_900, 80_000, sum(79_990 - 2_000 - cpu for cpu in range(together)))
    trace = story.trace()
    found = stops_by_counters(trace, threads_of(trace, MAIN))
    assert sorted(found.sure) == list(range(together))
    for cpu, spans in found.sure.items():
        assert len(spans) == 1
        assert spans[0][0] == (2_000 + cpu) * US
        assert 79_700 * US <= spans[0][1] <= 80_000 * US


def test_waits_that_are_too_long_for_a_growth_do_not_hide_what_else_explains_it() -> None:
    """10 ms: one stop of 10 ms, or two of 5 ms. The 13 CPUs on which threads wait for 50 ms are no part of it."""
    story = started()
    for cpu in range(16):
        tid, left = 1_000 + cpu, 90_000 if cpu == 0 else 95_000 if cpu > 13 else 50_000
        story.fork(200 + cpu, MAIN, tid, cpu).switch(300 + cpu, cpu, 0, tid, "R").switch(left + cpu, cpu, tid, 0, "R")
        story.switch(100_100 + cpu, cpu, 0, tid, "R")
    story.stat(0, 100, 0).stat(99_900, 100_000, 10_000)
    trace = story.trace()
    found = stops_by_counters(trace, threads_of(trace, MAIN))
    assert [cpu for cpu, spans in found.sure.items() if spans] == []
    assert sorted(cpu for cpu, spans in found.doubtful.items() if spans) == [0, 14, 15]
