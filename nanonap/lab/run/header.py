"""What sleepbench says of a run before its samples (gosrc/sleepbench/output.go)."""

from msgspec import Struct


class Header(Struct, frozen=True, kw_only=True):
    """Times in ns; None is what another program, which was run in its place, does not tell."""

    n: int
    wall_ns: int
    truncated: bool
    cpu_ns: int | None = None
    nvcsw: int | None = None
    nivcsw: int | None = None
    threads_peak: int | None = None
    timer_slack_ns: int | None = None
    gomaxprocs: int | None = None
    missed: int | None = None
    clock_read_ns: int | None = None
    iterations: int | None = None
    goroutines: int | None = None
    schema: int = 0
    columns: tuple[str, ...] = ()
