"""What is said of the limits above, as results keep them.

None stands for results that were measured before it was recorded: nothing is said of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace

from nanonap.base.durations import format_ns
from nanonap.lab.ground.errors import InsideLimit
from nanonap.lab.quota.above import Above, LimitsAbove, QuotaAbove, above_process
from nanonap.lab.quota.choose import backend_class

_LONG = 20


@dataclass(frozen=True)
class JudgedAbove(LimitsAbove):
    """Limits above, whether they can stop a program, and sentences on them."""

    bites: bool
    says: str


def refuse_before(backend: str, *, alone: bool, inside_limit: bool) -> None:
    """``refuse_inside`` of what is known before a backend is ready: of runs ``alone``, in no group, and of a guest.

    A guest is a child of this process; it takes long to boot.
    """
    if alone or backend_class(backend).own_kernel:
        refuse_inside([above_process()], inside_limit)


def refuse_inside(found: Iterable[Above], inside_limit: bool) -> None:
    """Raise InsideLimit for a limit that bites, unless the user said that it is meant."""
    for above in () if inside_limit else (each.told() for each in found):
        if bites(above):
            raise InsideLimit(
                f"inside a CPU limit: {_why(above)}, so the figures would be those of stopped programs; measure "
                "outside it, or add --inside-limit, which measures and names the limit beside every figure"
            )


def _why(above: LimitsAbove) -> str:
    tightest = _too_small(above)
    if tightest is not None:
        return f"the group {tightest.group} above may use {_share(tightest)} of a CPU, less than {_cpus(above)}"
    return f"one that cannot be seen from here has stopped this group for {format_ns(above.stopped_ns or 0)} so far"


def limit_of(above: LimitsAbove | None) -> QuotaAbove | None:
    """The group whose quota is the smallest share of a CPU, the outer one of two alike; None without any."""
    groups = above.groups if above else []
    return min(reversed(groups), key=_ratio, default=None)


def bites(above: LimitsAbove | None) -> bool:
    """Whether the limit can stop a program: a quota smaller than the CPUs that may be used; or one that did stop it
    and cannot be seen, whatever those that can be seen allow.
    """
    if not above:
        return False
    return _too_small(above) is not None or (above.unseen is not None and bool(above.stopped_ns))


def _too_small(above: LimitsAbove | None) -> QuotaAbove | None:
    """The tightest quota where it is smaller than the CPUs that may be used."""
    tightest = limit_of(above)
    return tightest if above and tightest and _ratio(tightest) < above.cpus else None


def strictest(found: Sequence[LimitsAbove]) -> LimitsAbove | None:
    """Of what limits several places at one time, the one with the smallest quota."""
    return min(found, key=lambda above: _ratio(limit) if (limit := limit_of(above)) else float("inf"), default=None)


def quota_above(above: LimitsAbove | None) -> tuple[int, int, int] | None:
    """(quota, period, burst) in ns of a limit that bites; results with different ones do not compare."""
    tightest = _too_small(above)
    if tightest is None:
        return None
    return tightest.quota_ns, tightest.period_ns, tightest.burst_ns


def label(above: LimitsAbove | None) -> str | None:
    """Behind a condition's quota, in a table's title: ``inside a limit of 30 % of a CPU (group /a)``."""
    tightest = limit_of(above)
    if above is None or (tightest is None and above.unseen is None):
        return None
    if tightest is None:
        return "limits above cannot be seen from here"
    enough = "" if bites(above) else f", enough for {_cpus(above)}"
    return f"inside a limit of {_share(tightest)} of a CPU{enough} (group {_shortened(tightest.group)})"


def says(above: LimitsAbove | None) -> str:
    """Sentences for the head of a report; empty for results that do not know."""
    if above is None:
        return ""
    tightest = limit_of(above)
    told = [] if tightest is None else [_of_limit(above, tightest)]
    if above.unseen is not None:
        told.append(_of_unseen(above))
    elif tightest is None:
        told.append("No group above limits its CPU time.")
    if above.cpus < above.cpus_online:
        allowed = f" (the groups allow {above.cpuset})" if above.cpuset else ""
        told.append(f"Of {above.cpus_online} CPUs {above.cpus} may be used{allowed}.")
    return " ".join(told)


def _of_limit(above: LimitsAbove, tightest: QuotaAbove) -> str:
    burst = f", burst {format_ns(tightest.burst_ns)}" if tightest.burst_ns else ""
    quota = f"{_share(tightest)} of a CPU (period {format_ns(tightest.period_ns)}{burst})"
    enough = "" if bites(above) else f", which is enough for {_cpus(above)}"
    told = f"Inside a CPU limit: the group {tightest.group} above may use {quota}{enough}; {stops(tightest)}."
    others = [f"{each.group} ({_share(each)}; {stops(each)})" for each in above.groups if each is not tightest]
    return told + (f" Further groups with a quota: {', '.join(others)}." if others else "")


def stops(group: QuotaAbove) -> str:
    """How often a limit above stopped its group in the time recorded."""
    if group.nr_throttled is None:
        return "how often that stopped it is not known"
    return (
        f"that stopped it in {group.nr_throttled} of {group.nr_periods} periods, for "
        f"{format_ns(group.throttled_ns) if group.throttled_ns else '0 s'} (summed over CPUs)"
    )


def _of_unseen(above: LimitsAbove) -> str:
    unseen = f"Whether a limit lies further up cannot be seen from here: {above.unseen}"
    if above.groups:  # what stopped the group is not told apart
        return f"{unseen}."
    if above.stopped_ns is None:
        return f"{unseen}; this kernel does not count such stops (Linux 6.6 does)."
    if above.stopped_ns:
        return f"{unseen}; one of them stopped the programs' group for {format_ns(above.stopped_ns)}."
    return f"{unseen}; none of them stopped the programs' group."


def merged(found: Sequence[LimitsAbove | None]) -> LimitsAbove | None:
    """Of many runs, or of runs in several places, one: every group that limited any of them, its counters added up."""
    known = [each for each in found if each is not None]
    if not known:
        return None
    groups: dict[tuple[str | int, ...], QuotaAbove] = {}
    for each in (group for above in known for group in above.groups):
        key = astuple(each)[:-3]
        groups[key] = _added(groups[key], each) if key in groups else each
    unseen = next((above.unseen for above in known if above.unseen), None)
    stopped_ns = _sum(*(above.stopped_ns for above in known))
    return replace(known[0], groups=list(groups.values()), stopped_ns=stopped_ns, unseen=unseen)


def _added(one: QuotaAbove, other: QuotaAbove) -> QuotaAbove:
    return replace(
        one,
        nr_periods=_sum(one.nr_periods, other.nr_periods),
        nr_throttled=_sum(one.nr_throttled, other.nr_throttled),
        throttled_ns=_sum(one.throttled_ns, other.throttled_ns),
    )


def _sum(*counts: int | None) -> int | None:
    """None where one is not known."""
    known = [each for each in counts if each is not None]
    return sum(known) if len(known) == len(counts) else None


def judged(above: LimitsAbove | None) -> JudgedAbove | None:
    """With what it comes to; None of None."""
    return None if above is None else JudgedAbove(**vars(above), bites=bites(above), says=says(above))


def _ratio(group: QuotaAbove) -> float:
    return group.quota_ns / group.period_ns


def _share(group: QuotaAbove) -> str:
    return f"{100 * _ratio(group):.4g} %"


def _cpus(above: LimitsAbove) -> str:
    return "the one CPU that may be used" if above.cpus == 1 else f"the {above.cpus} CPUs that may be used"


def _shortened(group: str) -> str:
    """A path in which names that are mostly a number (a container's) are cut, for a title."""
    return "/".join(name if len(name) <= _LONG else f"{name[: _LONG - 4]}…" for name in group.split("/"))
