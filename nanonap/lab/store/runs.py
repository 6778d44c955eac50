"""What a result says of its runs: a line of runs.jsonl, and bench.json, with their fields in the order of the files.

A field that is UNSET is one that the version which measured did not write yet; it is left out where it is told again.
"""

from msgspec import UNSET, Struct, UnsetType

from nanonap.lab.ground.hosts import Host
from nanonap.lab.quota.above import LimitsAbove
from nanonap.lab.quota.sampler import Sampling
from nanonap.lab.run.live import Change
from nanonap.lab.run.syscalls import Counted

SCHEMA = 1


class RunCondition(Struct, frozen=True, kw_only=True):
    """What surrounded a run: the quota that was in effect, as options write it; ``inside``: the limit above it."""

    quota: str
    load: str
    gomaxprocs: int | None = None
    gomaxprocs_set: bool | UnsetType = UNSET
    backend: str = "none"
    cpu_weight: int | UnsetType | None = UNSET
    memory_max_bytes: int | UnsetType | None = UNSET
    inside: str | UnsetType | None = UNSET

    @property
    def load_label(self) -> str:
        """The load, with GOMAXPROCS where one was set: what tells conditions of a quota apart."""
        return f"{self.load}@{self.gomaxprocs}" if self.gomaxprocs_set and self.gomaxprocs else self.load

    @property
    def key(self) -> tuple[str, str]:
        """(quota, load_label)."""
        return self.quota, self.load_label


class Counters(Struct, frozen=True, kw_only=True):
    """Of a run's process, and of its group (nr_periods and what follows); None where the machine cannot tell."""

    cpu_ns: int | None = None
    nvcsw: int | None = None
    nivcsw: int | None = None
    threads_peak: int | None = None
    nr_periods: int | None = None
    nr_throttled: int | None = None
    throttled_ns: int | None = None
    nr_bursts: int | None = None
    burst_ns: int | None = None
    group_usage_ns: int | None = None


class RunLine(Struct, frozen=True, kw_only=True):
    """A run. ``gomaxprocs`` is what it was, which floor raises; ``wall_ns`` is the program's time, ``took_ns`` all.

    None where the version that measured, or the machine, could not tell.
    """

    schema: int = SCHEMA
    run_id: str
    arm: str
    strategy: str | None = None
    slack_ns: int | None = None
    method: str | None = None
    go_version: str
    binary_sha256: str
    condition: RunCondition
    block: int
    seed: int | None = None
    started_utc: str | None = None
    wall_ns: int
    host: Host
    counters: Counters
    partial: bool
    n: int | None = None
    missed: int | None = None
    truncated: bool | None = None
    timer_slack_ns: int | None = None
    clock_read_ns: int | None = None
    gomaxprocs: int | None = None
    took_ns: int | None = None
    sampling: Sampling | None = None
    host_during: dict[str, int | None] | None = None
    above: LimitsAbove | None = None
    live: list[Change] | None = None


class BackendUsed(Struct, frozen=True):
    """The way in which CPU was limited, why it was taken, and what must be said beside its figures."""

    name: str
    why: str
    mark: str | UnsetType | None = UNSET


class Attributed(Struct):
    """How the runs apart were recorded: method → how many of them, and the events that there was no room for."""

    methods: dict[str, int]
    lost_events: int


class Bench(Struct, kw_only=True, omit_defaults=True):
    """How a bench was run. It is added to while it runs; None is left out, as all is of a result without its file."""

    schema: int | None = None
    command: str | None = None
    mode: str | None = None
    seed: int | None = None
    go_version: str | None = None
    requested_ns: list[int] | None = None
    blocks_planned: int | None = None
    tool: str | None = None
    started_utc: str | None = None
    gomaxprocs: int | None = None
    backend: BackendUsed | None = None
    conditions: list[str] | None = None
    blocks_done: int | None = None
    arms: list[dict[str, object]] | None = None
    notes: list[str] | None = None
    syscalls: dict[str, Counted] | None = None
    syscalls_by_load: dict[str, dict[str, Counted]] | None = None
    attribution: Attributed | None = None

    @property
    def mark(self) -> str | None:
        """What must be said beside its figures, or None."""
        return self.backend.mark or None if self.backend else None
