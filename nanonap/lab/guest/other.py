"""Programs for another processor: each run is a guest of its own, emulated, which counts instructions as its clock.

Its microseconds are exact, the same each time, and nobody's: no real processor takes one nanosecond for each
instruction. What is compared in it is compared with what else ran in it.
"""

import sys
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

from nanonap.base.errors import UsageError
from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.host import Facts
from nanonap.lab.ground.interrupt import Stop
from nanonap.lab.guest.image import Image, image
from nanonap.lab.guest.jobs import CPUS, Job, Outcome, run_jobs
from nanonap.lab.guest.kinds import JOBS, Kind
from nanonap.lab.quota.base import Backend, Group, Throttling
from nanonap.lab.quota.limits import Limits
from nanonap.toolchain.targets import Target

_FACTS = (
    "uname -r; uname -m; cat /sys/devices/system/clocksource/clocksource0/current_clocksource"
    " /proc/self/timerslack_ns; awk '/^MemTotal:/ { print $2 }' /proc/meminfo"
)
_REMEDY = "choose another --backend"


class JobGroup(Group):
    """No limit, and a guest for each command."""

    effective = Limits()

    def __init__(self, backend: str, image: Image) -> None:
        """``backend`` is for messages."""
        self._backend, self._image = backend, image

    def command(self, argv: Sequence[str]) -> list[str]:
        """A client that boots a guest with the executable files of ``argv`` in it, under their own paths."""
        python = ("/usr/bin/env", f"PYTHONPATH={PROJECT}", sys.executable)
        return [*python, "-m", "nanonap.lab.guest.alone", str(self._image.folder), *argv]

    def counters(self) -> Throttling | None:
        """None: nothing counts."""
        return None

    @property
    def place(self) -> NoReturn:
        """Nothing records there. Raises QuotaUnavailable."""
        raise QuotaUnavailable(self._backend, "nothing in it records a run", _REMEDY)

    def close(self) -> None:
        """Nothing to remove: a guest ends with its command."""


class OtherBackend(Backend):
    """A guest for another processor, of one CPU. ``kind`` and ``target`` say of which."""

    elsewhere: ClassVar[bool] = True
    own_kernel: ClassVar[bool] = True
    slow: ClassVar[bool] = True
    limits: ClassVar[bool] = False
    kind: ClassVar[Kind]
    mark: str | None = "emulated: not this machine's microseconds"

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._image: Image | None = None
        self._facts: Facts = {}

    def prepare(self) -> None:
        """Make the image (once). Raises QuotaUnavailable."""
        if self._image is None:
            self._image = image(self.name, kind=self.kind)

    def facts(self) -> Facts:
        """The guest's, under the names of ``nanonap.lab.ground.host.facts``, and ``accelerator``; it boots to see them.

        Raises QuotaUnavailable.
        """
        if not self._facts:
            self._facts = self._seen()
        return self._facts

    def _seen(self) -> Facts:
        (told,) = self.run([Job(("sh", "-c", _FACTS))])
        kernel, machine, clocksource, slack, memory_kib = told.stdout.decode().split()
        return {
            "kernel": kernel,
            "arch": machine,
            "cpu_model": self.kind.architecture.model,
            "cpus_online": CPUS,
            "cpus_allowed": CPUS,
            "hypervisor": True,
            "clocksource": clocksource,
            "governor": None,
            "idle_driver": None,
            "timer_slack_ns": int(slack),
            "scheduler_policy": "SCHED_OTHER",
            "nice": 0,
            "cgroup": None,
            "load_average": None,
            "memory_bytes": int(memory_kib) * 1024,
            "python": None,
            # Each run is a boot of its own, and all boots of an image are the same.
            "boot": self.image.key[:12],
            "accelerator": "tcg",
        }

    @property
    def image(self) -> Image:
        """Its image. Raises QuotaUnavailable if it is not prepared."""
        if self._image is None:
            raise QuotaUnavailable(self.name, "the guest's image is not made", "call prepare() first")
        return self._image

    def run(self, jobs: Sequence[Job], shift: int = 0) -> list[Outcome]:
        """Several commands in one boot. Raises QuotaUnavailable."""
        return run_jobs(self.image, jobs, self.name, shift=shift)

    def open(self, limits: Limits) -> JobGroup:
        """A group without a limit. Raises QuotaUnavailable if one is asked for."""
        if limits.limited:
            raise QuotaUnavailable(self.name, f"it sets no quota, and {limits} was asked for", _REMEDY)
        return JobGroup(self.name, self.image)

    @property
    def cpus(self) -> int:
        """One: what it does is the same each time, then."""
        return CPUS

    def call(self, target: str, stop: Stop, timeout_s: float, **arguments: Any) -> NoReturn:  # noqa: ANN401 - any JSON
        """There is no Python. Raises QuotaUnavailable."""
        raise QuotaUnavailable(self.name, f"{target} needs Python, which is not in it", _REMEDY)

    def close(self) -> None:
        """Nothing runs."""


class GuestArm64Backend(OtherBackend):
    """A guest for linux/arm64."""

    name: ClassVar[str] = "guest-arm64"
    kind: ClassVar[Kind] = JOBS
    target: ClassVar[Target] = JOBS.architecture.target


OTHERS = (GuestArm64Backend,)


def guest_for(target: Target) -> OtherBackend:
    """The backend, not prepared yet, that runs programs of a target. Raises UsageError where there is none."""
    for each in OTHERS:
        if each.target == target:
            return each()
    raise UsageError(f"no guest runs programs of {target.name}")
