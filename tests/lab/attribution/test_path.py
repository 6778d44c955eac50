"""Every moment between a deadline and a wake-up gets the label of what the sleeper waited for then."""

from hypothesis import given
from hypothesis import strategies as st

from tests.lab.attribution.story import BURNER, END_US, FOREIGN, MAIN, SLEEPER, SYSMON, US, started


def test_a_timer_that_the_kernel_lets_expire_late_is_granularity() -> None:
    story = started().wake(2_000, 1, 0, SLEEPER).switch(2_010, 1, 0, SLEEPER, "R")
    assert story.parts(SLEEPER, 1_000, 2_030) == {"granularity": 1_000, "runqueue": 10, "goscheduler": 20}


def test_a_sleeper_that_is_not_late_has_no_parts() -> None:
    story = started().wake(2_000, 1, 0, SLEEPER).switch(2_010, 1, 0, SLEEPER, "R")
    assert story.parts(SLEEPER, 2_020, 2_020) == {}


def test_a_wait_behind_another_process_is_the_run_queue() -> None:
    story = started().switch(500, 1, 0, FOREIGN, "R").add(1_000, 1, FOREIGN, "local_timer_entry: vector=236", "d.h..")
    story.add(1_001, 1, FOREIGN, f"sched_waking: comm=x pid={SLEEPER} prio=120 target_cpu=001", "d.h3.")
    story.switch(9_001, 1, FOREIGN, SLEEPER, "R")
    assert story.parts(SLEEPER, 1_000, 9_010) == {"granularity": 1, "runqueue": 8_000, "goscheduler": 9}


def test_a_thread_that_runs_other_goroutines_first_is_the_go_scheduler() -> None:
    story = started().wake(500, 1, 0, BURNER).switch(510, 1, 0, BURNER, "R")
    assert story.parts(BURNER, 1_000, 21_000) == {"goscheduler": 20_000}


def test_the_thread_that_woke_the_sleepers_thread_is_followed() -> None:
    # The burner's thread ran until 8 ms, waited behind another process until 9 ms, and only then woke the sleeper's.
    story = started().wake(500, 1, 0, BURNER).switch(510, 1, 0, BURNER, "R").switch(8_000, 1, BURNER, FOREIGN, "R")
    story.switch(9_000, 1, FOREIGN, BURNER).wake(9_100, 1, BURNER, SLEEPER, at=0).switch(9_150, 0, 0, SLEEPER, "R")
    assert story.parts(SLEEPER, 7_000, 9_200) == {"goscheduler": 1_000 + 100 + 50, "runqueue": 1_000 + 50}


def test_a_thread_that_was_made_for_the_sleeper_leads_to_its_maker() -> None:
    story = started().wake(500, 1, 0, BURNER).switch(510, 1, 0, BURNER, "R")
    story.fork(9_000, BURNER, 104, cpu=1).switch(9_500, 0, 0, 104, "R")
    assert story.parts(104, 7_000, 9_600) == {"goscheduler": 2_000 + 100, "runqueue": 500}


def test_the_system_monitors_own_sleep_is_not_the_timers() -> None:
    # It finds the overdue timer only when it comes round, 6 ms after the deadline, while the burner runs.
    story = started().wake(500, 1, 0, BURNER).switch(510, 1, 0, BURNER, "R").switch(5_000, 1, BURNER, 0)
    story.wake(6_000, 0, 0, SYSMON).switch(6_010, 0, 0, SYSMON, "R").wake(6_020, 0, SYSMON, SLEEPER)
    story.switch(6_030, 0, SYSMON, SLEEPER)
    found = story.parts(SLEEPER, 1_000, 6_040)
    assert found == {"goscheduler": 4_000 + 10 + 10, "granularity": 1_000, "runqueue": 20}


def test_while_the_system_monitor_sleeps_a_thread_that_waits_tells_what_is_lost() -> None:
    story = started().wake(500, 1, 0, BURNER).switch(510, 1, 0, BURNER, "R").switch(1_000, 1, BURNER, FOREIGN, "R")
    story.wake(6_000, 0, 0, SYSMON).switch(6_000, 0, 0, SYSMON, "R").wake(6_020, 0, SYSMON, SLEEPER)
    story.switch(6_020, 0, SYSMON, SLEEPER)
    assert story.parts(SLEEPER, 1_000, 6_030) == {"runqueue": 5_000, "goscheduler": 30}


def test_what_is_stuck_in_the_kernel_or_woken_by_others_is_unexplained() -> None:
    story = started().wake(500, 1, 0, SLEEPER).switch(500, 1, 0, SLEEPER, "R").switch(1_000, 1, SLEEPER, 0, "D")
    story.wake(3_000, 1, 0, SLEEPER).switch(3_000, 1, 0, SLEEPER, "R")
    assert story.parts(SLEEPER, 1_000, 3_010) == {"unexplained": 2_000, "goscheduler": 10}
    story = started().switch(1_900, 0, 0, FOREIGN, "R").wake(2_000, 0, FOREIGN, SLEEPER, at=1)
    story.switch(2_000, 1, 0, SLEEPER, "R")
    assert story.parts(SLEEPER, 1_000, 2_010) == {"unexplained": 1_000, "goscheduler": 10}


def test_a_thread_that_did_not_run_at_the_end_explains_nothing() -> None:
    story = started().wake(2_000, 1, 0, SLEEPER).switch(2_010, 1, 0, SLEEPER, "R").switch(2_020, 1, SLEEPER, 0)
    assert story.parts(SLEEPER, 1_000, 2_500) == {"unexplained": 1_500}
    assert story.parts(4_711, 1_000, 2_500) == {"unexplained": 1_500}


def test_a_thread_is_woken_while_it_still_leaves_the_cpu() -> None:
    # The waker saw it asleep before its switch was recorded: then only the end of the wake-up comes after the switch.
    story = started().wake(900, 1, 0, BURNER).switch(900, 1, 0, BURNER, "R")
    story.wake(950, 0, 0, SLEEPER).switch(960, 0, 0, SLEEPER, "R")
    story.wake(1_999, 1, BURNER, SLEEPER, at=0).switch(2_000, 0, SLEEPER, 0)
    story.wake(2_005, 0, 0, SLEEPER, "sched_wakeup").switch(2_010, 0, 0, SLEEPER, "R")
    assert story.parts(SLEEPER, 2_000, 2_020) == {"goscheduler": 15, "runqueue": 5}


def test_switches_that_the_kernel_did_not_record_are_put_in_at_the_interrupt_before_them() -> None:
    story = started().wake(2_000, 0, 0, SLEEPER)  # from here on it runs, but no switch tells it
    story.switch(2_500, 0, SLEEPER, 0)
    assert story.parts(SLEEPER, 1_000, 2_400) == {"granularity": 1_000, "goscheduler": 400}
    # Let go on after a stop nothing is woken; the interrupt that did it is seen, and then the thread's own event.
    story = started().wake(500, 0, 0, BURNER).switch(510, 0, 0, BURNER, "R").switch(1_000, 0, BURNER, 0, "R")
    story.add(8_000, 0, 0, "reschedule_entry: vector=253", "dNh2.").wake(8_700, 0, BURNER, SLEEPER)
    story.stat(900, 950, 0).stat(7_900, 8_100, 7_000)
    assert story.parts(BURNER, 2_000, 8_500) == {"throttled": 6_000, "goscheduler": 500}


def test_what_happened_after_a_buffer_was_full_is_unexplained() -> None:
    story = started().wake(2_000, 1, 0, SLEEPER).switch(2_010, 1, 0, SLEEPER, "R").switch(2_100, 1, SLEEPER, 0)
    story.wake(5_000, 0, 0, BURNER).switch(5_000, 0, 0, BURNER, "R").switch(6_000, 0, BURNER, 0)
    story.own.append("@lost 1 17\n")
    assert story.trace().lost == 17
    assert story.trace().complete_until_ns == 2_100 * US
    assert story.parts(SLEEPER, 1_000, 2_050) == {"granularity": 1_000, "runqueue": 10, "goscheduler": 40}
    assert story.parts(BURNER, 4_000, 5_500) == {"unexplained": 1_500}


def test_flags_of_older_kernels_are_read_too() -> None:
    story = started()
    story.add(2_000, 1, FOREIGN, f"sched_waking: comm=x pid={SLEEPER} prio=120 target_cpu=001", "dNh4")
    story.switch(2_000, 1, FOREIGN, SLEEPER, "R+")
    assert story.parts(SLEEPER, 1_000, 2_010) == {"granularity": 1_000, "goscheduler": 10}


TIDS = (MAIN, SYSMON, SLEEPER, BURNER, FOREIGN, 0)
MOMENTS = st.integers(100, END_US)
CHAOS = st.lists(
    st.one_of(
        st.tuples(
            st.just("switch"),
            MOMENTS,
            st.integers(0, 1),
            st.sampled_from(TIDS),
            st.sampled_from(TIDS),
            st.sampled_from("RSD"),
        ),
        st.tuples(
            st.just("wake"),
            MOMENTS,
            st.integers(0, 1),
            st.sampled_from(TIDS),
            st.sampled_from(TIDS[:-1]),
            st.sampled_from(("sched_waking", "sched_wakeup")),
        ),
    ),
    max_size=30,
)


@given(CHAOS, st.lists(st.tuples(MOMENTS, MOMENTS, st.integers(1, END_US)), max_size=4), MOMENTS, MOMENTS)
def test_whatever_was_recorded_the_parts_are_whole(
    events: list[tuple[str, int, int, int, int, str]], stats: list[tuple[int, int, int]], one: int, other: int
) -> None:
    story = started()
    for name, *arguments in events:
        getattr(story, name)(*arguments)
    total = 0
    for before, now, throttled in sorted(stats, key=lambda each: max(each[:2])):
        total += throttled
        story.stat(min(before, now), max(before, now), total)
    deadline, end = min(one, other), max(one, other)
    spans = list(story.path().spans(SLEEPER, deadline * US, end * US))
    edges = [end * US, *(start for start, _, _ in spans)]
    assert [until for _, until, _ in spans] == edges[:-1]
    assert edges[-1] == deadline * US
    assert all(start < until for start, until, _ in spans)
