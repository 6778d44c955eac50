"""The environment that is claimed, in its own words: Docker's options and its update, systemd's set-property.

Standard library and the project's own that do with it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nanonap.lab.experiments.kit.cgroup_files import is_v2
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.watchdog import guard
from nanonap.lab.quota.base import Backend, Group
from nanonap.lab.quota.docker import ContainerBackend, ContainerGroup
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.manager import Manager
from nanonap.lab.quota.shares import linear_weight, quadratic_weight
from nanonap.lab.quota.systemd import SliceGroup

SYSTEMD = "systemd"
CPUS, SHARES, MEMORY = "--cpus", "--cpu-shares", "--memory"
UPDATE, SET_PROPERTY, PARENT = "docker update --cpus", "systemctl set-property", "--cgroup-parent"
WORDS = (CPUS, SHARES, MEMORY, UPDATE, SET_PROPERTY, PARENT)
_GIVEN = ("--cpus=0.5", "--cpu-shares=512", "--memory=64m")
_MEANT = Limits(parse_quota("50%"), memory_bytes=64 << 20)
_BURN = ("/bin/sh", "-c", "while :; do :; done")
_WINDOW_S = 2.0
_PATIENCE_S = 60.0
#: A window of 2 s may begin and end with a period's quota.
_MOST = 1.15


def in_its_words(backend: Backend) -> list[dict[str, Any]]:
    """On cgroup v2: a row for each of WORDS, as ``probe.tried`` gives them; none for what is not Docker by systemd.

    Where a quota is set a busy loop uses it up, and ``read_back`` tells which share of a CPU it got.
    """
    if not isinstance(backend, ContainerBackend) or backend.driver != SYSTEMD:
        return []
    rows: list[dict[str, Any]] = []
    for tried, words in ((_on_a_container, WORDS[:-1]), (_below_a_slice, (PARENT,))):
        try:
            rows += tried(backend)
        except QuotaUnavailable as refusal:
            lacking = {"asked": "", "accepted": False, "reason": refusal.reason, "remedy": refusal.remedy}
            done = {row["ability"] for row in rows}
            rows += [{"ability": word, **lacking} for word in words if word not in done]
    return rows


def _on_a_container(backend: ContainerBackend) -> Iterator[dict[str, Any]]:
    with backend.open(_MEANT, _GIVEN, _BURN) as group:
        folder = group.stat_files.cpu_stat.parent
        yield _quota_row(CPUS, "0.5", group, "50000 100000")
        weight, memory = ((folder / name).read_text(encoding="ascii").strip() for name in ("cpu.weight", "memory.max"))
        yield _row(SHARES, "512", f"cpu.weight {weight}", folder, int(weight) in _weights(512))
        yield _row(MEMORY, "64m", f"memory.max {memory}", folder, memory == str(64 << 20))
        backend.engine.must("another quota", "update", "--cpus=0.25", group.name)
        yield _quota_row(UPDATE, "0.25", group, "25000 100000")
        with _property(folder.name, "CPUQuota=80%"):
            yield _quota_row(SET_PROPERTY, "CPUQuota=80%", group, "80000 100000")


def _below_a_slice(backend: ContainerBackend) -> Iterator[dict[str, Any]]:
    # The busy loop is the container's own process: Docker before 23 puts those of `exec` elsewhere (moby issue 42704).
    with (
        SliceGroup(Manager(SYSTEMD, "--system"), Limits(parse_quota("30%"))) as above,
        backend.open(Limits(), (f"--cgroup-parent={above.slice}",), _BURN) as group,
    ):
        row = _quota_row(PARENT, "a slice of CPUQuota=30%", above, "30000 100000", counted_below=group)
        inside = group.stat_files.cpu_stat.parent.parent == above.stat_files.cpu_stat.parent
        yield {**row, "accepted": row["accepted"] and inside}


def _quota_row(
    ability: str, asked: str, group: ContainerGroup | SliceGroup, wanted: str, counted_below: Group | None = None
) -> dict[str, Any]:
    folder = group.stat_files.cpu_stat.parent
    share, throttled = _used(group)
    shown = (folder / "cpu.max").read_text(encoding="ascii").strip()
    told = f"{shown}; a busy loop gets {share:.3f} of a CPU, {throttled}"
    if counted_below is not None:
        counted = counted_below.counters()
        told += f"; the container's own group: {counted.nr_throttled if counted else 'no'} throttled"
    quota_us, period_us = map(int, wanted.split())
    return _row(ability, asked, told, folder, shown == wanted and 0 < share <= _MOST * quota_us / period_us)


def _used(group: Group) -> tuple[float, str]:
    """The share of a CPU that the group uses, and how many of its periods it was throttled in."""
    deadline = time.monotonic() + _PATIENCE_S
    first = _counted(group)
    while _counted(group)[0] == first[0] and time.monotonic() < deadline:  # until the loop has begun
        time.sleep(0.1)
    (before, periods, throttled), start = _counted(group), time.monotonic()
    time.sleep(_WINDOW_S)
    (after, periods_after, throttled_after), end = _counted(group), time.monotonic()
    share = (after - before) / 1e9 / (end - start)
    return share, f"throttled in {throttled_after - throttled} of {periods_after - periods} periods"


def _counted(group: Group) -> tuple[int, int, int]:
    counters = group.counters()
    return (counters.usage_ns or 0, counters.nr_periods, counters.nr_throttled) if counters else (0, 0, 0)


@contextmanager
def _property(unit: str, text: str) -> Iterator[None]:
    """A property of a running unit until the block ends: systemd writes it below /run, where it outlives the unit."""
    manager = Manager(SYSTEMD, "--system")
    revert = manager.systemctl("revert", unit)
    guard.watch_command(revert)
    try:
        manager.must(f"setting {text}", *manager.systemctl("set-property", "--runtime", unit, text))
        yield
    finally:
        manager.must("taking it back", *revert)
        guard.forget_command(revert)


def _weights(shares: int) -> set[int]:
    """The weights that runtimes make of shares."""
    return {linear_weight(shares), quadratic_weight(shares)}


def _row(ability: str, asked: str, read_back: str, folder: Path, accepted: bool) -> dict[str, Any]:
    row = {"ability": ability, "asked": asked, "read_back": read_back, "version": 2 if is_v2(folder) else 1}
    if accepted:
        return {**row, "accepted": True}
    return {**row, "accepted": False, "reason": f"read back: {read_back}", "remedy": "see what the engine says"}
