"""The runs of the experiment ``environments``. Standard library and the project's own that do with it."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from nanonap.base.dice import seeded
from nanonap.lab.experiments.kit.cgroup_files import folder_of, is_v2, prepared, quota_us, write_quota
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.base import Backend, Group
from nanonap.lab.quota.limits import DEFAULT_PERIOD_NS, Limits, Quota, parse_quota

#: Of every group: other work on the machine is not to keep the busy ones from using their quota up.
WEIGHT = 1_000
BURN = ("/bin/sh", "-c", "while :; do :; done")
_SETTLE_S = 0.25
#: Between the starts of a group's sleeps, so that none uses up another's quota and all parts of a period are met (it is
#: 100 ms); and between those of one group and the next.
_SPACING_S, _OFFSET_S = 0.127, 0.031


def version(backend: str) -> int:
    """The cgroup version of the backend's groups. Raises QuotaUnavailable."""
    with prepared(backend) as ready, ready.open(Limits(weight=WEIGHT)) as group:
        return 2 if is_v2(folder_of(group, backend)) else 1


def timed(
    backend: str, quotas: dict[str, str], burners: int, seconds: float, sleeps: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Times ``sleeps`` runs of /bin/sleep, from start to exit, in a group for each quota (name → quota).

    All groups at the same time, in an order by the seed; a group's sleeps begin one after the other, each in another
    part of a period, and overlap. ``burners`` shells are busy in each group. A quota ``max`` is written to the group's
    file by that word, or by v1's. Gives by name {"elapsed_ns": […], "nr_periods", "nr_throttled", "throttled_ns"}, the
    counters None where there are none. Raises QuotaUnavailable.
    """
    with prepared(backend) as ready, ExitStack() as stack:
        groups = {name: stack.enter_context(_open(ready, quota)) for name, quota in quotas.items()}
        for group in groups.values():
            for _ in range(burners):
                stack.enter_context(_running(group))
        if burners:
            time.sleep(_SETTLE_S)
        before = {name: group.counters() for name, group in groups.items()}
        elapsed: dict[str, list[int | OSError]] = {name: [] for name in groups}
        order = list(groups)
        seeded(seed).shuffle(order)
        lanes = [
            threading.Thread(
                target=_sleep,
                args=(groups[name], seconds, number * _SPACING_S + place * _OFFSET_S, elapsed[name]),
            )
            for number in range(sleeps)
            for place, name in enumerate(order)
        ]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        found = {}
        for name, group in groups.items():
            after, first = group.counters(), before[name]
            grown = after.since(first) if after is not None and first is not None else None
            counters = ("nr_periods", "nr_throttled", "throttled_ns")
            found[name] = {
                "elapsed_ns": [_checked(each, backend) for each in elapsed[name]],
                **{each: getattr(grown, each, None) for each in counters},
            }
        return found


def _open(backend: Backend, quota: str) -> Group:
    if quota != "max":
        return backend.open(Limits(parse_quota(quota), WEIGHT))
    group = backend.open(Limits(weight=WEIGHT))
    try:
        folder = folder_of(group, backend.name)
        write_quota(folder, quota_us(Quota(), folder), DEFAULT_PERIOD_NS // 1_000)
    except BaseException:
        group.close()
        raise
    return group


def _sleep(group: Group, seconds: float, delay_s: float, elapsed: list[int | OSError]) -> None:
    argv = group.command(["/bin/sleep", f"{seconds:g}"])
    time.sleep(delay_s)
    start = time.monotonic_ns()
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    except OSError as error:
        elapsed.append(error)
        return
    took = time.monotonic_ns() - start
    elapsed.append(took if done.returncode == 0 else OSError(0, f"exit status {done.returncode}"))


def _checked(result: int | OSError, backend: str) -> int:
    if isinstance(result, OSError):
        raise QuotaUnavailable(backend, f"/bin/sleep failed in a group ({result.strerror})", "try another --backend")
    return result


@contextmanager
def _running(group: Group) -> Iterator[None]:
    child = subprocess.Popen(group.command(BURN), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.kill()
        child.wait()
