"""Which backend to use here: the best that works, proven by using it, and why the others do not."""

import importlib
import subprocess
from dataclasses import dataclass, field

from nanonap.base.errors import UsageError
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.quota.base import Backend
from nanonap.lab.quota.limits import Limits, parse_quota
from nanonap.lab.quota.none import NoBackend

#: Name → where its class is; a backend is loaded when it is asked for.
_BACKENDS = {
    "cgroup2": "nanonap.lab.quota.cgroup2:Cgroup2Backend",
    "cgroup1": "nanonap.lab.quota.cgroup1:Cgroup1Backend",
    "systemd": "nanonap.lab.quota.systemd:SystemdBackend",
    "systemd-user": "nanonap.lab.quota.systemd:SystemdUserBackend",
    "docker": "nanonap.lab.quota.docker:DockerBackend",
    "podman": "nanonap.lab.quota.docker:PodmanBackend",
    "guest": "nanonap.lab.guest.backend:GuestBackend",
    "guest-backports": "nanonap.lab.guest.backend:GuestBackportsBackend",
    "guest-systemd": "nanonap.lab.guest.backend:GuestSystemdBackend",
    "guest-docker": "nanonap.lab.guest.backend:GuestDockerBackend",
    "guest-arm64": "nanonap.lab.guest.other:GuestArm64Backend",
    "none": "nanonap.lab.quota.none:NoBackend",
}
BACKEND_NAMES = ("auto", *_BACKENDS)
#: What ``auto`` tries, the best first. A container or a guest changes more than the quota: it is had by its name.
AUTOMATIC = ("cgroup2", "cgroup1", "systemd", "systemd-user")
_PROBE = Limits(parse_quota("50%"))


@dataclass(frozen=True)
class Choice:
    """The backend in use (``none`` sets no quota), why, and what each one passed over lacks."""

    backend: Backend
    why: str
    refusals: list[QuotaUnavailable] = field(default_factory=list)

    @property
    def limits(self) -> bool:
        """Whether quotas can be set."""
        return self.backend.limits

    def refusal(self, limits: Limits) -> QuotaUnavailable | None:
        """Why these limits cannot be set here, or None if they can: tried, not guessed."""
        if not self.limits and self.refusals:
            reasons = "; ".join(f"{each.backend}: {each.reason}" for each in self.refusals)
            remedies = "; or ".join(dict.fromkeys(each.remedy for each in self.refusals))
            return QuotaUnavailable("no backend", reasons, remedies)
        try:
            self.backend.open(limits).close()
        except QuotaUnavailable as refusal:
            return refusal
        return None


def choose(name: str = "auto") -> Choice:
    """The backend ``name``, ready; for ``auto`` the first of AUTOMATIC that works, else ``none``.

    Raises UsageError for an unknown name and QuotaUnavailable if the one asked for does not work here.
    """
    if name not in BACKEND_NAMES:
        raise UsageError(f"no such backend: {name}; choose from {', '.join(BACKEND_NAMES)}")
    if name != "auto":
        return Choice(working(name), "asked for")
    refusals: list[QuotaUnavailable] = []
    for candidate in AUTOMATIC:
        try:
            backend = working(candidate)
        except QuotaUnavailable as refusal:
            refusals.append(refusal)
        else:
            passed_over = "".join(f"; {refusal.backend}: {refusal.reason}" for refusal in refusals)
            return Choice(backend, f"set and read back {_PROBE.quota} in it{passed_over}", refusals)
    return Choice(NoBackend(), "no quota can be set here", refusals)


def backend_class(name: str) -> type[Backend]:
    """What a backend says of itself; for ``auto``, and for names that only other versions knew, what most say."""
    if name not in _BACKENDS:
        return Backend
    module, _, kind = _BACKENDS[name].partition(":")
    found: type[Backend] = getattr(importlib.import_module(module), kind)
    return found


def make_backend(name: str) -> Backend:
    """A backend that is not prepared yet."""
    backend: Backend = backend_class(name)()
    return backend


def working(name: str) -> Backend:
    """The backend after it has run a command, under a quota if it can set one. Raises QuotaUnavailable."""
    backend = make_backend(name)
    try:
        backend.prepare()
        with backend.open(_PROBE if backend.limits else Limits()) as group:
            done = subprocess.run(group.command(["/bin/true"]), capture_output=True, text=True, check=False)
    except BaseException:
        backend.close()
        raise
    if done.returncode != 0:
        backend.close()
        reason = f"a process cannot be moved into a group ({done.stderr.strip()})"
        raise QuotaUnavailable(name, reason, "run as root, or inside a delegated group")
    return backend
