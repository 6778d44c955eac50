"""Which backend to use here: the best that works, proven by using it, and why the others do not."""

import subprocess
from dataclasses import dataclass, field

from bench.errors import QuotaUnavailable
from bench.quota.base import Backend, Quota, parse_quota
from bench.quota.cgroup1 import Cgroup1Backend
from bench.quota.cgroup2 import Cgroup2Backend
from bench.quota.none import NoBackend
from nanonap.errors import UsageError

_BACKENDS: dict[str, type[Backend]] = {"cgroup2": Cgroup2Backend, "cgroup1": Cgroup1Backend, "none": NoBackend}
BACKEND_NAMES = ("auto", *_BACKENDS)
_PROBE = parse_quota("50%")


@dataclass(frozen=True)
class Choice:
    """The backend in use (``none`` sets no quota), why, and what each one passed over lacks."""

    backend: Backend
    why: str
    refusals: list[QuotaUnavailable] = field(default_factory=list)

    @property
    def limits(self) -> bool:
        """Whether quotas can be set."""
        return self.backend.name != NoBackend.name

    def refusal(self, quota: Quota) -> QuotaUnavailable | None:
        """Why this quota cannot be set here, or None if it can: tried, not guessed."""
        if not self.limits and self.refusals:
            reasons = "; ".join(f"{each.backend}: {each.reason}" for each in self.refusals)
            remedies = "; or ".join(dict.fromkeys(each.remedy for each in self.refusals))
            return QuotaUnavailable("no backend", reasons, remedies)
        try:
            self.backend.open(quota).close()
        except QuotaUnavailable as refusal:
            return refusal
        return None


def choose(name: str = "auto") -> Choice:
    """The backend ``name``, ready; for ``auto`` the first that works of cgroup2, cgroup1, else ``none``.

    Raises UsageError for an unknown name and QuotaUnavailable if the one asked for does not work here.
    """
    if name not in BACKEND_NAMES:
        raise UsageError(f"no such backend: {name}; there are {', '.join(BACKEND_NAMES)}")
    if name != "auto":
        return Choice(_working(name), "asked for")
    refusals: list[QuotaUnavailable] = []
    for candidate in ("cgroup2", "cgroup1"):
        try:
            backend = _working(candidate)
        except QuotaUnavailable as refusal:
            refusals.append(refusal)
        else:
            passed_over = "".join(f"; {refusal.backend}: {refusal.reason}" for refusal in refusals)
            return Choice(backend, f"set and read back {_PROBE} in it{passed_over}", refusals)
    return Choice(NoBackend(), "no quota can be set here", refusals)


def _working(name: str) -> Backend:
    """The backend after it has run a command under a quota. Raises QuotaUnavailable."""
    backend = _BACKENDS[name]()
    backend.prepare()
    with backend.open(_PROBE if name != NoBackend.name else Quota()) as group:
        done = subprocess.run(group.command(["true"]), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        backend.close()
        reason = f"a process cannot be moved into a group ({done.stderr.strip()})"
        raise QuotaUnavailable(name, reason, "run as root, or inside a delegated group")
    return backend
