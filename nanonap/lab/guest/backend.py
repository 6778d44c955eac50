"""Quota in a guest of our own: cgroup v2, systemd, or Docker with both, on a machine that has none of them.

The class that sets the limits is the project's own, running inside; here its groups are opened by request.
"""

import contextlib
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from nanonap.base.errors import NanonapError
from nanonap.base.paths import PROJECT
from nanonap.lab.ground.errors import QuotaUnavailable
from nanonap.lab.ground.host import Facts
from nanonap.lab.guest.accelerator import EMULATED
from nanonap.lab.guest.image import image
from nanonap.lab.guest.kinds import BACKPORTS, DOCKER, PLAIN, Kind
from nanonap.lab.guest.machine import Machine, boot
from nanonap.lab.guest.wire import limits_from_json, limits_to_json
from nanonap.lab.quota.base import Backend, Group, Place, Throttling
from nanonap.lab.quota.limits import Limits
from nanonap.toolchain.targets import Target


class GuestGroup(Group):
    """A group inside the guest. Its command is a client on this host, which the run inside ends with."""

    def __init__(self, machine: Machine, limits: Limits) -> None:
        """Open it. Raises QuotaUnavailable."""
        self._machine = machine
        answer, _ = machine.ask({"do": "open", "limits": limits_to_json(limits)})
        self.number: int = answer["group"]
        self.effective = limits_from_json(answer["effective"])
        #: ``cpu_stat``, ``version``, ``usage`` as StatFiles has them, but of the guest's file system; or None.
        self._files_inside: dict[str, Any] | None = answer["stat_files"]

    @property
    def place(self) -> Place:
        """The guest that it is in."""
        stat = self._files_inside["cpu_stat"] if self._files_inside is not None else None
        return Place((*client(self._machine), "0", "--"), self._inside, stat)

    def command(self, argv: Sequence[str]) -> list[str]:
        """A client that sends in the executable files of ``argv`` which the guest lacks, and runs it in the group.

        Programs of the image are named as they are there (``python3``, ``/bin/true``). Environment variables that
        begin with GO go along.
        """
        return [*client(self._machine), str(self.number), "--", *argv]

    def _inside(self, argv: Sequence[str]) -> list[str]:
        """The argument vector that runs ``argv``, all of the guest, in the group from inside the guest."""
        answer, _ = self._machine.ask({"do": "command", "group": self.number, "argv": list(argv)})
        return [str(word) for word in answer["argv"]]

    def counters(self) -> Throttling | None:
        """As the guest's kernel counts."""
        answer, _ = self._machine.ask({"do": "counters", "group": self.number})
        return None if answer["counters"] is None else Throttling(**answer["counters"])

    def close(self) -> None:
        """End what runs in it and remove it; with the guest gone there is nothing to do."""
        with contextlib.suppress(NanonapError):
            self._machine.ask({"do": "close", "group": self.number})


class GuestBackend(Backend):
    """A guest whose only process is the agent, limited through cgroup v2."""

    name: ClassVar[str] = "guest"
    elsewhere: ClassVar[bool] = True
    own_kernel: ClassVar[bool] = True
    slow: ClassVar[bool] = True
    mark: str | None = EMULATED
    kind: ClassVar[Kind] = PLAIN
    target: ClassVar[Target] = PLAIN.architecture.target
    #: Key of ``machine.INITS``.
    init: ClassVar[str] = "bare"
    #: The backend inside.
    way: ClassVar[str] = "cgroup2"

    def __init__(self) -> None:
        """Nothing is booted yet."""
        self._machine: Machine | None = None

    def prepare(self) -> None:
        """Make the image (once), boot, prepare the backend inside. Raises QuotaUnavailable."""
        if self._machine is None:
            self._machine = boot(image(self.name, kind=self.kind), self.init, self.name)
        try:
            self._machine.ask({"do": "prepare", "backend": self.way})
        except BaseException:
            self.close()
            raise
        if self._machine.accelerator != "tcg":
            self.mark = None  # over the class's

    @property
    def machine(self) -> Machine:
        """The guest. Raises QuotaUnavailable if none is booted."""
        if self._machine is None:
            raise QuotaUnavailable(self.name, "the guest is not booted", "call prepare() first")
        return self._machine

    def open(self, limits: Limits) -> GuestGroup:
        """A new group in the guest. Raises QuotaUnavailable."""
        return GuestGroup(self.machine, limits)

    def facts(self) -> Facts:
        """The guest's, under the names of ``nanonap.lab.ground.host.facts``, and ``accelerator``: kvm or tcg."""
        answer, _ = self.machine.ask({"do": "facts"})
        return {**answer["facts"], "accelerator": self.machine.accelerator}

    @property
    def python(self) -> tuple[str, ...]:
        """The image's, which the agent has told where the modules are."""
        return ("python3",)

    @property
    def inner(self) -> str:
        """The backend inside."""
        return self.way

    def beside(self, argv: Sequence[str]) -> list[str]:
        """By a client, in group 0."""
        return [*client(self.machine), "0", "--", *argv]

    def fetch(self, path: str) -> bytes:
        """A file of the guest. Raises QuotaUnavailable."""
        return self.machine.ask({"do": "get", "path": path})[1]

    def read(self, path: str) -> str:
        """The same as text."""
        return self.fetch(path).decode("ascii", "replace")

    def close(self) -> None:
        """End the guest."""
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()


class GuestBackportsBackend(GuestBackend):
    """The same on the kernel of Debian's backports."""

    name: ClassVar[str] = "guest-backports"
    kind: ClassVar[Kind] = BACKPORTS


class GuestSystemdBackend(GuestBackend):
    """A guest that systemd runs, limited through it."""

    name: ClassVar[str] = "guest-systemd"
    init: ClassVar[str] = "systemd"
    way: ClassVar[str] = "systemd"


class GuestDockerBackend(GuestSystemdBackend):
    """The same with Docker, for whose containers systemd makes the groups."""

    name: ClassVar[str] = "guest-docker"
    costly: ClassVar[bool] = True
    kind: ClassVar[Kind] = DOCKER
    way: ClassVar[str] = "docker"


def client(machine: Machine) -> list[str]:
    """The command that, with a group's number, ``--`` and an argument vector, runs something in the guest."""
    python = ("/usr/bin/env", f"PYTHONPATH={PROJECT}", sys.executable)
    return [*python, "-m", "nanonap.lab.guest.client", str(machine.address)]
