"""The reader of the scheduler's trace of handoff, on lines as they come."""

from nanonap.lab.experiments.handoff.trace import samples_of

TRACE = """\
SCHED 0ms: gomaxprocs=2 idleprocs=0 threads=3 spinningthreads=1 needspinning=0 idlethreads=0 runqueue=4 gcwaiting=false
  P0: status=1 schedtick=4 syscalltick=9 m=0 runqsize=0 gfreecnt=0 timerslen=0
<begin>
<asleep>
SCHED 0ms: gomaxprocs=2 idleprocs=0 threads=3 spinningthreads=1 needspinning=0 idlethreads=0 runqueue=4 gcwaiting=false
<awake>
<begin>
SCHED 1ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 needspinning=0 idlethreads=2 runqueue=0 gcwaiting=false
  P0: status=1 schedtick=4 sysc<asleep>
alltick=3 m=0 runqsize=0 gfreecnt=0 timerslen=0
SCHED 2ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=0 needspinning=0 idlethreads=3 runqueue=1 gcwaiting=false
  P0: status=0 schedtick=4 syscalltick=3 m=nil runqsize=0 gfreecnt=0 timerslen=0
  P1: status=1 schedtick=4 syscalltick=2 m=0 runqsize=0 gfreecnt=0 timerslen=0
  M2: p=nil curg=nil mallocing=0 throwing=0 preemptoff= locks=0 dying=0 spinning=false blocked=true lockedg=nil
  M0: p=1 curg=19 mallocing=0 throwing=0 preemptoff= locks=0 dying=0 spinning=false blocked=false lockedg=nil
  G1: status=4(sync.WaitGroup.Wait) m=nil lockedm=nil
  G19: status=3() m=0 lockedm=nil
SCHED 3ms: gomaxprocs=2 idleprocs=2 threads=5 spinningthreads=0 needspinning=0 idlethreads=3 runqueue=0 gcwaiting=false
  P0: status=0 schedtick=4 syscalltick=3 m=nil runqsize=0 gfreecnt=0 timerslen=0
  P1: status=0 schedtick=4 syscalltick=3 m=nil runqsize=0 gfreecnt=0 timerslen=0
  M0: p=nil curg=19 mallocing=0 throwing=0 preemptoff= locks=0 dying=0 spinning=false blocked=false lockedg=nil
  G19: status=3() m=0 lockedm=nil
<awake>
SCHED 4ms: gomaxprocs=2 idleprocs=0 threads=9 spinningthreads=0 needspinning=0 idlethreads=3 runqueue=0 gcwaiting=false
"""


def test_samples_are_those_between_the_last_to_fall_asleep_and_the_first_to_wake_without_the_warm_up() -> None:
    first, second = samples_of(TRACE)
    assert first == {
        "number": 1,
        "idle_ps": 1,
        "threads": 5,
        "idle_threads": 3,
        "syscall_ticks": 5,
    }
    assert (second["idle_ps"], second["syscall_ticks"]) == (2, 6)


def test_a_sleeper_that_never_slept_beside_the_others_gives_no_samples() -> None:
    early = TRACE.replace("SCHED 2ms", "<awake>\nSCHED 2ms")
    assert list(samples_of(early)) == []
    assert list(samples_of("")) == []


def test_a_trace_without_details_has_none() -> None:
    brief = "\n".join(line for line in TRACE.splitlines() if not line.startswith("  ") and "alltick" not in line)
    brief = brief.replace("<begin>\nSCHED 1ms", "<begin>\n<asleep>\nSCHED 1ms") + "\n"
    assert {row["syscall_ticks"] for row in samples_of(brief)} == {None}
